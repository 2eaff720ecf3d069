"""The dependence of the sites of a model or guide on each other, traced from runs of the code."""

import copy
import inspect
from collections.abc import Callable
from typing import Literal

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from gallery.report.diagram.graph import ROW, Diagram, Node
from gallery.report.diagram.trails import SiteRecorder, Trails, bare
from inference import Pair, eval_mode
from inference.pairs.capabilities import capability
from inference.pairs.handlers import SetRows
from inference.pairs.sites import Site, observed_sites
from inference.pairs.streams import seed_torch

__all__ = ["relations"]

Run = Callable[..., poutine.Trace]


def relations(
    pair: Pair, args: tuple[Tensor, ...], of: Literal["model", "guide"] = "model", total: int | None = None
) -> Diagram:
    """Return the graph of a model or guide, from a run on two data points.

    The pair, Pyro's parameter store and the random number generator are unchanged. Discrete latents are drawn, not
    enumerated. The run is in training mode, which has penalties and corruption, or in evaluation mode if that alone
    has one observed site per step. The inputs of a guide of a sequence are the steps that it reads.

    :param args: (x,) or (x, given), n rows each
    :param of: "model" or "guide"
    :param total: number of data points, by default n
    """
    pair, few = copy.deepcopy(pair), tuple(a[:2] for a in args)

    def run(method: str, args: tuple[Tensor, ...], values: poutine.Trace | None = None) -> poutine.Trace:
        pair.train(training)
        seed_torch(0)
        with SetRows(torch.arange(len(args[0]), device=args[0].device)):
            return poutine.trace(poutine.replay(getattr(pair, method), values or poutine.Trace())).get_trace(*args)

    with eval_mode(pair), pyro.validation_enabled(False):  # some pairs are invalid on purpose
        traces = {}
        for training in (True, False):
            guide = run("guide", few)
            traces[training] = {"guide": guide, "model": run("model", few, guide)}
        training = max(traces, key=lambda training: len(observed_sites(traces[training]["model"])))
        plain, steps = traces[training], observed_sites(traces[training]["model"])

        trails, inputs = Trails(), {}
        networks: dict[str, dict[str, tuple[int, ...]]] = {}
        taken = plain[of].nodes  # a network may have the name of a site
        for trace in plain.values():
            sites: dict[str, Site] = trace.nodes
            for key, site in sites.items():
                if site["type"] == "param":
                    name, _, parameter = key.partition("$$$")
                    name = f"{name} (network)" if name in taken else name
                    networks.setdefault(name, {})[parameter] = tuple(site["value"].shape)
                    trails.mark(site["value"], {name})
        for name, a in zip(inspect.signature(pair.model).parameters, few, strict=False):
            name = f"{name} (input)" if name in taken else name
            inputs[name] = trails.mark(a.clone(), {name})

        shared = {name for name, site in plain["model"].nodes.items() if site["type"] == "sample"}
        with trails, SiteRecorder(trails, shared) as recorder:
            run(of, tuple(inputs.values()), plain["guide"] if of == "model" else None)
        parents, shapes = recorder.parents, {name: tuple(a.shape[1:]) for name, a in inputs.items()}
        if of == "guide" and len(steps) > 1 and few[0].is_floating_point():
            x = next(iter(inputs))
            masks = capability(pair, "missing_values") or capability(pair, "step_dim")
            hidden = torch.inf if masks else torch.nan
            for name, read in _steps_read(run, few, plain["guide"], hidden).items():
                if read and x in parents[name]:
                    parents[name] = parents[name] - {x} | read
            shapes |= {name: tuple(site["fn"].event_shape) for name, site in steps.items()}

    given = [Node(name, "input", shape=shape, plates=("data",)) for name, shape in (shapes | {ROW: ()}).items()]
    modules = [Node(name, "network", parameters=tuple(shapes_of.items())) for name, shapes_of in networks.items()]
    same_order = [*recorder.sites, *given, *modules] if of == "model" else [*given, *recorder.sites, *modules]
    drawn = parents.keys() | set().union(*parents.values())
    nodes = tuple(node for node in same_order if node.name in drawn)
    edges = tuple((a.name, b.name) for b in nodes for a in nodes if a.name in parents.get(b.name, ()))
    sizes = recorder.plates | {"data": total or len(args[0])}
    return Diagram(of, nodes, edges, tuple((p, n) for p, n in sizes.items() if any(p in node.plates for node in nodes)))


def _steps_read(
    run: Run, args: tuple[Tensor, ...], values: poutine.Trace, hidden: float = torch.nan
) -> dict[str, set[str]]:
    """Return for each site of a guide the observed sites x_1, x_2, ... whose part of x its density depends on.

    A trail shows that a density depends on x, not on which part. A site reads a part if its density, with the draws of
    the guide held at `values`, or the value of a Delta, changes where the part is set to `hidden`, or has a gradient
    there: a guide may mask what is hidden, and a comparison has no gradient. The gradient of an observed value with
    respect to x gives its part. The result is empty if x is an index, which has no gradient.

    :param hidden: NaN; infinity if the guide masks NaN, or takes it for the end, since the gradient of a distant part
        may underflow
    """

    def densities(x: Tensor) -> dict[str, Tensor]:
        nodes: dict[str, Site] = run("guide", (x, *args[1:]), values).nodes
        sites = {name: site for name, site in nodes.items() if site["type"] == "sample" and not site_is_subsample(site)}
        return {
            name: fn.v if isinstance(fn := bare(site["fn"]), dist.Delta) else fn.log_prob(site["value"])
            for name, site in sites.items()
        }

    def slope(value: Tensor) -> Tensor:
        if not value.requires_grad:
            return torch.zeros_like(x)
        return torch.autograd.grad(value.sum(), x, retain_graph=True, materialize_grads=True)[0]

    x = args[0].clone().requires_grad_()
    with torch.enable_grad():
        steps = {name: site["value"] for name, site in observed_sites(run("model", (x, *args[1:]), values)).items()}
        if not all(value.requires_grad for value in steps.values()):
            return {}
        parts = {name: slope(value) != 0 for name, value in steps.items()}
    usual = densities(args[0])
    try:
        with torch.enable_grad():
            slopes = {name: slope(value) for name, value in densities(x).items()}
        others = {name: densities(args[0].masked_fill(part, hidden)) for name, part in parts.items()}
    except (IndexError, RuntimeError):  # a guide that reads x as an index
        return {}

    def reads(site: str, name: str) -> bool:
        return bool(slopes[site][parts[name]].any()) or not torch.equal(others[name][site], usual[site])

    return {site: {name for name in parts if reads(site, name)} for site in usual}
