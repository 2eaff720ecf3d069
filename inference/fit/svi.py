"""Stochastic variational inference: minibatches, one objective, one optimiser, step after step.

minibatches.py  the stream of rows, and its stratification
schedules.py    learning rate, weight of the KL and temperature
plan.py         checks before the first step
loss.py         loss and gradient of a minibatch
step_runner.py  run the steps, and check their losses
step.py         how a step is run: by Pyro, as a graph, or compiled
library.py      compiled graphs, kept on disk
whole_step.py   several steps, gradient and update, in one compiled call, for small models
loop.py         loops in a graph
unrolled.py     small products and triangular solves, written out in a graph
updates.py      the optimiser
converged.py    falling rates until the weights have converged
guard.py        losses that are not finite
distributed.py  averages over processes
state.py        the state, from which a fit continues to the same bits

    Hoffman, Blei, Wang and Paisley, Stochastic variational inference, 2013.
"""

import math
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

from inference.fit import distributed
from inference.fit.converged import Convergence
from inference.fit.guard import LossGuard
from inference.fit.loss import MinibatchLoss, unchanged
from inference.fit.minibatches import Minibatches
from inference.fit.plan import plan_fit
from inference.fit.schedules import Schedules
from inference.fit.settings import DEFAULTS, Settings
from inference.fit.state import fit_state, restore_fit_state
from inference.fit.step import Mode, choose_mode
from inference.fit.step_runner import StepRunner
from inference.fit.updates import Updates
from inference.pairs.data_checks import check_fit
from inference.pairs.pair import Pair
from inference.pairs.run import cuda_devices
from inference.products import choose_products, using_products

__all__ = ["SVI", "svi"]


class SVI:
    """Stochastic variational inference; iterating yields (steps done, loss of the minibatch in nats per data point).

    The loss is a tensor of shape (), minus the bound that the objective estimates.

    >>> import torch
    >>> from inference import SVI, Settings
    >>> from inference.examples import LinearGaussian
    >>> fit = SVI(LinearGaussian(), torch.zeros(4, 1), settings=Settings(epochs=2, batch_size=2))
    >>> [step for step, loss in fit]
    [1, 2, 3, 4]

    :param pair: the model and guide, on the device and in the precision of the data
    :param x: (n, ...) all the data
    :param given: (n, ...) labels or covariates, for a conditional model
    :param settings: `Settings` of the fit
    :param transform: applied to every minibatch of x, such as torch.bernoulli, which binarises it anew
    :param only: "model" or "guide", to fit the parameters of one
    :raises InferenceError: if pair, data and settings do not go together; while training, if the loss is not finite
    """

    def __init__(
        self,
        pair: Pair,
        x: Tensor,
        given: Tensor | None = None,
        settings: Settings = DEFAULTS,
        transform: Callable[[Tensor], Tensor] | None = None,
        only: Literal["model", "guide"] | None = None,
    ):
        self.pair, self.x, self.given, self.settings = pair, x, given, settings
        self.transform = transform or unchanged
        with torch.random.fork_rng(cuda_devices(pair)):
            check_fit(pair, self.transform(x), given)
        self.products = choose_products(settings.products, x.device, settings.dtype)
        self.plan = plan_fit(pair, x, given, settings, self.transform, only)
        self.parameters = self.plan.parameters
        self.minibatches = Minibatches(x, settings, self.plan.labelled)
        self.batch_size, self.rows = self.minibatches.batch_size, self.minibatches.rows
        self.loss = MinibatchLoss(pair, x, given, settings, self.transform, self.plan, self.minibatches.weights)
        steps = math.ceil(settings.epochs * len(x) / self.batch_size)
        guard = LossGuard(x)
        self.updates = Updates(settings, self.parameters, guard.failed)
        schedules = Schedules(settings, steps, len(x), self.batch_size, self.plan.temperature)
        traceable = getattr(self.loss.estimator, "traceable", True)
        mode = choose_mode(settings.engine, steps) if traceable else "pyro"
        distributed.seed_noise(settings.seed)
        self.runner = StepRunner(self.loss, self.minibatches, schedules, guard, self.updates, steps, mode)
        fitted = {id(parameter) for parameter in self.parameters}
        named = {name: parameter for name, parameter in pair.named_parameters() if id(parameter) in fitted}
        self.convergence = Convergence(self.runner, named, settings) if settings.until != "epochs" else None

    @property
    def mode(self) -> Mode:
        """How a step is run."""
        return self.runner.mode

    @property
    def step(self) -> int:
        """The number of steps done."""
        return self.runner.step

    @property
    def steps(self) -> int:
        """The number of steps of the whole fit: of all epochs, or of those until it has converged."""
        return self.runner.steps

    @property
    def lr(self) -> float:
        """The learning rate of the last step."""
        return self.runner.lr

    @property
    def epoch(self) -> int:
        """The number of whole epochs done."""
        return min(self.step * self.batch_size // len(self.x), self.settings.epochs)

    @property
    def steps_left_of_epoch(self) -> int:
        """The number of steps until the present epoch is whole."""
        return min(self._end_of(self.epoch + 1), self.steps) - self.step

    def _end_of(self, epoch: int) -> int:
        """Return the step at which an epoch ends."""
        return math.ceil(epoch * len(self.x) / self.batch_size)

    @property
    def is_bound(self) -> bool:
        """Whether -loss is, in expectation, a lower bound on the log evidence of the model."""
        return self.plan.is_bound(self.loss.estimator, self.beta)

    @property
    def beta(self) -> float:
        """The weight of the KL at the last step."""
        return self.loss.beta

    def train_step(self) -> Tensor:
        """Run one minibatch and one update; return the loss in nats per data point, a scalar on the device.

        :raises InferenceError: if a loss is not finite; the weights are then those before that step
        """
        return self.train_steps(1)[0]

    def train_steps(self, most: int) -> Tensor:
        """Run as many steps as one call takes, at most `most`: several where a small model is compiled, else one.

        :return: (steps,) their losses in nats per data point
        :raises InferenceError: if a loss is not finite; the weights are then those before that step
        """
        with using_products(self.products):
            if self.convergence is None:
                return self.runner.run(most)
            losses = self.runner.run(self.convergence.most(most))
        self.convergence.record()
        self._end_if_converged()
        if self.step == self.steps:
            self.convergence.average()
        return losses

    def _end_if_converged(self) -> None:
        """End a fit that has converged, once its epoch is whole."""
        if self.convergence is not None and self.convergence.is_over and self.step == self._end_of(self.epoch):
            self.runner.steps = self.step

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        self.pair.train()
        while self.step < self.steps:
            loss = self.train_step()
            yield self.step, loss

    def run(self, steps: int | None = None) -> Tensor:
        """Run a number of steps, or all that remain; return their losses in nats per data point, (steps,)."""
        self.pair.train()
        end = self.steps if steps is None else self.step + steps
        losses = []
        while self.step < (end if self.convergence is None else min(end, self.steps)):
            losses.append(self.train_steps(end - self.step))
        return torch.cat(losses) if losses else self.x.new_zeros(0)

    def state(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Return (tensors, {"step": number}), from which a fit continues; every process has to call this.

        :raises InferenceError: if a loss was not finite
        """
        self.runner.check()
        tensors = fit_state(self.pair, self.updates)
        if self.convergence is not None:
            tensors |= {f"until.{name}": value.clone() for name, value in self.convergence.state().items()}
        return tensors, {"step": self.step}

    def set_state(self, tensors: dict[str, Tensor], about: dict[str, int]) -> None:
        """Restore what `state` returned.

        :raises InferenceError: if it is of another number of processes or another version; nothing is changed then
        """
        restore_fit_state(self.pair, self.updates, tensors, begun=about["step"] > 0)
        if self.convergence is not None:
            of_until = {name[6:]: value for name, value in tensors.items() if name.startswith("until.")}
            self.convergence.set_state(of_until)
        self.runner.restart(about["step"])
        self._end_if_converged()


def svi(
    pair: Pair,
    x: Tensor,
    given: Tensor | None = None,
    settings: Settings = DEFAULTS,
    transform: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Fit a pair by stochastic variational inference. To act between steps, iterate over `SVI` instead.

    Hoffman, Blei, Wang and Paisley, Stochastic variational inference, 2013.

    >>> import torch
    >>> from inference import Settings, svi
    >>> from inference.examples import LinearGaussian
    >>> svi(LinearGaussian(), torch.zeros(4, 1), settings=Settings(epochs=2, batch_size=2)).shape
    torch.Size([4])

    :param pair: the model and guide, on the device and in the precision of the data
    :param x: (n, ...) all the data
    :param given: (n, ...) labels or covariates, for a conditional model
    :param settings: `Settings` of the fit
    :param transform: applied to every minibatch of x, such as torch.bernoulli, which binarises it anew
    :return: (steps,) the loss of every step in nats per data point
    :raises InferenceError: if pair, data and settings do not go together, or a loss is not finite
    """
    return SVI(pair, x, given, settings, transform).run()
