"""A traced or compiled step against the same step run by Pyro."""

import warnings
from dataclasses import replace

import pytest
import torch
from cases import FITTED, N, arguments
from fits import run_steps, tiny_fit
from known import Score, Tempered

import data
from gallery.models import MODELS
from gallery.models.vae import VAE
from inference import SVI, Settings, evaluate, param_scope
from inference.fit.graph import UntraceableError, traced
from inference.fit.library import compile_library
from inference.pairs.handlers import SetRows

KINDS = ("factor_analysis", "linear_regression", "gaussian_mixture", "autoencoder", "cvae", "ss_vae", "gmvae", "vrnn")
"""One model of each kind of pair, for every run of the tests; the others are for `make integration`."""


@pytest.mark.parametrize(
    "name", [name if name in KINDS else pytest.param(name, marks=pytest.mark.integration) for name in FITTED]
)
def test_graph_takes_the_steps_of_pyro_and_its_gradients(name):
    svi = tiny_fit(name, "graph")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steps = run_steps(svi)
    torch.testing.assert_close(steps, run_steps(tiny_fit(name, "pyro")), rtol=1e-9, atol=1e-9)
    rows, args = torch.arange(4), svi.loss.batch(torch.arange(4))
    torch.manual_seed(2)
    _, loss, *gradients = svi.runner.prepare()[0](*svi.loss.step_arguments(rows))
    torch.manual_seed(2)
    with param_scope(), SetRows(rows):
        expected = svi.loss.estimator.loss_and_grads(svi.pair.model, svi.pair.guide, *args, total=N)
    torch.testing.assert_close(
        loss.item() * N, torch.as_tensor(expected, dtype=torch.float64).item(), rtol=1e-9, atol=1e-9
    )
    for parameter, gradient in zip(svi.parameters, gradients, strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["vae", "linear_regression"])
def test_objectives_and_particles_too(name):
    for settings in ({"objective": "analytic"}, {"particles": 3}, {"beta": 2.0, "warmup": 1.0}):
        graph, eager = (run_steps(tiny_fit(name, mode, **settings)) for mode in ("graph", "pyro"))
        torch.testing.assert_close(graph, eager, rtol=1e-9, atol=1e-9)


def test_score_function_gradients():
    x = torch.randn(12, 1, dtype=torch.float64)
    ends = []
    for mode in ("graph", "pyro"):
        pair = Score().double()
        svi = SVI(pair, x, settings=Settings(epochs=1, batch_size=4))
        svi.runner.mode = mode
        torch.manual_seed(0)
        svi.train_step()
        assert pair.q["loc"] != 0
        ends.append(pair.q["loc"].detach())
    torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-9)


class Branching(MODELS["vae"]):
    def model(self, x, total=None):
        if x.sum() > 0:
            super().model(x, total)
        else:
            super().model(x, total)


def test_a_pair_that_branches_on_values_is_run_by_pyro_and_the_line_is_named():
    svi = SVI(Branching(6, 2, (5,)), *arguments("vae"), settings=Settings(epochs=200, batch_size=4))
    with pytest.warns(UserWarning, match=r"test_graph.py:\d+: if x.sum\(\) > 0"):
        first = svi.train_step()
    assert svi.train_step() != first


def test_dropout_and_a_warmup_live_in_the_graph():
    svi = tiny_fit("vae", "graph", warmup=2.0, epochs=4)
    svi.train_step()
    rows = torch.arange(4)

    def loss(beta, seed):
        torch.manual_seed(seed)
        return svi.runner.prepare()[0](svi.runner.guard.failed, rows, svi.x.new_full((), beta), *svi.loss.batch(rows))[
            1
        ]

    assert loss(1.0, 0) == loss(1.0, 0)
    assert loss(1.0, 0) != loss(1.0, 1)
    zero, one, three = (loss(beta, 0) for beta in (0.0, 1.0, 3.0))
    torch.testing.assert_close(three - zero, 3 * (one - zero))


@pytest.mark.parametrize("mode", ["graph", pytest.param("compiled", marks=pytest.mark.integration)])
def test_a_temperature_that_falls_is_seen_by_the_graph(mode):
    settings = Settings(final_temperature=0.1, epochs=2, batch_size=4, precision="float64", engine="pyro")
    x = torch.randn(N, 1, dtype=torch.float64)
    fits = [SVI(Tempered().double(), x, settings=replace(settings, engine=of)) for of in (mode, "pyro")]
    falling, eager = (run_steps(fit, 6) for fit in fits)
    torch.testing.assert_close(falling, eager, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(fits[0].pair.temperature.item(), 0.5 * 0.2 ** (5 / 6))


def test_half_products_leave_the_densities_alone(monkeypatch):
    monkeypatch.setattr("inference.fit.loss.has_bfloat16", lambda device: True)
    exact, half = (tiny_fit("vae", "graph", double=False, precision=p) for p in ("float32", "bfloat16"))
    a, b = run_steps(exact, 1), run_steps(half, 1)
    assert b.dtype == torch.float32
    assert a != b
    torch.testing.assert_close(a, b, rtol=2**-8, atol=0)  # the spacing of bfloat16
    assert all(p.dtype == torch.float32 for p in half.parameters)


@pytest.mark.parametrize("name", ["vae", "gmvae"])
def test_half_products_of_a_processor_without_them_are_those_of_float32(monkeypatch, name):
    monkeypatch.setattr("inference.fit.loss.has_bfloat16", lambda device: False)
    exact, half = (tiny_fit(name, "graph", double=False, precision=p) for p in ("float32", "bfloat16"))
    assert torch.equal(run_steps(exact, 3), run_steps(half, 3))


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU the compiler draws noise of its own")
@pytest.mark.integration
@pytest.mark.parametrize("name", ["factor_analysis", pytest.param("vae", marks=pytest.mark.slow)])
def test_compiled_takes_the_steps_of_pyro_and_goes_on_to_the_bit(name):
    compiled = tiny_fit(name, "compiled")
    torch.testing.assert_close(run_steps(compiled), run_steps(tiny_fit(name, "pyro")), rtol=1e-9, atol=1e-9)
    tensors, about = compiled.state()
    rest = run_steps(compiled)
    again = tiny_fit(name, "compiled")
    again.set_state(tensors, about)
    assert torch.equal(run_steps(again), rest)


class Asserting(VAE):
    def model(self, x, total=None):
        assert x.sum() > -1
        super().model(x, total)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("engine", ["graph", "compiled"])
def test_bernoulli_draws_are_those_of_torch_to_the_bit(engine, dtype):
    """Of probabilities of any layout; in float64 the compiler by itself draws numbers of 32 bits."""
    p = torch.linspace(0.05, 0.95, 42, dtype=dtype).view(6, 7)
    layouts = (p, p.T, p[:, :3], p[0].expand(4, 7))

    def draw(p):
        return tuple(torch.bernoulli(of) for of in (p, p.T, p[:, :3], p[0].expand(4, 7)))

    graph = traced(draw, (p,))
    run = graph if engine == "graph" else compile_library(graph, (p,))
    torch.manual_seed(0)
    expected = [torch.bernoulli(of) for of in layouts]
    torch.manual_seed(0)
    for drawn, value in zip(run(p), expected, strict=True):
        assert torch.equal(drawn, value)


def test_an_error_without_a_message_is_no_crash():
    svi = SVI(Asserting(6, 2, (5,)), *arguments("vae"), settings=Settings(epochs=200, batch_size=4))
    with pytest.warns(UserWarning, match=r"cannot be traced at .*test_graph.py:\d+: assert"):
        svi.train_step()
    with pytest.raises(UntraceableError, match=r"AssertionError: \)"):
        traced(_without_message, (torch.zeros(1),))


def _without_message(x):
    raise AssertionError


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_compiled_ends_at_the_bound_of_training_by_pyro(precision):
    """Rounding differs, and runs part by it as those of other seeds do: by 4 standard errors over seeds."""
    train, test = (data.load("digits:threshold", split).x for split in ("train", "test"))

    def bounds(mode):
        bounds_of = []
        for seed in range(5):
            torch.manual_seed(seed)
            pair = VAE(data_dim=64, latent_dim=5, hidden=(64,), dropout=0.0, likelihood="bernoulli")
            settings = Settings(epochs=40, batch_size=50, lr=2e-3, lr_schedule="cosine", seed=seed)
            svi = SVI(pair, train, settings=settings if mode == "pyro" else replace(settings, precision=precision))
            svi.runner.mode = mode
            for _ in svi:
                pass
            bounds_of.append(evaluate(pair, test, particles=16)["elbo"]["value"])
        return torch.tensor(bounds_of, dtype=torch.float64)

    eager, compiled = bounds("pyro"), bounds("compiled")
    error = ((eager.var() + compiled.var()) / len(eager)).sqrt()
    assert abs(eager.mean() - compiled.mean()) < 4 * error
    share = train.mean(0).clamp(1e-3, 1 - 1e-3)  # the bound of independent pixels
    assert eager.mean() > torch.distributions.Bernoulli(share).log_prob(test).sum(1).mean()  # they learnt
