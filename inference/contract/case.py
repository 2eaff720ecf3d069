"""The input of a clause: a pair that can be built again, some data, and runs of the pair on them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.poutine.util import is_validation_enabled, site_is_subsample
from torch import Tensor
from torch.distributions import Distribution

from inference.fit.loss import MinibatchLoss, unchanged
from inference.fit.minibatches import Minibatches
from inference.fit.plan import plan_fit
from inference.fit.settings import Settings
from inference.fit.svi import SVI
from inference.pairs.handlers import SetRows
from inference.pairs.info import inspect_pair
from inference.pairs.pair import Pair
from inference.pairs.run import param_scope
from inference.pairs.sites import Site
from inference.pairs.streams import seed_torch

FEW = 4  # rows of a minibatch


@dataclass(frozen=True)
class Finding:
    """A breach of a clause, or a remark.

    :param text: what is wrong, expected, got, what to do
    :param error: the exception raised, if any; its traceback has the line
    :param remark: whether it is a remark and no breach
    """

    text: str
    error: Exception | None = None
    remark: bool = False


@dataclass(frozen=True, eq=False)
class Ran:
    """A run of the guide, and of the model on its draws: traces without log-densities, and errors."""

    guide: poutine.Trace
    model: poutine.Trace
    errors: list[Exception]

    @property
    def sites(self) -> Iterator[tuple[str, str, Site]]:
        """("guide" or "model", name, site) of every sampled or observed site, without the indices of plates."""
        for part, trace in (("guide", self.guide), ("model", self.model)):
            for name, site in trace.nodes.items():
                if site["type"] == "sample" and not site_is_subsample(site):
                    yield part, name, site

    @property
    def enumerates(self) -> bool:
        """Whether a site is enumerated, so that there are dimensions to the left of the plate."""
        return any(site["infer"].get("_enumerate_dim") is not None for _, _, site in self.sites)


PROCESS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": (torch.get_default_device, torch.set_default_device),
    "torch's recording of gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "Pyro's validation": (is_validation_enabled, pyro.enable_validation),
    "the validation of distributions": (lambda: Distribution._validate_args, Distribution.set_default_validate_args),
}


@contextmanager
def watched(left: dict[str, Any]) -> Iterator[None]:
    """Record in `left` the settings of the process that change within, and restore them."""
    before = {name: get() for name, (get, _) in PROCESS.items()}
    try:
        yield
    finally:
        for name, (get, put) in PROCESS.items():
            if get() != before[name]:
                left[name] = get()
                put(before[name])


@dataclass(frozen=True, eq=False)
class Case:
    """A pair to check, with data.

    :param build: builds a new pair, its weights drawn from torch's generator
    :param args: (x,) or (x, given), as model and guide take them: more than FEW rows
    :param objective: of the fit; if None, enum where a site is marked for enumeration and trace elsewhere
    :param left: settings of the process that the pair has changed so far, as `watched` records them
    """

    build: Callable[[], Pair]
    args: tuple[Tensor, ...]
    objective: str | None = None
    left: dict[str, Any] = field(default_factory=dict)

    def pair(self, seed: int = 0) -> Pair:
        """Build a new pair."""
        seed_torch(seed)
        with watched(self.left):
            return self.build()

    def run(
        self,
        n: int,
        seed: int = 0,
        training: bool = True,
        place: torch.dtype | torch.device = torch.float32,
        change: Callable[[poutine.Trace], None] = lambda guide: None,
        drawn: poutine.Trace | None = None,
    ) -> Ran:
        """Run a new pair on the first n rows, as a minibatch of all of them.

        :param training: in training mode, or in evaluation mode
        :param place: precision or device of the pair and its data
        :param change: called with the trace of the guide before the model runs on it
        :param drawn: a trace of the guide whose draws are taken instead of new ones
        """
        pair, trace, traces = self.pair(seed).train(training).to(place), drawn or poutine.Trace(), []
        errors: list[Exception] = []
        move = isinstance(place, torch.device)
        few = [a[:n].to(place) if move or a.is_floating_point() else a[:n] for a in self.args]
        parts = EnumMessenger(first_available_dim=-2)(pair.guide), EnumMessenger()(pair.model)
        with watched(self.left), param_scope(), SetRows(torch.arange(n, device=few[0].device)):
            for part in parts:
                handler = poutine.trace(poutine.replay(part, trace))
                try:
                    handler(*few, total=len(self.args[0]))
                except Exception as error:  # any error of the user's code
                    errors.append(error)
                traces.append(trace := handler.trace)
                if part is parts[0]:
                    change(trace)
        return Ran(traces[0], traces[1], errors)

    @cached_property
    def few(self) -> Ran:
        """A minibatch of FEW rows."""
        return self.run(FEW)

    @cached_property
    def all(self) -> Ran:
        """A minibatch of all rows."""
        return self.run(len(self.args[0]))

    def svi(self, pair: Pair) -> SVI:
        """Return the fit of a pair, before its first step, with all checks of a fit."""
        return SVI(pair, self.args[0], self._given, self._settings(pair))

    def minibatch_loss(self, pair: Pair) -> MinibatchLoss:
        """Return the loss of a minibatch of a pair that passes the checks of a fit."""
        settings = self._settings(pair)
        data = pair, self.args[0], self._given, settings, unchanged
        plan = plan_fit(*data)
        return MinibatchLoss(*data, plan, Minibatches(self.args[0], settings, plan.labelled).weights)

    def loss(self, pair: Pair) -> Tensor:
        """Return the objective on all rows, always with the same noise; nats."""
        loss = self.minibatch_loss(pair)
        seed_torch(0)
        return loss(torch.arange(len(self.args[0])))

    @property
    def _given(self) -> Tensor | None:
        return self.args[1] if len(self.args) > 1 else None

    def _settings(self, pair: Pair) -> Settings:
        summed = inspect_pair(pair, self.args).enumerated
        return Settings(objective=self.objective or ("enum" if summed else "trace"))
