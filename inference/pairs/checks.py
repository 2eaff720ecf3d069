"""Describe what is wrong with the sites, plates, shapes and parameters of a pair, and name what is not finite."""

import inspect
import re
from collections.abc import Collection, Iterator
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from inference.errors import InferenceError
from inference.pairs.pair import Pair
from inference.pairs.run import importance_traces, param_scope
from inference.pairs.sites import Site, is_local, latent_sites, observed_sites, other_plate

__all__ = [
    "BY_ROWS",
    "ContractError",
    "first_not_finite",
    "misfit_fault",
    "parameter_faults",
    "parameter_of",
    "plate_faults",
    "shape_faults",
    "signature_faults",
    "site_faults",
]

PLATE = 'Write pyro.plate("data", total or len(x), subsample_size=len(x))'
BY_ROWS = (
    "Index what belongs to a data point by the rows of the plate: "
    '`with pyro.plate("data", total or len(x), subsample_size=len(x)) as rows`, and then weight[rows].'
)
RESERVED = {"mean": "E[x | latents] is among the draws of `sample`", "data": "the plate is"}
MISFIT = re.compile(r"Shape mismatch inside plate\('(.*)'\) at site (\S+) dim \S+, (\d+) vs (\d+)")


class ContractError(InferenceError):
    """A breach of a clause of the contract that makes the numbers of a fit meaningless.

    >>> error = ContractError("values", "the model computes x from the values of x.")
    >>> print(error)
    clause "values" of the contract: the model computes x from the values of x.

    :param clause: its name in `inference.contract.CLAUSES`
    :param fault: what is wrong, expected, got, what to do
    """

    def __init__(self, clause: str, fault: str):
        self.clause, self.fault = clause, fault
        super().__init__(f'clause "{clause}" of the contract: {fault}')

    def __reduce__(self) -> tuple[type["ContractError"], tuple[str, str]]:
        return type(self), (self.clause, self.fault)


def signature_faults(pair: Pair, args: tuple[Tensor, ...]) -> Iterator[str]:
    """Yield a sentence for a model or guide that cannot be called with x, `given` if the model takes it, and total.

    :param args: (x,) or (x, given)
    """
    names = ", ".join(["self", "x", "given"][: 1 + len(args)])
    for part, function in (("model", pair.model), ("guide", pair.guide)):
        try:
            inspect.signature(function).bind(*args, total=None)
        except TypeError as error:
            yield f"{part} cannot be called as the fit does ({error}). Write `def {part}({names}, total=None)`."


def site_faults(model: poutine.Trace, guide: poutine.Trace) -> Iterator[str]:
    """Yield a sentence for each latent that model and guide do not share, and for observed sites that are not x.

    A trace that an exception has cut short is checked as far as it goes.
    """
    inferred, observed = latent_sites(guide), observed_sites(model)
    masked = [name.removesuffix("_unobserved") for name in model.nodes if name.endswith("_unobserved")]
    if masked := [name for name in masked if f"{name}_observed" in model.nodes]:
        yield (
            f"obs_mask makes of {masked[0]} the sites {masked[0]}_observed and {masked[0]}_unobserved. Leave out what "
            f"is missing instead: `with pyro.poutine.mask(mask=known): pyro.sample({masked[0]!r}, ..., obs=x)`."
        )
        return
    prior = {name: site for name, site in latent_sites(model).items() if name not in observed}  # also without data
    if taken := [name for name in prior if name in RESERVED]:
        yield f"a latent is named {taken[0]}, as {RESERVED[taken[0]]}. Give it the symbol of the docstring."
    absent = [name for name, site in prior.items() if name not in inferred and not site["infer"].get("enumerate")]
    more = [name for name in inferred if name not in prior]
    if "_RETURN" in guide.nodes and "_RETURN" in model.nodes and len(absent) == len(more) == 1:
        yield f"the guide has the latent {more[0]} where the model has {absent[0]}. Give it one name in both."
        absent, more = [], []
    for name in absent if "_RETURN" in guide.nodes else ():
        yield (
            f"{name} is latent in the model, and the guide has no {name}. Sample it in the guide too, or give it "
            "obs=... in the model if it is data."
        )
    if "_RETURN" not in model.nodes:
        return
    for name in more:
        yield (
            f"{name} is latent in the guide, and not in the model. Give it a prior there, or mark it "
            'infer={"is_auxiliary": True} if it is noise of the guide alone.'
        )
    if not observed or observed.keys() not in ({"x"}, {f"x_{t}" for t in range(1, len(observed) + 1)}):
        yield (
            f"the observed sites of the model are: {', '.join(observed) or 'none'}; expected x alone, or x_1, x_2, ... "
            "for the columns of x from left to right, or for its time steps. Write "
            + (
                'pyro.sample("x_1", ..., obs=x[:, :k]), and so on.'
                if len(observed) > 1
                else 'pyro.sample("x", ..., obs=x).'
            )
        )


def plate_faults(
    model: poutine.Trace, guide: poutine.Trace, rows: int, total: int, varies: Collection[tuple[str, str]] = ()
) -> Iterator[str]:
    """Yield a sentence for each plate or site that does not scale a minibatch of `rows` out of `total` data points.

    :param varies: (part, name) of the sites whose shape differs with more rows; part is "model" or "guide"
    """
    for part, trace in (("guide", guide), ("model", model)):
        yield from _more_plates(part, trace)
        yield from _subsampled(part, trace)
        fn: Any = trace.nodes["data"]["fn"] if "data" in trace.nodes else None
        right = fn is None or (fn.size, fn.subsample_size) == (total, rows)
        if not right:
            yield (
                f"{part}: plate 'data' has size {fn.size}, subsample_size {fn.subsample_size or fn.size}; expected "
                f"size {total}, subsample_size {rows}. {PLATE}."
            )
        nodes: dict[str, Site] = trace.nodes
        for name, site in nodes.items():
            if site["type"] != "sample" or site_is_subsample(site):
                continue
            plates = {frame.name: frame.dim for frame in site["cond_indep_stack"] if frame.vectorized}
            expected = total / rows if "data" in plates else 1.0
            belongs = (part, name) in varies or name in observed_sites(model)  # to a data point
            if plates not in ({}, {"data": -1}) and (belongs or "data" in plates or [*plates.values()] != [-1]):
                which = ", ".join(f"{key!r} (dim {dim})" for key, dim in plates.items())
                yield (
                    f"{part}: site {name} is in the plates {which}; expected 'data' (dim -1) alone. {PLATE} around "
                    "what belongs to a data point, and fold other dimensions into the event by .to_event. One plate of "
                    "another name, outside 'data', may stand around global latents."
                )
            elif plates and "data" not in plates and site["infer"].get("enumerate"):
                yield (
                    f"{part}: site {name} is enumerated in the plate {next(iter(plates))!r}, and a data point may "
                    "depend on all its items together. Draw it in the guide without enumerate, and fit with the "
                    'objective "loo:2".'
                )
            elif not plates and belongs:
                yield f"{part}: site {name} belongs to a data point and is outside the plate 'data'. {PLATE} around it."
            elif right and float(site["scale"]) != expected:
                yield (
                    f"{part}: site {name} has scale {float(site['scale']):g}; expected {expected:g}. Leave out "
                    "poutine.scale, and weight the KL by the setting beta."
                )


def _more_plates(part: str, trace: poutine.Trace) -> Iterator[str]:
    """Yield a sentence for a second plate in which an exception has cut the trace short."""
    if "_RETURN" in trace.nodes:
        return
    stacks = [site["cond_indep_stack"] for site in trace.nodes.values() if site["type"] == "sample"]
    sequential = {frame.name for stack in stacks for frame in stack if not frame.vectorized}
    for name, site in trace.nodes.items():
        within = site["type"] == "sample" and site_is_subsample(site) and is_local(site)
        if within and name != "data" and name not in sequential:
            yield (
                f"{part}: the plate {name!r} stands within 'data'; expected 'data' alone. Fold its dimension into the "
                "event by .to_event, and leave the plate out."
            )


def _subsampled(part: str, trace: poutine.Trace) -> Iterator[str]:
    """Yield a sentence for each plate beside the data that is subsampled."""
    site: Site
    for name, site in trace.nodes.items():
        if site["type"] != "sample" or not site_is_subsample(site) or name == "data":
            continue
        if (taken := len(site["value"])) < (size := site["fn"].size):
            yield (
                f"{part}: plate {name!r} has size {size}, subsample_size {taken}; expected subsample_size {size}: "
                f"minibatches are of the data alone. Write pyro.plate({name!r}, {size})."
            )


def shape_faults(
    model: poutine.Trace, guide: poutine.Trace, wider: tuple[poutine.Trace, poutine.Trace] | None = None
) -> Iterator[str]:
    """Yield a sentence for each site whose batch shape is not that of its plate, or whose event has the batch in it.

    Traces that an exception has cut short are checked as far as they go, batch shapes where nothing is enumerated.

    :param wider: traces of model and guide on another number of rows
    """
    site: Site
    nodes: list[Site] = [*model.nodes.values(), *guide.nodes.values()]
    events: dict[str, torch.Size] = {}
    enumerates = any(site["type"] == "sample" and site["infer"].get("_enumerate_dim") is not None for site in nodes)
    for i, (part, trace) in enumerate((("model", model), ("guide", guide))):
        for name, site in trace.nodes.items():
            if site["type"] != "sample" or site_is_subsample(site):
                continue
            batch, event, other = site["fn"].batch_shape, site["fn"].event_shape, other_plate(site)
            prior: Any = model.nodes.get(name)
            another: Any = wider[i].nodes.get(name) if wider else None
            if another is not None and another["fn"].event_shape != event:
                yield (
                    f"{name} of the {part} has event shape {tuple(event)}, and {tuple(another['fn'].event_shape)} for "
                    f"another number of rows: the batch is part of the event. Write .to_event({len(event) - 1}), "
                    "which leaves the dimension of the plate."
                )
            elif len(batch) > (is_local(site) or other is not None) and not enumerates:
                own = "()" if other is None else f"the plate {other.name!r} alone"
                yield (
                    f"{name} of the {part} has batch shape {tuple(batch)}; expected "
                    f"{'the plate of the data alone' if is_local(site) else f'{own}, one draw for all data'}. "
                    f"{'' if is_local(site) or other else 'Draw what belongs to a data point inside the plate. '}Make "
                    "the other dimensions part of the event by .to_event(1)."
                )
            elif events.setdefault(name, event) != event and part == "guide" and is_local(prior) > is_local(site):
                yield f"{name} stands in the plate 'data' in the model, and outside it in the guide. {BY_ROWS}"
            elif events[name] != event:
                yield (
                    f"{name} has event shape {tuple(event)} in the guide and {tuple(events[name])} in the model; "
                    "expected the same. Check .to_event and the widths of the networks."
                )


def misfit_fault(error: Exception | None, total: int = 0) -> str | None:
    """Return a sentence for an exception of Pyro about a dimension that is not the plate's; None for any other.

    :param total: number of all data points: as many values as these are taken for one of each
    """
    if (found := MISFIT.search(str(error))) is None:
        return None
    plate, name, rows, width = found.groups()
    misfit = f"{name} has {width} values along the dimension where the plate {plate!r} counts {rows} rows"
    event = f"of {'one data point' if plate == 'data' else 'one draw'} part of the event by .to_event(1)."
    if plate == "data" and int(width) == total:
        return f"{misfit}, as many as there are data points. {BY_ROWS} Or make the dimensions {event}"
    return f"{misfit}. Make the dimensions {event}"


def parameter_of(value: Any) -> nn.Parameter:
    """Return the tensor that is learnt of a param site's value: itself, or what a constraint makes it from."""
    return value.unconstrained() if hasattr(value, "unconstrained") else value


def parameter_faults(pair: Pair, model: poutine.Trace, guide: poutine.Trace) -> Iterator[str]:
    """Yield a sentence for each parameter that is in Pyro's parameter store alone."""
    own = {id(parameter) for parameter in pair.parameters()}
    site: Site
    for trace in (model, guide):
        for name, site in trace.nodes.items():
            if site["type"] == "param" and id(parameter_of(site["value"])) not in own:
                yield (
                    f"pyro.param({name.replace('$$$', '.')!r}) is outside the module, so no optimiser and no file of "
                    "weights has it. Make it an nn.Parameter in an nn.ParameterDict, with its constraint written out."
                )


def first_not_finite(pair: Pair, args: tuple[Tensor, ...], rows: Tensor) -> str:
    """Return the name of the first parameter, latent value or log-density that is not finite, for an error message.

    The pair is run in the mode that it is in: what fails in training mode may be finite in evaluation mode.

    :param args: (x,) or (x, given), (n, ...) each
    :param rows: (n,) their indices among all data
    """
    with torch.no_grad(), param_scope(), pyro.validation_enabled(False):
        model, guide = importance_traces(pair, args, rows)
    site: Site
    for trace in (guide, model):
        for name, site in trace.nodes.items():
            if site["type"] == "param" and not torch.isfinite(site["value"]).all():
                return f"parameter {name.replace('$$$', '.')}"
    for trace in (guide, model):
        for name, site in trace.nodes.items():
            if site["type"] == "sample" and not torch.isfinite(site["value"]).all():
                return f"site {name}"
            if site["type"] == "sample" and not torch.isfinite(site["log_prob"]).all():
                return f"log-density of site {name}"
    return "the gradient"
