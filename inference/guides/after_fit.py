"""What remains to be done to a pair after its fit, declared by the guide that was chosen by name.

Two guides differ between fit and evaluation: `laplace` fits the mode only, and gets its curvature afterwards;
`semi_amortised` is fitted as the model's own guide, and refined in evaluation. `with_guide` registers the remaining
step here, and `finish` takes it. The step is the attribute ``after_fit`` of the pair, so that it goes with a deep copy;
no other module reads or writes this attribute.
"""

from collections.abc import Callable

from torch import Tensor

from inference.pairs.pair import Pair

__all__ = ["AfterFit", "after_fit", "register_after_fit"]

AfterFit = Callable[[Pair, Tensor, Tensor | None], Pair]
"""(pair, x, given) to a new pair, ready for evaluation; x are the data of the fit."""


def register_after_fit(pair: Pair, step: AfterFit | None) -> None:
    """Declare the step that remains after the fit of this pair; None: no step remains."""
    vars(pair)["after_fit"] = step  # not a parameter, buffer or submodule


def after_fit(pair: Pair) -> AfterFit | None:
    """Return the step that remains after the fit of this pair, None if no step remains or none was declared."""
    return getattr(pair, "after_fit", None)
