"""Settings of a fit: their names, defaults and admissible values."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

import torch

from inference.errors import InferenceError
from inference.fit.objectives import parse_objective

__all__ = ["DEFAULTS", "OPTIMISERS", "SCHEDULES", "Settings"]

MOST_PARTICLES = 100_000  # of a step, which runs them one after the other
TOLERANCE = 0.02  # of until converged, in units of a weight
FLAT = 0.8  # share of a run before the rate of flat_cosine falls
STAGES = 8  # of the schedule of that name


def _cosine(t: float) -> float:
    """Fall from 1 to 0 along half a cosine; t in [0, 1]."""
    return 0.5 * (1.0 + math.cos(math.pi * t))


def _stages(t: float) -> float:
    """Fall by 10^(1/7) in stages, each three times as long as the one before; t in [0, 1)."""
    stage = math.floor(math.log(1 + (3**STAGES - 1) * t, 3) + 1e-9)  # a stage begins at (3^i - 1) / (3^STAGES - 1)
    return 10 ** (-stage / 7)


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda t: 1.0,
    "linear": lambda t: 1.0 - t,
    "cosine": _cosine,
    "flat_cosine": lambda t: _cosine(max(0.0, (t - FLAT) / (1.0 - FLAT))),
    "stages": _stages,
}

_EXCLUDED = {
    "Optimizer": "makes no updates",
    "LBFGS": "evaluates the loss several times a step",
    "SparseAdam": "takes sparse gradients",
}
OPTIMISERS: dict[str, type[torch.optim.Optimizer]] = {
    name: kind
    for name, kind in sorted(vars(torch.optim).items())
    if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)
    if name not in _EXCLUDED
}


@dataclass(frozen=True)
class Settings:
    """Settings of a fit by `SVI`.

    The text of each parameter below is also the help of its command-line flag, so each has to be a sentence for users.

    >>> from inference import Settings
    >>> Settings(epochs=5, objective="iwae:5").lr
    0.001
    >>> Settings(until="converged:0.05").tolerance
    0.05

    :param epochs: passes over the data; with until converged, the most
    :param until: when a fit ends: epochs, after all; or converged:TOLERANCE (0.02 if it is left out), once no weight is
        estimated to be further than TOLERANCE from its optimum: the rate falls from lr on, and iterates are averaged
    :param batch_size: rows of a minibatch, for each of the processes of a fit; all rows if there are fewer
    :param optimiser: the class of torch.optim that makes the updates, with torch's defaults in all but lr and betas
    :param lr: learning rate; the gradient is that of the loss of all data together, as in Pyro, so SGD, which does not
        normalise it, needs a rate smaller by the number of data points
    :param lr_schedule: the learning rate over the run: constant, linear to 0, cosine to 0, flat_cosine: constant, then
        cosine to 0 over the last fifth, or stages: eight, from lr to lr / 10, each three times as long as the last one
    :param adam_beta2: decay of the average of squared gradients, of Adam and its variants only; at 0.99 large gradients
        at the start are forgotten ten times faster
    :param objective: the estimator: trace, analytic, free-bits:NATS, enum, enum_analytic, graph, stl, reinforce, loo:K,
        disarm, iwae:K, dreg:K, vimco:K, miwae:M:K, ciwae:BETA:K, piwae:M:K, fivo:K, renyi:ALPHA:K or wake-sleep:K
    :param particles: draws of the guide that the objective averages over
    :param beta: weight of the KL in the objective: below 1 the objective is no bound, above 1 a looser one (none with
        several draws, as iwae:K)
    :param warmup: epochs over which the weight of the KL rises linearly from 0 to beta
    :param final_temperature: the temperature to which that of a relaxed model falls geometrically; constant if None
    :param shuffle: a new order of the rows in every epoch, else the order of the file
    :param seed: seed of the order of the rows and of all other noise
    :param device: cpu, cuda, or auto: cuda where there is one
    :param precision: float32, float64, or bfloat16: the matrix products of networks in bfloat16 where the device has
        them, all else in float32
    :param products: who computes float32 matrix products on the CPU: default (torch's choice), onednn (in bfloat16 on
        processors with AMX), or auto: onednn where a test product is as exact and faster
    :param engine: what runs a step: pyro, graph (the graph of one traced step), compiled (that graph compiled), or
        auto: compiled from 5000 steps on, which repay it, graph from 200 steps on, else pyro
    :raises InferenceError: if a value is out of range
    """

    epochs: int = 10
    until: str = "epochs"
    batch_size: int = 100
    optimiser: str = "Adam"
    lr: float = 1e-3
    lr_schedule: Literal["constant", "linear", "cosine", "flat_cosine", "stages"] = "constant"
    adam_beta2: float = 0.999
    objective: str = "trace"
    particles: int = 1
    beta: float = 1.0
    warmup: float = 0.0
    final_temperature: float | None = None
    shuffle: bool = True
    seed: int = 0
    device: str = "auto"
    precision: Literal["float32", "float64", "bfloat16"] = "float32"
    products: Literal["auto", "default", "onednn"] = "auto"
    engine: Literal["auto", "pyro", "graph", "compiled"] = "auto"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "particles"):
            if getattr(self, name) < 1:
                raise InferenceError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.particles > MOST_PARTICLES:
            raise InferenceError(f"particles must be at most {MOST_PARTICLES}, not {self.particles}.")
        if not 0 < self.lr < math.inf:
            raise InferenceError(f"lr must be positive and finite, not {self.lr}.")
        if not 0 < self.adam_beta2 < 1:
            raise InferenceError(f"adam_beta2 must be between 0 and 1, not {self.adam_beta2}.")
        for name in ("beta", "warmup"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InferenceError(f"{name} must be finite and not negative, not {getattr(self, name)}.")
        if self.final_temperature is not None and not 0 < self.final_temperature < math.inf:
            raise InferenceError(f"final_temperature must be positive and finite, not {self.final_temperature}.")
        parse_objective(self.objective)
        if self.until != "epochs" and not 0 < self.tolerance < math.inf:
            raise InferenceError(f"until must be epochs, converged or converged:TOLERANCE, not {self.until!r}.")
        if self.seed < 0:
            raise InferenceError(f"seed must be at least 0, not {self.seed}.")
        if self.seed >= 2**63:
            raise InferenceError(f"seed must be below 2**63, not {self.seed}.")
        choices: dict[str, Collection[str]] = {
            "optimiser": OPTIMISERS,
            "lr_schedule": SCHEDULES,
            "precision": ("float32", "float64", "bfloat16"),
            "products": ("auto", "default", "onednn"),
            "engine": ("auto", "pyro", "graph", "compiled"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                value = getattr(self, name)
                why = f", which {_EXCLUDED[value]}" if value in _EXCLUDED else ""
                raise InferenceError(f"{name} must be one of {', '.join(known)}, not {value!r}{why}.")

    @property
    def tolerance(self) -> float:
        """The distance of a weight from its optimum at which a fit has converged; NaN if it runs for all epochs."""
        head, _, value = self.until.partition(":")
        try:
            return float(value or TOLERANCE) if head == "converged" else math.nan
        except ValueError:
            return math.nan

    @property
    def scales_kl(self) -> bool:
        """Whether the weight of the KL is other than 1 at a step."""
        return self.beta != 1.0 or self.warmup > 0

    @property
    def dtype(self) -> torch.dtype:
        """The type of parameters and data."""
        return torch.float64 if self.precision == "float64" else torch.float32

    def torch_device(self) -> torch.device:
        """Return the device of the fit.

        :raises InferenceError: if there is no such device here
        """
        name = self.device if self.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        try:
            torch.empty(0, device=name)
            return torch.device(name)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0][:100].rstrip(".")
            raise InferenceError(f"device {name!r} cannot be used: {reason}.", ("device", "cpu")) from None


DEFAULTS = Settings()
