"""Fit until the weights have converged: falling rates, averages of iterates, a bound on the error that is left.

At a fixed rate the iterates of a stochastic fit become stationary, around a point whose distance from the optimum falls
with the rate. Here, at each rate:

1. R-hat of the halves of a window of iterates, and their effective sample size, state whether they are stationary. A
   first rate of Adam at which they are not after BATCHES * SHORTEST * EVERY steps is raised;
2. they are averaged until the Monte Carlo error of the average is small;
3. the change of the average since the former rate bounds what is left of the distance. If it falls as a power of the
   rate, rate^kappa, the distance left is change * FACTOR^kappa / (1 - FACTOR^kappa): the change itself for kappa = 1/2,
   a third of it for the kappa = 1 of SGD on smooth losses;
4. unless the bound is below the tolerance, the fit goes on from the average with FACTOR times the rate. Adam averages
   squared gradients over 1 / FACTOR times as many steps, else their correlation with the gradients would leave a
   distance that does not fall with the rate.

    Welandawe, Andersen, Vehtari and Huggins, A framework for improving the reliability of black-box variational
    inference, 2024 (with the symmetrised KL of guides in place of the distance of weights).
    Dieuleveut, Durmus and Bach, Bridging the gap between constant step size SGD and Markov chains, 2020 (kappa = 1).
"""

import math

import torch
from torch import Tensor, nn

from inference.errors import InferenceError
from inference.fit import distributed
from inference.fit.settings import Settings
from inference.fit.step_runner import StepRunner

__all__ = ["Convergence"]

FACTOR = 0.25  # of the rate, from one to the next
EVERY = 5  # steps from one iterate that is recorded to the next
BATCHES = 32  # of iterates, which are checked when all are full; two become one then
SHORTEST = 8  # iterates of a batch
WINDOWS = (32, 24, 16)  # batches of the windows that may be stationary
R_HAT, ESS = 1.1, 40  # largest and least of stationary iterates
LARGEST = 0.03  # rate of Adam, up to which a first rate is raised
STILL = 1e-6  # spread, relative to 1 + |weight|, of iterates without noise that have arrived
ERRORS = 3.0  # standard errors in the bound
MOST_WEIGHTS = 100_000  # for each of which there are 2 BATCHES numbers


class Convergence:
    """The rate of a fit, and when it ends. The bound is on the largest distance of a weight from its optimum.

    Weights may drift without end: in a direction in which the loss is flat, such as the common shift of the logits of a
    softmax, nothing holds them against the noise of Adam's steps. `summary` then names the parameter.

    :param runner: the steps of the fit
    :param parameters: that are fitted, by name
    :param settings: of the fit, with the tolerance
    :raises InferenceError: if rate or objective have a schedule, or there are too many weights or processes
    """

    def __init__(self, runner: StepRunner, parameters: dict[str, nn.Parameter], settings: Settings):
        if settings.lr_schedule != "constant":
            raise InferenceError(
                f"until {settings.until!r} chooses the rates itself; lr_schedule is {settings.lr_schedule}.",
                ("lr_schedule", "constant"),
            )
        if settings.warmup or settings.final_temperature is not None:
            name = "warmup" if settings.warmup else "final_temperature"
            raise InferenceError(f"until {settings.until!r} needs one objective; {name} changes it at each step.")
        sizes = [parameter.numel() for parameter in parameters.values()]
        size = sum(sizes)
        if not 0 < size <= MOST_WEIGHTS:
            raise InferenceError(
                f"until {settings.until!r} follows each weight, 1 to {MOST_WEIGHTS:,} of them; there are {size:,}.",
                ("until", "epochs"),
            )
        if distributed.workers() > 1:
            raise InferenceError(f"until {settings.until!r} is for fits in one process.", ("until", "epochs"))
        self.runner, self.parameters, self.settings = runner, list(parameters.values()), settings
        self.names = [name for name, count in zip(parameters, sizes, strict=True) for _ in range(count)]
        new = torch.zeros(size, dtype=torch.float64, device=self.parameters[0].device)
        self.sums = new.repeat(BATCHES, 2, 1)  # of the iterates of each batch, and of their squares
        self.mean, self.mcse = new, new.clone()  # average at the last whole rate, and its Monte Carlo error
        self.full, self.count, self.length = 0, 0, SHORTEST  # batches, iterates of the present one, and of a whole one
        self.first, self.rates = settings.lr, 0  # first rate, and number of the rates that are whole
        self.error = math.nan  # bound at the last whole rate; NaN before the second
        self.at = 0  # the step at which the error was below the tolerance; 0 if it was not yet
        self.drifts = -1  # the weight with the largest R-hat of the longest window, if it was too large; else -1

    @property
    def is_over(self) -> bool:
        """Whether the error is below the tolerance."""
        return self.at > 0

    def most(self, steps: int) -> int:
        """Return how many of the next steps may be one call: iterates are recorded at multiples of EVERY."""
        return min(steps, EVERY - self.runner.step % EVERY)

    @torch.no_grad()
    def record(self) -> None:
        """Record the iterate after a call; check whether it ends a rate, and the fit."""
        if self.is_over or self.runner.step % EVERY:
            return
        weights = torch.cat([parameter.reshape(-1) for parameter in self.parameters]).double()
        self.sums[self.full] += torch.stack([weights, weights.square()])
        self.count += 1
        if self.count < self.length:
            return
        self.full, self.count = self.full + 1, 0
        if self.full < BATCHES:
            return
        found = self._stationary()
        is_first = self.rates == 0 and self.length == SHORTEST
        if found is not None and ERRORS * found[1].max() <= self.settings.tolerance / 3:
            self._end_rate(*found)
        elif found is None and is_first and self.first < LARGEST and "Adam" in self.settings.optimiser:
            self.first = min(self.first / FACTOR, LARGEST)
            self.set_rate()
            self._restart(self.sums[:0], SHORTEST)
        else:
            self._restart(self.sums.view(BATCHES // 2, 2, 2, -1).sum(1), 2 * self.length)

    def _restart(self, kept: Tensor, length: int) -> None:
        self.sums[: len(kept)] = kept
        self.sums[len(kept) :] = 0
        self.full, self.count, self.length = len(kept), 0, length

    def _stationary(self) -> tuple[Tensor, Tensor] | None:
        """Return mean and Monte Carlo error of the longest window of iterates that is stationary."""
        for size in WINDOWS:
            means, squares = (self.sums[-size:] / self.length).unbind(1)
            mean = means.mean(0)
            variance = (squares.mean(0) - mean.square()).clamp(min=0)
            halves = means.view(2, size // 2, -1).mean(1)
            between = halves.diff(dim=0)[0].square() / 2
            within = (variance - between / 2).clamp(min=0)
            pairs = means.view(size // 2, 2, -1).mean(1)
            mcse = torch.maximum(means.std(0) / size**0.5, pairs.std(0) / (size // 2) ** 0.5)
            still = variance.sqrt() <= STILL * (1 + mean.abs())
            drifts = (between > (R_HAT**2 - 1) * within) & ~still
            if not (drifts | (variance < ESS * mcse.square()) & ~still).any():
                return mean, mcse
        ratio = torch.where(drifts, between / within, 0.0)
        self.drifts = int(ratio.argmax()) if drifts.any() else -1
        return None

    def _end_rate(self, mean: Tensor, mcse: Tensor) -> None:
        """Bound the error at a rate; go on from the average of its iterates with a smaller one, or end."""
        if self.rates:
            change = (mean - self.mean).abs() + ERRORS * (mcse.square() + self.mcse.square()).sqrt()
            self.error = (change + ERRORS * mcse).max().item()
        self.rates, self.drifts = self.rates + 1, -1
        self.mean, self.mcse = mean, mcse
        if self.error <= self.settings.tolerance:
            self.at = self.runner.step
            return
        self.runner.check()
        self.average()
        self.set_rate()
        self._restart(self.sums[:0], max(SHORTEST, self.length // 2))

    def set_rate(self) -> None:
        """Set rate, and decay of Adam's squared gradients, to those after the rates that are whole."""
        share = FACTOR**self.rates
        self.runner.set_rate(self.first * share, 1 - (1 - self.settings.adam_beta2) * share)

    @torch.no_grad()
    def average(self) -> None:
        """Set the weights to the average at the last whole rate, if there is one."""
        if self.rates:
            parts = self.mean.split([parameter.numel() for parameter in self.parameters])
            for parameter, part in zip(self.parameters, parts, strict=True):
                parameter.copy_(part.view_as(parameter))

    def summary(self) -> dict[str, float | bool | str | None]:
        """Return the outcome: whether the fit has converged, the bound on the error (None without one), the rate, and
        the parameter that drifted most at the last check (None if none did)."""
        error = None if math.isnan(self.error) else self.error
        return {
            "converged": self.is_over,
            "weight_error": error,
            "tolerance": self.settings.tolerance,
            "lr": self.runner.lr,
            "drifts": None if self.drifts < 0 else self.names[self.drifts],
        }

    def state(self) -> dict[str, Tensor]:
        """Return all that a fit continues from."""
        numbers = [self.full, self.count, self.length, self.rates, self.at, self.drifts, self.first, self.error]
        tensors = {"sums": self.sums, "mean": self.mean, "mcse": self.mcse}
        return tensors | {"numbers": torch.tensor(numbers, dtype=torch.float64)}

    def set_state(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for tensor, name in ((self.sums, "sums"), (self.mean, "mean"), (self.mcse, "mcse")):
            tensor.copy_(tensors[name])
        *whole, self.first, self.error = tensors["numbers"].tolist()
        self.full, self.count, self.length, self.rates, self.at, self.drifts = map(int, whole)
        self.set_rate()
