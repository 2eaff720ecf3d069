"""The log-density of a model in parts of each data point, with the sites summed out that the model alone enumerates."""

from collections import OrderedDict

import torch
from pyro import poutine
from pyro.ops import packed
from pyro.ops.contract import contract_tensor_tree
from torch import Tensor

from inference.pairs.sites import Site, enumerated_sites, factor_sites, is_local, observed_sites, other_plate

__all__ = ["of_each_row", "summed_by_model"]


def of_each_row(site: Site, n: int) -> Tensor:
    """Return the part of each row in the log-density of a site, (..., rows), or (..., 1) where all are alike.

    A site outside the plate of the data counts once, for all items of its plate together: 1 / n of it for each row.

    :param n: number of all data points
    """
    return site["log_prob"] if is_local(site) else _share(site["log_prob"], other_plate(site) is not None, n)


def _share(log_prob: Tensor, has_items: bool, n: int) -> Tensor:
    return (log_prob.sum(-1, keepdim=True) if has_items else log_prob) / n


def summed_by_model(
    model: poutine.Trace, guide: poutine.Trace, rows: Tensor, n: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Compute log p(x, z), with the sites that the model alone enumerates summed out, and the expected log-likelihood
    and sum of the factors; None if there are no factors.

    The expectations are over the posterior of those sites: the first is the derivative of log p(x^t, z) with respect
    to t at 1, the second that with respect to a multiple of the factors. The sum goes site by site along the
    dependencies (message passing), as in TraceEnum_ELBO: its cost grows linearly, not exponentially, with the length of
    a chain under `pyro.markov`.

    :param rows: their indices
    :param n: number of all data points
    """
    guide.pack_tensors()
    model.pack_tensors(guide.plate_to_symbol)
    kept, alone = enumerated_sites(model, guide)
    sites: dict[str, Site] = model.nodes
    infer = {name: sites[name]["infer"] for name in kept | alone}
    dims = {infer[name]["_enumerate_dim"]: infer[name]["_enumerate_symbol"] for name in kept}
    shape = torch.broadcast_shapes(rows.shape, *(guide.nodes[name]["log_prob"].shape for name in kept))
    data, added, graph = observed_sites(model), factor_sites(model), torch.is_grad_enabled()
    with torch.enable_grad():
        t = model.nodes[next(iter(data))]["log_prob"].new_ones(shape, requires_grad=True)
        multiple = t.new_ones((), requires_grad=True)
        factors: OrderedDict[frozenset, list[Tensor]] = OrderedDict()
        for name, site in sites.items():
            if site["type"] == "sample":
                plates = frozenset(model.plate_to_symbol[f.name] for f in site["cond_indep_stack"] if f.vectorized)
                term = site["packed"]["log_prob"]
                if name in data or name in added:
                    of_site = site["log_prob"]  # minus infinity, of what cannot be, stays it
                    scaled = torch.where(of_site.isinf(), of_site, of_site * (t if name in data else multiple))
                    term = packed.pack(scaled, site["infer"]["_dim_to_symbol"] | dims)
                factors.setdefault(plates, []).append(term)
        log_p, symbols = torch.zeros_like(t), {infer[name]["_enumerate_symbol"] for name in alone}
        of_data = model.plate_to_symbol["data"]
        for plates, terms in contract_tensor_tree(factors, symbols).items():
            for term in (packed.unpack(term, model.symbol_to_dim) for term in terms):
                log_p = log_p + (term if of_data in plates else _share(term, bool(plates), n))
        of_factors = _derivative(log_p, multiple, graph) if added else None
        (likelihood,) = torch.autograd.grad(log_p.sum(), t, create_graph=graph)
    return log_p if graph else log_p.detach(), likelihood, of_factors


def _derivative(value: Tensor, of: Tensor, graph: bool) -> Tensor:
    """Return the derivative of each entry of a tensor with respect to a number, by differentiating twice."""
    weights = torch.ones_like(value, requires_grad=True)
    (weighted,) = torch.autograd.grad(value, of, weights, create_graph=True)
    (derivative,) = torch.autograd.grad(weighted, weights, create_graph=graph, retain_graph=True)
    return derivative
