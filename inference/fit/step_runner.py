"""Run the steps of a fit in its mode, one a call or several, and find the step at which a loss is not finite."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from inference.fit import distributed
from inference.fit.checkpoint import random_state, set_random_state
from inference.fit.guard import LossGuard, invalid_parameter, not_finite
from inference.fit.loss import MinibatchLoss
from inference.fit.minibatches import Minibatches
from inference.fit.schedules import Schedules
from inference.fit.step import Mode, prepare_step
from inference.fit.updates import Updates
from inference.fit.whole_step import adam_rates

__all__ = ["StepRunner"]

T = TypeVar("T")
Step = Callable[..., tuple[Tensor, ...]]


class StepRunner:
    """The steps of a fit: `step` is the number of those done, `lr` the learning rate of the last.

    `seconds` has the time that "tracing" and "compiling" took, once the step is prepared.

    :param loss: loss and gradient of a minibatch
    :param minibatches: the rows of each step
    :param schedules: learning rate, weight of the KL and temperature of each step
    :param guard: the losses that were not checked yet
    :param updates: the optimiser
    :param steps: number of the steps of the whole fit
    :param mode: how a step is run; it may be changed before the first
    """

    def __init__(
        self,
        loss: MinibatchLoss,
        minibatches: Minibatches,
        schedules: Schedules,
        guard: LossGuard,
        updates: Updates,
        steps: int,
        mode: Mode,
    ):
        self.loss, self.minibatches, self.schedules = loss, minibatches, schedules
        self.guard, self.updates, self.steps, self.mode = guard, updates, steps, mode
        self._prepared: tuple[Step, Callable[..., Tensor] | None] | None = None
        self.seconds: dict[str, float] = {}
        self.set_step(0)

    def set_step(self, step: int) -> None:
        """Go on from a step: set learning rate, weight of the KL and temperature of the pair to its values."""
        self.step, self.lr = step, self.schedules.lr(step)
        self.loss.beta = self.schedules.beta(step)
        self.schedules.set_temperature(self.loss.pair, step)

    def set_rate(self, lr: float, adam_beta2: float) -> None:
        """Change the constant learning rate, and the decay of squared gradients where the optimiser has one."""
        self.schedules.settings = replace(self.schedules.settings, lr=lr)
        self.lr = lr
        if self.updates.set_beta2(adam_beta2) and self._prepared is not None and self._prepared[1] is not None:
            self._prepared = None  # the compiled step has the former

    def restart(self, step: int) -> None:
        """Go on from a step with other weights; what was compiled may hold the former tensors of the optimiser."""
        self._prepared = None
        self.guard.reset(step)
        self.set_step(step)

    def prepare(self) -> tuple[Step, Callable[..., Tensor] | None]:
        """Trace and compile the step as the mode has it, once.

        :return: a function like `MinibatchLoss.gradients`; and, where a small model is compiled, the step with its
            update, as `compile_whole_step` has it
        :raises InferenceError: if it cannot be run
        """
        if self._prepared is None:
            noise = random_state()
            args = self.loss.step_arguments(self.minibatches.rows(self.step), self.guard.failed)
            how = self.mode, args, self.updates, self.seconds
            run = partial(prepare_step, self.loss.pair, self.loss.gradients, *how)
            self._prepared = self._failing_at(noise, run)
            set_random_state(noise)  # a transform may have drawn
        return self._prepared

    def run(self, most: int) -> Tensor:
        """Run as many steps as one call takes, at most `most`: several where a small model is compiled, else one.

        :return: (number of steps,) their losses in nats per data point
        :raises InferenceError: if a loss is not finite; the weights are then those before that step
        """
        step, whole_step = self.prepare()
        if whole_step is None:
            return self._one(step).reshape(1)
        return self._several(whole_step, min(most, self.guard.room))

    def _one(self, step: Step) -> Tensor:
        noise, args = self.begin_step()
        with torch.no_grad():
            failed, loss, *gradients = self._failing_at(noise, partial(step, *args))
        failed, loss, *gradients = distributed.mean([failed, loss, *gradients])
        loss = loss.clone()  # a replayed graph writes to the same memory
        self.end_step(noise, failed, loss, gradients)
        if step == self.loss.gradients:
            self.check()
        return loss

    def begin_step(self) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        """Return the state of the random generators before the next step, and the arguments of its gradients."""
        self.set_step(self.step)
        rows, noise = self.minibatches.rows(self.step), random_state()
        return noise, self.loss.step_arguments(rows, self.guard.failed)

    def end_step(self, noise: dict[str, Tensor], failed: Tensor, loss: Tensor, gradients: list[Any]) -> None:
        """Update the parameters by the gradients of a step that has begun; check the losses where that is due.

        :param noise: as `begin_step` returned it; the others are those of `MinibatchLoss.gradients`
        :raises InferenceError: if a loss is not finite; the weights are then those before that step
        """
        self.guard.record(noise, loss, failed)
        self.updates.apply(gradients, self.lr)
        self.step += 1
        if self.guard.is_due or self.step == self.steps:
            self.check()

    def _several(self, whole_step: Callable[..., Tensor], n: int) -> Tensor:
        numbers = range(self.step, self.step + n)
        lrs, betas = ([of(i) for i in numbers] for of in (self.schedules.lr, self.schedules.beta))
        rates = adam_rates(self.step, lrs, self.updates.betas, self.loss.settings.dtype)
        arguments = self.loss.many_arguments(self.minibatches.many_rows(self.step, n), betas, self.guard.failed)
        losses: list[Tensor] = []
        try:
            for i, self.lr in enumerate(lrs):
                self.schedules.set_temperature(self.loss.pair, self.step + i)
                noise = random_state()  # before a transform draws
                losses.append(whole_step(rates[i], *next(arguments)))
                self.guard.record(noise, losses[-1])
        finally:  # an interrupt, or an error of the transform, leaves the steps that were made
            self.step += len(losses)
            self.updates.count(len(losses))
        if self.guard.is_due or self.step == self.steps:
            self.check()
        return torch.stack(losses)

    def _failing_at(self, noise: dict[str, Tensor], run: Callable[[], T]) -> T:
        """Run a step; an error that a distribution raises at it becomes that of a loss that is not finite."""
        try:
            return run()
        except ValueError as error:  # of a distribution, mostly because its parameters are not finite
            self.guard.record(noise, self.loss.x.new_tensor(math.nan))
            self.check(error)
            raise

    def check(self, error: ValueError | None = None) -> None:
        """Check that all losses were finite; `error` was raised by the last step, which counts as not finite.

        :raises InferenceError: if one was not; it names the step, and the first site or parameter that is not finite
        """
        if (failure := self.guard.first_failure(self.step)) is None:
            return
        step, noise = failure
        set_random_state(noise)
        self.set_step(step)
        try:
            name = self.loss.first_not_finite(self.minibatches.rows(step))
        except ValueError as invalid:  # of a distribution: model or guide cannot be run with these weights
            name = invalid_parameter(invalid)
        if error is not None and name == "the gradient":  # all is finite: the error has another cause
            raise error
        epoch = step * self.minibatches.batch_size // len(self.loss.x)
        raise not_finite(name, step, epoch) from error
