"""A fit until the weights have converged: its error bound against exact optima, from many first rates."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import data
from gallery.models.exponential_gaussian import PerDatum
from gallery.models.factor_analysis import FactorAnalysis
from gallery.models.linear_regression import LinearRegression, MaximumAPosteriori, MeanField
from gallery.models.ppca import PPCA
from inference import SVI, InferenceError, Settings
from inference.examples import LinearGaussian
from inference.fit.converged import Convergence

TOLERANCE = 0.15


class Runner:
    """Steps of SGD on w^2 / 2 with noise, to an optimum that is off by `bias` rate^kappa."""

    def __init__(self, weights, bias, kappa):
        self.weights, self.bias, self.kappa = weights, bias, kappa
        self.step, self.lr = 0, 0.0

    def set_rate(self, lr, adam_beta2):
        self.lr = lr

    def check(self):
        pass

    def run(self):
        noise = torch.randn_like(self.weights)
        with torch.no_grad():
            self.weights -= self.lr * (self.weights - self.bias * self.lr**self.kappa + noise)
        self.step += 1


@pytest.mark.parametrize("kappa", [0.5, 1.0])
@pytest.mark.parametrize("lr", [0.3, pytest.param(0.03, marks=pytest.mark.integration)])
def test_the_bound_is_at_least_the_distance_where_it_falls_as_a_power_of_the_rate(kappa, lr):
    """20 weights with biases up to 1/2 at rate 1, of both signs; 2 seeds."""
    for seed in range(2):
        torch.manual_seed(seed)
        weights = nn.Parameter(torch.randn(20, dtype=torch.float64))
        runner = Runner(weights, torch.linspace(-0.5, 0.5, 20, dtype=torch.float64), kappa)
        rule = Convergence(runner, {"w": weights}, Settings(until=f"converged:{TOLERANCE}", lr=lr, optimiser="SGD"))
        rule.set_rate()
        while not rule.is_over:
            runner.run()
            rule.record()
            assert runner.step < 200_000
        rule.average()
        assert weights.abs().max() <= rule.error <= TOLERANCE
        assert runner.lr < lr


def test_a_rate_at_which_iterates_still_drift_does_not_end():
    """A random walk, whose halves differ at every length, and a line."""
    for rate, noise in ((0.0, 1.0), (1e-3, 0.0)):
        torch.manual_seed(0)
        weights = nn.Parameter(torch.zeros(3, dtype=torch.float64))
        settings = Settings(until="converged:1e9", optimiser="SGD")
        rule = Convergence(SimpleNamespace(step=0, lr=0.0), {"w": weights}, settings)
        for rule.runner.step in range(5, 50_000, 5):
            with torch.no_grad():
                weights += rate + noise * torch.randn_like(weights)
            rule.record()
        assert rule.rates == 0
        assert rule.summary()["drifts"] == "w"


def fit(pair, x, given=None, only=None, **settings):
    """The fit, at its end, and the largest distance of a weight from the optimum `optimum(pair)`."""
    defaults = {"until": f"converged:{TOLERANCE}", "epochs": 20_000, "batch_size": 20, "lr": 0.1, "engine": "graph"}
    chosen = Settings(**defaults | settings)
    torch.manual_seed(chosen.seed)
    svi = SVI(pair, x, given, chosen, only=only)
    svi.run()
    return svi


def distance(pair, optimum):
    return max((parameter.detach() - optimum[name]).abs().max().item() for name, parameter in pair.named_parameters())


def standard_normal(n=100):
    torch.manual_seed(0)
    return 2**0.5 * torch.randn(n, 1)


LINEAR_GAUSSIAN = {"q.weight": 0.5, "q.spread": math.log(math.expm1(0.5**0.5))}  # whatever the data


def optimum_of(pair, x, given):
    """The weights at which the guide of a linear regression is nearest to the posterior."""
    posterior = pair.posterior(x.double(), given.double())
    if isinstance(pair, MaximumAPosteriori):
        return {"q.m": posterior.mean}
    if isinstance(pair, MeanField):
        return {"q.m": posterior.mean, "q.log_s": -posterior.precision_matrix.diag().log() / 2}
    factor = posterior.scale_tril
    unit = factor / factor.diag().unsqueeze(-1)
    return {"q.m": posterior.mean, "q.log_s": factor.diag().log(), "q.A": unit.tril(-1)}


def test_a_fit_ends_at_the_exact_guide_and_resumes_to_the_bit():
    x = standard_normal()
    through = fit(LinearGaussian(), x, until="converged:0.3")
    rule = through.convergence
    assert rule.is_over
    assert through.step == through.steps < 20_000 * 5
    assert through.step % 5 == 0  # its last epoch is whole
    assert distance(through.pair, LINEAR_GAUSSIAN) <= rule.error <= 0.3

    torch.manual_seed(0)
    stopped = SVI(LinearGaussian(), x, settings=through.settings)
    stopped.run(1777)  # no multiple of the steps between iterates
    tensors, about = stopped.state()
    torch.manual_seed(5)
    resumed = SVI(LinearGaussian(), x, settings=through.settings)
    resumed.set_state(tensors, about)
    resumed.run()
    assert resumed.step == through.step
    for one, other in zip(resumed.pair.parameters(), through.pair.parameters(), strict=True):
        assert torch.equal(one, other)
    again = SVI(LinearGaussian(), x, settings=through.settings)
    again.set_state(*resumed.state())
    assert again.steps == through.step
    assert len(again.run()) == 0


def test_a_fit_that_has_not_converged_states_so():
    svi = fit(LinearGaussian(), standard_normal(), epochs=20, engine="pyro")
    assert svi.step == svi.steps == 100
    expected = {"converged": False, "weight_error": None, "tolerance": TOLERANCE, "lr": 0.1, "drifts": None}
    assert svi.convergence.summary() == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr_schedule": "cosine"}, "lr_schedule is cosine"),
        ({"warmup": 1.0}, "warmup changes it"),
        ({"until": "converged:0"}, "until must be epochs, converged or converged:TOLERANCE, not 'converged:0'"),
        ({"until": "done"}, "until must be epochs"),
        ({"until": "converged:x"}, "until must be epochs"),
    ],
)
def test_what_does_not_go_with_it_is_refused(settings, message):
    with pytest.raises(InferenceError, match=message):
        SVI(LinearGaussian(), torch.zeros(4, 1), settings=Settings(**{"until": "converged"} | settings))


def test_large_models_are_refused():
    with pytest.raises(InferenceError, match=r"1 to 100,000 of them; there are 200,000"):
        SVI(PerDatum(100_000), torch.zeros(100_000, 1), settings=replace(Settings(), until="converged"))


@pytest.mark.parametrize(
    ("lr", "engine"),
    [
        pytest.param(0.1, "compiled", marks=pytest.mark.slow),
        pytest.param(0.01, "graph", marks=pytest.mark.integration),
        pytest.param(0.001, "graph", marks=pytest.mark.slow),
        pytest.param(0.0001, "graph", marks=pytest.mark.slow),
    ],
)
def test_every_first_rate_ends_at_the_same_guide(lr, engine):
    """Within the tolerance of the exact one; the smallest rates are raised first."""
    svi = fit(LinearGaussian(), standard_normal(), lr=lr, until="converged:0.05", engine=engine)
    assert distance(svi.pair, LINEAR_GAUSSIAN) <= svi.convergence.error <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("cls", [LinearRegression, MeanField, MaximumAPosteriori])
def test_the_bound_holds_for_linear_regression(cls):
    line = data.load("line")
    for seed in range(2):
        pair = cls()
        svi = fit(pair, line.x, line.given, particles=32, seed=seed, engine="compiled", lr=0.03)
        assert distance(pair, optimum_of(pair, line.x, line.given)) <= svi.convergence.error <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("cls", [PPCA, FactorAnalysis])
def test_the_bound_holds_for_the_guide_of_a_linear_model(cls):
    """At fixed weights of the model, where the guide has one optimum, in closed form."""
    torch.manual_seed(0)
    x, pair = torch.randn(200, 4), cls(4, 2)
    svi = fit(pair, x, only="guide", objective="analytic", batch_size=50, lr=0.03)
    at_zero, at_units = pair.posterior(torch.zeros(1, 4)), pair.posterior(torch.eye(4))
    optimum = {"phi.V": (at_units.mean - at_zero.mean).T, "phi.c": at_zero.mean[0]}
    optimum["phi.log_s"] = -at_zero.precision_matrix[0].diagonal().log() / 2  # of PPCA, whose guide is diagonal
    optimum["phi.L"] = at_zero.scale_tril[0]  # of factor analysis
    fitted = {name: value.detach() for name, value in pair.named_parameters() if name.startswith("phi")}
    away = max((value - optimum[name]).abs().max().item() for name, value in fitted.items())
    assert away <= svi.convergence.error <= TOLERANCE
