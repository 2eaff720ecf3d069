"""Bounds on the evidence log p(x) of each data point, all from the log importance weights

    log w = log p(x, z) - log q(z | x),    z ~ q(z | x).

Their mean is the ELBO. Their log-mean-exp over k draws is the bound IWAE-k. They are constant if the guide is the exact
posterior.

    Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2016.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from inference.counts import whole_number
from inference.evaluation.summed import of_each_row, summed_by_model
from inference.fit.graph import UntraceableError, fused, traced
from inference.pairs.capabilities import exact
from inference.pairs.fitted_rows import check_rows
from inference.pairs.handlers import SetRows
from inference.pairs.info import PairInfo, inspect_pair
from inference.pairs.pair import Pair
from inference.pairs.properties import is_reparametrised
from inference.pairs.run import arguments, importance_traces, log_joint, repeat
from inference.pairs.sites import Site, enumerated_sites, factor_sites, latent_sites, observed_sites

__all__ = [
    "COMPILE_TILES",
    "MAX_ROWS",
    "effective_sample_size",
    "importance_terms",
    "iwae",
    "iwae_variance",
    "log_evidence",
    "log_weights",
]

MAX_ROWS = 20_000  # rows evaluated together, data points times draws: bounds the memory
COMPILE_TILES = 200  # below, compiling takes longer than it saves
TERMS = ("weight", "elbo", "likelihood")  # and "factors", of a pair that has them


def _is_simple(info: PairInfo) -> bool:
    """Return whether the guide is one continuous local latent, no point or mask, and the model has no factors."""
    of_guide: Iterable[Site] = info.guide.nodes.values()
    of_model: Iterable[Site] = info.model.nodes.values()
    sites = [site for site in of_guide if site["type"] == "sample" and not site_is_subsample(site)]
    factors = any(site["infer"].get("is_auxiliary") for site in of_model if site["type"] == "sample")
    alone = len(sites) == len(info.continuous_sites) == 1 and sites[0]["mask"] is None and not factors
    carries = any(hasattr(site["value"], "_unquantize") for site in sites)  # as straight-through draws do
    return alone and not (info.has_global_latent or info.delta_sites or info.enumerated or carries)


def _simple_terms(pair: Pair, n: int, args: tuple[Tensor, ...], rows: Tensor, k: int) -> dict[str, Tensor]:
    """Compute `_terms` of a simple pair: the networks of the guide run once for each data point, for any k."""
    with SetRows(rows):
        guide = poutine.trace(pair.guide).get_trace(*args)
    ((name, site),) = latent_sites(guide).items()
    q = site["fn"].expand((len(rows),))
    z = q.rsample((k,)) if is_reparametrised(q) else q.sample((k,))  # (k, n, ...)
    if z.shape[:2] != (k, len(rows)):  # a distribution that orders its draws otherwise
        return _terms(pair, n, args, rows, k)
    prior, likelihood = log_joint(pair, repeat(args, k), {name: z.flatten(0, 1)}, rows.repeat(k))
    weight = prior + likelihood - q.log_prob(z).flatten()
    return {"weight": weight, "elbo": weight, "likelihood": likelihood}


def _terms(pair: Pair, n: int, args: tuple[Tensor, ...], rows: Tensor, k: int) -> dict[str, Tensor]:
    """Compute TERMS, and "factors" if there are any, of k draws of the guide at every row, each (k * rows,).

    Enumerated sites of the guide are summed out of "weight", and averaged under the guide in the others.

    :param n: number of all data points
    """
    args, rows = repeat(args, k), rows.repeat(k)
    model, guide = importance_traces(pair, args, rows)
    zero = args[0].new_zeros(len(rows))

    def total(sites: Iterable[Site]) -> Tensor:
        return sum((of_each_row(site, n) for site in sites if site["type"] == "sample"), zero)

    if enumerated_sites(model, guide)[1]:
        log_p, likelihood, factors = summed_by_model(model, guide, rows, n)
        log_p, likelihood = log_p + zero, likelihood + zero
    else:
        log_p, likelihood = total(model.nodes.values()), total(observed_sites(model).values())
        factors = total(of_model.values()) if (of_model := factor_sites(model)) else None
    of_guide: Iterable[Site] = guide.nodes.values()
    weight = log_p - total(of_guide)
    parts = {"likelihood": likelihood}
    if factors is not None or factor_sites(guide):
        parts["factors"] = (zero if factors is None else factors + zero) - total(factor_sites(guide).values())
    cases = total(site for site in of_guide if site.get("infer", {}).get("_enumerate_dim") is not None)
    enumerated_dims = tuple(range(weight.dim() - 1))
    if not enumerated_dims:
        return {"weight": weight, "elbo": weight, **parts}
    return {
        "weight": (weight + cases).logsumexp(enumerated_dims),
        "elbo": (cases.exp() * weight).sum(enumerated_dims),
        **{name: (cases.exp() * part).sum(enumerated_dims) for name, part in parts.items()},
    }


def _tiles(n: int, k: int, cases: int = 1, at_a_time: int = MAX_ROWS) -> Iterator[tuple[int, slice]]:
    """Cover k draws x n data points by tiles (number of draws, slice of data) of at most `at_a_time` rows each.

    All cases of the enumerated sites count as rows.
    """
    most = max(1, at_a_time // cases)
    width = min(n, max(1, most // k))
    height = min(k, max(1, most // width))
    for i in range(0, n, width):
        for j in range(0, k, height):
            yield min(height, k - j), slice(i, min(i + width, n))


def importance_terms(
    pair: Pair,
    x: Tensor,
    given: Tensor | None = None,
    k: int = 1,
    at_a_time: int = MAX_ROWS,
    first: int = 0,
    compiled: dict[tuple[int, int], Callable[..., tuple[Tensor, ...]]] | None = None,
    total: int | None = None,
) -> dict[str, Tensor]:
    """Compute the terms of the bounds from k independent draws of the guide for each of n data points.

        "weight"        log sum_y p(x, y, z_y) / q(z_y | x, y): enumerated sites y of the guide are summed out
        "elbo"          sum_y q(y | x) log p(x, y, z_y) / q(y, z_y | x): they are averaged under the guide
        "likelihood"    log p(x | latents), averaged in the same way
        "factors"       the factors of the model minus those of the guide, averaged so; left out where there are none

    If nothing is enumerated, "weight" and "elbo" are equal. A pair with a global latent has one number for all data
    points together: (k, 1), nats for the whole data set.

    The data are repeated k times along the plate, so no network gets another dimension, and processed in tiles of
    `at_a_time` rows. From COMPILE_TILES equal tiles on, a tile is compiled. A guide that draws one site is run on the
    data once, and its distribution sampled k times.

    Call it inside `eval_mode`, or with gradients inside `param_scope`.

    :param x: (n, ...)
    :param given: (n, ...) what a conditional model conditions on
    :param at_a_time: rows, data points times draws, that are evaluated together: bounds the memory
    :param first: the index of x[0] in the whole data set, for a guide with parameters for each data point
    :param compiled: compiled tiles of previous calls for the same pair; new ones are added
    :param total: number of all data points, of which x is a part: n by default
    :return: "weight", "elbo", "likelihood" and "factors", each (k, n) in nats
    :raises InferenceError: if k < 1
    """
    k = whole_number(k, "k, the number of draws,")
    args, n = arguments(pair, x, given), len(x)
    info = inspect_pair(pair, args)
    if info.has_global_latent:
        rows = torch.arange(n, device=x.device)
        drawn = [_terms(pair, n, args, rows, 1) for _ in range(k)]
        return {name: torch.stack([d[name].sum().unsqueeze(0) for d in drawn]) for name in drawn[0]}
    columns: dict[int, list[dict[str, Tensor]]] = {}
    tiles = list(_tiles(n, k, info.n_cases, at_a_time))
    terms_of = partial(_simple_terms if _is_simple(info) else _terms, pair, total or n)
    names = (*TERMS, "factors") if info.factors else TERMS
    sizes = Counter((height, data.stop - data.start) for height, data in tiles)
    compiled = {} if compiled is None else compiled
    for height, data in tiles:
        part, rows = tuple(a[data] for a in args), torch.arange(data.start, data.stop, device=x.device) + first
        size = height, len(rows)
        traceable = not info.enumerated_in_model and not torch.is_grad_enabled()
        if traceable and (size in compiled or sizes[size] >= COMPILE_TILES):
            if size not in compiled:
                compiled[size] = _compiled(terms_of, names, part, rows, height)
            terms = dict(zip(names, compiled[size](rows, *part), strict=True))
        else:
            terms = terms_of(part, rows, height)
        # cloned, because the next replay of a graph overwrites its outputs
        columns.setdefault(data.start, []).append({name: v.clone().view(height, -1) for name, v in terms.items()})
    return {
        name: torch.cat([torch.cat([tile[name] for tile in column]) for column in columns.values()], dim=1)
        for name in names
    }


def _compiled(
    terms_of: Callable[[tuple[Tensor, ...], Tensor, int], dict[str, Tensor]],
    names: tuple[str, ...],
    args: tuple[Tensor, ...],
    rows: Tensor,
    k: int,
) -> Callable[..., tuple[Tensor, ...]]:
    """Compile the terms of one size of tile; a pair that cannot be traced is left as it is."""

    def run(rows: Tensor, *args: Tensor) -> tuple[Tensor, ...]:
        terms = terms_of(args, rows, k)
        return tuple(terms[name] for name in names)

    try:
        return fused(traced(run, (rows, *args)), (rows, *args))
    except UntraceableError:
        return run


def log_weights(pair: Pair, x: Tensor, given: Tensor | None = None, k: int = 1) -> Tensor:
    """Compute log importance weights, (k, n) in nats, of k draws of the guide for each of n data points.

    A log-weight is log p(x, z) - log q(z | x). Enumerated sites are summed out. If a latent is global, each draw has
    one weight for all data points together: (k, 1). Call this function inside `eval_mode`.

    >>> from inference.examples import LinearGaussian
    >>> from inference.pairs.run import eval_mode
    >>> pair = LinearGaussian()
    >>> with eval_mode(pair):
    ...     log_w = log_weights(pair, torch.zeros(5, 1), k=100)
    >>> log_w.shape
    torch.Size([100, 5])

    :param x: (n, ...)
    :param given: (n, ...) what a conditional model conditions on
    :param k: number of draws for each data point
    :raises InferenceError: if k < 1, or a conditional model has no `given`
    """
    check_rows(pair, arguments(pair, x, given))
    return importance_terms(pair, x, given, k)["weight"]


def iwae(log_w: Tensor) -> Tensor:
    """Compute the bound IWAE-k of each data point, (n,) in nats, from (k, n) log-weights; IWAE-1 is a one-draw ELBO.

    Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2016.

    >>> iwae(torch.tensor([[1.0], [3.0]]).log())
    tensor([0.6931])
    """
    return log_w.logsumexp(0) - math.log(len(log_w))


def iwae_variance(log_w: Tensor) -> Tensor:
    """Estimate the variance over draws of `iwae` of (k, n) log-weights, (n,), to first order; nan at k = 1.

    It is the variance of the mean of the weights over the square of that mean.
    """
    if (k := len(log_w)) == 1:
        return log_w[0] * math.nan
    return (log_w.softmax(0).square().sum(0) - 1 / k).clamp(min=0) * k / (k - 1)


def effective_sample_size(log_w: Tensor) -> Tensor:
    """Compute the effective sample size, (sum w)^2 / sum w^2, of each data point, (n,), from (k, n) log-weights.

    It lies between 1 and k draws. Kish, Survey sampling, 1965.

    >>> effective_sample_size(torch.tensor([[0.0, 0.0], [0.0, -100.0]]))
    tensor([2., 1.])
    """
    return (2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp()


def log_evidence(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor | None:
    """Compute the exact log p(x) in nats, (n,), or () of all data points together where a latent is global.

    None if the pair has no method `log_evidence`. Call it inside `eval_mode` for a value without gradient.

    >>> from inference.examples import LinearGaussian
    >>> log_evidence(LinearGaussian(), torch.zeros(5, 1)).shape
    torch.Size([5])

    :param x: (n, ...)
    :param given: (n, ...) what a conditional model conditions on
    :raises InferenceError: if a conditional model has no `given`
    """
    known = exact(pair, "log_evidence")
    return None if known is None else known(*arguments(pair, x, given))
