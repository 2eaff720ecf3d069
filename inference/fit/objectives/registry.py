"""The table of objectives: their names, estimators and parameters."""

import math
from collections.abc import Callable
from typing import Any, Protocol

from pyro.infer import Trace_ELBO, TraceEnum_ELBO

from inference.errors import InferenceError
from inference.fit.objectives.baselines import VIMCO_ELBO, DisARM_ELBO, LeaveOneOut_ELBO
from inference.fit.objectives.checks import Checked
from inference.fit.objectives.filtering import FIVO_ELBO
from inference.fit.objectives.importance import CIWAE_ELBO, MIWAE_ELBO, Renyi_ELBO, WakeSleep_ELBO
from inference.fit.objectives.mean_field import FreeBits_ELBO, MeanField_ELBO, TraceEnumMeanField_ELBO
from inference.fit.objectives.path_gradients import PIWAE_ELBO, STL_ELBO, DReG_ELBO
from inference.fit.objectives.score_function import Graph_ELBO, Reinforce_ELBO
from inference.pairs.info import PairInfo

__all__ = [
    "ALIASES",
    "OBJECTIVES",
    "Estimator",
    "check_objective",
    "objective",
    "parse_objective",
    "samples_enumerated",
]


class Estimator(Protocol):
    """An estimator of a bound, as Pyro's classes of ELBO are."""

    num_particles: int
    vectorize_particles: bool

    def differentiable_loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Return minus the bound, a scalar in nats, whose gradient is that of the estimator."""


OBJECTIVES: dict[str, tuple[Callable[..., Estimator], str]] = {
    "trace": (Trace_ELBO, "the ELBO with every term sampled"),
    "analytic": (MeanField_ELBO, "KL(guide || prior) in closed form where Pyro has one"),
    "free-bits:NATS": (
        FreeBits_ELBO,
        "analytic, with NATS of KL in every dimension of a latent free of charge",
    ),
    "enum": (TraceEnum_ELBO, "discrete latent sites that are marked for enumeration summed out"),
    "enum_analytic": (TraceEnumMeanField_ELBO, "enum, with KL(guide || prior) of the other sites in closed form"),
    "graph": (Graph_ELBO, "trace, with less noise where draws are not reparametrised and depend on each other"),
    "stl": (STL_ELBO, "trace with the guide's gradient through the draws alone: no noise where the guide is exact"),
    "reinforce": (Reinforce_ELBO, "trace without reparametrisation: the score-function gradient"),
    "loo:K": (LeaveOneOut_ELBO, "reinforce with K draws, the others the baseline of each; discrete sites are sampled"),
    "disarm": (DisARM_ELBO, "the ELBO of Bernoulli latents from a pair of antithetic draws"),
    "iwae:K": (Renyi_ELBO, "the importance weighted bound of K draws for each data point"),
    "dreg:K": (DReG_ELBO, "the bound of iwae:K with a doubly reparametrised gradient of the guide"),
    "vimco:K": (VIMCO_ELBO, "the bound of iwae:K without reparametrisation; discrete sites are sampled"),
    "miwae:M:K": (MIWAE_ELBO, "the mean of M bounds of iwae:K: a less noisy gradient of the guide"),
    "ciwae:BETA:K": (CIWAE_ELBO, "BETA times the ELBO and 1 - BETA times the bound of iwae:K, of the same K draws"),
    "piwae:M:K": (PIWAE_ELBO, "the bound of M K draws for the model, and that of miwae:M:K for the guide"),
    "fivo:K": (FIVO_ELBO, "the bound of a particle filter of K particles, for sequences with a latent at each step"),
    "renyi:ALPHA:K": (Renyi_ELBO, "Renyi's bound of order ALPHA of K draws for each data point; order 0 is iwae:K"),
    "wake-sleep": (WakeSleep_ELBO, "reweighted wake-sleep, wake phases only, with 10 draws for each data point"),
    "wake-sleep:K": (WakeSleep_ELBO, "wake-sleep with K draws for each data point"),
}
"""The objectives by name: (class of the estimator, description). Capital letters stand for numbers, as in "iwae:5"."""

ALIASES = {"score": "reinforce"}  # names of earlier versions, in runs and ledgers that were written by them
_SYMBOLS: dict[str, tuple[str, Callable[[str], float]]] = {
    "K": ("draws", int),
    "M": ("bounds", int),
    "ALPHA": ("alpha", float),
    "BETA": ("share", float),
    "NATS": ("nats", float),
}


def parse_objective(name: str) -> tuple[Callable[..., Estimator], dict[str, float]]:
    """Return the estimator called `name`, such as "iwae:5" for "iwae:K", and its parameters by keyword.

    >>> parse_objective("renyi:0.5:3")[1]
    {'alpha': 0.5, 'draws': 3}

    :raises InferenceError: if there is no objective of that name, or a parameter is out of range
    """
    head, *texts = ALIASES.get(name, name).split(":")
    for form, (kind, _) in OBJECTIVES.items():
        known, *symbols = form.split(":")
        if known != head or len(symbols) != len(texts):
            continue
        try:
            values = {_SYMBOLS[s][0]: _SYMBOLS[s][1](text) for s, text in zip(symbols, texts, strict=True)}
        except ValueError:
            break
        if values.get("draws", math.inf) < (least := getattr(kind, "least_draws", 1)):
            raise InferenceError(
                f"K, the number of draws, must be at least {least}: {name} has {values['draws']}.",
                ("objective", "reinforce") if least > 1 else None,
            )
        if values.get("bounds", 1) < 1:
            raise InferenceError(f"M, the number of bounds, must be at least 1: {name} has {values['bounds']}.")
        if not 0 <= values.get("share", 0) <= 1:
            raise InferenceError(f"{name}: BETA, the share of the ELBO, must be between 0 and 1.")
        if values.get("alpha") == 1:
            raise InferenceError(f"{name}: Renyi's bound of order 1 is the ELBO.", ("objective", "trace"))
        if not 0 <= values.get("alpha", 0) < math.inf:
            raise InferenceError(f"{name}: ALPHA must be finite and not negative; below 0 there is no lower bound.")
        if not 0 <= values.get("nats", 0) < math.inf:
            raise InferenceError(f"{name}: NATS, free in every dimension, must be finite and not negative.")
        return kind, values
    raise InferenceError(f"no objective {name!r}: expected one of {', '.join(OBJECTIVES)}.")


def objective(name: str, particles: int = 1, vectorize: bool = False) -> Estimator:
    """Return the estimator called `name`, with the method `differentiable_loss(model, guide, x)` of Pyro's ELBOs.

    The loss is minus the bound on log p of all data together, in nats: a tensor of shape (). Its gradient is that of
    the estimator. The files of `inference/fit/objectives` name the source of each method.

    >>> import torch
    >>> from inference import objective, param_scope
    >>> from inference.examples import LinearGaussian
    >>> pair, x = LinearGaussian(), torch.zeros(3, 1)
    >>> with param_scope():
    ...     loss = objective("iwae:5").differentiable_loss(pair.model, pair.guide, x)
    >>> loss.shape
    torch.Size([])

    :param name: one of `OBJECTIVES`, with numbers in place of its capital letters
    :param particles: number of draws of the guide, or of bounds of K draws, that are averaged
    :param vectorize: whether draws are along a new dimension on the left, over which the pair has to broadcast; bounds
        of K draws need it where a latent is global
    :raises InferenceError: if there is no objective of that name, or a parameter is out of range
    """
    kind, values = parse_objective(name)
    return kind(num_particles=particles, max_plate_nesting=1, vectorize_particles=vectorize, **values)


def samples_enumerated(name: str) -> bool:
    """Return whether an objective samples the sites that are marked for enumeration."""
    kind, _ = parse_objective(name)
    return isinstance(kind, type) and issubclass(kind, Checked) and kind.samples_enumerated


def check_objective(name: str, info: PairInfo) -> None:
    """Check that an objective applies to a pair.

    :param info: the pair, inspected in training mode
    :raises InferenceError: if it does not, with the reason
    """
    kind, _ = parse_objective(name)
    if isinstance(kind, type) and issubclass(kind, Checked):
        kind.check(info.model, info.guide)
