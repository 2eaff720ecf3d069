"""Models whose answers are known, and how near is near: for tests of objectives and of judgements."""

import math

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from gallery.models.factor_analysis import FactorAnalysis
from inference import sample
from inference.examples import LinearGaussian


def close(a, b, tolerance=1e-9):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def within(difference, variance):
    """Is a mean zero within 4 standard errors, at every coordinate that varies?"""
    live = variance > 0
    assert live.any()
    assert (difference[live].abs() < 4 * variance[live].sqrt()).all()


def factor_analysis(widen=1.0, cls=FactorAnalysis):
    """A factor analysis in float64, W and sigma of order 1, whose guide has the exact mean and, if it can, the
    posterior's covariance times widen^2."""
    pair = cls().double()
    with torch.no_grad():
        pair.theta["W"].copy_(torch.tensor([[1.0, 0.5], [1.0, 1.0], [-0.5, 1.0]]))
        pair.theta["pre_sigma"].fill_(math.log(math.expm1(1)))
        posterior = pair.posterior(torch.eye(3, dtype=torch.float64))
        pair.phi["V"].copy_(posterior.mean.T)
        if "L" in pair.phi:
            pair.phi["L"].copy_(widen * torch.linalg.cholesky(posterior.covariance_matrix[0]))
    return pair


def simulated(n, cls=FactorAnalysis):
    """A factor analysis, n of its data, and the factors they were made of: a draw of each one's posterior."""
    pair = factor_analysis(cls=cls)
    drawn = sample(pair, torch.zeros(1, 3, dtype=torch.float64), n, seed=None)
    return pair, drawn["x"], {"z": drawn["z"]}


class Chain(nn.Module):
    """z_1 ~ N(0, 1), z_2 ~ N(z_1, 1), x ~ N(z_2, 1): log p(x) = log N(x; 0, 3). The guide's z_2 depends on its z_1."""

    def __init__(self):
        super().__init__()
        self.q = nn.ParameterDict({"a": torch.tensor(0.3), "b": torch.tensor(0.6)})

    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z_1", dist.Normal(x.new_zeros(len(x)), 1.0))
            z = pyro.sample("z_2", dist.Normal(z, 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        pyro.module("q", self.q)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z_1", dist.Normal(self.q["a"] * x[:, 0], 0.8))
            pyro.sample("z_2", dist.Normal(z + self.q["b"] * x[:, 0], 0.7))

    def log_evidence(self, x):
        return dist.Normal(0.0, math.sqrt(3.0)).log_prob(x[:, 0])


class Upwards(Chain):
    """The same model under a guide that draws z_2 first, and z_1 from it."""

    def guide(self, x, total=None):
        pyro.module("q", self.q)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z_2", dist.Normal(self.q["a"].expand(len(x)), 1.0))
            pyro.sample("z_1", dist.Normal(self.q["b"] * z, 1.0))


class Tilted(nn.Module):
    """z ~ N(0, 1), x ~ N(z, 1), and a factor of the model, -100 nats for each datum, which is no likelihood."""

    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
            pyro.factor("tilt", x.new_full((len(x),), -100.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Normal(x[:, 0] / 2, math.sqrt(0.5)))


class Below(nn.Module):
    """y ~ one of two, summed out by the model alone; z ~ N(m_y, 1); x ~ N(z, 1). The guide is of z."""

    def __init__(self):
        super().__init__()
        self.theta = nn.ParameterDict({"m": torch.tensor([-1.0, 2.0])})
        self.phi = nn.ParameterDict({"a": torch.tensor(0.4), "b": torch.tensor(0.3)})

    def model(self, x, total=None):
        pyro.module("theta", self.theta)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            y = pyro.sample("y", dist.Categorical(x.new_tensor([0.3, 0.7])), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(self.theta["m"][y], 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        pyro.module("phi", self.phi)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Normal(self.phi["a"] * x[:, 0] + self.phi["b"], 0.8))


class Score(nn.Module):
    """A draw that is not reparametrised: its gradient is that of the score function."""

    def __init__(self):
        super().__init__()
        self.q = nn.ParameterDict({"loc": torch.zeros(())})

    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        pyro.module("q", self.q)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Normal(self.q["loc"] + x[:, 0], 1.0).has_rsample_(False))


class Tempered(LinearGaussian):
    """Its guide is wider by a temperature."""

    capabilities = ("temperature",)

    def __init__(self):
        super().__init__()
        self.register_buffer("temperature", torch.tensor(0.5))

    def guide(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.module("q", self.q)
            pyro.sample("z", dist.Normal(self.q["weight"] * x, self.q["spread"].exp() * self.temperature).to_event(1))
