"""Autoguides, PyroParam and PyroSample in a user's model: fitted and evaluated, or refused with what to write."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gallery.runs.registry import model_class
from gallery.runs.training import load
from inference import SVI, InferenceError, Settings, evaluate
from inference.pairs.info import inspect_pair

pytestmark = pytest.mark.usefixtures("no_figures")

MODELS = """
import pyro, torch
import pyro.distributions as dist
from pyro.infer import autoguide
from pyro.nn import PyroModule, PyroParam, PyroSample
from torch import nn


class Level(nn.Module):
    '''z ~ Normal(0, 1), x_i ~ Normal(z, 1), and a scale s > 0 that x does not depend on.'''

    def __init__(self, kind: str = "AutoNormal", first: int = 1):
        super().__init__()
        self.auto = getattr(autoguide, kind)(self.model)
        if first:
            with pyro.get_param_store().scope():
                self.auto(torch.zeros(2, 1))

    def model(self, x, total=None):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        pyro.sample("s", dist.LogNormal(x.new_zeros(()), 1.0))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("x", dist.Normal(z * torch.ones_like(x), 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        self.auto(x, total)


class Local(Level):
    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


class Attribute(nn.Module):
    model = Level.model

    def __init__(self):
        super().__init__()
        self.guide = autoguide.AutoNormal(self.model)


class Normal(PyroModule):
    def __init__(self):
        super().__init__()
        self.scale = PyroParam(torch.ones(()), constraint=dist.constraints.positive)

    def forward(self, x):
        pyro.sample("weights.z", dist.Normal(x.new_zeros(()), self.scale))


class Params(PyroModule):
    '''The scale of the guide is a PyroParam.'''

    def __init__(self, constant: bool = False):
        super().__init__()
        self.q = Normal()
        self.weights = PyroModule()
        self.weights.register_buffer("zero", torch.zeros(()))
        self.weights.z = PyroSample(dist.Normal(0.0, 1.0) if constant else lambda self: dist.Normal(self.zero, 1.0))

    def forward(self, x, total=None):
        mean = self.weights.z * torch.ones_like(x)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0).to_event(1), obs=x)

    def model(self, x, total=None):
        self(x, total)

    def guide(self, x, total=None):
        self.q(x)
"""


@pytest.fixture(autouse=True)
def models(elsewhere):
    Path("mine.py").write_text(MODELS)
    np.savez("own.npz", x=np.random.default_rng(0).normal(size=(60, 1)).astype("float32"))


DATA = "--data", "own.npz:real"


@pytest.mark.parametrize("kind", ["AutoNormal", "AutoMultivariateNormal", "AutoDelta"])
def test_an_autoguide_of_global_latents_is_checked_fitted_and_evaluated(run, kind):
    """`check` takes the default kind, which is that of the first case."""
    if kind == "AutoNormal":
        code, out, _ = run("check", "mine.py:Level", *DATA)
        assert code == 0, out
    code, _, err = run("fit", "mine.py:Level", *DATA, "--kind", kind, "--epochs", 2, "--lr", 0.1, "--run", "run")
    assert code == 0, err
    _, pair = load(Path("run"))
    assert len(pair.state_dict()) > 0
    assert bool(inspect_pair(pair, (x(),)).delta_sites) == (kind == "AutoDelta")
    code, out, _ = run("evaluate", "run", "--particles", 2)
    assert code == 0
    assert ("\n  ELBO " in out) == (kind != "AutoDelta")


def x(n=20):
    return torch.randn(n, 1, generator=torch.Generator().manual_seed(1))


def test_with_the_posterior_as_autoguide_every_weight_is_the_evidence():
    """log p(x) of n values is Normal(x; 0, I + 1 1'); s has its prior as guide, up to the scale of the start."""
    pair, data = model_class("mine.py:Level")(), x()
    n = len(data)
    with torch.no_grad():
        pair.auto.locs.z_unconstrained.copy_(data.sum() / (n + 1))
        for scale, value in (
            (pair.auto.scales.z_unconstrained, (n + 1) ** -0.5),
            (pair.auto.scales.s_unconstrained, 1.0),
        ):
            scale.copy_(torch.tensor(value).expm1().log())  # the scale is the softplus of it
        pair.auto.locs.s_unconstrained.zero_()
    exact = torch.distributions.MultivariateNormal(torch.zeros(n), torch.eye(n) + 1).log_prob(data[:, 0]) / n
    for bound in (evaluate(pair, data, particles=k)[name]["value"] for k, name in ((1, "elbo"), (8, "iwae"))):
        assert abs(bound - exact.item()) < 1e-5


def test_two_pairs_of_a_class_do_not_share_parameters():
    cls = model_class("mine.py:Level")
    one, two = cls(), cls()
    assert not {id(p) for p in one.parameters()} & {id(p) for p in two.parameters()}
    SVI(one, x(), settings=Settings(epochs=1, lr=0.1)).train_step()
    fresh = cls().auto.locs.z_unconstrained
    assert torch.equal(two.auto.scales.z_unconstrained, cls().auto.scales.z_unconstrained)
    assert fresh is not two.auto.locs.z_unconstrained


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("Level", ["--first", 0], ["self.auto, an AutoNormal", "first call", "pyro.get_param_store().scope()"]),
        ("Local", [], ["values of z for the rows of its first call", "nn.Embedding"]),
        ("Attribute", [], ["no method guide", "def guide(self, x, total=None): self.auto(x, total)"]),
    ],
)
def test_an_autoguide_that_cannot_be_fitted_is_refused_with_what_to_write(refused, name, options, words):
    refused(["fit", f"mine.py:{name}", *DATA, *options, "--run", "run"], *words)


def test_a_pyro_param_is_learnt():
    pair = model_class("mine.py:Params")()
    svi = SVI(pair, x(), settings=Settings(epochs=2, lr=0.1))
    assert [id(p) for p in svi.parameters] == [id(pair.q.scale_unconstrained)]
    svi.train_step()
    assert pair.q.scale_unconstrained != 0


def test_a_pyro_sample_is_named_where_its_prior_does_not_follow(run):
    code, out, _ = run("check", "mine.py:Params", *DATA)
    assert code == 0, out
    Path("mine.py").write_text(MODELS.replace("constant: bool = False", "constant: bool = True"))
    code, out, err = run("check", "mine.py:Params", *DATA)
    assert (code, err.endswith("of the contract: device.\n")) == (2, True)
    assert "weights.z is a PyroSample" in out
    assert "lambda self" in out


def test_a_pyro_sample_in_float64():
    Path("mine.py").write_text(
        MODELS.replace("self.weights.z * torch.ones_like(x)", "torch.mm(x * 0 + 1, self.weights.z.view(1, 1))")
    )
    cls = model_class("mine.py:Params")
    SVI(cls().double(), x().double())
    with pytest.raises(InferenceError, match=r"weights.z is a PyroSample .* torch.float32 .* torch.float64"):
        SVI(cls(constant=True).double(), x().double())
