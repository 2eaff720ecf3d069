"""Checks of lesson 1: the loaded die, with posterior and evidence by conjugacy."""

from collections.abc import Callable

import torch
from pyro import poutine
from torch import Tensor

from gallery.course.compare import WrongError, expect, expect_contract
from gallery.models.loaded_die import LoadedDie
from inference.pairs.pair import Pair
from inference.pairs.run import param_scope

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4"]

COUNTS = torch.tensor([1.0, 0.0, 2.0, 1.0, 1.0, 2.0], dtype=torch.float64)
THROWS = torch.eye(6)[[0, 2, 2, 3, 4, 5, 5]]


def exercise_1(Die: Callable[[], Pair]) -> None:
    """Model and guide of the die."""
    pair, p = Die(), torch.tensor([0.05, 0.1, 0.15, 0.2, 0.2, 0.3])
    with param_scope():
        given = poutine.condition(pair.model, {"p": p})
        trace = poutine.trace(given).get_trace(THROWS)
        if "p" not in trace.nodes or "x" not in trace.nodes:
            missing = "p" if "p" not in trace.nodes else "x"
            raise WrongError(f"the model has no site {missing!r}, expected the sites 'p' and 'x'")
        if trace.nodes["p"]["cond_indep_stack"]:
            raise WrongError("the site p stands inside the plate, expected outside: all throws share one p")
        trace.compute_log_prob()
        of_p, of_x = (trace.nodes[name]["log_prob"].sum() for name in "px")
        guide = poutine.trace(pair.guide).get_trace(THROWS)
    exact = LoadedDie().prior(THROWS).log_prob(p)
    expect(of_p, exact, "log p(p) of the model", "Dirichlet(1, ..., 1)", "which concentrations has the prior?")
    expect(of_x, (THROWS * p.log()).sum(), "log p(x | p) of seven throws", "the sum of log p", "is x observed once?")
    if "p" not in guide.nodes:
        raise WrongError("the guide has no site 'p', expected a sample statement for each latent of the model")
    expect_contract(Die, (THROWS,))


def exercise_2(posterior: Callable[[Tensor], Tensor]) -> None:
    """The posterior of the die."""
    hint = "each count is added to a concentration of the prior, which is 1"
    expect(posterior(COUNTS), 1 + COUNTS, "the concentration of the posterior", "by conjugacy", hint)


def exercise_3(log_evidence: Callable[[Tensor], Tensor]) -> None:
    """The evidence of the throws."""
    hint = "the throws are in their order, so there is no multinomial coefficient; both constants B enter"
    exact = LoadedDie().double().log_evidence(THROWS.double())
    expect(log_evidence(COUNTS), exact, "log p(x) of seven throws", "log B(1 + c) - log B(1)", hint)
    nothing = torch.zeros_like(COUNTS)
    expect(log_evidence(nothing), 0.0, "log p(x) of no throws", "the empty product", hint)


def exercise_4(probability_of_six: Callable[[Tensor], Tensor]) -> None:
    """The probability of the next throw."""
    hint = "the prior counts as one throw of each face"
    what = "the probability of a six after 7 throws"
    expect(probability_of_six(COUNTS), 3 / 13, what, "the mean of the posterior", hint)
