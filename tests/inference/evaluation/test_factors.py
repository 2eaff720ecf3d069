"""Terms of `pyro.factor` are a part of the ELBO beside reconstruction and KL: ELBO = reconstruction - KL + factors."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from inference import evaluate
from inference.evaluation.log_weights import importance_terms
from inference.pairs.run import eval_mode

N, F, G = 7, -0.7, 0.4
COMPONENTS = [0.3, 0.7]

pytestmark = pytest.mark.usefixtures("double")


class Pair(nn.Module):
    """z ~ N(0, 1), x ~ N(z, 1) in each of two columns, and y ~ one of two, where it is enumerated.

    :param factor: "", or where a factor of each row stands: "model" or "guide", "outside" the plate, "hard",
        which leaves no mass to y = 1, or "likelihood", in place of the density of the second column
    :param enumerates: "", or what enumerates y: "both" guide and model, or the "model" alone
    :param place: of z, "local" or "global"
    """

    def __init__(self, factor="", enumerates="", place="local"):
        super().__init__()
        self.factor, self.enumerates, self.place = factor, enumerates, place
        self.q = nn.ParameterDict({"a": torch.tensor(0.3)})

    def z(self, fn):
        return pyro.sample("z", fn)

    def y(self, p):
        return pyro.sample("y", dist.Categorical(torch.tensor(p)), infer={"enumerate": "parallel"})

    def model(self, x, total=None):
        if self.factor == "outside":
            pyro.factor("outside", torch.tensor(F))
        if self.place == "global":
            z = self.z(dist.Normal(torch.tensor(0.0), 1.0))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            if self.place == "local":
                z = self.z(dist.Normal(x.new_zeros(len(x)), 1.0))
            y = self.y(COMPONENTS) if self.enumerates else 0
            if self.factor == "model":
                pyro.factor("model", F + y + x[:, 0])
            if self.factor == "hard":
                pyro.factor("hard", torch.where(y == 1, -math.inf, F) * x.new_ones(len(x)))
            loc = z.unsqueeze(-1)
            if self.factor == "likelihood":
                pyro.factor("second", dist.Normal(z, 1.0).log_prob(x[:, 1]))
                pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x[:, :1])
            else:
                pyro.sample("x", dist.Normal(loc.expand(*loc.shape[:-1], 2), 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        pyro.module("q", self.q)
        if self.place == "global":
            self.z(dist.Normal(self.q["a"], 0.5))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            if self.place == "local":
                self.z(dist.Normal(self.q["a"] * x.sum(1), 0.8))
            if self.enumerates == "both":
                self.y([0.5, 0.5])
            if self.factor == "guide":
                pyro.factor("guide", G * x[:, 1], has_rsample=True)


def terms(pair, x, **keywords):
    with eval_mode(pair):
        return importance_terms(pair, x, k=3, **keywords)


def means(pair, x, **keywords):
    metrics = evaluate(pair, x, particles=3, **keywords)
    return {name: metrics[name]["value"] for name in ("elbo", "reconstruction", "kl", "factors") if name in metrics}


@pytest.fixture
def x(double):
    return torch.randn(N, 2)


Y = {"": 0.0, "both": 0.5, "model": math.e * 0.7 / (0.3 + math.e * 0.7)}  # E[y], under the posterior p(y) exp(y)


@pytest.mark.parametrize(("enumerates", "place"), [*((of, "local") for of in Y), ("both", "global")])
@pytest.mark.parametrize("factor", ["model", "guide", "outside"])
def test_the_elbo_is_reconstruction_minus_kl_plus_factors(factor, enumerates, place, x):
    """Of data points that are evaluated in parts, where the pair allows it."""
    found = means(Pair(factor, enumerates, place), x, at_a_time=5)
    whole = {"model": (F + Y[enumerates] + x[:, 0]).sum(), "guide": -(G * x[:, 1]).sum(), "outside": torch.tensor(F)}
    assert found["factors"] == pytest.approx(whole[factor].item() / N, abs=1e-10)
    assert found["elbo"] == pytest.approx(found["reconstruction"] - found["kl"] + found["factors"], abs=1e-10)
    if enumerates == "both":  # the same draws
        assert found["kl"] == pytest.approx(means(Pair("", enumerates, place), x, at_a_time=5)["kl"], abs=1e-10)


def test_a_value_that_cannot_be_has_no_part_in_the_terms(x):
    found, free = means(Pair("hard", "model"), x), means(Pair("", "model"), x)
    assert found["factors"] == pytest.approx(F, abs=1e-10)
    assert found["reconstruction"] == pytest.approx(free["reconstruction"], abs=1e-10)
    assert found["kl"] == pytest.approx(free["kl"] - math.log(COMPONENTS[0]), abs=1e-10)


@pytest.mark.parametrize("place", ["local", "global"])
def test_a_likelihood_as_a_factor_is_no_part_of_the_kl(place, x):
    whole, parts = means(Pair("", "both", place), x), means(Pair("likelihood", "both", place), x)
    assert parts["reconstruction"] + parts["factors"] == pytest.approx(whole["reconstruction"], abs=1e-10)
    assert (parts["kl"], parts["elbo"]) == pytest.approx((whole["kl"], whole["elbo"]), abs=1e-10)
    assert "factors" not in whole


@pytest.mark.parametrize("compiles", [False, True])
def test_a_part_of_the_data_has_its_share(compiles, x, monkeypatch):
    """Also of a factor outside the plate, and where the parts are compiled."""
    pair = Pair("outside", "both")
    monkeypatch.setattr("inference.evaluation.log_weights.COMPILE_TILES", 1 if compiles else 100)
    for name in ("traced", "fused"):
        monkeypatch.setattr(f"inference.evaluation.log_weights.{name}", lambda run, args: run)
    of_part = terms(pair, x[2:4], first=2, total=N)
    assert list(of_part) == ["weight", "elbo", "likelihood", "factors"]
    torch.testing.assert_close(of_part["factors"], torch.full((3, 2), F / N), rtol=0, atol=1e-12)
