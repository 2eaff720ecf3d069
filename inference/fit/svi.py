"""Stochastic variational inference: minibatches, one objective, one optimiser, step after step.

minibatches.py  the stream of rows, and its stratification
schedules.py    learning rate, weight of the KL and temperature
plan.py         checks before the first step
loss.py         loss and gradient of a minibatch
step.py         how a step is run: by Pyro, as a graph, or compiled
library.py      compiled graphs, kept on disk
whole_step.py   gradient and update in one compiled call, for small models
updates.py      the optimiser
guard.py        losses that are not finite
distributed.py  averages over processes
state.py        the state, from which a fit continues to the same bits

    Hoffman, Blei, Wang and Paisley, Stochastic variational inference, 2013.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, TypeVar

import torch
from torch import Tensor

from inference.fit import distributed
from inference.fit.checkpoint import random_state, set_random_state
from inference.fit.guard import LossGuard, invalid_parameter, not_finite
from inference.fit.loss import MinibatchLoss, unchanged
from inference.fit.minibatches import Minibatches
from inference.fit.plan import plan_fit
from inference.fit.schedules import Schedules
from inference.fit.settings import DEFAULTS, Settings
from inference.fit.state import fit_state, restore_fit_state
from inference.fit.step import choose_mode, prepare_step
from inference.fit.updates import Updates
from inference.fit.whole_step import adam_rates
from inference.pairs.pair import Pair
from inference.products import choose_products, using_products

__all__ = ["SVI", "svi"]

T = TypeVar("T")

SEVERAL_DRAWS = ("iwae", "dreg", "renyi", "wake-sleep")
"""Objectives of K draws, whose logarithm of a mean the weight of the KL is inside."""


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
    :param transform: applied to every minibatch of x, such as torch.bernoulli for dynamic binarisation
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
        self.products = choose_products(settings.products, x.device, settings.dtype)
        self.plan = plan_fit(pair, x, given, settings, self.transform, only)
        self.parameters = self.plan.parameters
        self.minibatches = Minibatches(x, settings, self.plan.labelled)
        self.batch_size, self.rows = self.minibatches.batch_size, self.minibatches.rows
        self.loss = MinibatchLoss(pair, x, given, settings, self.transform, self.plan, self.minibatches.weights)
        self.steps, self.step = math.ceil(settings.epochs * len(x) / self.batch_size), 0
        self.mode = choose_mode(settings.engine, self.steps)
        self.guard = LossGuard(x)
        self.updates = Updates(settings, self.parameters, self.guard.failed)
        self.schedules = Schedules(settings, self.steps, len(x), self.batch_size, self.plan.temperature)
        self.step_function: Callable[..., tuple[Tensor, ...]] | None = None  # from the first step on
        self.whole_step: Callable[..., Tensor] | None = None  # with its update, where a small model is compiled
        distributed.seed_noise(settings.seed)
        self._set_schedules()

    @property
    def epoch(self) -> int:
        """The number of whole epochs done."""
        return min(self.step * self.batch_size // len(self.x), self.settings.epochs)

    @property
    def steps_left_of_epoch(self) -> int:
        """The number of steps until the present epoch is whole."""
        return min(math.ceil((self.epoch + 1) * len(self.x) / self.batch_size), self.steps) - self.step

    @property
    def is_bound(self) -> bool:
        """Whether -loss is, in expectation, a lower bound on the log evidence of the model.

        No site is relaxed, and the KL has weight 1, or more: E log p(x | z) - beta KL is at most the ELBO, for a KL is
        not negative. That holds for guides with a density, and not inside the logarithm of a mean of K draws: with
        w = p(x | z) (p(z) / q(z | x))^beta the mean of w may be larger than p(x).
        """
        is_elbo = self.settings.objective.partition(":")[0] not in SEVERAL_DRAWS and not self.plan.has_delta
        return (self.beta == 1.0 or (self.beta > 1.0 and is_elbo)) and not self.plan.is_relaxed

    @property
    def beta(self) -> float:
        """The weight of the KL at the last step."""
        return self.loss.beta

    def _set_schedules(self) -> None:
        """Set `lr`, `beta` and the temperature of the pair to those of this step."""
        self.lr, self.loss.beta = self.schedules.lr(self.step), self.schedules.beta(self.step)
        self.schedules.set_temperature(self.pair, self.step)

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
            self._set_schedules()
            step = self.prepare()
            if self.whole_step is None:
                return self._train_step(step).reshape(1)
            return self._train_steps(self.whole_step, min(most, self.guard.room))

    def prepare(self) -> Callable[..., tuple[Tensor, ...]]:
        """Trace and compile the step as the mode has it, once; return it, a function like `MinibatchLoss.gradients`.

        :raises InferenceError: if it cannot be run
        """
        if self.step_function is None:
            noise = random_state()
            args = self.loss.step_arguments(self.rows(self.step), self.guard.failed)
            run = partial(prepare_step, self.pair, self.loss.gradients, self.mode, args, self.updates)
            self.step_function, self.whole_step = self._failing_at(noise, run)
            set_random_state(noise)  # a transform may have drawn
        return self.step_function

    def _failing_at(self, noise: dict[str, Tensor], run: Callable[[], T]) -> T:
        """Run a step; an error that a distribution raises at it becomes that of a loss that is not finite."""
        try:
            return run()
        except ValueError as error:  # of a distribution, mostly because its parameters are not finite
            self.guard.record(noise, self.x.new_tensor(math.nan))
            self.check(error)
            raise

    def _train_steps(self, whole_step: Callable[..., Tensor], n: int) -> Tensor:
        """Run n whole steps; return their losses, (n,)."""
        numbers = range(self.step, self.step + n)
        lrs, betas = ([of(i) for i in numbers] for of in (self.schedules.lr, self.schedules.beta))
        rates = adam_rates(self.step, lrs, self.updates.betas, self.settings.dtype)
        arguments = self.loss.many_arguments(self.minibatches.many_rows(self.step, n), betas, self.guard.failed)
        losses: list[Tensor] = []
        try:
            for i, self.lr in enumerate(lrs):
                self.schedules.set_temperature(self.pair, self.step + i)
                noise = random_state()  # before a transform draws
                losses.append(whole_step(rates[i], *next(arguments)))
                self.guard.record(noise, losses[-1])
        finally:  # an interrupt, or an error of the transform, leaves the steps that were made
            self.step += len(losses)
            self.updates.count(len(losses))
        if self.guard.is_due or self.step == self.steps:
            self.check()
        return torch.stack(losses)

    def _train_step(self, step: Callable[..., tuple[Tensor, ...]]) -> Tensor:
        rows, noise = self.rows(self.step), random_state()
        args = self.loss.step_arguments(rows, self.guard.failed)
        with torch.no_grad():
            failed, loss, *gradients = self._failing_at(noise, partial(step, *args))
        failed, loss, *gradients = distributed.mean([failed, loss, *gradients])
        loss = loss.clone()  # a replayed graph writes to the same memory
        self.guard.record(noise, loss, failed)
        self.updates.apply(gradients, self.lr)
        self.step += 1
        if step == self.loss.gradients or self.guard.is_due or self.step == self.steps:
            self.check()
        return loss

    def check(self, error: ValueError | None = None) -> None:
        """Check that all losses were finite; `error` was raised by the last step, which counts as not finite.

        :raises InferenceError: if one was not; it names the step, and the first site or parameter that is not finite
        """
        if (failure := self.guard.first_failure(self.step)) is None:
            return
        self.step, noise = failure
        set_random_state(noise)
        self._set_schedules()
        try:
            name = self.loss.first_not_finite(self.rows(self.step))
        except ValueError as invalid:  # of a distribution: model or guide cannot be run with these weights
            name = invalid_parameter(invalid)
        if error is not None and name == "the gradient":  # all is finite: the error has another cause
            raise error
        raise not_finite(name, self.step, self.epoch) from error

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
        while self.step < end:
            losses.append(self.train_steps(end - self.step))
        return torch.cat(losses) if losses else self.x.new_zeros(0)

    def state(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Return (tensors, {"step": number}), from which a fit continues; every process has to call this.

        :raises InferenceError: if a loss was not finite
        """
        self.check()
        return fit_state(self.pair, self.updates), {"step": self.step}

    def set_state(self, tensors: dict[str, Tensor], about: dict[str, int]) -> None:
        """Restore what `state` returned.

        :raises InferenceError: if it is of another number of processes or another version; nothing is changed then
        """
        restore_fit_state(self.pair, self.updates, tensors, begun=about["step"] > 0)
        self.step = about["step"]
        self.guard.reset(self.step)
        self.step_function = self.whole_step = None  # they may hold the optimiser's tensors
        self._set_schedules()


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
    :param transform: applied to every minibatch of x, such as torch.bernoulli for dynamic binarisation
    :return: (steps,) the loss of every step in nats per data point
    :raises InferenceError: if pair, data and settings do not go together, or a loss is not finite
    """
    return SVI(pair, x, given, settings, transform).run()
