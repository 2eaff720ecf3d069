"""The log-density of a model in parts of each data point, with the sites summed out that the model alone enumerates."""

from collections import OrderedDict

import torch
from pyro import poutine
from pyro.ops import packed
from pyro.ops.contract import contract_tensor_tree
from torch import Tensor

from inference.pairs.sites import Site, enumerated_sites, is_local, observed_sites, other_plate

__all__ = ["of_each_row", "summed_by_model"]


def of_each_row(site: Site, n: int) -> Tensor:
    """Return the part of each of n rows in the log-density of a site, (..., n), or (..., 1) where all are alike.

    A site outside the plate of the data counts once, for all items of its plate together: 1 / n of it for each row.
    """
    return site["log_prob"] if is_local(site) else _share(site["log_prob"], other_plate(site) is not None, n)


def _share(log_prob: Tensor, has_items: bool, n: int) -> Tensor:
    return (log_prob.sum(-1, keepdim=True) if has_items else log_prob) / n


def summed_by_model(model: poutine.Trace, guide: poutine.Trace, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Compute log p(x, z), with the sites that the model alone enumerates summed out, and the expected log-likelihood.

    The expectation is over the posterior of those sites. It is the derivative of log p(x^t, z) with respect to t at 1.
    The sum goes site by site along the dependencies (message passing), as in TraceEnum_ELBO: its cost grows linearly,
    not exponentially, with the length of a chain under `pyro.markov`.

    :param rows: (n,) their indices
    """
    guide.pack_tensors()
    model.pack_tensors(guide.plate_to_symbol)
    kept, alone = enumerated_sites(model, guide)
    sites: dict[str, Site] = model.nodes
    infer = {name: sites[name]["infer"] for name in kept | alone}
    dims = {infer[name]["_enumerate_dim"]: infer[name]["_enumerate_symbol"] for name in kept}
    shape = torch.broadcast_shapes(rows.shape, *(guide.nodes[name]["log_prob"].shape for name in kept))
    data, graph = observed_sites(model), torch.is_grad_enabled()
    with torch.enable_grad():
        t = model.nodes[next(iter(data))]["log_prob"].new_ones(shape, requires_grad=True)
        factors: OrderedDict[frozenset, list[Tensor]] = OrderedDict()
        for name, site in sites.items():
            if site["type"] == "sample":
                plates = frozenset(model.plate_to_symbol[f.name] for f in site["cond_indep_stack"] if f.vectorized)
                term = site["packed"]["log_prob"]
                if name in data:
                    term = packed.pack(site["log_prob"] * t, site["infer"]["_dim_to_symbol"] | dims)
                factors.setdefault(plates, []).append(term)
        log_p, symbols = torch.zeros_like(t), {infer[name]["_enumerate_symbol"] for name in alone}
        of_data = model.plate_to_symbol["data"]
        for plates, terms in contract_tensor_tree(factors, symbols).items():
            for term in (packed.unpack(term, model.symbol_to_dim) for term in terms):
                log_p = log_p + (term if of_data in plates else _share(term, bool(plates), len(rows)))
        (likelihood,) = torch.autograd.grad(log_p.sum(), t, create_graph=graph)
    return (log_p, likelihood) if graph else (log_p.detach(), likelihood)
