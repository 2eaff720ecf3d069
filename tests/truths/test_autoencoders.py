"""Autoencoders as pairs: minus the ELBO is the stated loss, and each kind does what its name says."""

import math

import numpy as np
import pytest
import torch
from autoencoder_cases import (
    CASES,
    D,
    N,
    corrupted,
    digits,
    error,
    fitted,
    layers,
    pixels,
    small,
    stated_loss_terms,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pyro import poutine
from torch.autograd.functional import jacobian

from gallery.figures import contraction, save
from gallery.ledger.experiments.contractive_autoencoder import WEIGHTS, along_training
from gallery.models._nn import PixelHead
from gallery.models.contractive_autoencoder import jacobian_norm
from gallery.models.denoising_autoencoder import DenoisingAutoencoder
from gallery.models.k_sparse_autoencoder import KSparseAutoencoder
from gallery.models.sparse_autoencoder import SparseAutoencoder
from inference import SVI, InferenceError, Settings, encode, evaluate, reconstruct, sample


@pytest.mark.parametrize("objective", ["trace", "analytic"])
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize(("name", "keywords"), CASES)
def test_minus_elbo_is_the_loss_that_is_stated(name, keywords, likelihood, objective):
    """Reconstruction error, plus the penalty in nats per data point, minus the log prior where it is not flat; on a
    minibatch, in training mode."""
    pair = small(name, likelihood=likelihood, **keywords)
    x = pixels() if likelihood == "gaussian" else pixels().round()
    svi, rows = SVI(pair, x, settings=Settings(objective=objective)), torch.tensor([4, 1, 7, 2, 9, 11])
    torch.manual_seed(3)
    loss = svi.loss(rows)
    torch.manual_seed(3)
    error, penalty, log_prior = stated_loss_terms(name, pair, x[rows], torch.rand(len(rows), D, dtype=x.dtype))
    torch.testing.assert_close(loss / N, (error + penalty - log_prior).mean(), rtol=1e-8, atol=1e-8)


def test_the_default_scale_weighs_the_summed_squared_error_by_one():
    pair, x = small("autoencoder"), pixels()
    error = (reconstruct(pair, x) - x).square().sum(1).mean().item()
    loss = SVI(pair, x).loss(torch.arange(N)).item() / N
    assert loss - D / 2 * math.log(math.pi) == pytest.approx(error, rel=1e-6)


@pytest.mark.parametrize(("name", "keywords"), CASES)
def test_a_bound_is_undefined_and_so_are_draws_under_a_flat_prior(name, keywords):
    pair, x = small(name, **keywords), pixels()
    metrics = evaluate(pair, x, particles=2)
    assert {"elbo", "iwae", "kl"} <= metrics["undefined"].keys()
    assert "elbo" not in metrics
    error, _, _ = stated_loss_terms(name, pair, x, torch.ones_like(x)) if "denois" not in name else (None, None, None)
    if error is not None:
        assert metrics["reconstruction"]["value"] == pytest.approx(-error.mean().item(), rel=1e-8)
    if name == "autoencoder:map":
        assert sample(pair, x, 3)["x"].shape == (3, D)
    else:
        with pytest.raises(InferenceError, match="flat"):
            sample(pair, x, 3)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.data(), st.sampled_from([0.0, 1.0, 1e6]), st.integers(0, 2**31))
def test_at_most_k_codes_are_not_zero_whatever_the_data(units, choose, size, seed):
    """Also for x = 0, where all units tie at their bias, set to the same value."""
    k = choose.draw(st.integers(1, units))
    torch.manual_seed(seed)
    pair = KSparseAutoencoder(k=k, data_dim=4, latent_dim=units)
    torch.nn.init.constant_(layers(pair.encoder)[0].bias, 1.0)
    x = size * torch.randn(9, 4)
    h, z = pair.encoder(x), encode(pair, x)["z"]
    assert ((z != 0).sum(1) <= k).all()
    torch.testing.assert_close(z.sort(1).values[:, -k:], h.sort(1).values[:, -k:])


def test_corruptions_do_what_they_say():
    x, level = torch.rand(500, 40), 0.3
    n = x.numel()
    shift = corrupted("uniform", x, level) - x
    assert (shift >= 0).all()
    assert (shift <= torch.minimum(torch.tensor(level), 1 - x) + 1e-6).all()
    free = shift[x < 0.7] / level  # uniform where nothing is clamped
    assert abs(free.mean() - 0.5) < 4 * math.sqrt(1 / 12 / len(free))
    noise = (corrupted("gaussian", x, level) - x) / level
    assert abs(noise.mean()) < 4 / math.sqrt(n)
    assert abs(noise.var() - 1) < 4 * math.sqrt(2 / n)
    masked = corrupted("masking", x + 1e-3, level)
    assert ((masked == 0).sum(1) == 12).all()
    assert (masked[masked != 0] == (x + 1e-3)[masked != 0]).all()
    y = corrupted("salt_pepper", 0.5 * x + 0.25, level)
    for value in (0, 1):
        assert abs((y == value).double().mean() - level / 2) < 4 * math.sqrt(level / 2 * (1 - level / 2) / n)
    assert (y == 0.5 * x + 0.25).double().mean() > 0.6
    for kind in ("uniform", "gaussian", "masking", "salt_pepper"):
        torch.testing.assert_close(corrupted(kind, x, 0.0), x)
        assert corrupted(kind, x, 1.0).isfinite().all()


def test_corruption_is_seen_in_the_trace_while_training_only():
    pair, x = small("denoising_autoencoder"), pixels()
    trace = poutine.trace(pair.guide).get_trace(x)
    u, seen = (trace.nodes[name]["value"] for name in ("u", "corrupted"))
    assert torch.equal(seen, pair.corrupt(x, u))
    assert not torch.equal(seen, x)
    assert trace.log_prob_sum() == 0
    pair.eval()
    assert torch.equal(poutine.trace(pair.guide).get_trace(x).nodes["corrupted"]["value"], pair.expected(x))
    torch.testing.assert_close(reconstruct(pair, x), pair.denoise(pair.expected(x)))


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("kind", ["uniform", "gaussian", "masking", "salt_pepper"])
def test_in_evaluation_the_noise_stands_at_its_mean(kind, level):
    x, k = torch.rand(1, 10), 4000
    draws = corrupted(kind, x.expand(k, -1), level)
    pair = DenoisingAutoencoder(corruption=kind, level=level, data_dim=10, latent_dim=2)
    assert ((draws.mean(0) - pair.expected(x)[0]).abs() < 5 * draws.std(0) / math.sqrt(k) + 1e-6).all()


def test_what_is_trained_on_noise_cleans_it():
    x = digits()[1].x
    denoising, plain = fitted("denoising_autoencoder", 12), fitted("autoencoder", 12)
    noisy = denoising.corrupt(x)
    cleaned = (denoising.denoise(noisy) - x).square().sum(1).mean()
    assert cleaned < 0.3 * (noisy - x).square().sum(1).mean()
    assert cleaned < 0.8 * (reconstruct(plain, noisy) - x).square().sum(1).mean()
    assert error(denoising, x) < cleaned


def test_units_reach_rho_and_tell_of_x_unless_weighed_as_on_the_slides():
    train, test = digits()
    nothing = (test.x - train.x.mean(0)).square().sum(1).mean().item()
    working, slides = fitted("sparse_autoencoder", 16), fitted("sparse_autoencoder", 10, lr=1e-3, weight=3.0 * 64)
    for pair in (working, slides):
        assert abs(encode(pair, test.x)["z"].mean() - 0.05) < 0.02
    assert error(working, test.x) < 0.4 * nothing
    assert error(slides, test.x) > 0.8 * nothing


def test_the_penalty_is_zero_at_rho_and_finite_at_the_ends():
    pair = SparseAutoencoder(rho=0.25, data_dim=3, latent_dim=4)
    assert pair.penalty(torch.full((6, 4), 0.25)).item() == pytest.approx(0, abs=1e-6)
    for end in (0.0, 1.0):
        assert math.isfinite(pair.penalty(torch.full((6, 4), end)).item())


def test_closed_form_and_jacobian_agree():
    pair, x = small("contractive_autoencoder"), pixels()
    by_rows = torch.stack([jacobian(pair.encoder, row).square().sum() for row in x])
    torch.testing.assert_close(pair.penalty(x, pair.encoder(x)), by_rows, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(jacobian_norm(pair.encoder, x, rows=5), by_rows, rtol=1e-8, atol=1e-8)
    closed, general = (
        torch.autograd.grad(norm.sum(), pair.encoder.parameters())
        for norm in (pair.penalty(x, pair.encoder(x)), jacobian_norm(pair.encoder, x))
    )
    for a, b in zip(closed, general, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_at_the_same_error_the_contractive_code_is_less_steep(tmp_path):
    """And so is the map from x to its reconstruction, which a change of the code's unit leaves as it is."""
    paths = {name: [tuple(at.values()) for at in along_training(weight)] for name, weight in WEIGHTS.items()}
    plain, contractive = (np.array(p) for p in paths.values())
    last, rising = contractive[-1], plain[plain[:, 0].argsort()]
    assert rising[0, 0] < last[0] < rising[-1, 0]  # the plain one passes this error
    norm, whole = (np.interp(last[0], rising[:, 0], rising[:, i]) for i in (1, 2))
    assert last[1] < 0.5 * norm
    assert last[2] < whole
    fig = contraction({name: [point[:2] for point in p] for name, p in paths.items()})
    assert len(fig.axes[0].lines) == 2
    save(fig, tmp_path / "contraction.png")


@pytest.mark.parametrize("weight", [0.0, 0.05, 1.0, 100.0])
def test_continuous_bernoulli_is_a_density_for_any_output_of_the_network(weight):
    head = PixelHead(1, 1, "continuous_bernoulli").double()
    torch.nn.init.constant_(head.linear.weight, weight)
    torch.nn.init.zeros_(head.linear.bias)
    x = torch.linspace(0, 1, 200_001, dtype=torch.float64).unsqueeze(1)
    for h in (-1.0, 1.0):
        log_p = head(torch.tensor([[h]], dtype=torch.float64)).log_prob(x)
        assert torch.trapezoid(log_p.exp(), x[:, 0]).item() == pytest.approx(1, abs=1e-6)
        mean = torch.trapezoid(x[:, 0] * log_p.exp(), x[:, 0])
        assert head(torch.tensor([[h]], dtype=torch.float64)).mean.item() == pytest.approx(mean.item(), abs=1e-6)
        single = head.float()(torch.tensor([[h]])).log_prob(x.float())
        torch.testing.assert_close(single.double(), log_p, rtol=0, atol=2e-5)
        head.double()


def test_a_tanh_unit_is_a_sigmoid_unit_in_other_units():
    a = torch.randn(N, 3, dtype=torch.float64)
    sigmoid, tanh = (small("sparse_autoencoder", activation=kind) for kind in ("sigmoid", "tanh"))
    torch.testing.assert_close(tanh.penalty(a.tanh()), sigmoid.penalty((2 * a).sigmoid()))
    at_start = tanh.encoder[0].bias.tanh()
    torch.testing.assert_close((1 + at_start) / 2, torch.full_like(at_start, tanh.rho))


def test_the_penalty_of_a_relu_is_the_printed_one_and_has_no_value_outside_its_domain():
    pair = small("sparse_autoencoder", activation="relu", rho=0.25)
    s = torch.tensor([0.25, 0.5], dtype=torch.float64)
    exact = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    torch.testing.assert_close(pair.penalty(torch.stack([0 * s, 2 * s])).item(), exact)
    assert pair.penalty(torch.zeros(2, 1, dtype=torch.float64)) == math.inf
    for mean in (1.5, -0.1):
        assert pair.penalty(torch.full((2, 1), mean, dtype=torch.float64)).isnan()
    with pytest.raises(ValueError, match="activation must be one of sigmoid, tanh, relu, leaky_relu, not 'elu'"):
        SparseAutoencoder(activation="elu")


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.filterwarnings("ignore:Encountered")
def test_a_fit_that_leaves_the_domain_of_the_penalty_stops_in_one_line(activation):
    pair, x = small("sparse_autoencoder", activation=activation), pixels()
    with torch.no_grad():
        pair.encoder[0].bias[0] = -10.0
    with pytest.raises(InferenceError, match=r"sparsity|log_factor") as caught:
        SVI(pair, x, settings=Settings(batch_size=N)).train_step()
    assert "\n" not in str(caught.value)
