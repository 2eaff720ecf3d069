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
from inference.fit.guard import LossGuard, impossible_value, invalid_parameter, not_finite
from inference.fit.loss import MinibatchLoss
from inference.fit.minibatches import Minibatches
from inference.fit.schedules import Schedules
from inference.fit.step import Mode, prepare_step
from inference.fit.updates import Updates
from inference.fit.whole_step import MOST_STEPS, WholeSteps, adam_rates
from inference.pairs.run import same_buffers

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
        self._prepared: tuple[Step, WholeSteps | None] | None = None
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

    def prepare(self) -> tuple[Step, WholeSteps | None]:
        """Trace and compile the step as the mode has it, once.

        :return: a function like `MinibatchLoss.gradients`; and, where a small model is compiled, its steps with their
            updates
        :raises InferenceError: if it cannot be run
        """
        if self._prepared is None:
            noise = random_state()
            rows = self.minibatches.rows(self.step)
            args = self.loss.step_arguments(rows, self.guard.failed)
            most = min(MOST_STEPS, self.loss.most_together(len(rows)))
            if self.schedules.temperature(0) is not None:  # a buffer, which each step sets
                most = 1
            how = self.mode, args, self.updates, self.seconds, most
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
        if self.guard.is_due:  # an interrupt came before the check
            self.check()
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
        if self.step % 100 == 0:
            self.updates.drop_subnormal()
        if self.guard.is_due or self.step == self.steps:
            self.check()

    def _several(self, whole: WholeSteps, n: int) -> Tensor:
        numbers = range(self.step, self.step + n)
        lrs, betas = ([of(i) for i in numbers] for of in (self.schedules.lr, self.schedules.beta))
        rates = adam_rates(self.step, lrs, self.updates.betas, self.loss.settings.dtype)
        rows = self.minibatches.many_rows(self.step, n)
        losses: list[Tensor] = []
        for first in range(0, n, whole.most):
            now = slice(first, first + whole.most)
            self.lr = lrs[now][-1]
            self.schedules.set_temperature(self.loss.pair, self.step)
            noise = random_state()  # before a transform draws
            args = rates[now], self.guard.failed, *self.loss.many_arguments(rows[now], betas[now])
            losses.append(self._call(whole, noise, args))
            if self.guard.failed:
                break
        if self.guard.is_due or self.step == self.steps or self.guard.failed:
            self.check()
        return torch.cat(losses)

    def _call(self, whole: WholeSteps, noise: dict[str, Tensor], args: tuple[Tensor, ...]) -> Tensor:
        """Make the steps of one call; return their losses.

        :param noise: the state of the random generators before them
        :param args: rates, failed and what the gradients take, as `WholeSteps.run` has them
        """
        done, losses = torch.zeros((), dtype=torch.int64), whole.state[0].new_empty(whole.most)
        before = [tensor.clone() for tensor in (args[1], *whole.state)] if len(args[0]) > 1 else []
        try:
            whole.run(done, losses, *args)
        finally:  # an interrupt comes when the call has ended
            rest = losses = losses[: int(done)]
            self.step += len(losses)
            self.updates.count(len(losses))
            good = [*losses.isfinite().tolist(), False].index(False) if before and self.guard.failed else 0
            if 0 < good < len(losses):
                self.guard.record(noise, losses[:good])
                noise, rest = _noise_after(good, whole, before, noise, args), losses[good:]
            self.guard.record(noise, rest)
        return losses

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
            with same_buffers(self.loss.pair):
                name = self.loss.first_not_finite(self.minibatches.rows(step))
        except (ValueError, RuntimeError) as invalid:  # of a distribution, which cannot be run with these weights
            name = invalid_parameter(invalid)
        if error is not None and name == "the gradient":  # all is finite: the error has another cause
            if (impossible := impossible_value(error)) is not None:
                raise impossible from error
            raise error
        epoch = step * self.minibatches.batch_size // len(self.loss.x)
        raise not_finite(name, step, epoch) from error


def _noise_after(
    steps: int, whole: WholeSteps, before: list[Tensor], noise: dict[str, Tensor], args: tuple[Tensor, ...]
) -> dict[str, Tensor]:
    """Make the first steps of a call again; return the state of the random generators after them.

    :param before: whether a loss had failed, and the state of the steps, before the call
    :param noise: that of the random generators
    :param args: of the call
    """
    set_random_state(noise)
    torch._foreach_copy_(whole.state, before[1:])
    rates, _, *of_steps = args
    losses = whole.state[0].new_empty(whole.most)
    whole.run(
        torch.zeros((), dtype=torch.int64), losses, rates[:steps], before[0], *(value[:steps] for value in of_steps)
    )
    return random_state()
