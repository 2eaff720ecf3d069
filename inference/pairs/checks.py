"""Describe what is wrong with the sites, plates and parameters of a pair, and name what is not finite."""

from collections.abc import Collection, Iterator
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from inference.pairs.pair import Pair
from inference.pairs.run import importance_traces, param_scope
from inference.pairs.sites import Site, latent_sites, observed_sites

__all__ = ["first_not_finite", "parameter_faults", "plate_faults", "site_faults"]

PLATE = 'Write pyro.plate("data", total or len(x), subsample_size=len(x))'


def site_faults(model: poutine.Trace, guide: poutine.Trace) -> Iterator[str]:
    """Yield a sentence for each latent that model and guide do not share, and for observed sites that are not x.

    A trace that an exception has cut short is checked as far as it goes.
    """
    inferred, observed = latent_sites(guide), observed_sites(model)
    prior = {name: site for name, site in latent_sites(model).items() if name not in observed}  # also without data
    if "_RETURN" in guide.nodes:
        for name, site in prior.items():
            if name not in inferred and not site["infer"].get("enumerate"):
                yield (
                    f"{name} is latent in the model, and the guide has no {name}. Sample it in the guide too, or give "
                    "it obs=... in the model if it is data."
                )
    if "_RETURN" not in model.nodes:
        return
    for name in inferred:
        if name not in prior:
            yield (
                f"{name} is latent in the guide, and not in the model. Give it a prior there, or mark it "
                'infer={"is_auxiliary": True} if it is noise of the guide alone.'
            )
    if not observed or observed.keys() not in ({"x"}, {f"x_{t}" for t in range(1, len(observed) + 1)}):
        yield (
            f"the observed sites of the model are: {', '.join(observed) or 'none'}; expected x, or x_1, x_2, ... with "
            'one for each time step. Write pyro.sample("x", ..., obs=x).'
        )


def plate_faults(
    model: poutine.Trace, guide: poutine.Trace, rows: int, total: int, varies: Collection[tuple[str, str]] = ()
) -> Iterator[str]:
    """Yield a sentence for each plate or site that does not scale a minibatch of `rows` out of `total` data points.

    :param varies: (part, name) of the sites whose shape differs with more rows; part is "model" or "guide"
    """
    for part, trace in (("guide", guide), ("model", model)):
        fn: Any = trace.nodes["data"]["fn"] if "data" in trace.nodes else None
        right = fn is None or (fn.size, fn.subsample_size) == (total, rows)
        if not right:
            yield (
                f"{part}: plate 'data' has size {fn.size}, subsample_size {fn.subsample_size or fn.size}; expected "
                f"size {total}, subsample_size {rows}. {PLATE}."
            )
        for name, site in trace.nodes.items():
            if site["type"] != "sample" or site_is_subsample(site):
                continue
            plates = {frame.name: frame.dim for frame in site["cond_indep_stack"] if frame.vectorized}
            expected = total / rows if plates else 1.0
            if plates not in ({}, {"data": -1}):
                which = ", ".join(f"{key!r} (dim {dim})" for key, dim in plates.items())
                yield (
                    f"{part}: site {name} is in the plates {which}; expected 'data' (dim -1) alone. {PLATE} around "
                    "what belongs to a data point, no plate around global latents, and fold other dimensions into the "
                    "event by .to_event."
                )
            elif not plates and ((part, name) in varies or name in observed_sites(model)):
                yield f"{part}: site {name} belongs to a data point and is outside the plate 'data'. {PLATE} around it."
            elif right and float(site["scale"]) != expected:
                yield (
                    f"{part}: site {name} has scale {float(site['scale']):g}; expected {expected:g}. Leave out "
                    "poutine.scale, and weight the KL by the setting beta."
                )


def parameter_faults(pair: Pair, model: poutine.Trace, guide: poutine.Trace) -> Iterator[str]:
    """Yield a sentence for each parameter that is in Pyro's parameter store alone."""
    own = {id(parameter) for parameter in pair.parameters()}
    for trace in (model, guide):
        for name, site in trace.nodes.items():
            if site["type"] == "param" and id(site["value"]) not in own:
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
