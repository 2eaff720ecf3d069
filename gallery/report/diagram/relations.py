"""Who depends on whom in a model or a guide, read off runs of the code itself."""

import copy
import inspect
from collections.abc import Callable
from typing import Literal

import pyro
import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from gallery.report.diagram.graph import ROW, Diagram, Node
from gallery.report.diagram.trails import Trails, Watch, bare
from inference import eval_mode
from inference.pairs.handlers import SetRows
from inference.pairs.sites import observed_sites

__all__ = ["relations"]

Run = Callable[..., poutine.Trace]


def relations(
    pair: nn.Module, args: tuple[Tensor, ...], of: Literal["model", "guide"] = "model", total: int | None = None
) -> Diagram:
    """The graph of a model, or of a guide, from a run on two data; the pair, Pyro's store and random numbers are left
    as they were. Discrete latents are drawn, not enumerated.

    It is a run in training mode, where penalties and corruption are; but where evaluation mode alone tells the data in
    steps, in that one. Of a guide of steps the inputs are the steps that it reads.

    :param args: (x,) or (x, given), n rows each
    :param total: number of data, by default n
    """
    pair, few = copy.deepcopy(pair), tuple(a[:2] for a in args)

    def run(method: str, args: tuple[Tensor, ...], values: poutine.Trace | None = None) -> poutine.Trace:
        pair.train(training)
        torch.manual_seed(0)
        with SetRows(torch.arange(len(args[0]), device=args[0].device)):
            return poutine.trace(poutine.replay(getattr(pair, method), values or poutine.Trace())).get_trace(*args)

    with eval_mode(pair), pyro.validation_enabled(False):  # some pairs are here to show what does not fit together
        seen = {}
        for training in (True, False):
            guide = run("guide", few)
            seen[training] = {"guide": guide, "model": run("model", few, guide)}
        training = max(seen, key=lambda training: len(observed_sites(seen[training]["model"])))
        plain, steps = seen[training], observed_sites(seen[training]["model"])

        trails, networks, inputs = Trails(), {}, {}
        taken = plain[of].nodes  # a network, say, may have the name of a site
        for trace in plain.values():
            for key, site in trace.nodes.items():
                if site["type"] == "param":
                    name, _, parameter = key.partition("$$$")
                    name = f"{name} (network)" if name in taken else name
                    networks.setdefault(name, {})[parameter] = tuple(site["value"].shape)
                    trails.mark(site["value"], {name})
        for name, a in zip(inspect.signature(pair.model).parameters, few, strict=False):
            name = f"{name} (input)" if name in taken else name
            inputs[name] = trails.mark(a.clone(), {name})

        with trails, Watch(trails) as watch:
            run(of, tuple(inputs.values()), plain["guide"] if of == "model" else None)
        parents, shapes = watch.parents, {name: tuple(a.shape[1:]) for name, a in inputs.items()}
        if of == "guide" and len(steps) > 1 and few[0].is_floating_point():
            x = next(iter(inputs))
            for name, read in _steps_read(run, few, plain["guide"]).items():
                if read and x in parents[name]:
                    parents[name] = parents[name] - {x} | read
            shapes |= {name: tuple(site["fn"].event_shape) for name, site in steps.items()}

    given = [Node(name, "input", shape=shape, plates=("data",)) for name, shape in (shapes | {ROW: ()}).items()]
    modules = [Node(name, "network", parameters=tuple(found.items())) for name, found in networks.items()]
    same_order = [*watch.sites, *given, *modules] if of == "model" else [*given, *watch.sites, *modules]
    drawn = parents.keys() | set().union(*parents.values())
    nodes = tuple(node for node in same_order if node.name in drawn)
    edges = tuple((a.name, b.name) for b in nodes for a in nodes if a.name in parents.get(b.name, ()))
    sizes = watch.plates | {"data": total or len(args[0])}
    return Diagram(of, nodes, edges, tuple((p, n) for p, n in sizes.items() if any(p in node.plates for node in nodes)))


def _steps_read(run: Run, args: tuple[Tensor, ...], values: poutine.Trace) -> dict[str, set[str]]:
    """For each site of a guide, the sites of data x_1, x_2, ... whose part of x its density is computed from.

    A trail tells that it reads x, and not where. So each part in turn is set to NaN, with every draw of the guide held
    at `values`: what reads it has another density then. Which part of x a site of data is, its gradient tells. There
    is none, and nothing to tell, where x is a number for a category.
    """

    def densities(x: Tensor) -> dict[str, Tensor]:
        nodes = run("guide", (x, *args[1:]), values).nodes.items()
        sites = {name: site for name, site in nodes if site["type"] == "sample" and not site_is_subsample(site)}
        return {name: bare(site["fn"]).log_prob(site["value"]) for name, site in sites.items()}

    x = args[0].clone().requires_grad_()
    with torch.enable_grad():
        steps = {name: site["value"] for name, site in observed_sites(run("model", (x, *args[1:]), values)).items()}
        if not all(value.requires_grad for value in steps.values()):
            return {}
        parts = {name: torch.autograd.grad(value.sum(), x)[0] != 0 for name, value in steps.items()}
    usual = densities(args[0])
    try:
        others = {name: densities(args[0].masked_fill(part, torch.nan)) for name, part in parts.items()}
    except (IndexError, RuntimeError):  # a guide that reads x as an index
        return {}
    return {site: {name for name in parts if not torch.equal(others[name][site], usual[site])} for site in usual}
