"""Every registered model, small, with data it can be fitted to: what the contract test runs over."""

import torch
from torch import Tensor, nn

from gallery.catalogue.recipes import recipe_for
from gallery.models import MODELS
from gallery.models.factor_analysis import FactorAnalysis
from gallery.models.state_space import StateSpace, inverse_softplus
from gallery.runs.registry import constructor
from inference.pairs.capabilities import declared

N = 12
SMALL = {"data_dim": 6, "latent_dim": 2, "hidden": (5,), "classes": 3, "given_dim": 2, "total": N, "k": 1}
SMALL |= {"components": 3, "steps": 3, "state_dim": 4, "step_dim": 2, "middle_dim": 3, "middle_hidden": (4,)}
SMALL |= {"pseudo_inputs": 3, "rows": 2}
ONE_NUMBER = ("exponential_gaussian", "squared_gaussian", "linear_regression", "logistic_regression", "eight_schools")
DATA_DIM = dict.fromkeys(ONE_NUMBER, 1)
REFUSED = {"exponential_gaussian:normal"}  # in the registry to show why it cannot be fitted
FITTED = [name for name in MODELS if name not in REFUSED]
NO_META = {"loaded_die"}  # torch cannot draw from a Dirichlet there: aten::_sample_dirichlet has no meta kernel


def build(name: str) -> nn.Module:
    known = constructor(MODELS[name])
    keywords = {key: value for key, value in SMALL.items() if key in known}
    if isinstance(known.get("hidden") and known["hidden"].default, int):
        keywords["hidden"] = 5
    return MODELS[name](**keywords)


def objective(name: str) -> str:
    """The estimator that fits the model: "enum" where a latent is summed out."""
    return recipe_for(name).settings.get("objective", "trace")


def arguments(name: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """(x,) or (x, given) that the model of that name takes: N rows."""
    generator = torch.Generator().manual_seed(1)
    family = name.partition(":")[0]
    x = torch.randn(N, DATA_DIM.get(family, SMALL["data_dim"]), generator=generator, dtype=torch.float64)
    if family in ("vae", "cvae", "gmvae", "vrnn", "deep_markov", "ss_vae", "logistic_regression", "item_response"):
        x = (x > 0).double()
    if family in ("lda", "prod_lda"):  # counts
        x = (2 * x.abs()).round()
    if hasattr(MODELS[name], "bounds"):
        x = (4 * x).sigmoid()
    if family == "loaded_die":
        x = torch.eye(x.shape[1], dtype=x.dtype)[x.argmax(1)]
    if family == "vrnn":
        x[-4:, -2:] = torch.nan  # sequences of two steps among those of three
    elif "missing_values" in declared(MODELS[name]):
        x = x.masked_fill(torch.rand(x.shape, generator=generator, dtype=x.dtype) < 0.25, torch.nan)
    if family == "cvae":
        return x.to(dtype), torch.randint(SMALL["classes"], (N,), generator=generator)
    if family == "ss_vae":
        return x.to(dtype), torch.randint(-1, SMALL["classes"], (N,), generator=generator)
    if family == "eight_schools":  # standard errors
        return x.to(dtype), (0.5 + torch.rand(N, 1, generator=generator, dtype=torch.float64)).to(dtype)
    if family in ("linear_regression", "logistic_regression"):
        return x.to(dtype), torch.randn(N, SMALL["given_dim"], generator=generator, dtype=torch.float64).to(dtype)
    return (x.to(dtype),)


def local_level(Q, R, P):
    """A random walk that is measured with noise, in float64: A = c = 1, m = 0, and these variances."""
    pair = StateSpace(latent_dim=1).double()
    to = {"m": 0.0, "A": 1.0, "c": 1.0, "pre_P": P**0.5, "pre_Q": Q**0.5, "pre_r": R**0.5}
    with torch.no_grad():
        for name, value in to.items():
            given = torch.tensor(value, dtype=torch.float64)
            pair.theta[name].copy_(inverse_softplus(given) if name.startswith("pre_") else given)
    return pair


def exact_factor_analysis(n=50):
    """A factor analysis whose guide is its own exact posterior, in float64, and data."""
    pair = FactorAnalysis().double()
    x = torch.randn(n, 3, dtype=torch.float64)
    posterior = pair.posterior(torch.eye(3, dtype=torch.float64))
    with torch.no_grad():
        pair.phi["V"].copy_(posterior.mean.T)
        pair.phi["L"].copy_(torch.linalg.cholesky(posterior.covariance_matrix[0]))
    return pair, x
