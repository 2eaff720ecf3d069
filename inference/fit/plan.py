"""What a fit takes from the pair before its first step, with checks that pair, data and settings go together."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from inference.errors import InferenceError
from inference.fit import distributed
from inference.fit.objectives import check_objective, objective, samples_enumerated
from inference.fit.objectives.importance import Renyi_ELBO
from inference.fit.objectives.registry import Estimator
from inference.fit.settings import Settings
from inference.pairs import capabilities
from inference.pairs.data_checks import check_training, check_vectorised
from inference.pairs.info import PairInfo, inspect_pair
from inference.pairs.pair import Pair
from inference.pairs.run import Batch, arguments, cuda_devices, eval_mode
from inference.pairs.sites import is_local

__all__ = ["Plan", "plan_fit"]


@dataclass(frozen=True, eq=False)
class Plan:
    """What a fit takes from a pair.

    :param parameters: the parameters that are fitted, each once
    :param is_conditional: whether model and guide take `given`
    :param has_global_latent: whether a latent is outside the plate of the data
    :param is_per_data_point: whether the guide has separate parameters for each data point
    :param is_relaxed: whether a site that is enumerated in evaluation is sampled in training
    :param enumerated_in_model: sites that the model alone enumerates; their log-densities belong to the likelihood
    :param labelled: (n,) booleans for a stratified sample: rows with a label, where labels may be missing
    :param temperature: temperature of the pair before the fit, if settings have a final one
    :param has_delta: whether a latent of the guide is a point (Delta)
    """

    parameters: list[nn.Parameter]
    is_conditional: bool
    has_global_latent: bool
    is_per_data_point: bool
    is_relaxed: bool
    enumerated_in_model: frozenset[str]
    labelled: Tensor | None
    temperature: float | None
    has_delta: bool = False

    def is_bound(self, estimator: Estimator, beta: float) -> bool:
        """Return whether the objective of an estimator with this weight of the KL is a lower bound on the log evidence.

        No site is relaxed, and the KL has weight 1, or more: E log p(x | z) - beta KL is at most the ELBO, for a KL is
        not negative. That holds for guides with a density, and not inside the logarithm of a mean of K draws: with
        w = p(x | z) (p(z) / q(z | x))^beta the mean of w may be larger than p(x).
        """
        of_several = isinstance(estimator, Renyi_ELBO) and estimator.needs_all_data
        is_elbo = not of_several and not self.has_delta
        return (beta == 1.0 or (beta > 1.0 and is_elbo)) and not self.is_relaxed


def plan_fit(
    pair: Pair,
    x: Tensor,
    given: Tensor | None,
    settings: Settings,
    transform: Callable[[Tensor], Tensor],
    only: Literal["model", "guide"] | None = None,
) -> Plan:
    """Check that pair and settings go together, after `check_fit`, and return what a fit takes from the pair.

    The pair is left in training mode, random generators as they were.

    :param x: (n, ...) all the data
    :param given: (n, ...) labels or covariates, for a conditional model
    :param only: "model" or "guide", to fit the parameters of one
    :raises InferenceError: if they do not go together
    :raises ContractError: if a clause of the contract is broken
    """
    with torch.random.fork_rng(cuda_devices(pair)):
        two = Batch(x, given)[:2]
        few = arguments(pair, transform(two.x), two.given)
    with eval_mode(pair):
        evaluated = inspect_pair(pair, few)
    draws = objective(settings.objective, settings.particles, evaluated.has_global_latent).num_particles
    particles = evaluated.has_global_latent and draws > 1
    if evaluated.enumerated or particles:
        check_vectorised(pair, few, particles)
    pair.train()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Found ", UserWarning)  # Pyro warns of what `check_training` refuses
        info = inspect_pair(pair, few)
    check_training(pair, info)
    generative = {} if only == "guide" else info.generative_parameters
    inference = {} if only == "model" else info.inference_parameters
    parameters = list({id(p): p for p in [*generative.values(), *inference.values()]}.values())
    if only and not parameters:
        raise InferenceError(
            f"the {only} of {type(pair).__name__} registers no parameters: with only={only!r} nothing would be fitted.",
            "Leave out only, to fit both.",
        )
    by_model = info.enumerated_in_model
    _check_enumeration(pair, settings, info, len(x))
    check_objective(settings.objective, info)
    return Plan(
        parameters=parameters,
        is_conditional=len(few) > 1,
        has_global_latent=info.has_global_latent,
        is_per_data_point=info.is_per_data_point,
        is_relaxed=info.enumerated != evaluated.enumerated,
        enumerated_in_model=frozenset(by_model),
        labelled=None if by_model or len(few) < 2 else _labelled(pair, given),  # Pyro's sum has one scale for all rows
        temperature=_temperature(pair, settings),
        has_delta=bool(info.delta_sites),
    )


def _check_enumeration(pair: Pair, settings: Settings, info: PairInfo, n: int) -> None:
    """:raises InferenceError: if objective, beta or minibatches do not suit what is summed out"""
    name, summed = type(pair).__name__, ", ".join(sorted(info.enumerated))
    enumerates = settings.objective in ("enum", "enum_analytic")
    if enumerates and not summed:
        raise InferenceError(f"{name} has no discrete latent to enumerate.", ("objective", "trace"))
    if summed and not enumerates and not samples_enumerated(settings.objective):
        raise InferenceError(
            f"{name} sums out {summed}; objective {settings.objective!r} does not.", ("objective", "enum")
        )
    if settings.scales_kl and (children := info.children_of_enumerated):
        parents = ", ".join(sorted(info.enumerated_in_model))
        raise InferenceError(
            f"beta={settings.beta:g} and warmup={settings.warmup:g} weight the KL, and there is none to weight: "
            f"the prior of {', '.join(sorted(children))} depends on {parents}, which the model sums out.",
            "Use beta=1 and warmup=0.",
        )
    shared = sorted(name for name in info.enumerated_in_model if not is_local(info.prior[name]))
    if shared and (settings.batch_size < n or distributed.workers() > 1):
        raise InferenceError(
            f"the model sums out {', '.join(shared)}, which all data points share: each step needs all {n} rows, and "
            f"a minibatch has {settings.batch_size}.",
            f"Use batch_size={n}, in one process.",
        )


def _labelled(pair: Pair, given: Tensor | None) -> Tensor | None:
    """Return which rows have a label, (n,) booleans, of a pair whose labels may be missing; else None."""
    missing = capabilities.count(pair, "missing")
    return None if given is None or missing is None else given != missing


def _temperature(pair: Pair, settings: Settings) -> float | None:
    if settings.final_temperature is None:
        return None
    if (temperature := capabilities.capability(pair, "temperature")) is None:
        raise InferenceError(f"{type(pair).__name__} has no temperature.", ("final_temperature", "None"))
    return temperature.item()
