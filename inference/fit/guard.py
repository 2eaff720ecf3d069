"""Detection of losses that are not finite, without a reading from the device at every step."""

import re

import torch
from torch import Tensor

from inference.errors import InferenceError

__all__ = ["CHECK_STEPS", "DivergenceError", "LossGuard", "impossible_value", "invalid_parameter", "not_finite"]

CHECK_STEPS = 100  # steps between two readings of the losses


class DivergenceError(InferenceError):
    """A loss that is not finite."""


class LossGuard:
    """Losses since the last check, with the state of the random generators before each.

    `failed` is a scalar on the device: 1 from the first loss that is not finite, else 0. No weights are updated from
    then on, so at the next check they are still those before the failure.

    :param x: (n, ...) the data, on the device of the fit
    """

    def __init__(self, x: Tensor):
        self.failed = x.new_zeros((), dtype=torch.float32)
        self._recent: list[tuple[dict[str, Tensor], Tensor]] = []
        self._checked = 0  # number of the step of the first of them
        self._count = 0  # number of steps since

    def record(self, noise: dict[str, Tensor], losses: Tensor, failed: Tensor | None = None) -> None:
        """Append the losses of a call, the state of the random generators before it, and whether a loss has failed.

        :param losses: scalar, or (steps,), the first of which is the only one that may be the first not finite
        :param failed: a scalar above 0 if a loss was not finite in one of the processes
        """
        self._recent.append((noise, losses.reshape(-1)))
        self._count += losses.numel()
        if failed is not None:
            self.failed.copy_(failed.ceil())

    @property
    def room(self) -> int:
        """The number of steps until a reading is due."""
        return CHECK_STEPS - self._count

    @property
    def is_due(self) -> bool:
        """Whether the losses of CHECK_STEPS steps have not been read yet."""
        return self.room == 0

    def first_failure(self, step: int) -> tuple[int, dict[str, Tensor]] | None:
        """Read the losses of all steps before `step` that have not been read.

        :return: (step, random state before it) of the first loss that is not finite; None if all are finite
        """
        finite = torch.isfinite(torch.cat([losses for _, losses in self._recent] or [self.failed.reshape(1)]))
        if finite.all():
            self._forget(step)
            return None
        bad = finite.tolist().index(False)
        calls = [noise for noise, losses in self._recent for _ in losses]
        return self._checked + bad, calls[bad]

    def reset(self, step: int) -> None:
        """Forget all losses, and any failure, before a fit goes on from `step`."""
        self._forget(step)
        self.failed.zero_()

    def _forget(self, step: int) -> None:
        self._recent.clear()
        self._checked, self._count = step, 0


def invalid_parameter(error: ValueError | RuntimeError) -> str:
    """Return the parameter that a distribution has refused, such as "scale of Normal", from torch's error.

    >>> invalid_parameter(ValueError("Expected parameter scale (Tensor of shape (2,)) of distribution Normal(loc) to"))
    'scale of Normal'
    """
    match = re.search(r"Expected parameter (\w+) .*?of distribution (\w+)", str(error), re.DOTALL)
    return f"{match[1]} of {match[2]}" if match else " ".join(str(error).split())[:100]


def impossible_value(error: ValueError) -> InferenceError | None:
    """Return the error for a value that Pyro cannot score, under a mask or of a guide; None for errors of other kinds.

    >>> text = "Error while computing log_prob at site 'x': Expected value in [0, 1], but found invalid values: 2"
    >>> print(impossible_value(ValueError(text)).message)
    Error while computing log_prob at site 'x': Expected value in [0, 1].
    """
    if not str(error).startswith("Error while computing log_prob at site"):
        return None
    words = " ".join(str(error).partition(", but found")[0].split())
    return InferenceError(f"{words}.", "Values under a mask, and all draws of the guide, have to be possible too.")


def not_finite(name: str, step: int, epoch: int) -> DivergenceError:
    """Return the error for a loss that is not finite.

    :param name: the first site or parameter that is not finite
    :param step: number of the step, from 0
    :param epoch: number of whole epochs before it
    """
    return DivergenceError(
        f"the loss is not finite at step {step} (epoch {epoch + 1}): {name} is the first value that is not.",
        "Use a smaller lr."
        if step
        else "Rescale x, or change the likelihood or the guide: no step has been taken yet.",
    )
