"""Checks of lesson 5: a Gaussian mixture, summed out exactly."""

from collections.abc import Callable
from typing import Any

import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from torch import Tensor

from gallery.course.compare import WrongError, expect, expect_contract
from gallery.models.gaussian_mixture import GaussianMixture
from inference.pairs.run import param_scope

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4"]

X = torch.tensor([[-2.0, 0.5], [-1.5, -1.0], [1.0, 1.5], [2.0, 1.0], [0.5, -2.0], [1.5, -2.5]], dtype=torch.float64)
WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
MEANS = torch.tensor([[-2.0, 0.0], [1.5, 1.5], [1.0, -2.0]], dtype=torch.float64)
SCALES = torch.tensor([[1.6, 1.2], [0.8, 0.5], [1.0, 0.6]], dtype=torch.float64)


def exact(weights: Tensor = WEIGHTS, means: Tensor = MEANS, scales: Tensor = SCALES) -> GaussianMixture:
    """Return the gallery's mixture at these parameters."""
    pair = GaussianMixture(2, 3).double()
    with torch.no_grad():
        for name, value in (("logits", weights.log()), ("mean", means), ("pre_scale", scales.expm1().log())):
            pair.theta[name].copy_(value)
    return pair


def parameters_of(pair: GaussianMixture) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights, means and scales."""
    scales = torch.nn.functional.softplus(pair.theta["pre_scale"])
    return pair.theta["logits"].softmax(0), pair.theta["mean"], scales


def exercise_1(inferred: Callable[..., tuple[Tensor, Tensor]]) -> None:
    """Evidence and responsibilities of a mixture."""
    evidence, r = inferred(X, WEIGHTS, MEANS, SCALES)
    pair = exact()
    hint = "add log weights, sum the two coordinates, and take logsumexp over components"
    expect(evidence, pair.log_evidence(X), "log p(x)", "the sum over components", hint)
    expect(r, pair.posterior(X).probs, "the responsibility", "by Bayes' rule", "each row sums to 1: softmax over dim 1")
    far = torch.full((1, 2), 60.0, dtype=torch.float64)
    evidence, _ = inferred(far, WEIGHTS, MEANS, SCALES)
    expect(evidence, pair.log_evidence(far), "log p(x) of a far point", "in logarithms", "exp underflows: logsumexp")


def exercise_2(m_step: Callable[[Tensor, Tensor], tuple[Tensor, ...]]) -> None:
    """The M step of a mixture."""
    pair = exact()
    r = pair.posterior(X).probs
    pair.m_step(pair.e_step(X))
    answer = m_step(X, r)
    hints = (
        "the weights are mean responsibilities",
        "divide by the sum of the responsibilities of a component",
        "a standard deviation about the new mean, in each coordinate",
    )
    for name, got, right, hint in zip(("weight", "mean", "scale"), answer, parameters_of(pair), hints, strict=True):
        expect(got, right, f"the {name}", "the maximiser of the expected log joint", hint)


def exercise_3(em: Callable[..., Any]) -> None:
    """The loop of EM."""
    pair, curve = exact(), []
    for _ in range(4):
        curve.append(pair.log_evidence(X).mean().item())
        pair.m_step(pair.e_step(X))
    *answer, got = em(X, WEIGHTS, MEANS, SCALES, 4)
    hint = "recorded before the M step of each iteration, with the parameters of the one before"
    expect(got, curve, "mean log p(x) at step", "it never falls", hint)
    for name, value, right in zip(("weight", "mean", "scale"), answer, parameters_of(pair), strict=True):
        expect(value, right, f"the {name} after 4 steps", "by EM", "infer with the newest parameters in every step")


def exercise_4(Mixture: Callable[[], Any]) -> None:
    """A mixture as a pair."""
    pair, x = Mixture(), X.float()
    with param_scope():
        nodes = poutine.trace(pair.model).get_trace(x).nodes
        if "y" not in nodes or nodes["y"]["infer"].get("enumerate") != "parallel":
            raise WrongError("the model has no site y that is enumerated, expected infer={'enumerate': 'parallel'}")
        loss = TraceEnum_ELBO(max_plate_nesting=1).loss(pair.model, pair.guide, x)
        theta = pair.theta
        evidence = exact(theta["logits"].softmax(0), theta["mean"], theta["log_scale"].exp()).log_evidence(X).sum()
        expect(-loss, evidence, "the ELBO of six points", "log p(x): nothing is approximated", "is x in the plate?")
    expect_contract(Mixture, (x,), "enum")
