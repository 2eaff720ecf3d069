"""Fits of models with a discrete latent, and perturbed pairs."""

import copy

import numpy as np
import pytest
import torch

from data import synthetic
from gallery.catalogue.recipes import RECIPES
from gallery.models.gaussian_mixture import GaussianMixture
from inference import SVI, Settings, em

ENUM = Settings(objective="enum")


def fit(pair, x, name, **settings):
    for _ in SVI(pair, x, settings=Settings(**RECIPES[name].settings | settings)):
        pass
    return pair


def perturbed(pair):
    """In float64, no parameter at its start."""
    pair = pair.double()
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return pair


def near(truth):
    """A copy of a pair, every parameter moved a little: in the basin of the same optimum, which a random start may not
    be."""
    pair = copy.deepcopy(truth)
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return pair


def em_and_svi(pair, truth, x, name, iterations=100, **settings):
    """EM and SVI from one start; what holds of both is asserted."""
    other = copy.deepcopy(pair).double()
    evidence = list(em(other, x.double(), iterations))
    assert min(np.diff(evidence)) > -1e-12  # it never falls
    other.log_evidence(x.double()).mean().backward()
    assert all(p.grad.abs().max() < 1e-3 for p in other.theta.values())  # and comes to rest
    assert evidence[-1] > truth.log_evidence(x).mean().item()  # fitted to these data, which the truth is not
    fit(pair, x, name, **settings)
    assert pair.log_evidence(x).mean().item() == pytest.approx(evidence[-1], abs=0.01)


def true_mixture():
    truth = GaussianMixture()
    with torch.no_grad():
        truth.theta["logits"].copy_(torch.tensor(synthetic.MIXTURE_WEIGHTS).log())
        truth.theta["mean"].copy_(torch.tensor(synthetic.MIXTURE_MEAN))
        truth.theta["pre_scale"].copy_(torch.tensor(synthetic.MIXTURE_SCALE).expm1().log())
    return truth
