"""Every distribution of torch and Pyro, as a function of real numbers: for tests over all of them.

FAMILIES maps the name of a class to a function of a, (..., 3) real numbers, that returns a distribution. Families of
real numbers have the batch shape of a, whatever it is, families of vectors and matrices that of a without its last
dimension, or () if they cannot be batched. EXCLUDED has the reason for each class that has no row. `unlisted` returns
the classes that are in neither.
"""

import inspect
import math

import pyro.distributions as dist
import torch
import torch.distributions as torch_dist
from pyro.distributions import constraints, transforms
from torch.nn.functional import softplus

from inference.pairs.properties import base_of

__all__ = ["BREACHES", "EXCLUDED", "FAMILIES", "NUMBERS", "TORCH", "VECTORS", "drawn", "grid", "unlisted"]

EXCLUDED = {
    "Distribution": "abstract",
    "TorchDistribution": "abstract",
    "ExponentialFamily": "abstract",
    "LKJCorrCholesky": "the deprecated name of LKJCholesky: it warns and is the same",
}


def positive(a):
    return softplus(a) + 0.5


def eye(a):
    """Return a Cholesky factor, (..., 3, 3), with a scale for each coordinate."""
    return torch.diag_embed(positive(a))


def two(a):
    """Return logits of two values, (..., 2), from real numbers."""
    return torch.stack([a, torch.zeros_like(a)], -1)


def normal(a):
    return dist.Normal(a, positive(a))


def gaussian(a, size, extra=()):
    """Return a normal distribution of vectors of this size around the mean of a, of the batch shape of a and extra."""
    loc = a.mean(-1).reshape(*a.shape[:-1], *[1] * (len(extra) + 1)).expand(*a.shape[:-1], *extra, size)
    return dist.MultivariateNormal(loc, scale_tril=torch.eye(size).to(a))


def hidden_chain(a, kind=dist.GaussianHMM, **more):
    matrix = 0.5 * torch.eye(1).to(a)
    return kind(*more.values(), gaussian(a, 1), matrix, gaussian(a, 1, (3,)), matrix, gaussian(a, 1, (3,)))


def independent_chains(a):
    return dist.IndependentHMM(hidden_chain(a.unsqueeze(-1).expand(*a.shape, 3)))


NUMBERS = {
    "AffineBeta": lambda a: dist.AffineBeta(
        positive(a), positive(a), torch.full_like(a, -1.0), torch.full_like(a, 3.0)
    ),
    "AsymmetricLaplace": lambda a: dist.AsymmetricLaplace(a, positive(a), positive(a)),
    "Bernoulli": lambda a: dist.Bernoulli(logits=a),
    "Beta": lambda a: dist.Beta(positive(a), positive(a)),
    "BetaBinomial": lambda a: dist.BetaBinomial(positive(a), positive(a), total_count=5),
    "Binomial": lambda a: dist.Binomial(5, logits=a),
    "Categorical": lambda a: dist.Categorical(logits=two(a)),
    "Cauchy": lambda a: dist.Cauchy(a, positive(a)),
    "Chi2": lambda a: dist.Chi2(positive(a)),
    "ContinuousBernoulli": lambda a: dist.ContinuousBernoulli(logits=a),
    "Delta": lambda a: dist.Delta(a),
    "Empirical": lambda a: dist.Empirical(torch.arange(2.0).to(a).expand(*a.shape, 2), two(a)),
    "ExpandedDistribution": lambda a: dist.Normal(a[..., :1] if a.dim() else a, 1.0).expand(a.shape),
    "Exponential": lambda a: dist.Exponential(positive(a)),
    "ExtendedBetaBinomial": lambda a: dist.ExtendedBetaBinomial(positive(a), positive(a), total_count=5),
    "ExtendedBinomial": lambda a: dist.ExtendedBinomial(5, logits=a),
    "FisherSnedecor": lambda a: dist.FisherSnedecor(positive(a), positive(a) + 4),
    "FoldedDistribution": lambda a: dist.FoldedDistribution(normal(a)),
    "Gamma": lambda a: dist.Gamma(positive(a), positive(a)),
    "GammaPoisson": lambda a: dist.GammaPoisson(positive(a), positive(a)),
    "GeneralizedPareto": lambda a: dist.GeneralizedPareto(torch.zeros_like(a), positive(a), torch.full_like(a, 0.1)),
    "Geometric": lambda a: dist.Geometric(logits=a),
    "Gumbel": lambda a: dist.Gumbel(a, positive(a)),
    "HalfCauchy": lambda a: dist.HalfCauchy(positive(a)),
    "HalfNormal": lambda a: dist.HalfNormal(positive(a)),
    "ImproperUniform": lambda a: dist.ImproperUniform(constraints.real, a.shape, ()),
    "Independent": lambda a: dist.Independent(normal(a.unsqueeze(-1)), 1),
    "InverseGamma": lambda a: dist.InverseGamma(positive(a), positive(a)),
    "Kumaraswamy": lambda a: dist.Kumaraswamy(positive(a), positive(a)),
    "Laplace": lambda a: dist.Laplace(a, positive(a)),
    "LogNormal": lambda a: dist.LogNormal(a, 0.5),
    "LogNormalNegativeBinomial": lambda a: dist.LogNormalNegativeBinomial(torch.full_like(a, 5.0), a, positive(a)),
    "Logistic": lambda a: dist.Logistic(a, positive(a)),
    "MaskedDistribution": lambda a: normal(a).mask(torch.ones_like(a, dtype=torch.bool)),
    "MaskedMixture": lambda a: dist.MaskedMixture(
        torch.zeros_like(a, dtype=torch.bool), normal(a), dist.Laplace(a, positive(a))
    ),
    "MixtureSameFamily": lambda a: dist.MixtureSameFamily(
        dist.Categorical(logits=two(a)), dist.Normal(torch.stack([a, a + 2], -1), 1.0)
    ),
    "NanMaskedNormal": lambda a: dist.NanMaskedNormal(a, positive(a)),
    "NegativeBinomial": lambda a: dist.NegativeBinomial(3.0, logits=a),
    "Normal": normal,
    "OrderedLogistic": lambda a: dist.OrderedLogistic(a, torch.tensor([-1.0, 1.0]).to(a)),
    "Pareto": lambda a: dist.Pareto(torch.ones_like(a), positive(a) + 1),
    "Poisson": lambda a: dist.Poisson(positive(a)),
    "Rejector": lambda a: dist.Rejector(  # one proposal in two is rejected
        normal(a), lambda x: torch.full_like(x, -0.7), torch.full_like(a, -0.7)
    ),
    "RelaxedBernoulli": lambda a: dist.RelaxedBernoulli(torch.tensor(0.7).to(a), logits=a),
    "RelaxedBernoulliStraightThrough": lambda a: dist.RelaxedBernoulliStraightThrough(
        torch.tensor(0.7).to(a), logits=a
    ),
    "SkewLogistic": lambda a: dist.SkewLogistic(a, positive(a), positive(a)),
    "SoftAsymmetricLaplace": lambda a: dist.SoftAsymmetricLaplace(a, positive(a), positive(a), positive(a)),
    "SoftLaplace": lambda a: dist.SoftLaplace(a, positive(a)),
    "Stable": lambda a: dist.Stable(torch.full_like(a, 1.5), torch.full_like(a, 0.1), positive(a), a),
    "StableWithLogProb": lambda a: dist.StableWithLogProb(
        torch.full_like(a, 1.5), torch.full_like(a, 0.1), positive(a), a
    ),
    "StudentT": lambda a: dist.StudentT(3.0, a, positive(a)),
    "TransformedDistribution": lambda a: dist.TransformedDistribution(normal(a), [transforms.SigmoidTransform()]),
    "TruncatedPolyaGamma": lambda a: dist.TruncatedPolyaGamma(a).expand(a.shape),
    "Uniform": lambda a: dist.Uniform(a.tanh() - 4, a.tanh() + 4),
    "Unit": lambda a: dist.Unit(a),
    "VonMises": lambda a: dist.VonMises(a, positive(a)),
    "Weibull": lambda a: dist.Weibull(positive(a), positive(a)),
    "ZeroInflatedDistribution": lambda a: dist.ZeroInflatedDistribution(dist.Poisson(positive(a)), gate=a.sigmoid()),
    "ZeroInflatedNegativeBinomial": lambda a: dist.ZeroInflatedNegativeBinomial(3.0, logits=a, gate_logits=a),
    "ZeroInflatedPoisson": lambda a: dist.ZeroInflatedPoisson(positive(a), gate_logits=a),
}

VECTORS = {
    "AVFMultivariateNormal": lambda a: dist.AVFMultivariateNormal(
        a.reshape(-1, 3)[0], eye(a.reshape(-1, 3)[0]), torch.full((2, 1, 3), 0.1).to(a)
    ),
    "CoalescentTimes": lambda a: dist.CoalescentTimes(torch.arange(4.0).to(a), positive(a[..., 0])),
    "CoalescentTimesWithRate": lambda a: dist.CoalescentTimesWithRate(torch.arange(4.0).to(a), positive(a)),
    "Dirichlet": lambda a: dist.Dirichlet(positive(a)),
    "DirichletMultinomial": lambda a: dist.DirichletMultinomial(positive(a), total_count=5),
    "DiscreteHMM": lambda a: dist.DiscreteHMM(
        two(a[..., 0]), torch.zeros(2, 2).to(a), dist.Normal(torch.stack([a, a + 2], -1), 1.0)
    ),
    "GammaGaussianHMM": lambda a: hidden_chain(
        a, dist.GammaGaussianHMM, scale_dist=dist.Gamma(positive(a[..., 0]), positive(a[..., 0]))
    ),
    "GaussianHMM": hidden_chain,
    "GaussianMRF": lambda a: dist.GaussianMRF(gaussian(a, 1), gaussian(a, 2, (3,)), gaussian(a, 2, (3,))),
    "GaussianScaleMixture": lambda a: dist.GaussianScaleMixture(
        positive(a.reshape(-1, 3)[0]), torch.zeros(2).to(a), torch.tensor([1.0, 2.0]).to(a)
    ),
    "GroupedNormalNormal": lambda a: dist.GroupedNormalNormal(
        a.reshape(-1, 3)[0], torch.ones(()).to(a), torch.ones(3).to(a), torch.tensor([0, 1, 1])
    ),
    "IndependentHMM": independent_chains,
    "LKJ": lambda a: dist.LKJ(3, positive(a[..., 0])),
    "LKJCholesky": lambda a: dist.LKJCholesky(3, positive(a[..., 0])),
    "LinearHMM": lambda a: dist.LinearHMM(
        normal(a[..., :1]).to_event(1),
        torch.eye(1).to(a),
        normal(a.unsqueeze(-1)).to_event(1),
        torch.eye(1).to(a),
        normal(a.unsqueeze(-1)).to_event(1),
    ),
    "LogisticNormal": lambda a: dist.LogisticNormal(a, positive(a)),
    "LowRankMultivariateNormal": lambda a: dist.LowRankMultivariateNormal(a, a.unsqueeze(-1), positive(a)),
    "MixtureOfDiagNormals": lambda a: dist.MixtureOfDiagNormals(
        torch.stack([a, a + 2], -2), positive(torch.stack([a, a], -2)), two(a[..., 0])
    ),
    "MixtureOfDiagNormalsSharedCovariance": lambda a: dist.MixtureOfDiagNormalsSharedCovariance(
        torch.stack([a, a + 2], -2), positive(a), two(a[..., 0])
    ),
    "Multinomial": lambda a: dist.Multinomial(5, logits=a),
    "MultivariateNormal": lambda a: dist.MultivariateNormal(a, scale_tril=eye(a)),
    "MultivariateStudentT": lambda a: dist.MultivariateStudentT(positive(a[..., 0]) + 2, a, eye(a)),
    "NanMaskedMultivariateNormal": lambda a: dist.NanMaskedMultivariateNormal(a, scale_tril=eye(a)),
    "OMTMultivariateNormal": lambda a: dist.OMTMultivariateNormal(a.reshape(-1, 3)[0], eye(a.reshape(-1, 3)[0])),
    "OneHotCategorical": lambda a: dist.OneHotCategorical(logits=a),
    "OneHotCategoricalStraightThrough": lambda a: dist.OneHotCategoricalStraightThrough(logits=a),
    "OneOneMatching": lambda a: dist.OneOneMatching(a.reshape(-1, 3)[0].expand(3, 3)),
    "OneTwoMatching": lambda a: dist.OneTwoMatching(a.reshape(-1, 3)[0, :2].expand(4, 2)),
    "ProjectedNormal": lambda a: dist.ProjectedNormal(a),
    "RelaxedOneHotCategorical": lambda a: dist.RelaxedOneHotCategorical(torch.tensor(0.7).to(a), logits=a),
    "RelaxedOneHotCategoricalStraightThrough": lambda a: dist.RelaxedOneHotCategoricalStraightThrough(
        torch.tensor(0.7).to(a), logits=a
    ),
    "SineBivariateVonMises": lambda a: dist.SineBivariateVonMises(
        a[..., 0], a[..., 1], positive(a[..., 0]), positive(a[..., 1]), torch.full_like(a[..., 0], 0.1)
    ),
    "SineSkewed": lambda a: dist.SineSkewed(
        dist.VonMises(a[..., :2], positive(a[..., :2])).to_event(1), 0.4 * a[..., :2].tanh()
    ),
    "SpanningTree": lambda a: dist.SpanningTree(a.reshape(-1, 3)[0]),
    "VonMises3D": lambda a: dist.VonMises3D(a),
    "Wishart": lambda a: dist.Wishart(positive(a[..., 0]) + 3, scale_tril=eye(a)),
}

# Clauses of the contract that a family cannot keep, although it is fitted.
BREACHES = {
    "Uniform": ("support", "gradients"),  # that of the guide moves with its parameters; as a likelihood it is constant
    "TruncatedPolyaGamma": ("gradients",),  # it has no parameters
    "Unit": ("gradients",),
    "OneOneMatching": ("device",),  # it computes on the CPU
    "OneTwoMatching": ("device",),
}

# Distributions of torch itself, which has no Pyro's methods: a user who imports the wrong module.
TORCH = {
    "torch Normal": lambda a: torch_dist.Independent(torch_dist.Normal(a, positive(a)), 1),
    "torch Dirichlet": lambda a: torch_dist.Dirichlet(positive(a)),
}

FAMILIES = NUMBERS | VECTORS

_EXAMPLES = {  # values of distributions that cannot be drawn from
    "CoalescentTimesWithRate": lambda fn: torch.tensor([-1.0, 0.5, 1.5]).expand(*fn.batch_shape, 3),
    "GroupedNormalNormal": lambda fn: torch.zeros(3),
    "VonMises3D": lambda fn: torch.tensor([1.0, 0.0, 0.0]).expand(*fn.batch_shape, 3),
}


def drawn(name, fn):
    """Return a value of a distribution, or an example where it cannot be drawn from."""
    try:
        return fn.sample()
    except NotImplementedError:
        return _EXAMPLES.get(name, lambda fn: torch.zeros(fn.batch_shape + fn.event_shape))(fn)


def unlisted():
    """Return the names of all classes of distributions in torch and Pyro that are in neither table."""
    roots = (torch_dist.Distribution, dist.Distribution)
    known = {
        name
        for module in (torch_dist, dist)
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, roots)
    }
    return sorted(known - FAMILIES.keys() - EXCLUDED.keys())


def grid(fn, points=4001, dtype=torch.float64):
    """Return (values, log of their volumes) that cover the support of a distribution of real numbers.

    A discrete support is covered by the integers up to 400.
    """
    support = base_of(fn.support)
    if support.is_discrete:
        values = torch.arange(401, dtype=dtype)
        values = values[support.check(values)]
        return values, torch.zeros_like(values)
    t = torch.linspace(-1, 1, points, dtype=dtype)
    if isinstance(fn, dist.VonMises):  # whose support torch calls real
        t = math.pi * t
        return t, torch.full_like(t, math.log(t[1] - t[0]))
    if support is constraints.real:  # to the tails of a Cauchy
        t = 30 * t
        return t.sinh(), torch.log(t.cosh() * (t[1] - t[0]))
    u = 36 * t
    onto = torch_dist.biject_to(support)
    values = onto(u)
    return values, onto.log_abs_det_jacobian(u, values) + math.log(u[1] - u[0])
