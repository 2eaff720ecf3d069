"""Fits that have diverged: named in one line, with the step and the last good checkpoint."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from torch import Tensor

from gallery.errors import RunError
from inference import SVI, InferenceError
from inference.fit.guard import DivergenceError, invalid_parameter

__all__ = ["check_end", "naming"]

ABSURD = 1000.0  # times the loss of the first step, by which the loss of the last epoch lies above it in no fit
_INVALID = re.compile(r"Expected (parameter|value) .* to satisfy the constraint|not finite|singular|positive-definite")
_REMEDY = "Use a smaller lr."


class HasCheckpoint(Protocol):
    """A fit with a last good checkpoint."""

    svi: SVI

    @property
    def kept(self) -> str:
        """A sentence on it."""


@contextmanager
def naming(fit: HasCheckpoint) -> Iterator[None]:
    """Add to the error of a fit that has diverged what is kept of it.

    An error of torch about values outside of a distribution's support becomes such an error.

    :raises InferenceError: if the fit has diverged
    """
    try:
        yield
    except DivergenceError as error:
        raise InferenceError(f"{error.message} {fit.kept}", error.remedy) from error
    except (InferenceError, RunError):
        raise
    except (ValueError, RuntimeError) as error:
        if not _INVALID.search(str(error)):
            raise
        first = invalid_parameter(error) if isinstance(error, ValueError) else " ".join(str(error).split())[:100]
        at = f"after step {fit.svi.step} (epoch {fit.svi.epoch})"
        raise InferenceError(f"the fit has diverged {at}: {first} is not valid. {fit.kept}", _REMEDY) from error


def check_end(first_loss: float | Tensor | None, last_loss: float, steps: int, kept: str) -> None:
    """Check that the loss of the last epoch is not far above that of the first step. Below it, of a density, it may be.

    :param first_loss: nats per data point; None if it is unknown
    :param kept: a sentence on the last good checkpoint
    :raises InferenceError: if it lies above by ABSURD times as much or more
    """
    if first_loss is None or last_loss - float(first_loss) < ABSURD * max(1.0, abs(float(first_loss))):
        return
    raise InferenceError(
        f"the fit has diverged: after {steps} steps the loss is {last_loss:.3g} nats per data point; at the first step "
        f"it was {float(first_loss):.3g}. {kept}",
        _REMEDY,
    )
