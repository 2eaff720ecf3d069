"""Bounds on the evidence log p(x), per data point, all from one primitive: the log importance weights

    log w = log p(x, z) - log q(z | x),    z ~ q(z | x),

whose mean is the ELBO, whose log-mean-exp over k draws is the bound IWAE-k, and which are constant when the
guide is the exact posterior (Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2016).
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from functools import partial

import torch
from pyro import poutine
from pyro.ops import packed
from pyro.ops.contract import contract_tensor_tree
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from inference.errors import InferenceError
from inference.fit.graph import UntraceableError, fused, traced
from inference.pairs.capabilities import exact
from inference.pairs.handlers import SetRows
from inference.pairs.info import PairInfo, inspect_pair
from inference.pairs.run import arguments, importance_traces, log_joint, repeat
from inference.pairs.sites import enumerated_sites, is_local, latent_sites, observed_sites

ROWS = 20_000  # rows evaluated at a time, data times draws: what bounds the memory
COMPILE_TILES = 200  # below, compiling takes longer than it saves
TERMS = ("weight", "elbo", "likelihood")


def _is_simple(seen: PairInfo) -> bool:
    """Is one continuous latent, local, no point and not masked, all that the guide draws or says, and the model without
    factors?"""
    sites = [site for site in seen.guide.nodes.values() if site["type"] == "sample" and not site_is_subsample(site)]
    factors = any(site["infer"].get("is_auxiliary") for site in seen.model.nodes.values() if site["type"] == "sample")
    alone = len(sites) == len(seen.continuous_sites) == 1 and sites[0]["mask"] is None and not factors
    return alone and not (seen.has_global_latent or seen.delta_sites or seen.enumerated)


def _simple_terms(pair: nn.Module, args: tuple, rows: Tensor, k: int) -> dict[str, Tensor]:
    """`_terms` of a simple pair: the networks of the guide are run once for each datum, however many draws."""
    with SetRows(rows):
        guide = poutine.trace(pair.guide).get_trace(*args)
    ((name, site),) = latent_sites(guide).items()
    q = site["fn"].expand((len(rows),))
    z = q.rsample((k,)) if q.has_rsample else q.sample((k,))  # (k, n, ...)
    with SetRows(rows.repeat(k)):
        prior, likelihood = log_joint(pair, repeat(args, k), {name: z.flatten(0, 1)})
    weight = prior + likelihood - q.log_prob(z).flatten()
    return {"weight": weight, "elbo": weight, "likelihood": likelihood}


def _terms(pair: nn.Module, args: tuple, rows: Tensor, k: int) -> dict[str, Tensor]:
    """For k draws of the guide at every row, each (k * rows,): the log-weight with enumerated sites of the guide summed
    out, the same averaged under the guide as the ELBO has it, and the log-likelihood averaged so."""
    args, rows = repeat(args, k), rows.repeat(k)
    model, guide = importance_traces(pair, args, rows)
    zero = args[0].new_zeros(len(rows))

    def total(sites) -> Tensor:  # what stands outside the plate counts once, so a share of it for each row
        terms = (s["log_prob"] if is_local(s) else s["log_prob"] / len(rows) for s in sites if s["type"] == "sample")
        return sum(terms, zero)

    if enumerated_sites(model, guide)[1]:
        log_p, likelihood = (value + zero for value in _summed_by_model(model, guide, rows))
    else:
        log_p, likelihood = total(model.nodes.values()), total(observed_sites(model).values())
    weight = log_p - total(guide.nodes.values())
    cases = total(site for site in guide.nodes.values() if site.get("infer", {}).get("_enumerate_dim") is not None)
    left = tuple(range(weight.dim() - 1))  # one dimension for every enumerated site
    if not left:
        return {"weight": weight, "elbo": weight, "likelihood": likelihood}
    return {
        "weight": (weight + cases).logsumexp(left),
        "elbo": (cases.exp() * weight).sum(left),
        "likelihood": (cases.exp() * likelihood).sum(left),
    }


def _summed_by_model(model: poutine.Trace, guide: poutine.Trace, rows: Tensor) -> tuple[Tensor, Tensor]:
    """log p(x, z), with the sites that the model alone enumerates summed out, and the log-likelihood averaged over
    their posterior, which is the derivative of log p(x^t, z) with respect to t at 1.

    The sum goes site by site along the dependencies (message passing), as in TraceEnum_ELBO: its cost grows with the
    length of a chain under `pyro.markov`, not exponentially.
    """
    guide.pack_tensors()
    model.pack_tensors(guide.plate_to_symbol)
    kept, alone = enumerated_sites(model, guide)
    infer = {name: model.nodes[name]["infer"] for name in kept | alone}
    dims = {infer[name]["_enumerate_dim"]: infer[name]["_enumerate_symbol"] for name in kept}
    shape = torch.broadcast_shapes(rows.shape, *(guide.nodes[name]["log_prob"].shape for name in kept))
    data, graph = observed_sites(model), torch.is_grad_enabled()
    with torch.enable_grad():
        t = model.nodes[next(iter(data))]["log_prob"].new_ones(shape, requires_grad=True)
        factors: OrderedDict[frozenset, list[Tensor]] = OrderedDict()
        for name, site in model.nodes.items():
            if site["type"] == "sample":
                plates = frozenset(model.plate_to_symbol[f.name] for f in site["cond_indep_stack"] if f.vectorized)
                term = site["packed"]["log_prob"]
                if name in data:
                    term = packed.pack(site["log_prob"] * t, site["infer"]["_dim_to_symbol"] | dims)
                factors.setdefault(plates, []).append(term)
        log_p, symbols = torch.zeros_like(t), {infer[name]["_enumerate_symbol"] for name in alone}
        for plates, terms in contract_tensor_tree(factors, symbols).items():
            for term in terms:
                log_p = log_p + packed.unpack(term, model.symbol_to_dim) / (1 if plates else len(rows))
        (likelihood,) = torch.autograd.grad(log_p.sum(), t, create_graph=graph)
    return (log_p, likelihood) if graph else (log_p.detach(), likelihood)


def _tiles(n: int, k: int, cases: int = 1, at_a_time: int = ROWS) -> Iterator[tuple[int, slice]]:
    """Covers k draws x n data by tiles (number of draws, slice of data) of at most so many rows each, all cases of the
    enumerated sites counted."""
    most = max(1, at_a_time // cases)
    width = min(n, max(1, most // k))
    height = min(k, max(1, most // width))
    for i in range(0, n, width):
        for j in range(0, k, height):
            yield min(height, k - j), slice(i, min(i + width, n))


def draws(
    pair: nn.Module,
    x: Tensor,
    given: Tensor | None = None,
    k: int = 1,
    at_a_time: int = ROWS,
    first: int = 0,
    compiled: dict[tuple[int, int], Callable[..., tuple[Tensor, ...]]] | None = None,
) -> dict[str, Tensor]:
    """k independent draws of the guide for each of n data: "weight", "elbo" and "likelihood", each (k, n) in nats.

    The data are repeated k times along the plate, so no network sees another dimension, and so many rows of them are
    taken at a time; from COMPILE_TILES times on this is compiled. A guide that draws one site is run on the data as
    they are, and its distribution drawn from k times.
    "weight" has the enumerated sites of the guide summed out: log of sum_y p(x, y, z_y) / q(z_y | x, y); "elbo"
    averages them under the guide: sum_y q(y | x) log of p(x, y, z_y) / q(y, z_y | x). Where nothing is enumerated
    the two are the same. "likelihood" is log p(x | latents). A pair with a global latent has one number for all
    the data together: (k, 1), nats for the whole data set.

    Call it inside `judging`, or with gradients under a parameter store of your own.

    :param first: which of all data is x[0], for a guide that has parameters for each of them
    :param compiled: what was compiled by other calls for the same pair, which gets what is compiled by this one
    :raises InferenceError: if k < 1
    """
    if k < 1:
        raise InferenceError(f"k, the number of draws, must be at least 1, not {k}.")
    args, n = arguments(pair, x, given), len(x)
    seen = inspect_pair(pair, args)
    if seen.has_global_latent:
        rows = torch.arange(n, device=x.device)
        drawn = [_terms(pair, args, rows, 1) for _ in range(k)]
        return {name: torch.stack([d[name].sum().unsqueeze(0) for d in drawn]) for name in drawn[0]}
    columns: dict[int, list[dict[str, Tensor]]] = {}
    tiles = list(_tiles(n, k, seen.n_cases, at_a_time))
    terms_of = partial(_simple_terms if _is_simple(seen) else _terms, pair)
    sizes = Counter((height, data.stop - data.start) for height, data in tiles)
    fast = {} if compiled is None else compiled
    for height, data in tiles:
        part, rows = tuple(a[data] for a in args), torch.arange(data.start, data.stop, device=x.device) + first
        size = height, len(rows)
        if (
            (size in fast or sizes[size] >= COMPILE_TILES)
            and not seen.enumerated_in_model
            and not torch.is_grad_enabled()
        ):
            if size not in fast:
                fast[size] = _compiled(terms_of, part, rows, height)
            terms = dict(zip(TERMS, fast[size](rows, *part), strict=True))
        else:
            terms = terms_of(part, rows, height)
        kept = {name: value.clone().view(height, -1) for name, value in terms.items()}  # a replayed graph writes there
        columns.setdefault(data.start, []).append(kept)
    return {
        name: torch.cat([torch.cat([tile[name] for tile in column]) for column in columns.values()], dim=1)
        for name in TERMS
    }


def _compiled(terms_of: Callable, args: tuple, rows: Tensor, k: int) -> Callable[..., tuple[Tensor, ...]]:
    def run(rows: Tensor, *args: Tensor) -> tuple[Tensor, ...]:
        terms = terms_of(args, rows, k)
        return tuple(terms[name] for name in TERMS)

    try:
        return fused(traced(run, (rows, *args)), (rows, *args))
    except UntraceableError:
        return run


def log_weights(pair: nn.Module, x: Tensor, given: Tensor | None = None, k: int = 1) -> Tensor:
    """(k, n) log importance weights in nats, k draws for each of n data: "weight" of `draws`."""
    return draws(pair, x, given, k)["weight"]


def iwae(log_w: Tensor) -> Tensor:
    """The bound IWAE-k for each datum, (n,), from (k, n) log-weights; at k = 1 the one-draw ELBO."""
    return log_w.logsumexp(0) - math.log(len(log_w))


def iwae_variance(log_w: Tensor) -> Tensor:
    """The variance over draws of `iwae` of (k, n) log-weights, (n,), to first order: that of the mean of the weights
    over its square; nan of a single draw."""
    k = len(log_w)
    if k == 1:
        return log_w[0] * math.nan
    return (log_w.softmax(0).square().sum(0) - 1 / k).clamp(min=0) * k / (k - 1)


def effective_sample_size(log_w: Tensor) -> Tensor:
    """Kish's effective number of the k draws for each datum, (n,), from 1 to k."""
    return (2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp()


def log_evidence(pair: nn.Module, x: Tensor, given: Tensor | None = None) -> Tensor | None:
    """The exact log p(x), nats: (n,) per data point, or () where a latent is global; None if the model does not know it."""
    known = exact(pair, "log_evidence")
    return None if known is None else known(*arguments(pair, x, given))
