"""Stochastic variational inference: minibatches, one objective, Adam, step after step.

    torch.manual_seed(0)
    pair = VAE(data_dim=64)
    svi = SVI(pair, x, settings=Settings(epochs=20))
    for step, loss in svi:          # trains; loss in nats per datum
        ...

An epoch has no seam: the rows of all epochs, each in an order of its own, form one stream that is cut into
minibatches of equal size, so none is smaller and no row is left out. The order of epoch e depends on (seed, e)
alone, all other noise on torch's generators; `state` and `set_state` carry everything, so that training goes on
from any step to the same bits.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from .checkpoint import random_state, set_random_state
from .checks import check_fit, first_not_finite
from .evaluate import is_per_datum
from .objectives import OBJECTIVES, objective
from .pairs import (
    InferenceError,
    Rows,
    Weigh,
    arguments,
    judging,
    look,
    own_store,
    parameters,
)

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda t: 1.0,
    "linear": lambda t: 1.0 - t,
    "cosine": lambda t: 0.5 * (1.0 + math.cos(math.pi * t)),
}


@dataclass(frozen=True)
class Settings:
    """How a pair is fitted.

    :param epochs: passes over the data
    :param batch_size: rows of a minibatch; all rows if there are fewer
    :param lr: learning rate of Adam
    :param lr_schedule: the learning rate over the run: constant, linear to 0, or cosine to 0
    :param adam_beta2: memory of Adam's squared gradients; at 0.99 a steep start is forgotten ten times faster
    :param objective: the estimator of the ELBO: trace, analytic, enum or enum_analytic
    :param particles: draws of the guide the objective averages over
    :param beta: weight of the KL in the objective; the objective is a bound only at 1
    :param warmup: epochs over which the weight of the KL rises linearly from 0 to beta
    :param shuffle: a new order of the rows in every epoch, else the order of the file
    :param seed: of the order of the rows, and of all other noise
    :param device: cpu, cuda, or auto: cuda where there is one
    :param precision: float32 or float64
    """

    epochs: int = 10
    batch_size: int = 100
    lr: float = 1e-3
    lr_schedule: Literal["constant", "linear", "cosine"] = "constant"
    adam_beta2: float = 0.999
    objective: str = "trace"
    particles: int = 1
    beta: float = 1.0
    warmup: float = 0.0
    shuffle: bool = True
    seed: int = 0
    device: str = "auto"
    precision: Literal["float32", "float64"] = "float32"

    def __post_init__(self):
        for name in ("epochs", "batch_size", "particles"):
            if getattr(self, name) < 1:
                raise InferenceError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if not 0 < self.lr < math.inf:
            raise InferenceError(f"lr must be positive and finite, not {self.lr}.")
        if not 0 < self.adam_beta2 < 1:
            raise InferenceError(f"adam_beta2 must be between 0 and 1, not {self.adam_beta2}.")
        for name in ("beta", "warmup"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InferenceError(f"{name} must be finite and not negative, it is {getattr(self, name)}.")
        if self.seed < 0:
            raise InferenceError(f"seed must not be negative, it is {self.seed}.")
        for name, known in {
            "lr_schedule": SCHEDULES,
            "objective": OBJECTIVES,
            "precision": ("float32", "float64"),
        }.items():
            if getattr(self, name) not in known:
                raise InferenceError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}.")

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.precision)

    def torch_device(self) -> torch.device:
        """:raises InferenceError: if there is no such device here"""
        name = self.device if self.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        try:
            torch.empty(0, device=name)
            return torch.device(name)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0][:100]
            raise InferenceError(f"device {name!r} cannot be used: {reason} Use --device cpu or auto.") from None


class SVI:
    """Iterating trains: yields (number of steps done, loss of this minibatch in nats per datum).

    :param pair: the model and guide, on the device and in the precision of the data
    :param x: (n, ...) all the data
    :param given: (n, ...) labels or covariates, for a model that conditions on them
    :param transform: applied to every minibatch of x, such as torch.bernoulli for dynamic binarisation
    :param only: "model" or "guide": train the parameters of one and leave the other's as they are
    :raises InferenceError: if pair and data do not go together; while training, if the loss is not finite
    """

    def __init__(
        self,
        pair: nn.Module,
        x: Tensor,
        given: Tensor | None = None,
        settings: Settings = Settings(),
        transform: Callable[[Tensor], Tensor] | None = None,
        only: Literal["model", "guide"] | None = None,
    ):
        self.pair, self.x, self.given, self.settings = pair, x, given, settings
        self.transform = transform or (lambda batch: batch)
        with torch.random.fork_rng():
            check_fit(pair, self.transform(x), given)
            few = arguments(pair, self.transform(x[:2]), None if given is None else given[:2])
        with judging(pair):
            exact = look(pair, few).enumerated
        pair.train()
        seen = look(pair, few)
        generative, inference = parameters(seen)
        if only == "model":
            inference = {}
        elif only == "guide":
            generative = {}
        by_guide, by_model = seen.enumerated
        self.relaxed = seen.enumerated != exact  # what is summed out in evaluation is drawn in training
        self.summed_by_model = frozenset(by_model)
        summed, sums = ", ".join(sorted(by_guide | by_model)), settings.objective in ("enum", "enum_analytic")
        if sums and not summed:
            raise InferenceError(f"{type(pair).__name__} has no discrete latent to enumerate: --objective trace.")
        if summed and not sums:
            raise InferenceError(f"{type(pair).__name__} sums out {summed}: use --objective enum.")
        self.per_datum = is_per_datum(pair, few)
        self.parameters = list({id(p): p for p in [*generative.values(), *inference.values()]}.values())
        self.objective = objective(settings.objective, settings.particles, seen.joint and settings.particles > 1)
        betas = (0.9, settings.adam_beta2)
        self.optimiser = torch.optim.Adam(self.parameters, settings.lr, betas, fused=True) if self.parameters else None
        self.batch_size = min(settings.batch_size, len(x))
        self.steps = math.ceil(settings.epochs * len(x) / self.batch_size)
        self.step = 0
        self._orders: dict[int, Tensor] = {}
        self._schedules()

    @property
    def epoch(self) -> int:
        """Number of whole epochs done."""
        return min(self.step * self.batch_size // len(self.x), self.settings.epochs)

    @property
    def is_bound(self) -> bool:
        """Is -loss a bound on the evidence of the model: with the whole of its KL, and with no site relaxed?"""
        return self.beta == 1.0 and not self.relaxed

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            generator = torch.Generator()
            generator.manual_seed(int(np.random.SeedSequence([self.settings.seed, epoch]).generate_state(1)[0]))
            n = len(self.x)
            order = torch.randperm(n, generator=generator) if self.settings.shuffle else torch.arange(n)
            self._orders = {e: o for e, o in self._orders.items() if e == epoch - 1}
            self._orders[epoch] = order.to(self.x.device)
        return self._orders[epoch]

    def rows(self, step: int) -> Tensor:
        """The rows of minibatch number `step`, from 0: (batch_size,)."""
        (first, i), (last, j) = (divmod(p, len(self.x)) for p in (step * self.batch_size, (step + 1) * self.batch_size))
        if first == last:
            return self._order(first)[i:j]
        return torch.cat([self._order(first)[i:], self._order(last)[:j]]) if j else self._order(first)[i:]

    def loss(self, rows: Tensor) -> Tensor:
        """The objective on these rows, scaled to all the data: a differentiable scalar in nats."""
        given = None if self.given is None else self.given[rows]
        args = arguments(self.pair, self.transform(self.x[rows]), given)
        with ExitStack() as stack:
            stack.enter_context(own_store())
            stack.enter_context(Rows(rows))
            if self.beta != 1.0:
                stack.enter_context(Weigh(self.x.new_tensor(self.beta), self.summed_by_model))
            return self.objective.differentiable_loss(self.pair.model, self.pair.guide, *args, total=len(self.x))

    def _schedules(self) -> None:
        """Sets `lr` and `beta` to what they are at this step."""
        self.lr = self.settings.lr * SCHEDULES[self.settings.lr_schedule](self.step / self.steps)
        warm = self.settings.warmup * len(self.x) / self.batch_size
        self.beta = self.settings.beta * min(1.0, (self.step + 1) / warm if warm else 1.0)

    def train_step(self) -> Tensor:
        """One minibatch, one update; the loss in nats per datum, on the device."""
        self._schedules()
        rows = self.rows(self.step)
        before = random_state()
        try:
            loss = self.loss(rows)
        except ValueError as error:  # a distribution that refuses its parameters, mostly because they are not finite
            self._stop(rows, before, error)
        if not torch.isfinite(loss):
            self._stop(rows, before)
        if self.optimiser is not None:
            gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = gradient
            for group in self.optimiser.param_groups:
                group["lr"] = self.lr
            self.optimiser.step()
            self.optimiser.zero_grad()
        self.step += 1
        return loss.detach() / len(self.x)

    def _stop(self, rows: Tensor, noise: dict[str, Tensor], error: ValueError | None = None) -> None:
        set_random_state(noise)
        given = None if self.given is None else self.given[rows]
        args = arguments(self.pair, self.transform(self.x[rows]), given)
        name = first_not_finite(self.pair, args, rows, len(self.x))
        if error is not None and name == "the gradient":  # all is finite: the refusal has another reason
            raise error
        raise InferenceError(
            f"the loss is not finite at step {self.step} (epoch {self.epoch + 1}): {name} is the first that is not. "
            "Try a smaller --lr."
        ) from error

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        self.pair.train()
        while self.step < self.steps:
            loss = self.train_step()
            yield self.step, loss

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """(tensors, words): weights, optimiser and random generators; the position."""
        tensors = {f"weights.{name}": value for name, value in self.pair.state_dict().items()} | random_state()
        if self.optimiser is not None:
            for i, entries in self.optimiser.state_dict()["state"].items():
                tensors |= {f"adam.{i}.{name}": value for name, value in entries.items()}
        return {name: value.clone() for name, value in tensors.items()}, {"step": self.step}

    def set_state(self, tensors: dict[str, Tensor], about: dict) -> None:
        """Goes back to what `state` gave."""
        self.pair.load_state_dict({k.removeprefix("weights."): v for k, v in tensors.items() if k[:8] == "weights."})
        if self.optimiser is not None:
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith("adam."):
                    _, i, name = key.split(".")
                    state.setdefault(int(i), {})[name] = value
            self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        set_random_state(tensors)
        self.step = about["step"]
