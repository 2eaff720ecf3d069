"""The loss of a minibatch and its gradient: an estimator, run on a pair under the handlers of a fit."""

from collections.abc import Callable
from contextlib import ExitStack

import torch
from torch import Tensor

from inference.errors import InferenceError
from inference.fit.graph import HalfProducts
from inference.fit.objectives import objective
from inference.fit.plan import Plan
from inference.fit.settings import Settings
from inference.pairs.checks import first_not_finite
from inference.pairs.handlers import ScaleKL, SetRows, WeightRows
from inference.pairs.pair import Pair
from inference.pairs.run import clear_caches, param_scope, repeat
from inference.products import has_bfloat16

__all__ = ["MinibatchLoss", "unchanged"]

MOST_TOGETHER = 2**22  # numbers of data of several steps that are copied together


def unchanged(batch: Tensor) -> Tensor:
    """Return the minibatch as it is."""
    return batch


class MinibatchLoss:
    """The loss on rows of the data, scaled to all the data.

    `estimator` is the objective, and `beta` the present weight of the KL.

    :param x: (n, ...) all the data
    :param given: (n, ...) labels or covariates, for a conditional model
    :param transform: applied to every minibatch of x
    :param row_weights: (b,) factors for the rows of each minibatch, of a stratified sample
    """

    def __init__(
        self,
        pair: Pair,
        x: Tensor,
        given: Tensor | None,
        settings: Settings,
        transform: Callable[[Tensor], Tensor],
        plan: Plan,
        row_weights: Tensor | None = None,
    ):
        self.pair, self.x, self.given, self.settings, self.transform = pair, x, given, settings, transform
        self.plan, self.row_weights, self.beta = plan, row_weights, settings.beta
        self.estimator = objective(settings.objective, settings.particles, plan.has_global_latent)

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Return the arguments of model and guide at these rows, (x,) or (x, given), with x transformed."""
        x = self.transform(self.x.index_select(0, rows))  # twice as fast as x[rows]
        return (x,) if self.given is None or not self.plan.is_conditional else (x, self.given.index_select(0, rows))

    def step_arguments(self, rows: Tensor, failed: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the arguments of `gradients` at these rows.

        :param rows: (b,) integers
        :param failed: scalar, 1 if a loss was not finite before; 0 if it is None
        """
        if failed is None:
            failed = self.x.new_zeros((), dtype=torch.float32)
        beta = torch.full((), self.beta, dtype=self.settings.dtype, device=self.x.device)
        return failed, rows, beta, *self.batch(rows)

    def most_together(self, rows: int) -> int:
        """Return of how many steps `many_arguments` prepares the arguments: one where a transform may draw.

        :param rows: of each step
        """
        return max(1, MOST_TOGETHER // (rows * self.x[0].numel())) if self.transform is unchanged else 1

    def many_arguments(self, rows: Tensor, betas: list[float]) -> tuple[Tensor, ...]:
        """Return the arguments of `gradients` but the first for several steps, (steps, ...) each.

        :param rows: (steps, b) integers
        :param betas: weight of the KL at each step
        """
        self.beta = betas[-1]
        weights = torch.tensor(betas, dtype=self.settings.dtype, device=self.x.device)
        return rows, weights, *(part.unflatten(0, rows.shape) for part in self.batch(rows.flatten()))

    def _differentiable(self, rows: Tensor, beta: Tensor, *args: Tensor) -> Tensor:
        clear_caches(self.pair)
        with ExitStack() as stack:
            stack.enter_context(param_scope())
            stack.enter_context(SetRows(rows))
            if self.row_weights is not None:
                stack.enter_context(WeightRows(self.row_weights))
            if self.settings.scales_kl or self.beta != 1.0:
                stack.enter_context(ScaleKL(beta, self.plan.enumerated_in_model))
            if self.settings.precision == "bfloat16" and has_bfloat16(self.x.device):
                stack.enter_context(HalfProducts())
            return self.estimator.differentiable_loss(self.pair.model, self.pair.guide, *args, total=len(self.x))

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the loss on these rows, scaled to all the data: a differentiable scalar in nats."""
        _, rows, beta, *args = self.step_arguments(rows)
        return self._differentiable(rows, beta, *args)

    def gradients(self, failed: Tensor, rows: Tensor, beta: Tensor, *args: Tensor) -> tuple[Tensor, ...]:
        """Compute loss and gradient of a step; a function of tensors alone, which can be traced and compiled.

        :param failed: scalar, 1 if a loss was not finite before
        :param rows: (b,) integers
        :param beta: scalar weight of the KL
        :param args: (x,) or (x, given), (b, ...) each
        :return: (`failed`, or 1 if this loss is not finite; the loss in nats per data point; for each of the fitted
            parameters the gradient of the loss in nats, scaled to all the data)
        """
        with torch.enable_grad():
            loss = self._differentiable(rows, beta, *args)
            gradients = self._gradients_of(loss) if self.plan.parameters else ()
        loss = loss.detach()
        return torch.maximum(failed, (~torch.isfinite(loss)).float()), loss / len(self.x), *gradients

    def _gradients_of(self, loss: Tensor) -> tuple[Tensor, ...]:
        if not loss.requires_grad:
            raise InferenceError(
                "the loss depends on no parameter that model or guide registers: there is nothing to fit.",
                "Use them in the distributions of the sites, without detach and no_grad.",
            )
        try:
            return torch.autograd.grad(loss, self.plan.parameters, allow_unused=True)
        except RuntimeError as error:
            if "modified by an inplace operation" not in str(error):
                raise
            raise InferenceError(
                "model, guide or one of their distributions changes a tensor in place that the gradient needs.",
                "Compute a new tensor instead, or choose another distribution.",
            ) from error

    def first_not_finite(self, rows: Tensor) -> str:
        """Return the name of the first site or parameter that is not finite, or "the gradient" if all are finite.

        All draws of the estimator are made again, with the present state of the random generators.
        """
        k = 1 if self.estimator.vectorize_particles else self.estimator.num_particles
        return first_not_finite(self.pair, repeat(self.batch(rows), k), rows.repeat(k))
