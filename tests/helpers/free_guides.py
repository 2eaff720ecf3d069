"""Pairs with a guide of a named family, and what the tests of such guides share."""

import math

import pyro.distributions as dist
import torch
from cases import arguments, build
from torch.distributions import kl_divergence

import data
from gallery.models.factor_analysis import FactorAnalysis
from gallery.models.linear_regression import LinearRegression
from inference import SVI, Settings, eval_mode, with_guide
from inference.pairs.run import importance_traces
from inference.pairs.sites import latent_sites

FREE = ["delta", "normal", "multivariate", "low_rank", "flow", "laplace"]
LOCAL = ["exponential_gaussian", "squared_gaussian", "factor_analysis", "vae", "cvae", "autoencoder:map"]
GLOBAL = ["linear_regression", "linear_regression:unknown_noise", "loaded_die"]
ONE_NUMBER = {"exponential_gaussian", "squared_gaussian"}
BOTH = [(m, g) for m in LOCAL + GLOBAL for g in FREE if not (g == "flow" and m in ONE_NUMBER)]


def build_free(model, name, seed=0):
    """(a pair with that guide in float64, its data)."""
    torch.manual_seed(seed)
    args = arguments(model, torch.float64)
    return with_guide(build(model).double(), name, *args), args


def fit(pair, x, given=None, only="guide", **settings):
    defaults = {"batch_size": len(x), "lr": 3e-2, "lr_schedule": "cosine", "adam_beta2": 0.99}
    for _ in SVI(pair, x, given, Settings(**defaults | settings), only=only):
        pass
    return pair


def guide_of(pair, *args):
    with eval_mode(pair):
        return next(iter(latent_sites(importance_traces(pair, args)[1]).values()))["fn"]


def moved(pair, by=0.5):
    """The pair with every parameter of its free guide at a random place."""
    with torch.no_grad():
        for parameter in pair.free_guide.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return pair


def line():
    dataset = data.load("line").to(dtype=torch.float64)
    return LinearRegression().double(), dataset.x, dataset.given


def factor_analysis(n=50):
    """A factor analysis with correlated factors and an unfitted guide, and data."""
    torch.manual_seed(0)
    pair = FactorAnalysis().double()
    with torch.no_grad():
        pair.theta["W"].copy_(torch.tensor([[1.0, 0.5], [1.0, 1.0], [-0.5, 1.0]]))
        pair.theta["pre_sigma"].fill_(math.log(math.expm1(1)))
    return pair, torch.randn(n, 3, dtype=torch.float64) @ torch.linalg.cholesky(
        pair.theta["W"] @ pair.theta["W"].T + torch.eye(3)
    ).T.detach()


def mean_field_kl(posterior):
    """KL of the best factorised normal to a normal posterior: means are right, variances 1 / precision_jj (Bishop,
    Pattern recognition and machine learning, 2006, section 10.1.2)."""
    best = dist.MultivariateNormal(
        posterior.mean, scale_tril=posterior.precision_matrix.diagonal(0, -2, -1).rsqrt().diag_embed()
    )
    return kl_divergence(best, posterior)
