"""What every algorithm here does with a model/guide pair: run it, in a parameter store of its own."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer.enum import get_importance_trace
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn


class InferenceError(ValueError):
    """A pair, data or settings that do not go together; the message is one line for the user."""


class Rows(Messenger):
    """Sets the indices of the plate "data" to the rows at hand, so that no permutation of the data is drawn.

    :raises InferenceError: if the plate is told of fewer data in total than there are rows
    """

    def __init__(self, rows: Tensor):
        super().__init__()
        self.rows = rows

    def _pyro_sample(self, msg) -> None:
        if msg["name"] == "data" and site_is_subsample(msg):
            if msg["fn"].size < len(self.rows):
                raise InferenceError(f"total={msg['fn'].size} is less than the {len(self.rows)} rows of x.")
            msg["value"] = self.rows


class Weigh(Messenger):
    """Multiplies the log-densities of the latent sites by beta, and so the KL of the ELBO; beta is a tensor.

    Sites that the model alone sums out (`but`) have no KL: they belong to the likelihood.
    """

    def __init__(self, beta: Tensor, but: frozenset[str] = frozenset()):
        super().__init__()
        self.beta, self.but = beta, but

    def _pyro_sample(self, msg) -> None:
        if not msg["is_observed"] and not site_is_subsample(msg) and msg["name"] not in self.but:
            msg["scale"] = msg["scale"] * self.beta


class Central(Messenger):
    """Sets every latent site to the mean of its distribution, or to the mode of a discrete one."""

    def _pyro_sample(self, msg) -> None:
        if msg["done"] or msg["is_observed"] or site_is_subsample(msg) or msg["infer"].get("is_auxiliary"):
            return
        with suppress(NotImplementedError):
            msg["value"] = msg["fn"].mode if msg["fn"].support.is_discrete else msg["fn"].mean
            msg["done"] = True


def arguments(pair: nn.Module, x: Tensor, given: Tensor | None) -> tuple[Tensor, ...]:
    """The positional arguments of `model` and `guide`: (x,), or (x, given) for a conditional model."""
    if "given" not in inspect.signature(pair.model).parameters:
        return (x,)
    if given is None:
        raise InferenceError(f"{type(pair).__name__} conditions on labels or covariates, and the data have none.")
    if len(given) != len(x):
        raise InferenceError(f"`given` has {len(given)} rows and x has {len(x)}: they must agree.")
    return (x, given)


@contextmanager
def own_store() -> Iterator[None]:
    """A fresh scope of Pyro's parameter store, so that two models of one class never meet in it."""
    with pyro.get_param_store().scope():
        yield


@contextmanager
def judging(pair: nn.Module, seed: int | None = 0) -> Iterator[None]:
    """No gradient, evaluation mode, an own store; with a seed also an own stream of random numbers."""
    training = pair.training
    devices = {p.device for p in pair.parameters() if p.device.type == "cuda"}
    with torch.no_grad(), torch.random.fork_rng(devices, enabled=seed is not None), own_store():
        if seed is not None:
            torch.manual_seed(seed)
        pair.eval()
        try:
            yield
        finally:
            pair.train(training)


def latent_sites(trace: poutine.Trace) -> dict[str, dict]:
    """The sampled sites of a trace of a model or guide by name, without auxiliary and deterministic ones and plates."""
    return {
        name: site
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and not (site["is_observed"] or site_is_subsample(site) or _is_aside(site))
    }


def observed_sites(trace: poutine.Trace) -> dict[str, dict]:
    """The sites of data in a trace of a model, also of one run without them; factors and
    deterministic ones excepted."""
    return {
        name: site
        for name, site in trace.nodes.items()
        if site["type"] == "sample"
        and (site["is_observed"] or site["infer"].get("was_observed"))
        and not _is_aside(site)
    }


def _is_aside(site: dict) -> bool:
    return bool(site["infer"].get("is_auxiliary") or site["infer"].get("_deterministic"))


def summed_out(model: poutine.Trace, guide: poutine.Trace) -> tuple[set[str], set[str]]:
    """Names of the sites that are enumerated: (in the guide, by the model alone)."""
    every = {name for name, site in latent_sites(model).items() if site["infer"].get("_enumerate_dim") is not None}
    return every & guide.nodes.keys(), every - guide.nodes.keys()


def is_local(site: dict) -> bool:
    """Does the site stand inside the plate "data"?"""
    return any(frame.name == "data" for frame in site["cond_indep_stack"])


def is_flat(site: dict) -> bool:
    """Is the density of the site masked out, as under the flat prior of a deterministic code?"""
    return site["mask"] is False or getattr(site["fn"], "_mask", None) is False


def is_point(site: dict) -> bool:
    """Is the distribution of the site a point, a Delta without a density, under whatever wraps it?"""
    fn = site["fn"]
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return isinstance(fn, dist.Delta) and not fn.log_density.any()


def importance_traces(pair: nn.Module, args: tuple, rows: Tensor | None = None, total: int | None = None):
    """Traces (model, guide) with log-densities: the guide drawn, the model run on its draw.

    Sites marked ``infer={"enumerate": "parallel"}`` are enumerated to the left of the plate's dimension -1.
    """
    guide, model = EnumMessenger(first_available_dim=-2)(pair.guide), EnumMessenger()(pair.model)
    with Rows(torch.arange(len(args[0]), device=args[0].device) if rows is None else rows):
        return get_importance_trace("flat", 1, model, guide, args, {"total": total})


def parameters(pair: nn.Module, args: tuple) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """(generative, inference) parameters by name: those registered while the model runs, and those of the guide.

    One validated run of the pair tells; the stream of random numbers is left where it was.
    """
    with torch.random.fork_rng(), torch.no_grad(), own_store():
        model, guide = importance_traces(pair, args)
        found = []
        for trace in (model, guide):
            sites = {name: site for name, site in trace.nodes.items() if site["type"] == "param"}
            found.append({name.replace("$$$", "."): site["value"].unconstrained() for name, site in sites.items()})
    return found[0], found[1]
