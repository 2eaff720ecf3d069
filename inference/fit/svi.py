"""Stochastic variational inference: minibatches, one objective, one optimiser, step after step.

    torch.manual_seed(0)
    pair = VAE(data_dim=64)
    svi = SVI(pair, x, settings=Settings(epochs=20))
    for step, loss in svi:          # trains; loss in nats per data point
        ...

An epoch has no seam: the rows of all epochs, each in an order of its own, form one stream that is cut into
minibatches of equal size, so none is smaller and no row is left out. The order of epoch e depends on (seed, e)
alone, all other noise on torch's generators; `state` and `set_state` carry everything, so that training goes on
from any step to the same bits.

Where few rows are labelled, most minibatches would hold no label, and what one teaches would be forgotten before the
next. Labelled and other rows then make two streams, every minibatch takes a tenth of its rows from the first, and
each row counts for as many as it stands for: a stratified sample, whose loss has the same mean and less variance.
"""

import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from inference.errors import InferenceError
from inference.fit import distributed
from inference.fit.checkpoint import random_state, set_random_state
from inference.fit.graph import HalfProducts, UntraceableError, fused, traced
from inference.fit.objectives import check_objective, objective
from inference.fit.settings import DEFAULTS, OPTIMISERS, SCHEDULES, Settings
from inference.pairs import capabilities
from inference.pairs.checks import check_fit, first_not_finite
from inference.pairs.handlers import ScaleKL, SetRows, WeightRows
from inference.pairs.info import inspect_pair
from inference.pairs.run import Batch, arguments, cuda_devices, eval_mode, param_scope, repeat, same_buffers

FUSED_SKIP_OPTIMISERS = (
    "Adam",
    "AdamW",
    "SGD",
)  # with a kernel that leaves the weights alone where a flag on the device says so
TRACE_STEPS = 200  # below, tracing the step takes longer than it saves
COMPILE_STEPS = 3000  # below, compiling it does
CHECK_STEPS = 100  # between readings of the losses: are they finite?
LABELLED = 0.1  # the least share of a minibatch that is labelled, where some rows are


def _mode(wanted: bool | None, steps: int) -> Literal["eager", "graph", "compiled"]:
    """How steps are run: by Pyro, as the graph of one traced step, or by that graph compiled."""
    if wanted is not None:
        return "compiled" if wanted else "eager"
    return "compiled" if steps >= COMPILE_STEPS else "graph" if steps >= TRACE_STEPS else "eager"


def _optimiser(settings: Settings, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    kind, keywords = OPTIMISERS[settings.optimiser], {}
    if "betas" in inspect.signature(kind).parameters:
        keywords["betas"] = (0.9, settings.adam_beta2)
    if settings.optimiser in FUSED_SKIP_OPTIMISERS:
        keywords["fused"] = True
    try:
        return kind(parameters, lr=settings.lr, **keywords)
    except ValueError as error:
        raise InferenceError(
            f"optimiser {settings.optimiser} cannot fit this pair: {str(error).rstrip('.')}. Try Adam."
        ) from None


class SVI:
    """Iterating trains: yields (number of steps done, loss of this minibatch in nats per data point).

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
        settings: Settings = DEFAULTS,
        transform: Callable[[Tensor], Tensor] | None = None,
        only: Literal["model", "guide"] | None = None,
    ):
        self.pair, self.x, self.given, self.settings = pair, x, given, settings
        self.transform = transform or (lambda batch: batch)
        with torch.random.fork_rng(cuda_devices(pair)):
            check_fit(pair, self.transform(x), given)
            two = Batch(x, given)[:2]
            few = arguments(pair, self.transform(two.x), two.given)
        self._conditional = len(few) > 1
        with eval_mode(pair):
            exact = inspect_pair(pair, few).enumerated
        pair.train()
        seen = inspect_pair(pair, few)
        generative, inference = seen.generative_parameters, seen.inference_parameters
        if only == "model":
            inference = {}
        elif only == "guide":
            generative = {}
        by_model = seen.enumerated_in_model
        self.relaxed = seen.enumerated != exact  # what is summed out in evaluation is drawn in training
        self.summed_by_model = frozenset(by_model)
        summed, sums = ", ".join(sorted(seen.enumerated)), settings.objective in ("enum", "enum_analytic")
        if sums and not summed:
            raise InferenceError(f"{type(pair).__name__} has no discrete latent to enumerate: --objective trace.")
        if summed and not sums:
            raise InferenceError(f"{type(pair).__name__} sums out {summed}: use --objective enum.")
        check_objective(settings.objective, seen)
        self.weighs = settings.beta != 1.0 or settings.warmup > 0
        if self.weighs and (below := seen.children_of_enumerated):
            raise InferenceError(
                f"the prior of {', '.join(sorted(below))} depends on {', '.join(sorted(by_model))}, which the model "
                "sums out, so there is no KL to weigh: leave out --beta and --warmup."
            )
        self.per_datum = seen.is_per_data_point
        self.parameters = list({id(p): p for p in [*generative.values(), *inference.values()]}.values())
        self.objective = objective(settings.objective, settings.particles, seen.has_global_latent)
        self.workers, self.rank = distributed.workers(), distributed.rank()
        if len(x) < self.workers:
            raise InferenceError(f"{self.workers} processes cannot share {len(x)} rows: start fewer.")
        self._share = min(settings.batch_size, len(x) // self.workers)  # rows of a minibatch for this process
        self.batch_size = self._share * self.workers
        self.steps = math.ceil(settings.epochs * len(x) / self.batch_size)
        self.step = 0
        self.mode = _mode(settings.compile, self.steps)
        self.optimiser = _optimiser(settings, self.parameters) if self.parameters else None
        self._lost = x.new_zeros((), dtype=torch.float32)  # 1 from the first loss that is not finite
        self._guarded = settings.optimiser in FUSED_SKIP_OPTIMISERS
        if self.optimiser is not None and self._guarded:
            self.optimiser.found_inf, self.optimiser.grad_scale = self._lost, None  # no updates from then on
        self._recent: list[tuple[dict[str, Tensor], Tensor]] = []  # (noise before, loss) of every step
        self._checked = 0  # since the one of this number
        self.strata = self._strata()
        shares = [x.new_full((count,), len(rows) / len(x) * self._share / count) for rows, count in self.strata]
        self._shares = torch.cat(shares) if len(shares) > 1 else None
        self._orders: dict[tuple[int, int], Tensor] = {}
        self._step: Callable[..., tuple[Tensor, ...]] | None = None
        if self.workers > 1:  # noise of its own for every process
            words = np.random.SeedSequence([settings.seed, self.rank]).generate_state(1)
            torch.manual_seed(int(words[0]))
        self._first_temperature = None
        if settings.final_temperature is not None:
            temperature = capabilities.capability(pair, "temperature")
            if temperature is None:
                raise InferenceError(f"{type(pair).__name__} has no temperature: leave out --final-temperature.")
            self._first_temperature = temperature.item()
        self._schedules()

    @property
    def epoch(self) -> int:
        """Number of whole epochs done."""
        return min(self.step * self.batch_size // len(self.x), self.settings.epochs)

    @property
    def is_bound(self) -> bool:
        """Is -loss a bound on the evidence of the model: with the whole of its KL, and with no site relaxed?"""
        return self.beta == 1.0 and not self.relaxed

    def _strata(self) -> list[tuple[Tensor, int]]:
        """(rows, how many this process takes of them for a minibatch): all alike, unless few are labelled."""
        n, device = len(self.x), self.x.device
        missing = capabilities.count(self.pair, "missing")
        if self._conditional and missing is not None:
            known = self.given != missing
            count, few = int(known.sum()), math.ceil(LABELLED * self._share)
            if 0 < count < LABELLED * n and few < self._share and not self.summed_by_model:  # Pyro's sum has one scale
                return [(known.nonzero().squeeze(1), few), ((~known).nonzero().squeeze(1), self._share - few)]
        return [(torch.arange(n, device=device), self._share)]

    def _order(self, stratum: int, epoch: int) -> Tensor:
        if (stratum, epoch) not in self._orders:
            rows, _ = self.strata[stratum]
            generator = torch.Generator()
            words = np.random.SeedSequence([self.settings.seed, stratum, epoch]).generate_state(1)
            generator.manual_seed(int(words[0]))
            order = torch.randperm(len(rows), generator=generator).to(rows.device)
            self._orders = {(s, e): o for (s, e), o in self._orders.items() if s != stratum or e == epoch - 1}
            self._orders[stratum, epoch] = rows[order] if self.settings.shuffle else rows
        return self._orders[stratum, epoch]

    def rows(self, step: int) -> Tensor:
        """The rows of minibatch number `step`, from 0, that are this process's: (batch_size / workers,)."""
        parts = []
        for stratum, (rows, count) in enumerate(self.strata):
            start = (step * self.workers + self.rank) * count
            stop = start + count
            while start < stop:
                epoch, i = divmod(start, len(rows))
                part = self._order(stratum, epoch)[i : i + stop - start]
                parts.append(part)
                start += len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _arguments(self, rows: Tensor) -> tuple[Tensor, ...]:
        x = self.transform(self.x.index_select(0, rows))  # half the time of x[rows]
        return (x, self.given.index_select(0, rows)) if self._conditional else (x,)

    def _objective(self, rows: Tensor, beta: Tensor, *args: Tensor) -> Tensor:
        with ExitStack() as stack:
            stack.enter_context(param_scope())
            stack.enter_context(SetRows(rows))
            if self._shares is not None:
                stack.enter_context(WeightRows(self._shares))
            if self.weighs or self.beta != 1.0:
                stack.enter_context(ScaleKL(beta, self.summed_by_model))
            if self.settings.precision == "bfloat16":
                stack.enter_context(HalfProducts())
            return self.objective.differentiable_loss(self.pair.model, self.pair.guide, *args, total=len(self.x))

    def loss(self, rows: Tensor) -> Tensor:
        """The objective on these rows, scaled to all the data: a differentiable scalar in nats."""
        return self._objective(rows, self._beta(), *self._arguments(rows))

    def _beta(self) -> Tensor:
        return torch.full((), self.beta, dtype=self.settings.dtype, device=self.x.device)

    def gradients(self, lost: Tensor, rows: Tensor, beta: Tensor, *args: Tensor) -> tuple[Tensor, ...]:
        """What is traced and compiled: (`lost`, or 1 if the loss is not finite; the loss on these rows in nats per
        datum; the gradient, of the loss in nats, for every one of `parameters`)."""
        with torch.enable_grad():
            loss = self._objective(rows, beta, *args)
            gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True) if self.parameters else ()
        loss = loss.detach()
        return torch.maximum(lost, (~torch.isfinite(loss)).float()), loss / len(self.x), *gradients

    def _begin(self, *args: Tensor) -> None:
        """Decides how steps are run; before it traces, the step is run once with all of Pyro's checks."""
        self._step = self.gradients
        if self.mode == "eager":
            return
        try:
            with same_buffers(self.pair):
                with torch.random.fork_rng(cuda_devices(self.pair)):
                    self.gradients(*args)
                graph = traced(self.gradients, args)
        except UntraceableError as error:
            name = type(self.pair).__name__
            warnings.warn(f"{name} cannot be traced {error}: every step is run by Pyro, slower.", stacklevel=3)
            return
        self._step = fused(graph, args) if self.mode == "compiled" else graph

    def _schedules(self) -> None:
        """Sets `lr`, `beta` and the temperature of the pair to what they are at this step."""
        self.lr = self.settings.lr * SCHEDULES[self.settings.lr_schedule](self.step / self.steps)
        warm = self.settings.warmup * len(self.x) / self.batch_size
        self.beta = self.settings.beta * min(1.0, (self.step + 1) / warm if warm else 1.0)
        if self._first_temperature is not None:
            ratio = self.settings.final_temperature / self._first_temperature
            self.pair.temperature.fill_(self._first_temperature * ratio ** (self.step / self.steps))

    def train_step(self) -> Tensor:
        """One minibatch, one update; the loss in nats per data point, on the device.

        Nothing is read from the device but once in CHECK_STEPS steps, unless Pyro runs them or the optimiser cannot be
        stopped there. A loss that is not finite stops all updates, so the weights are still those before it when it is
        found.
        """
        self._schedules()
        rows, noise = self.rows(self.step), random_state()
        args = self._lost, rows, self._beta(), *self._arguments(rows)
        try:
            if self._step is None:
                self._begin(*args)
            with torch.no_grad():
                lost, loss, *gradients = self._step(*args)
        except ValueError as error:  # a distribution that refuses its parameters, mostly because they are not finite
            self._recent.append((noise, self.x.new_tensor(math.nan)))
            self.check(error)
            raise
        lost, loss, *gradients = distributed.mean([lost, loss, *gradients])
        loss = loss.clone()  # a replayed graph writes where it was
        self._recent.append((noise, loss))
        self._lost.copy_(lost.ceil())
        if self.optimiser is not None:
            for parameter in reversed(self.parameters):
                parameter.grad = gradients.pop()
            for group in self.optimiser.param_groups:
                group["lr"] = self.lr
            if self._guarded or not self._lost.item():
                self.optimiser.step()
            for parameter in self.parameters:
                parameter.grad = None  # the memory is free for the next step
        self.step += 1
        if self._step == self.gradients or len(self._recent) == CHECK_STEPS or self.step == self.steps:
            self.check()
        return loss

    def check(self, error: ValueError | None = None) -> None:
        """Were all losses finite so far?

        :raises InferenceError: if not; it names the step, and what is the first not to be finite when it is run again
        """
        finite = torch.isfinite(torch.stack([loss for _, loss in self._recent] or [self._lost]))
        if finite.all():
            self._recent.clear()
            self._checked = self.step
            return
        bad = finite.tolist().index(False)
        self.step = self._checked + bad
        set_random_state(self._recent[bad][0])
        self._schedules()
        rows, k = self.rows(self.step), 1 if self.objective.vectorize_particles else self.objective.num_particles
        name = first_not_finite(self.pair, repeat(self._arguments(rows), k), rows.repeat(k))
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
        """(tensors, words): weights, optimiser and random generators, of all processes, which have to ask together; the
        position.

        :raises InferenceError: if a loss was not finite
        """
        self.check()
        tensors = {f"weights.{name}": value for name, value in self.pair.state_dict().items()}
        for rank, noise in enumerate(distributed.gathered(random_state())):
            tensors |= {f"worker.{rank}.{name}": value for name, value in noise.items()}
        if self.optimiser is not None:
            for i, entries in self.optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{i}.{name}": v for name, v in entries.items() if torch.is_tensor(v)}
        return {name: value.clone() for name, value in tensors.items()}, {"step": self.step}

    def set_state(self, tensors: dict[str, Tensor], about: dict) -> None:
        """Goes back to what `state` gave.

        :raises InferenceError: if it was given by another number of processes, or has what no `state` gives now;
            nothing is changed then
        """
        if strange := [
            name for name in tensors if not name.startswith(("weights.", "worker.", "optimiser.", "epoch."))
        ]:
            raise InferenceError(f"the checkpoint has {strange[0]}, of another version of this gallery: fit anew.")
        before = len({name.split(".")[1] for name in tensors if name.startswith("worker.")})
        if before != self.workers:
            raise InferenceError(
                f"the checkpoint is of a fit in {before} processes, and here are {self.workers}: resume with {before}."
            )
        self.pair.load_state_dict({k.removeprefix("weights."): v for k, v in tensors.items() if k[:8] == "weights."})
        if self.optimiser is not None:
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith("optimiser."):
                    _, i, name = key.split(".")
                    state.setdefault(int(i), {})[name] = value
            self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
            for i, entries in state.items():  # each in its own precision, where torch takes that of the parameter
                kept = self.optimiser.state[self.parameters[i]]
                kept |= {name: value.to(kept[name].device) for name, value in entries.items()}
        mine = f"worker.{self.rank}."
        set_random_state({name.removeprefix(mine): value for name, value in tensors.items() if name.startswith(mine)})
        self.step = self._checked = about["step"]
        self._recent.clear()
        self._lost.zero_()
        self._schedules()


def svi(
    pair: nn.Module,
    x: Tensor,
    given: Tensor | None = None,
    settings: Settings = DEFAULTS,
    transform: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Fits a pair from the first step to the last, with the arguments of `SVI`; returns the loss of every step,
    (steps,), in nats per data point. Where something is to happen between steps, iterate over `SVI` instead."""
    return torch.stack([loss for _, loss in SVI(pair, x, given, settings, transform)])
