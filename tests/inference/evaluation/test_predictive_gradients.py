"""What is predicted has no gradients, also where torch computes a property of a distribution on first use.

torch computes such a property with gradients enabled, whatever surrounds it.
"""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from inference import encode, evaluate, reconstruct, sample

N = 6


class Lazy(nn.Module):
    """z ~ Categorical or Normal, x ~ a likelihood, both with parameters that are learnt and computed on first use."""

    def __init__(self, likelihood, discrete=False):
        super().__init__()
        self.likelihood, self.discrete = likelihood, discrete
        self.weights = nn.ParameterDict({"raw": nn.Parameter(torch.zeros(3)), "q": nn.Parameter(torch.zeros(3))})

    def _prior(self, name, rows):
        raw = self.weights[name].expand(rows, 3)
        if self.discrete:
            return dist.OneHotCategorical(logits=raw)
        return dist.MultivariateNormal(raw, precision_matrix=torch.diag_embed(raw.exp()))

    def model(self, x, total=None):
        pyro.module("weights", self.weights)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", self._prior("raw", len(x)))
            pyro.sample("x", self.likelihood(self.weights["raw"] + z).to_event(1), obs=x)

    def guide(self, x, total=None):
        pyro.module("weights", self.weights)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", self._prior("q", len(x)))


LIKELIHOODS = {
    "zero-inflated counts": lambda raw: dist.ZeroInflatedPoisson(raw.exp(), gate_logits=raw),
    "negative binomial": lambda raw: dist.NegativeBinomial(raw.exp(), logits=raw),
    "Bernoulli": lambda raw: dist.Bernoulli(logits=raw),
    "continuous Bernoulli": lambda raw: dist.ContinuousBernoulli(logits=raw),
}


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_predictions_have_no_gradients(name, discrete):
    pair, x = Lazy(LIKELIHOODS[name], discrete), torch.zeros(N, 3)
    values = [*sample(pair, x, N).values(), reconstruct(pair, x), *encode(pair, x).values()]
    assert len(values) == 5
    assert not any(value.requires_grad for value in values)
    assert torch.isfinite(torch.tensor(evaluate(pair, x, particles=2)["elbo"]["value"]))
