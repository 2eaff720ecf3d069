"""Bounds on the evidence log p(x), per datum, all from one primitive: the log importance weights

    log w = log p(x, z) - log q(z | x),    z ~ q(z | x),

whose mean is the ELBO, whose log-mean-exp over k draws is the bound IWAE-k, and which are constant when the
guide is the exact posterior (Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2016).
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from .pairs import InferenceError, arguments, importance_traces, is_local, latent_sites, observed_sites

ROWS = 20_000  # rows evaluated at a time, data times draws: what bounds the memory


def _terms(pair: nn.Module, args: tuple, rows: Tensor) -> dict[str, Tensor]:
    """For one draw of the guide at every row, each (rows,): the log-weight with enumerated sites of the guide summed
    out, the same averaged under the guide as the ELBO has it, and the log-likelihood averaged so."""
    model, guide = importance_traces(pair, args, rows)
    zero = args[0].new_zeros(len(rows))

    def total(sites) -> Tensor:
        return sum((site["log_prob"] for site in sites if site["type"] == "sample"), zero)

    in_guide = latent_sites(guide)
    log_p, likelihood = total(model.nodes.values()), total(observed_sites(model).values())
    for name, site in latent_sites(model).items():
        dim = site["infer"].get("_enumerate_dim")
        if dim is not None and name not in in_guide:  # enumerated by the model alone
            posterior = log_p.log_softmax(dim)
            likelihood = (posterior.exp() * likelihood).sum(dim, keepdim=True)
            log_p = log_p.logsumexp(dim, keepdim=True)
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


def _tiles(n: int, k: int) -> Iterator[tuple[int, slice]]:
    """Covers k draws x n data by tiles (number of draws, slice of data) of at most ROWS rows each."""
    width = min(n, max(1, ROWS // k))
    height = min(k, max(1, ROWS // width))
    for i in range(0, n, width):
        for j in range(0, k, height):
            yield min(height, k - j), slice(i, min(i + width, n))


def is_global(pair: nn.Module, args: tuple) -> bool:
    """Has the pair a latent site outside the plate of the data?"""
    _, guide = importance_traces(pair, tuple(a[:2] for a in args))
    return any(not is_local(site) for site in latent_sites(guide).values())


def draws(pair: nn.Module, x: Tensor, given: Tensor | None = None, k: int = 1) -> dict[str, Tensor]:
    """k independent draws of the guide for each of n data: "weight", "elbo" and "likelihood", each (k, n) in nats.

    The data are repeated k times along the plate, so no network sees another dimension, and taken ROWS at a time.
    "weight" has the enumerated sites of the guide summed out: log of sum_y p(x, y, z_y) / q(z_y | x, y); "elbo"
    averages them under the guide: sum_y q(y | x) log of p(x, y, z_y) / q(y, z_y | x). Where nothing is enumerated
    the two are the same. "likelihood" is log p(x | latents). A pair with a global latent has one number for all
    the data together: (k, 1), nats for the whole data set.

    Call it inside `judging`, or with gradients under a parameter store of your own.

    :raises InferenceError: if k < 1
    """
    if k < 1:
        raise InferenceError(f"k, the number of draws, must be at least 1, not {k}.")
    args, n = arguments(pair, x, given), len(x)
    if is_global(pair, args):
        rows = torch.arange(n, device=x.device)
        drawn = [_terms(pair, args, rows) for _ in range(k)]
        return {name: torch.stack([d[name].sum().unsqueeze(0) for d in drawn]) for name in drawn[0]}
    columns: dict[int, list[dict[str, Tensor]]] = {}
    for height, data in _tiles(n, k):
        tiled = tuple(a[data].repeat(height, *[1] * (a.dim() - 1)) for a in args)
        rows = torch.arange(data.start, data.stop, device=x.device).repeat(height)
        terms = _terms(pair, tiled, rows)
        columns.setdefault(data.start, []).append({name: value.view(height, -1) for name, value in terms.items()})
    return {
        name: torch.cat([torch.cat([tile[name] for tile in column]) for column in columns.values()], dim=1)
        for name in ("weight", "elbo", "likelihood")
    }


def log_weights(pair: nn.Module, x: Tensor, given: Tensor | None = None, k: int = 1) -> Tensor:
    """(k, n) log importance weights in nats, k draws for each of n data: "weight" of `draws`."""
    return draws(pair, x, given, k)["weight"]


def iwae(log_w: Tensor) -> Tensor:
    """The bound IWAE-k for each datum, (n,), from (k, n) log-weights; at k = 1 the one-draw ELBO."""
    return log_w.logsumexp(0) - math.log(len(log_w))


def effective_sample_size(log_w: Tensor) -> Tensor:
    """Kish's effective number of the k draws for each datum, (n,), from 1 to k."""
    return (2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp()


def log_evidence(pair: nn.Module, x: Tensor, given: Tensor | None = None) -> Tensor | None:
    """The exact log p(x), nats: (n,) per datum, or () where a latent is global; None if the model does not know it."""
    exact = getattr(pair, "log_evidence", None)
    return exact and exact(*arguments(pair, x, given))
