"""What was a tensor computed from? Followed through one run of a pair, operation by operation.

Pyro's `get_model_relations` follows Pyro's sites only: it sees no network registered by `pyro.module`, nothing that a
pair conditions on, and no input of a guide. Here every tensor of the run has a trail, the names of what it was
computed from. Inputs and parameters start with their own name, each value of a site gets the name of the site alone,
and every operation hands on the trails of its arguments. What a site depends on directly is then the trail of its
log-density.

Operations are watched where they meet memory, below `torch.func` and autograd, so that the Jacobian of an encoder,
say, keeps its trail. Of an operation that reads no values but a shape, as `x.new_zeros(3)` does, nothing is handed on;
nor of what Python reads, as `if x.sum() > 0` does, which no model may (CONTRIBUTING.md, clause 7).
"""

from collections.abc import Iterable
from typing import Any

import pyro.distributions as dist
import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gallery.report.diagram.graph import ROW, Node
from inference.pairs.sites import is_delta, is_flat, unwrap

__all__ = ["Trails", "Watch", "bare"]


class Trails(TorchDispatchMode):
    """The names of what is in each tensor. They are kept for its memory, which views and in-place writes share."""

    def __init__(self):
        super().__init__()
        self._of: dict[torch.UntypedStorage, frozenset[str]] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        only_shape = name.startswith("new_") or name.endswith("_like")
        came_from = frozenset() if only_shape else self.read((args, kwargs))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self.mark(tensor, self.read(tensor) | came_from)
        return out

    def read(self, tree: Any) -> frozenset[str]:
        found = (self._of.get(t.untyped_storage()) for t in tree_leaves(tree) if isinstance(t, Tensor))
        return frozenset().union(*(names for names in found if names))

    def mark(self, tensor: Tensor, names: Iterable[str]) -> Tensor:
        self._of[tensor.untyped_storage()] = frozenset(names)
        return tensor


class Watch(Messenger):
    """Notes the sites of a run with the names in their log-densities, and gives each value its own name alone."""

    def __init__(self, trails: Trails):
        super().__init__()
        self.trails = trails
        self.sites: list[Node] = []
        self.parents: dict[str, frozenset[str]] = {}
        self.plates: dict[str, int] = {}

    def _pyro_post_sample(self, msg) -> None:
        if site_is_subsample(msg):
            self.plates[msg["name"]] = msg["fn"].size
            msg["value"] = self.trails.mark(msg["value"].clone(), {ROW})
            return
        name = msg["name"]
        msg["value"] = self.trails.mark(msg["value"].clone(), {name})
        self.sites.append(_node(msg))
        self.parents[name] = self.trails.read(bare(msg["fn"]).log_prob(msg["value"])) - {name}


def bare(fn: dist.Distribution) -> dist.Distribution:
    """The distribution without its mask and what only arranges its dimensions."""
    return unwrap(fn)


def _family(fn: dist.Distribution) -> str:
    fn = bare(fn)
    if type(fn) is dist.TransformedDistribution:
        return f"{'∘'.join(type(t).__name__ for t in reversed(fn.transforms))}({_family(fn.base_dist)})"
    return type(fn).__name__


def _node(site: dict) -> Node:
    fn, infer = site["fn"], site["infer"]
    plates = tuple(frame.name for frame in site["cond_indep_stack"])
    if isinstance(bare(fn), dist.Unit):
        return Node(site["name"], "factor", plates=plates)
    if infer.get("_deterministic") or (is_delta(site) and not site["is_observed"]):
        kind = "deterministic"
    elif site["is_observed"]:
        kind = "observed"
    else:
        kind = "enumerated" if infer.get("enumerate") else "latent"
    aside = bool(infer.get("is_auxiliary"))
    return Node(site["name"], kind, _family(fn), tuple(fn.event_shape), plates, aside, is_flat(site))
