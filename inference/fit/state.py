"""The state of a fit as named tensors: weights, optimiser, random generators of every process."""

from torch import Tensor

from inference.errors import InferenceError
from inference.fit import distributed
from inference.fit.checkpoint import random_state, set_random_state
from inference.fit.updates import Updates
from inference.pairs.pair import Pair

__all__ = ["fit_state", "restore_fit_state"]

PREFIXES = ("weights.", "worker.", "optimiser.", "until.", "epoch.")  # the last is written by the caller of a fit


def fit_state(pair: Pair, updates: Updates) -> dict[str, Tensor]:
    """Return copies of all tensors of a fit, those of the random generators of all processes included.

    Every process has to call this at the same step.
    """
    tensors = {f"weights.{name}": value for name, value in pair.state_dict().items()}
    for rank, noise in enumerate(distributed.gather(random_state())):
        tensors |= {f"worker.{rank}.{name}": value for name, value in noise.items()}
    tensors |= {f"optimiser.{name}": value for name, value in updates.state().items()}
    return {name: value.clone() for name, value in tensors.items()}


def restore_fit_state(pair: Pair, updates: Updates, tensors: dict[str, Tensor], begun: bool = True) -> None:
    """Restore what `fit_state` returned, the random generators of this process included.

    :param begun: whether a step was done, after which an optimiser with a state has one
    :raises InferenceError: if the tensors are of another number of processes or another optimiser, or have a name that
        `fit_state` does not write
    """
    if unknown := [name for name in tensors if not name.startswith(PREFIXES)]:
        raise InferenceError(
            f"the checkpoint has a tensor {unknown[0]}, which this version of the gallery does not write.",
            "Fit anew, or resume with the version that wrote it.",
        )
    before, now = len({name.split(".")[1] for name in tensors if name.startswith("worker.")}), distributed.workers()
    if before != now:
        raise InferenceError(
            f"the checkpoint is of a fit in {before} processes; this fit has {now}.", f"Resume with {before}."
        )
    pair.load_state_dict(_with_prefix("weights.", tensors))
    updates.set_state(_with_prefix("optimiser.", tensors), begun)
    set_random_state(_with_prefix(f"worker.{distributed.rank()}.", tensors))


def _with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
