"""A plate beside that of the data: the numbers of the same model with its dimension folded into the event."""

from functools import cache

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

import data
from gallery.models.item_response import Bayesian, ItemResponse
from gallery.report.export.arviz import groups
from gallery.runs.summary import summarise
from inference import (
    SVI,
    InferenceError,
    Settings,
    encode,
    evaluate,
    finish,
    nuts,
    pathfinder,
    reconstruct,
    sample,
    with_guide,
)
from inference.evaluation.diagnostics import calibration_ranks
from inference.evaluation.metrics import monitor_elbo
from inference.evaluation.reference import against_draws

OBJECTIVES = ["trace", "analytic", "free-bits:0.2", "graph", "stl", "loo:3", "iwae:4", "dreg:4", "vimco:3"]
OBJECTIVES += ["miwae:2:3", "ciwae:0.5:3", "piwae:2:3", "renyi:0.5:3", "wake-sleep:4"]


class Folded(Bayesian):
    """The same model, whose items are a dimension of the event."""

    def model(self, x, total=None):
        zeros, ones = x.new_zeros(self.data_dim), x.new_ones(self.data_dim)
        a = pyro.sample("a", dist.LogNormal(zeros, 0.5 * ones).to_event(1))
        b = pyro.sample("b", dist.Normal(zeros, 2 * ones).to_event(1))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), x.new_ones(())))
            pyro.sample("x", self.answers(z, a, b, x), obs=x.nan_to_num())

    def guide(self, x, total=None):
        pyro.module("q", self.q)
        m, s = self.q["m"], self.q["log_s"].exp()
        a = pyro.sample("a", dist.LogNormal(m[0], s[0]).to_event(1))
        pyro.sample("b", dist.Normal(m[1] + self.q["b_on_a"] * (a.log() - m[0]), s[1]).to_event(1))
        ItemResponse.guide(self, x, total)


@cache
def answers():
    return data.load("lsat6", dtype=torch.float64).x[::50]


def perturbed(cls):
    torch.manual_seed(3)
    pair = cls().double()
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return pair


def same(one, other):
    """Whether numbers, tensors and what holds them agree to 1e-8."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            same(value, other[key])
    elif isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8, equal_nan=True)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-8, abs=1e-8)
    else:
        assert one == other


@pytest.mark.parametrize("particles", [1, 3])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_have_the_same_loss_and_gradient(name, particles):
    found = []
    for cls in (Bayesian, Folded):
        pair, x = perturbed(cls), answers()
        svi = SVI(pair, x, settings=Settings(objective=name, batch_size=len(x), particles=particles))
        torch.manual_seed(0)
        loss = svi.loss(torch.arange(len(x)))
        found.append({"loss": loss.detach()} | dict(enumerate(torch.autograd.grad(loss, svi.parameters))))
    same(*found)


def test_free_bits_are_of_each_item():
    """Above every KL the charge is that many nats for each of the 2 J coordinates of the items, and for each z."""
    pair, x = perturbed(Bayesian), answers()
    svi = SVI(pair, x, settings=Settings(objective="free-bits:50", batch_size=len(x)))
    torch.manual_seed(0)
    loss = svi.loss(torch.arange(len(x))).item()
    torch.manual_seed(0)
    drawn = poutine.trace(pair.guide).get_trace(x)
    model = poutine.trace(poutine.replay(pair.model, drawn)).get_trace(x)
    model.compute_log_prob()
    reconstruction = model.nodes["x"]["log_prob"].sum().item()
    assert loss + reconstruction == pytest.approx(50 * (2 * 5 + len(x)), rel=1e-10)


def test_the_mean_of_reinforce_is_the_gradient():
    """Pyro charges each item with its own KL alone where the items are a plate: less noise, and the same mean."""
    of_plate = []
    for cls in (Bayesian, Folded):
        pair, x = perturbed(cls), answers()[:4]
        svi = SVI(pair, x, settings=Settings(objective="reinforce", batch_size=4, particles=32))
        torch.manual_seed(1)
        draws = [torch.autograd.grad(svi.loss(torch.arange(4)), [pair.q["m"]])[0] for _ in range(40)]
        of_plate.append(torch.stack(draws))
    means, errors = ([f(draws) for draws in of_plate] for f in (lambda d: d.mean(0), lambda d: d.std(0) / 40**0.5))
    assert ((means[0] - means[1]).abs() < 4 * errors[0].hypot(errors[1])).all()


EVALUATIONS = {
    "evaluate": lambda pair, x: evaluate(pair, x, particles=6, held_out=False),
    "monitor": monitor_elbo,
    "encode": encode,
    "reconstruct": reconstruct,
    "sample": lambda pair, x: sample(pair, x, n=4),
    "nuts": lambda pair, x: nuts(pair, x[:2], draws=4, warmup=1, chains=1)["draws"],
    "pathfinder": lambda pair, x: pathfinder(pair, x[:2], draws=25, paths=1)["draws"],
    "against_draws": lambda pair, x: against_draws(pair, chains(), 0, x[:2]),
    "calibration": lambda pair, x: calibration_ranks(pair, x[:2], 3, 5, posterior=from_prior),
}


def chains():
    torch.manual_seed(0)
    return {"a": torch.rand(2, 500, 5).double() + 0.5, "b": torch.randn(2, 500, 5).double(),
            "z": torch.randn(2, 500, 2).double()}  # fmt: skip


def from_prior(x, draws):
    return {"a": torch.rand(draws, 5).double(), "b": torch.randn(draws, 5).double()}


@pytest.mark.parametrize("name", EVALUATIONS)
def test_evaluations_have_the_same_numbers(name):
    same(*(EVALUATIONS[name](perturbed(cls), answers()) for cls in (Bayesian, Folded)))


def test_summary_and_file_of_draws_have_the_items():
    splits = {name: data.load("lsat6", name, dtype=torch.float64).head(60) for name in ("train", "test")}
    rows = [list(summarise(perturbed(cls), splits)) for cls in (Bayesian, Folded)]
    assert [row["latent"] for row in rows[0]] == [f"{name}[{j}]" for name in ("a", "b") for j in range(5)]
    for one, other in zip(*rows, strict=True):
        same(one, other)
    exported = groups(perturbed(Bayesian), splits["test"], draws=3)
    assert exported["posterior"]["a"].dims == exported["prior"]["b"].dims == ("chain", "draw", "items")
    assert exported["posterior"]["z"].dims == ("chain", "draw", "datum")
    folded = groups(perturbed(Folded), splits["test"], draws=3)
    assert (exported["posterior"]["a"].values == folded["posterior"]["a"].values).all()
    assert (exported["log_likelihood"]["x"].values == folded["log_likelihood"]["x"].values).all()


@pytest.mark.parametrize("name", ["normal", "delta"])
def test_guides_of_independent_coordinates_are_the_same(name):
    found = []
    for cls in (Bayesian, Folded):
        torch.manual_seed(5)
        x = answers()
        pair = with_guide(perturbed(cls), name, x)
        svi = SVI(pair, x, settings=Settings(batch_size=len(x)))
        torch.manual_seed(0)
        found.append(
            {"loss": svi.loss(torch.arange(len(x))).detach(), **evaluate(pair, x, particles=4, held_out=False)}
        )
    same(*found)


def test_a_multivariate_guide_has_a_covariance_for_each_item():
    pair = with_guide(perturbed(Bayesian), "multivariate", answers())
    q = pair.free_guide.q
    assert q["a"]["loc"].shape == q["b"]["loc"].shape == (5, 1)
    assert q["b"]["on_a"].shape == (5, 1, 1)
    assert "on_a" not in q["z"]
    assert evaluate(finish(pair, answers()), answers(), held_out=False)["elbo"]["value"] < 0


def test_laplace_is_refused():
    with pytest.raises(InferenceError, match=r"a, b in a plate of items.*normal"):
        with_guide(perturbed(Bayesian), "laplace", answers())


class Components(torch.nn.Module):
    """A mixture whose means are latents in a plate, or a dimension of the event; y is summed out, also by the guide."""

    def __init__(self, plate=True, of_guide=False):
        super().__init__()
        self.plate, self.of_guide = plate, of_guide
        self.q = torch.nn.ParameterDict({"m": torch.tensor([-1.0, 0.0, 2.0]), "log_s": torch.zeros(3)})
        self.phi = torch.nn.ParameterDict({"logits": torch.zeros(3)} if of_guide else {})

    def means(self, fn):
        if not self.plate:
            return pyro.sample("loc", fn.to_event(1))
        with pyro.plate("components", 3):
            return pyro.sample("loc", fn)

    def model(self, x, total=None):
        mean = self.means(dist.Normal(x.new_zeros(3), 3.0))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            y = pyro.sample("y", dist.Categorical(x.new_full((3,), 1 / 3)), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(mean[y].unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        pyro.module("q", self.q)
        self.means(dist.Normal(self.q["m"], self.q["log_s"].exp()))
        if self.of_guide:
            pyro.module("phi", self.phi)
            with pyro.plate("data", total or len(x), subsample_size=len(x)):
                logits = self.phi["logits"].expand(len(x), 3)
                pyro.sample("y", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})


@pytest.mark.parametrize("of_guide", [False, True])
@pytest.mark.parametrize("name", ["enum", "enum_analytic"])
def test_discrete_latents_are_summed_out_below_a_plate(of_guide, name):
    found, x = [], torch.linspace(-3, 3, 7, dtype=torch.float64).unsqueeze(-1)
    for plate in (True, False):
        pair = Components(plate, of_guide).double()
        svi = SVI(pair, x, settings=Settings(objective=name, batch_size=7))
        torch.manual_seed(0)
        loss = svi.loss(torch.arange(7))
        gradients = dict(enumerate(torch.autograd.grad(loss, svi.parameters)))
        found.append({"loss": loss.detach(), **gradients, **evaluate(pair, x, particles=5, held_out=False)})
    same(*found)
