"""Clauses on what a fit needs: supports, gradients through draws, and a gradient at every parameter."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from inference.contract.case import FEW, Case, Finding
from inference.errors import InferenceError
from inference.evaluation.predictive import encode, reconstruct, sample
from inference.pairs.capabilities import capability, declared, takes_nan
from inference.pairs.checks import parameter_faults
from inference.pairs.data_checks import check_data
from inference.pairs.handlers import PosteriorMeans
from inference.pairs.info import inspect_pair
from inference.pairs.pair import Pair
from inference.pairs.properties import is_discrete, is_reparametrised, name_of, support_of
from inference.pairs.sites import Site, is_flat, latent_sites
from inference.pairs.streams import seed_torch
from inference.pairs.support_checks import impossible
from inference.pairs.unregistered import unregistered_faults
from inference.pairs.values import FROM_X, distribution_tensors, site_from_x

SCORED = ("reinforce", "score", "graph", "loo", "vimco", "disarm", "wake-sleep")  # objectives for such draws
DRAWS = 8  # of the guide for each row, checked against the support of the prior
NOISES = 16  # seeds that two losses are compared for
NUDGE = 1e-2  # added to weights and latent values, so that what depends on them changes


def support(case: Case) -> Iterator[Finding]:
    """the data lie within the support of the likelihood, and the guide's draws within that of the prior"""
    try:
        check_data(case.pair(), *case.args)
    except InferenceError as error:
        yield Finding(str(error), error)
        return
    outside = {}
    for seed in range(DRAWS):
        ran = case.run(len(case.args[0]), seed)
        for name, site in latent_sites(ran.guide).items():
            prior: Site = ran.model.nodes.get(name)
            expected = None if prior is None or is_flat(prior) else support_of(prior["fn"])
            if expected is not None and not expected.check(site["value"]).all():
                outside[name] = name_of(expected)
    for name, values in outside.items():
        yield Finding(impossible(name, values))


def registered(case: Case) -> Iterator[Finding]:
    """every parameter that is used belongs to the pair and is registered, none is in Pyro's parameter store alone"""
    pair, faults = case.pair(), set()
    for training in (True, False):
        seen = inspect_pair(pair.train(training), case.args)
        faults |= {*parameter_faults(pair, seen.model, seen.guide), *unregistered_faults(pair, seen)}
    yield from map(Finding, sorted(faults))


def evaluation(case: Case) -> Iterator[Finding]:
    """data are drawn from the model without data, encoded by the guide, and reconstructed"""
    x, *rest = case.args
    given = rest[0] if rest else None
    uses: dict[str, Callable[..., Any]] = {
        "sample": partial(sample, n=len(x)),
        "encode": encode,
        "reconstruct": reconstruct,
    }
    for name, use in uses.items():
        try:
            use(case.pair(), x, given=given)
        except InferenceError:  # undefined, as draws from a flat prior are
            pass
        except Exception as error:  # any error of the user's code
            yield Finding(f"`{name}` cannot use the pair", error)
            return


def values(case: Case) -> Iterator[Finding]:
    """the model computes nothing from the values of x, which are zeros when data are drawn"""
    for training in (True, False):
        if name := site_from_x(case.pair().train(training), case.args):
            yield Finding(FROM_X.format(name))
            return


def draws(case: Case) -> Iterator[Finding]:
    """every draw of the guide is reparametrised, enumerated or scored, and gradients pass through it"""
    for name, site in latent_sites(case.few.model).items():
        if name not in case.few.guide.nodes and not isinstance(site["fn"], dist.Categorical):
            yield Finding(f"{name} is enumerated by the model alone; expected a Categorical, with {name} an index.")
    try:
        case.svi(case.pair())
    except InferenceError as error:
        yield Finding(str(error), error)
        return
    drawn = {n: s for n, s in latent_sites(case.few.guide).items() if s["infer"].get("_enumerate_dim") is None}
    for name, site in drawn.items():
        value, fn = site["value"], site["fn"]
        if not is_reparametrised(fn) and (case.objective or "").partition(":")[0] not in SCORED:
            kind, remedy = "not reparametrised", "choose a distribution that has rsample"
            if is_discrete(fn):
                kind, remedy = "discrete", 'mark it infer={"enumerate": "parallel"} and set objective="enum"'
            yield Finding(
                f"draws of {name} are {kind}, so their gradient is that of the score function, unbiased and noisy. For "
                f'less noise {remedy}; or set objective="graph" or "loo:K".',
                remark=True,
            )
        elif is_reparametrised(fn) and not value.requires_grad and fn.log_prob(value).requires_grad:
            yield Finding(
                f"the distribution of {name} in the guide depends on parameters and its value does not. Leave the draw "
                "to pyro.sample, or use rsample, without detach and no_grad."
            )
    floating = {name: site for name, site in drawn.items() if site["value"].is_floating_point()}
    passing = [name for name, site in floating.items() if is_reparametrised(site["fn"])]
    yield from _cuts(case, passing)


def _cuts(case: Case, names: list[str]) -> Iterator[Finding]:
    """Report sites of the model whose density changes with a latent value but has no derivative by it."""

    def densities(nudged: str | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        leaves = {}

        def change(guide: poutine.Trace) -> None:
            for name in names:
                site: Site = guide.nodes[name]
                leaves[name] = site["value"].detach() + NUDGE * (1 + (name == nudged))
                site["value"] = leaves[name].requires_grad_()

        with pyro.validation_enabled(False):  # a nudge may leave the support
            model = case.run(FEW, change=change).model
            model.compute_log_prob(lambda _, site: not site_is_subsample(site))
        return leaves, {name: s["log_prob"] for name, s in model.nodes.items() if "log_prob" in s and not is_flat(s)}

    def gradient_of(density: Tensor, leaf: Tensor) -> Tensor:
        sums = density.sum()
        return torch.autograd.grad(sums, leaf, allow_unused=True, materialize_grads=True, retain_graph=True)[0]

    leaves, before = densities()
    for name, leaf in leaves.items():
        for of, moved in densities(name)[1].items():
            passes = before[of].requires_grad and gradient_of(before[of], leaf).any()
            if not passes and not equal_but_for_rounding(moved, before[of]):
                yield Finding(
                    f"the model computes {of} from {name}, but no gradient passes from {of} to {name}. Remove what "
                    "cuts it, such as detach, .data, no_grad or rounding."
                )


def equal_but_for_rounding(a: Tensor, b: Tensor) -> bool:
    """Return whether two densities differ by rounding at most, as where one number is added to all logits."""
    rounding = 20 * torch.finfo(a.dtype).eps
    return a.shape == b.shape and torch.allclose(a, b, rtol=rounding, atol=rounding, equal_nan=True)


def gradients(case: Case) -> Iterator[Finding]:
    """every parameter is registered by the model or by the guide, not by both, and gets a finite gradient"""
    pair = case.pair()
    if takes_nan(pair):
        x, width = case.args[0].clone(), capability(pair, "step_dim") or 1
        x.view(len(x), -1)[0, -width:] = torch.nan
        case = replace(case, args=(x, *case.args[1:]))
        try:
            case.svi(pair)
            case.loss(pair)
        except Exception as error:  # any error of the model
            declares = " and ".join(repr(name) for name in ("missing_values", "step_dim") if name in declared(pair))
            yield Finding(f"capability {declares} is declared, and the pair fails where x has NaN", error)
            return
    seen = inspect_pair(pair, case.args)
    parts = seen.generative_parameters, seen.inference_parameters
    generative, inference = ({id(p): name for name, p in of.items()} for of in parts)
    own = dict(pair.named_parameters())
    with torch.no_grad():  # away from points where a gradient is zero by symmetry
        for parameter in own.values():
            parameter.add_(NUDGE * torch.randn_like(parameter))
    case.loss(pair).backward()
    faults: dict[str, list[str]] = {}
    for name, parameter in own.items():
        if parameter.requires_grad and (fault := _fault(parameter, generative.keys(), inference.keys())):
            faults.setdefault(fault, []).append(name)
    for fault, names in faults.items():
        what, _, remedy = fault.partition(": ")
        yield Finding(f"{what}: {', '.join(names)}. {remedy[0].upper()}{remedy[1:]}.")
    for part, of in (("guide", inference), ("model", generative)):
        yield from _fixed(case, part, {name for name, p in own.items() if p.requires_grad and id(p) in of})


def padding(case: Case) -> Iterator[Finding]:
    """a sequence with NaN after its end has the loss of the sequence alone"""
    x, width = case.args[0].double(), capability(case.pair(), "step_dim")
    end = x.shape[1] // width // 2 * width if width else 0
    if not end:
        return
    rest = tuple(a.double() if a.is_floating_point() else a for a in case.args[1:])
    padded = replace(case, args=(x.index_fill(1, torch.arange(end, x.shape[1], device=x.device), torch.nan), *rest))
    alone = replace(case, args=(x[:, :end], *rest))
    try:
        alone.svi(case.pair().double())
    except Exception as error:  # any error of a model that takes sequences of one length
        yield Finding("is not checked, since sequences of half the length are refused", error, remark=True)
        return
    for training in (True, False):
        if losses := _differing_losses(padded, alone, training):
            yield Finding(
                f"with NaN after the end of its sequences x has the loss {losses[0]:.6g}, and without these steps "
                f"{losses[1]:.6g}. Mask them in the likelihood, and the latents of these steps in model and guide."
            )
            return


def _differing_losses(first: Case, second: Case, training: bool) -> tuple[float, float] | None:
    """Return the losses of a pair on two sets of data, with latents at their means; None if they are the same.

    Other noise, such as that of dropout, may be drawn in another order: then the means over NOISES seeds are compared.
    """
    for seeds in (1, NOISES):
        losses = []
        for case in (first, second):
            pair = case.pair().double()
            loss, rows = case.minibatch_loss(pair), torch.arange(len(case.args[0]))
            pair.train(training)  # `minibatch_loss` leaves it in training mode
            for seed in range(seeds):
                seed_torch(seed)
                with PosteriorMeans():
                    losses.append(loss(rows).item())
        of_first, of_second = torch.tensor(losses, dtype=torch.float64).view(2, seeds)
        off, means = of_first - of_second, (of_first.mean().item(), of_second.mean().item())
        noise = 5 * off.std().item() / seeds**0.5 if seeds > 1 else 0.0
        if abs(off.mean().item()) <= noise + 1e-8 * (1 + abs(means[1])):
            return None
    return means


def _fixed(case: Case, part: str, learnt: set[str]) -> Iterator[Finding]:
    """Report sites of a part whose distribution changes with the parameters `learnt` there but has no derivative.

    Parameters that the guide borrows from the model, as for an exact posterior, may be held fixed.
    """

    def nudged() -> Pair:
        pair, generator = case.build(), torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, parameter in pair.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.add_(NUDGE * noise * (name in learnt))
        return pair

    with pyro.validation_enabled(False):  # a nudge may leave the support
        runs = [c.run(len(c.args[0]), drawn=case.all.guide) for c in (case, replace(case, build=nudged))]
    before, after = ({name: site for of, name, site in ran.sites if of == part} for ran in runs)
    for name in filter(after.get, before):
        moved, own = (distribution_tensors(of[name]["fn"]) for of in (after, before))
        fixed = {key: value for key, value in own.items() if value.is_floating_point() and not value.requires_grad}
        cut = [key for key, value in fixed.items() if not torch.equal(value, moved[key])]
        if cut and not is_flat(before[name]):
            yield Finding(
                f"the {part} computes {' and '.join(cut)} of {name} from parameters, but no gradient reaches them. "
                "Remove what cuts it, such as detach, .data, no_grad or rounding."
            )


def _fault(parameter: nn.Parameter, generative, inference) -> str | None:
    gradient = parameter.grad
    if id(parameter) not in generative | inference:
        return "neither registered nor used: use it in model or guide, or remove it"
    if gradient is None or not gradient.any():
        return (
            "registered, but without a gradient: it is not used, or its output is cut off by detach, no_grad or "
            "sample in place of rsample"
        )
    if not gradient.isfinite().all():
        return "with a gradient that is not finite: check logarithms, divisions and roots near 0"
    if id(parameter) in generative & inference:
        return "registered by both: a network that the guide borrows is registered by the model alone"
    return None
