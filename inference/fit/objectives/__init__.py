"""Objectives by name: Pyro's estimators of the ELBO, and bounds by importance weights.

checks.py          requirements of estimators on the traces of a pair
mean_field.py      KL in closed form, also beside enumerated sites; free bits
score_function.py  gradients of draws that are not reparametrised
importance.py      Renyi's bounds, IWAE-K, means and mixtures of it, reweighted wake-sleep
filtering.py       FIVO: the bound of a particle filter, for sequences
path_gradients.py  sticking the landing, DReG, PIWAE: gradients of the guide through the draws alone
baselines.py       leave-one-out, VIMCO, DisARM: score functions with a baseline from other draws
registry.py        names

Every estimator returns its loss, minus the bound scaled to all the data, as one tensor in nats whose gradient is that
of the estimator.
"""

from inference.fit.objectives.importance import renyi
from inference.fit.objectives.registry import (
    ALIASES,
    OBJECTIVES,
    check_objective,
    objective,
    parse_objective,
    samples_enumerated,
)

__all__ = ["ALIASES", "OBJECTIVES", "check_objective", "objective", "parse_objective", "renyi", "samples_enumerated"]
