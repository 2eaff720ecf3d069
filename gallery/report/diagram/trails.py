"""Provenance of tensors, traced through one run of a pair, operation by operation.

Pyro's `get_model_relations` follows Pyro's sites only: it sees no network registered by `pyro.module`, no conditions
and no inputs of a guide. Here every tensor of the run has a trail: the names of the sites, inputs and networks it was
computed from. Inputs and parameters start with their own name, the value of a site gets the name of the site alone,
and every operation passes on the trails of its arguments. The direct parents of a site are the trail of its
log-density.

Operations are dispatched below `torch.func` and autograd, so that the Jacobian of an encoder keeps its trail. An
operation that reads only a shape, such as `x.new_zeros(3)`, or which entries are missing, `x.isnan()`, passes nothing
on. Nor does control flow of Python, such as `if x.sum() > 0`, which the contract forbids (CONTRIBUTING.md, clause 7).
"""

from collections.abc import Collection, Iterable
from typing import Any

import pyro.distributions as dist
import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gallery.report.diagram.graph import ROW, Kind, Node
from inference.pairs.sites import Site, is_delta, is_flat

__all__ = ["SiteRecorder", "Trails", "bare"]


class Trails(TorchDispatchMode):
    """The trail of each tensor, kept for its storage, which views and in-place writes share."""

    def __init__(self) -> None:
        super().__init__()
        self._of: dict[torch.UntypedStorage, frozenset[str]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        no_value = name.startswith("new_") or name.endswith("_like") or name == "isnan"
        came_from = frozenset() if no_value else self.read((args, kwargs))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self.mark(tensor, self.read(tensor) | came_from)
        return out

    def read(self, tree: Any) -> frozenset[str]:
        """Return the union of the trails of all tensors in a tree of arguments."""
        trails = (self._of.get(t.untyped_storage()) for t in tree_leaves(tree) if isinstance(t, Tensor))
        return frozenset().union(*(names for names in trails if names))

    def mark(self, tensor: Tensor, names: Iterable[str]) -> Tensor:
        """Set the trail of a tensor, and return the tensor."""
        self._of[tensor.untyped_storage()] = frozenset(names)
        return tensor


class SiteRecorder(Messenger):
    """Record the sites of a run and the trails of their log-densities, and mark each value with its own name.

    :param shared: the sites of the model: an auxiliary site among them is not of the guide alone
    """

    def __init__(self, trails: Trails, shared: Collection[str] = ()):
        super().__init__()
        self.trails, self.shared = trails, shared
        self.sites: list[Node] = []
        self.parents: dict[str, frozenset[str]] = {}
        self.plates: dict[str, int] = {}

    def _pyro_post_sample(self, msg: Site) -> None:
        if site_is_subsample(msg):
            self.plates[msg["name"]] = msg["fn"].size
            msg["value"] = self.trails.mark(msg["value"].clone(), {ROW} if msg["name"] == "data" else ())
            return
        name = msg["name"]
        msg["value"] = self.trails.mark(msg["value"].clone(), {name})
        self.sites.append(_node(msg, name in self.shared))
        self.parents[name] = self.trails.read(bare(msg["fn"]).log_prob(msg["value"])) - {name}


def bare(fn: dist.TorchDistribution) -> dist.TorchDistribution:
    """Return a distribution without its mask, expansion and event dimensions."""
    while isinstance(fn, (dist.Independent, dist.ExpandedDistribution, dist.MaskedDistribution)):
        fn = fn.base_dist
    return fn


def _family(fn: dist.TorchDistribution) -> str:
    fn = bare(fn)
    if type(fn) is dist.TransformedDistribution:
        return f"{'∘'.join(type(t).__name__ for t in reversed(fn.transforms))}({_family(fn.base_dist)})"
    return type(fn).__name__


def _node(site: Site, shared: bool) -> Node:
    fn, infer = site["fn"], site["infer"]
    plates = tuple(frame.name for frame in site["cond_indep_stack"])
    if isinstance(bare(fn), dist.Unit):
        return Node(site["name"], "factor", plates=plates)
    kind: Kind
    if infer.get("_deterministic") or (is_delta(site) and not site["is_observed"]):
        kind = "deterministic"
    elif site["is_observed"]:
        kind = "observed"
    else:
        kind = "enumerated" if infer.get("enumerate") else "latent"
    auxiliary = bool(infer.get("is_auxiliary")) and not shared
    return Node(site["name"], kind, _family(fn), tuple(fn.event_shape), plates, auxiliary, is_flat(site))
