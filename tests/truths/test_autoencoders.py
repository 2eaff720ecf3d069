"""Deterministic codes: the loss is what it is said to be, and each variant keeps its promise."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pyro import poutine
from torch.autograd.functional import jacobian

import data
from gallery.cli.main import main
from gallery.figures import activations, contraction, denoised, draw, save, sparsity
from gallery.figures.style import tile
from gallery.models import MODELS
from gallery.models._nn import PixelHead
from gallery.models.contractive_autoencoder import ContractiveAutoencoder, jacobian_norm
from gallery.models.denoising_autoencoder import DenoisingAutoencoder
from gallery.models.k_sparse_autoencoder import KSparseAutoencoder
from gallery.models.sparse_autoencoder import SparseAutoencoder
from inference import SVI, InferenceError, Settings, check_fit, encode, evaluate, reconstruct, sample
from inference.evaluation.probes import features, probe

N, D, UNITS = 12, 7, 5
CASES = [
    ("autoencoder", {}),
    ("autoencoder:map", {}),
    *[("denoising_autoencoder", {"corruption": kind, "level": 0.3}) for kind in ("uniform", "masking")],
    *[("denoising_autoencoder", {"corruption": kind, "level": 0.3}) for kind in ("gaussian", "salt_pepper")],
    ("sparse_autoencoder", {"rho": 0.1, "weight": 2.0}),
    ("sparse_autoencoder:deep", {"hidden": (6, 4)}),
    ("k_sparse_autoencoder", {"k": 2}),
    ("contractive_autoencoder", {"weight": 0.5}),
    ("contractive_autoencoder:deep", {"hidden": (6,)}),
]


def small(name, **keywords):
    return MODELS[name](**{"data_dim": D, "latent_dim": UNITS, **keywords}).double()


def pixels(n=N, d=D):
    return torch.rand(n, d, dtype=torch.float64)


def layers(module):
    return [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)]


def terms_by_hand(name, pair, x, u):
    """(error, penalty, log prior) of every datum, each (n,), written out without Pyro; u is the noise."""
    family = name.partition(":")[0]
    if family == "denoising_autoencoder":
        seen = {
            "uniform": lambda: torch.minimum(x + 0.3 * u, torch.ones_like(x)),
            "masking": lambda: x * (u > u.sort(dim=1).values[:, [round(0.3 * D) - 1]]),
            "gaussian": lambda: x + 0.3 * math.sqrt(2) * torch.erfinv(2 * u - 1),
            "salt_pepper": lambda: x * ((u >= 0.15) & (u <= 0.85)) + (u > 0.85),
        }[pair.corruption]()
    else:
        seen = x
    sigmoid = family in ("sparse_autoencoder", "contractive_autoencoder")
    h, hidden = seen, []
    for layer in layers(pair.encoder):
        h = F.linear(h, layer.weight, layer.bias)
        h = 1 / (1 + (-h).exp()) if sigmoid else h * (h > 0)
        hidden.append(h)
    if family == "k_sparse_autoencoder":
        h = h * (h >= h.sort(dim=1).values[:, [UNITS - pair.k]])
    penalty = torch.zeros(len(x), dtype=x.dtype)
    if family == "sparse_autoencoder":
        for units in hidden:
            r, s = pair.rho, units.mean(0)
            penalty = penalty + pair.weight * (r * (r / s).log() + (1 - r) * ((1 - r) / (1 - s)).log()).sum()
    if family == "contractive_autoencoder":
        penalty = pair.weight * torch.stack([jacobian(pair.encoder, row).square().sum() for row in x])
    log_prior = -0.5 * h.square().sum(1) - 0.5 * UNITS * math.log(2 * math.pi)
    for layer in layers(pair.decoder):
        h = F.linear(h.clamp(min=0) if layer is not layers(pair.decoder)[0] else h, layer.weight, layer.bias)
    head = pair.decoder[-1]
    if head.likelihood == "bernoulli":
        error = -(x * F.logsigmoid(h) + (1 - x) * F.logsigmoid(-h)).sum(1)
    else:
        scale = F.softplus(head.pre_scale)
        error = (x - h.sigmoid()).square().sum(1) / (2 * scale**2) + D * (scale * math.sqrt(2 * math.pi)).log()
    return error, penalty, log_prior if name == "autoencoder:map" else torch.zeros_like(error)


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
    error, penalty, log_prior = terms_by_hand(name, pair, x[rows], torch.rand(len(rows), D, dtype=x.dtype))
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
    error, _, _ = terms_by_hand(name, pair, x, torch.ones_like(x)) if "denois" not in name else (None, None, None)
    if error is not None:
        assert metrics["reconstruction"]["value"] == pytest.approx(-error.mean().item(), rel=1e-8)
    if name == "autoencoder:map":
        assert sample(pair, x, 3)["x"].shape == (3, D)
    else:
        with pytest.raises(InferenceError, match="flat"):
            sample(pair, x, 3)


# k-sparse


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


# Denoising


def corrupted(kind, x, level):
    pair = DenoisingAutoencoder(corruption=kind, level=level, data_dim=x.shape[1], latent_dim=2)
    return pair.corrupt(x)


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


def digits():
    return data.load("digits:grey"), data.load("digits:grey", "test")


def fitted(name, epochs, lr=1e-2, **keywords):
    torch.manual_seed(0)
    pair, (train, _) = MODELS[name](data_dim=64, **keywords), digits()
    for _ in SVI(pair, train.x, settings=Settings(epochs=epochs, lr=lr)):
        pass
    return pair


def error(pair, x):
    return (reconstruct(pair, x) - x).square().sum(1).mean().item()


def test_what_is_trained_on_noise_cleans_it():
    x = digits()[1].x
    denoising, plain = fitted("denoising_autoencoder", 12), fitted("autoencoder", 12)
    noisy = denoising.corrupt(x)
    cleaned = (denoising.denoise(noisy) - x).square().sum(1).mean()
    assert cleaned < 0.3 * (noisy - x).square().sum(1).mean()
    assert cleaned < 0.8 * (reconstruct(plain, noisy) - x).square().sum(1).mean()
    assert error(denoising, x) < cleaned


# Sparse


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


# Contractive


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


def path(weight, epochs=15):
    """(error, |dh/dx|^2, |d mean / dx|^2) on test digits along training."""
    torch.manual_seed(0)
    pair, (train, test) = ContractiveAutoencoder(weight=weight, data_dim=64), digits()
    x, seen = test.x[:100], []
    for step, _ in SVI(pair, train.x, settings=Settings(epochs=epochs, lr=6e-3)):
        if step % 20 == 0:
            with torch.no_grad():
                whole = jacobian_norm(lambda row: pair.decoder(pair.encoder(row)).base_dist.mean, x[:40])
                norm = pair.penalty(x, pair.encoder(x))
            seen.append((error(pair, test.x), norm.mean().item(), whole.mean().item()))
    return seen


def test_at_the_same_error_the_contractive_code_is_less_steep(tmp_path):
    """And so is the map from x to its reconstruction, which a change of the code's unit leaves as it is."""
    paths = {"weight 0": path(0.0), "weight 0.1": path(0.1)}
    plain, contractive = (np.array(p) for p in paths.values())
    last, rising = contractive[-1], plain[plain[:, 0].argsort()]
    assert rising[0, 0] < last[0] < rising[-1, 0]  # the plain one passes this error
    norm, whole = (np.interp(last[0], rising[:, 0], rising[:, i]) for i in (1, 2))
    assert last[1] < 0.5 * norm
    assert last[2] < whole
    fig = contraction({name: [point[:2] for point in p] for name, p in paths.items()})
    assert len(fig.axes[0].lines) == 2
    save(fig, tmp_path / "contraction.png")


# Figures


def test_denoised_has_originals_corrupted_and_reconstructed_in_eight_columns(tmp_path):
    test = digits()[1]
    pair = DenoisingAutoencoder(corruption="masking", level=0.5, data_dim=64)
    fig = denoised(pair, test, levels=(0.25,))
    picture = np.ma.filled(fig.axes[0].images[0].get_array(), np.nan)
    assert picture.shape == (4 * 9 - 1, 8 * 9 - 1)
    np.testing.assert_allclose(picture[:8], tile(test.x[:8], (8, 8), 8), rtol=1e-6)
    masked = picture[18:26][~np.isnan(picture[18:26])].reshape(-1)
    assert (masked == 0).sum() >= 8 * 16
    labels = [t.get_text() for t in fig.axes[0].get_yticklabels()]
    assert f"{(pair.denoise(test.x) - test.x).square().sum(1).mean():.3g}" in labels[1]
    save(denoised(pair, test), tmp_path / "denoised.png")


def test_activations_are_square_images_of_codes(tmp_path):
    test = digits()[1]
    pair = KSparseAutoencoder(k=10, data_dim=64)
    fig = activations({"k = 10": pair, "small": MODELS["autoencoder"](data_dim=64, latent_dim=9)}, test)
    pictures = [np.ma.filled(ax.images[0].get_array(), np.nan) for ax in fig.axes]
    first = (test.labels == 3).nonzero()[0, 0]
    code = encode(pair, test.x[first : first + 1])["z"].reshape(12, 12)
    np.testing.assert_allclose(pictures[1][:, 3 * 13 : 3 * 13 + 12], code, rtol=1e-6)
    assert pictures[2].shape == (3, 10 * 4 - 1)
    save(fig, tmp_path / "activations.png")
    assert activations({"no square": MODELS["autoencoder"](data_dim=64, latent_dim=10)}, test) is None


@pytest.mark.parametrize("rho", [0.05, 0.25, 0.9])
def test_the_curve_of_sparsity_is_least_at_rho(rho, tmp_path):
    r, kl = sparsity(rho).axes[0].lines[0].get_data()
    assert r[kl.argmin()] == pytest.approx(rho, abs=1e-3)
    for at in (100, 700):
        p, q = (torch.distributions.Bernoulli(torch.tensor(v, dtype=torch.float64)) for v in (rho, r[at]))
        assert kl[at] == pytest.approx(torch.distributions.kl_divergence(p, q).item())
    save(sparsity(rho, torch.tensor([0.0, 0.1, 1.0])), tmp_path / "sparsity.png")


def test_draw_has_what_applies(tmp_path):
    splits = dict(zip(("train", "test"), (dataset.head(9) for dataset in digits()), strict=True))
    common = {"reconstructions", "latent", "activations"}
    for name, more in (
        ("denoising_autoencoder", {"denoised"}),
        ("sparse_autoencoder", {"sparsity"}),
    ):
        paths = draw(MODELS[name](data_dim=64), splits, [], tmp_path / name)
        assert {p.stem for p in paths} == common | more


# Probes


def test_a_probe_tells_classes_that_can_be_told_and_no_others():
    n = 400
    labels, test_labels = torch.randint(3, (n,)), torch.randint(3, (n,))
    told, untold = (lambda y: torch.eye(3)[y] + 0.05 * torch.randn(n, 3)), (lambda y: torch.randn(n, 3))
    for accuracy in probe(told(labels), labels, told(test_labels), test_labels).values():
        assert accuracy == {"value": 1.0, "se": 0.0, "n": n, "unit": "fraction"}
    for accuracy in probe(untold(labels), labels, untold(test_labels), test_labels).values():
        assert accuracy["se"] == pytest.approx(math.sqrt(accuracy["value"] * (1 - accuracy["value"]) / n))
        assert abs(accuracy["value"] - 1 / 3) < 5 * accuracy["se"]


def test_codes_and_raw_pixels_are_judged_alike():
    train, test = digits()
    pair = fitted("autoencoder", 12)
    of_codes = probe(features(pair, train.x), train.labels, features(pair, test.x), test.labels)
    of_pixels = probe(train.x, train.labels, test.x, test.labels)
    assert of_codes.keys() == of_pixels.keys() == {"logistic_regression", "linear_svm", "nearest_neighbours"}
    for judged in (of_codes, of_pixels):
        assert all(accuracy["value"] > 0.85 and accuracy["n"] == len(test) for accuracy in judged.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": None}, "needs labels"),
        ({"labels": torch.zeros(3)}, "as many labels as rows"),
        ({"labels": torch.zeros(20)}, "two classes"),
        ({"x": torch.full((20, 2), math.nan)}, "finite"),
        ({"neighbours": 21}, "20 training rows"),
    ],
)
def test_what_cannot_be_probed_is_refused(change, words):
    x, y = torch.rand(20, 2), torch.arange(20) % 2
    with pytest.raises(InferenceError, match=words):
        probe(**{"x": x, "labels": y, "test_x": x, "test_labels": y, **change})


# The command line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("k_sparse_autoencoder --k 145", "between 1 and latent_dim = 144, not 145"),
        ("k_sparse_autoencoder --latent-dim 20", "between 1 and latent_dim = 20, not 44"),
        ("k_sparse_autoencoder --k 0", "not 0"),
        ("denoising_autoencoder --level 1.5", "lie in [0, 1], not 1.5"),
        ("denoising_autoencoder --level nan", "lie in [0, 1], not nan"),
        ("denoising_autoencoder --corruption rain", "salt_pepper"),
        ("sparse_autoencoder --rho 0", "between 0 and 1, not 0"),
        ("sparse_autoencoder --rho 1", "between 0 and 1, not 1"),
        ("sparse_autoencoder --weight -1", "not negative"),
        ("contractive_autoencoder --weight inf", "finite"),
        ("autoencoder --scale 0", "positive"),
        ("contractive_autoencoder:deep --hidden 0", "at least 1"),
        ("autoencoder --likelihood bernoulli", "digits:threshold"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, words, capsys, tmp_path):
    code = main(["fit", *arguments.split(), "--data", "digits:grey", "--run", str(tmp_path / "run")])
    err = capsys.readouterr().err
    assert code == 2
    assert err.count("\n") == 1
    assert words in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["autoencoder", "denoising_autoencoder", "contractive_autoencoder"])
def test_what_are_no_pixels_is_refused(name):
    pair = MODELS[name](data_dim=4)
    check_fit(pair, torch.tensor([[0.0, 1.0, 0.5, 0.5]]))
    with pytest.raises(InferenceError, match=r"expects values in \[0, 1\]; x has others, between -1 and 2: rescale"):
        check_fit(pair, torch.tensor([[-1.0, 2.0, 0.5, 0.5]]))


def test_one_fit_from_the_command_line_to_its_pictures(capsys, tmp_path):
    small = ["--k", "1", "--latent-dim", "2", "--data", "digits:grey", "--epochs", "1"]
    assert main(["fit", "k_sparse_autoencoder", *small, "--run", str(tmp_path / "run")]) == 0
    assert "undefined" in capsys.readouterr().out
    pictures = {path.stem for path in (tmp_path / "run" / "figures").iterdir()}
    assert pictures == {"learning_curve", "reconstructions", "latent"}


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
