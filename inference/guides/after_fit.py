"""What remains to be done to a pair after its fit, declared by the guide that was chosen by name.

Two guides differ between fit and evaluation: `laplace` fits the mode only, and gets its curvature afterwards;
`semi_amortised` is fitted as the model's own guide, and refined in evaluation. `with_guide` registers the remaining
step here, and `finish` takes it. The step is kept among the variables of the pair, so that it goes with a deep copy,
under a name that no other module reads or writes. A method or submodule of the user is never taken for it.
"""

from collections.abc import Callable

from torch import Tensor

from inference.pairs.pair import Pair

__all__ = ["AfterFit", "after_fit", "register_after_fit"]

AfterFit = Callable[[Pair, Tensor, Tensor | None], Pair]
"""(pair, x, given) to a new pair, ready for evaluation; x are the data of the fit."""
_NAME = "_after_fit_of_inference"


def register_after_fit(pair: Pair, step: AfterFit | None) -> None:
    """Declare the step that remains after the fit of this pair; None: no step remains."""
    vars(pair)[_NAME] = step  # not a parameter, buffer or submodule


def after_fit(pair: Pair) -> AfterFit | None:
    """Return the step that remains after the fit of this pair, None if no step remains or none was declared."""
    return vars(pair).get(_NAME)
