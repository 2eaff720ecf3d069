"""What every algorithm here does with a model/guide pair: run it, in a parameter store of its own."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer.enum import config_enumerate, get_importance_trace
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


class Shares(Messenger):
    """Multiplies the scale of everything in the plate "data" by a factor for each row, (n,): of a stratified sample."""

    def __init__(self, shares: Tensor):
        super().__init__()
        self.shares = shares

    def _pyro_sample(self, msg) -> None:
        if is_local(msg) and not site_is_subsample(msg):
            msg["scale"] = msg["scale"] * self.shares


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
    with torch.no_grad(), torch.random.fork_rng(cuda_devices(pair), enabled=seed is not None), own_store():
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


def below_a_sum(model: poutine.Trace, guide: poutine.Trace) -> set[str]:
    """Names of the guide's sites whose prior depends on one that the model alone sums out: no KL is theirs alone."""
    if not summed_out(model, guide)[1]:
        return set()
    priors = {name: model.nodes[name]["fn"] for name in latent_sites(guide) if name in model.nodes}
    return {name for name, p in priors.items() if len(p.batch_shape) > len(guide.nodes[name]["fn"].batch_shape)}


def in_order(model: poutine.Trace, guide: poutine.Trace) -> bool:
    """Does the guide draw the latents in the order of the model? Elsewhere the prior of one may depend on another that
    the guide drew from it, and then E log q(z) / p(z) is no KL in closed form of q(z) and p(z)."""
    return list(latent_sites(guide)) == [name for name in latent_sites(model) if name in guide.nodes]


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


@dataclass(frozen=True, eq=False)
class Look:
    """What kind of pair is it? Read off one run on two rows; random numbers and Pyro's store are left as they were."""

    model: poutine.Trace
    guide: poutine.Trace

    @property
    def joint(self) -> bool:
        """Is a latent site outside the plate of the data, so that they are dependent?"""
        return any(not is_local(site) for t in (self.model, self.guide) for site in latent_sites(t).values())

    @property
    def points(self) -> list[str]:
        """The latent sites at which the guide is a point: there is no bound on the evidence then."""
        return [name for name, site in latent_sites(self.guide).items() if is_point(site)]

    @property
    def continuous(self) -> list[str]:
        """The latent sites of the guide that are not discrete."""
        return [name for name, site in latent_sites(self.guide).items() if not site["fn"].support.is_discrete]

    @property
    def enumerated(self) -> tuple[set[str], set[str]]:
        """Names of the sites that are summed out: (in the guide, by the model alone)."""
        return summed_out(self.model, self.guide)

    @property
    def cases(self) -> int:
        """The largest number of cases of enumerated sites for which a datum's density is evaluated."""
        return max(site["log_prob"][..., :1].numel() for site in observed_sites(self.model).values())


@contextmanager
def same_buffers(pair: nn.Module) -> Iterator[None]:
    """What is run within leaves the buffers of the pair, such as running means of batches, as they were."""
    before = [buffer.clone() for buffer in pair.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(pair.buffers(), before, strict=True):
                buffer.copy_(value)


def look(pair: nn.Module, args: tuple) -> Look:
    """A look at the pair, on the first two rows of its arguments."""
    with torch.random.fork_rng(cuda_devices(pair)), torch.no_grad(), same_buffers(pair), own_store():
        return Look(*importance_traces(pair, tuple(a[:2] for a in args)))


def parameters(look: Look) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """(generative, inference) parameters by name: those registered while the model ran, and those of the guide."""
    found = []
    for trace in (look.model, look.guide):
        sites = {name: site for name, site in trace.nodes.items() if site["type"] == "param"}
        found.append({name.replace("$$$", "."): site["value"] for name, site in sites.items()})
    return found[0], found[1]


def cuda_devices(pair: nn.Module) -> list[torch.device]:
    """The CUDA devices that the pair is on: their random generators are forked with the CPU's."""
    return list({p.device for p in pair.parameters() if p.device.type == "cuda"})


def repeat(args: tuple[Tensor, ...], k: int) -> tuple[Tensor, ...]:
    """Every argument, (n, ...), k times: (k * n, ...), row r being row r % n of the data."""
    return tuple(a.repeat(k, *[1] * (a.dim() - 1)) for a in args)


class Tiled(Messenger):
    """For arguments of n rows that are repeated k times along the plate "data": what messengers further out say of n
    rows, their indices (`Rows`) and a factor for each (`Shares`), is repeated with them."""

    def __init__(self, n: int, k: int):
        super().__init__()
        self.n, self.k = n, k

    def _pyro_sample(self, msg) -> None:
        if msg["name"] == "data" and site_is_subsample(msg):
            fn = msg["fn"]  # as it is without repetition: whoever sets the indices is told of n of so many data
            msg["fn"] = type(fn)(fn.size // self.k, self.n, device=fn.device)

    def _pyro_post_sample(self, msg) -> None:
        if msg["name"] == "data" and site_is_subsample(msg):
            if len(msg["value"]) == self.n:  # and not those of the guide already
                msg["value"] = msg["value"].repeat(self.k)
        elif torch.is_tensor(msg["scale"]) and msg["scale"].dim() == 1:
            msg["scale"] = msg["scale"].repeat(self.k)


def continuous_latents(pair: nn.Module, args: tuple) -> dict[str, dict]:
    """The sites that a sampler by gradients moves: the continuous latents of the model alone, whatever the guide.

    :raises InferenceError: if there is none, if the prior of one is flat, or if it has an enumerated parent: a discrete
        y above z is not summed out by summing over y at one z for all y
    """
    enumerated, name = EnumMessenger(first_available_dim=-2)(config_enumerate(pair.model)), type(pair).__name__
    try:
        trace = poutine.trace(enumerated).get_trace(*args)
    except RuntimeError:  # shapes that do not go together
        raise InferenceError(
            f"the model of {name} cannot sum out its discrete latents without its guide, as a sampler would have to: "
            "fit it with --objective enum."
        ) from None
    found = {key: site for key, site in latent_sites(trace).items() if not site["fn"].support.is_discrete}
    if not found:
        raise InferenceError(f"{name} has no continuous latent: there is nothing for a sampler by gradients to move.")
    for key, site in found.items():
        if is_flat(site):
            raise InferenceError(f"the prior of {key} in {name} is flat: there is no posterior to sample.")
        plates = max((-frame.dim for frame in site["cond_indep_stack"] if frame.vectorized), default=0)
        if len(site["fn"].batch_shape) > plates:
            raise InferenceError(
                f"{key} of {name} has a discrete parent that is summed out, and a sampler has one {key} for all its "
                "values: fit it with --objective enum."
            )
    return found


def log_joint(pair: nn.Module, args: tuple, latents: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(log p(z), log p(x | z)) of every row, each (rows,) in nats, at given values of all latents, which are local."""
    trace = poutine.trace(poutine.condition(pair.model, latents)).get_trace(*args)
    trace.compute_log_prob(lambda name, site: not site_is_subsample(site))
    zero, terms = args[0].new_zeros(len(args[0])), ([], [])
    for name, site in trace.nodes.items():
        if "log_prob" in site:
            terms[name not in latents].append(site["log_prob"])
    return sum(terms[0], zero), sum(terms[1], zero)
