"""Figures: what applies is drawn, what does not is not, and what is drawn is what the model says."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from matplotlib.colors import to_hex
from PIL import Image
from scipy.integrate import quad
from torch import nn

import data
from gallery.figures import (
    amortisation,
    draw,
    evidence_curve,
    fa_data,
    fa_experiment_1,
    fa_experiment_2,
    kl_bars,
    latent_scatter,
    learning_curve,
    manifold,
    posterior_1d,
    rate_distortion,
    reconstructions,
    regression,
    samples,
    save,
    three_views,
    two_kls,
    two_kls_fits,
    two_kls_of,
)
from gallery.figures.exact import gap
from gallery.figures.style import BLUE, GREY, label_ends, number, tile
from gallery.figures.two_kls import nearest
from gallery.models import MODELS
from gallery.models.exponential_gaussian import ExponentialGaussian
from inference import SVI, InferenceError, Settings, encode, monitor_elbo, sample
from inference.evaluation.metrics import kl_per_latent

ROWS = 200  # of the training data
SMALL = {"data_dim": 64, "hidden": (16,)}
GREYS = {"likelihood": "continuous_bernoulli"}
IMAGES = {"learning_curve", "samples", "reconstructions", "latent"}
EXACT = {"learning_curve", "samples", "posterior", "evidence"}


def fitted(name, data_name, steps=6, **keywords):
    """(pair after a few steps, its splits, a history)."""
    torch.manual_seed(0)
    splits = {split: head(data.load(data_name, split), n) for split, n in {"train": ROWS, "test": 60}.items()}
    pair, train = MODELS[name](**keywords), splits["train"]
    svi, history = SVI(pair, train.x, train.given, Settings(lr=1e-2), train.transform), []
    for _, (step, loss) in zip(range(steps), svi, strict=False):
        line = {"epoch": step, "loss": loss.item(), "loss_is_bound": True, "lr": svi.lr, "beta": 1.0, "seconds": 0.1}
        if not svi.plan.is_per_data_point:
            line["test"] = monitor_elbo(pair, splits["test"].x, splits["test"].given)
        history.append(line)
    return pair, splits, history


def head(dataset, n):
    kept = {name: getattr(dataset, name) for name in ("x", "labels", "covariates")}
    return replace(dataset, **{name: None if rows is None else rows[:n] for name, rows in kept.items()})


def images_of(fig):
    return [np.ma.filled(ax.images[0].get_array().astype(float), np.nan) for ax in fig.axes]


def histogram(fig):
    return [patch.get_xy() for patch in fig.axes[0].patches]


class Plane(nn.Module):
    """z in R^2; two pixels with means Phi(z_1) and Phi(z_2). The guide is a point."""

    def __init__(self, scale=1.0, masked=False, site="z", width=2):
        super().__init__()
        self.scale, self.masked, self.site, self.width = scale, masked, site, width

    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            prior = dist.Normal(x.new_zeros(len(x), self.width), self.scale).to_event(1).mask(not self.masked)
            z = pyro.sample(self.site, prior if self.masked else prior.base_dist)
            pyro.sample("x", dist.Normal(torch.special.ndtr(z[:, :2]), x.new_ones(2)).to_event(1), obs=x)

    def guide(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample(self.site, dist.Delta(x[:, [0, 1, 0][: self.width]], event_dim=1))


class ExactGuide(ExponentialGaussian):
    """The guide is the posterior."""

    def guide(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", self.posterior(x))


class PriorGuide(ExponentialGaussian):
    """The guide is the prior, whatever x."""

    def guide(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Exponential(x.new_ones(len(x))))


@pytest.fixture
def two_pixels():
    return data.Dataset("mine", "test", torch.rand(20, 2), (1, 2))


@pytest.mark.parametrize(
    ("name", "data_name", "keywords", "expected"),
    [
        ("vae", "digits:dequantized", {**SMALL, **GREYS, "latent_dim": 2}, IMAGES | {"manifold", "three_views"}),
        ("vae", "digits:dynamic", {**SMALL, "latent_dim": 4}, IMAGES | {"kl"}),
        ("vae", "digits:grey", {**SMALL, "latent_dim": 1, "likelihood": "gaussian"}, IMAGES),
        ("cvae", "digits:static", {**SMALL, "latent_dim": 2}, IMAGES),
        ("exponential_gaussian", "exponential_gaussian", {}, EXACT | {"latent"}),
        ("exponential_gaussian:per_datum", "exponential_gaussian", {"total": ROWS}, EXACT),
        ("squared_gaussian", "squared_gaussian", {}, EXACT | {"latent", "two_kls"}),
        ("linear_regression", "line", {}, {"learning_curve", "regression"}),
        ("linear_regression:map", "line", {}, {"learning_curve", "regression"}),
        ("linear_regression:unknown_noise", "line", {}, {"learning_curve", "regression"}),
        ("factor_analysis", "factor_analysis", {}, {"learning_curve", "samples", "latent"}),
    ],
)  # fmt: skip
def test_draw_saves_what_applies_and_leaves_the_pair_alone(name, data_name, keywords, expected, tmp_path):
    pair, splits, history = fitted(name, data_name, **keywords)
    weights = {key: value.clone() for key, value in pair.state_dict().items()}
    generator, names = torch.get_rng_state(), list(pyro.get_param_store().keys())

    paths = draw(pair, splits, history, tmp_path / "figures")

    assert {path.stem for path in paths} == expected
    assert sorted(paths) == sorted((tmp_path / "figures").iterdir())
    for path in paths:
        with Image.open(path) as image:
            image.load()
            assert image.format == "PNG"
            assert min(image.size) > 100
        assert path.stat().st_size < 200_000
    assert pair.training
    assert all(torch.equal(weights[key], value) for key, value in pair.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert list(pyro.get_param_store().keys()) == names


def test_float64_and_the_same_bytes_again(tmp_path):
    pair, splits, _ = fitted("exponential_gaussian", "exponential_gaussian")
    test = splits["test"].to(dtype=torch.float64)
    pair.double()
    for path in (tmp_path / "a.png", tmp_path / "b.png"):
        save(posterior_1d(pair), path)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert all(
        np.array_equal(*pictures) for pictures in zip(*(histogram(samples(pair, test)) for _ in "ab"), strict=True)
    )


def test_no_figure_goes_through_pyplot():
    folder = Path(learning_curve.__code__.co_filename).parent
    assert not [
        path for path in folder.glob("*.py") if "import pyplot" in path.read_text() or ".pyplot" in path.read_text()
    ]


# Learning curves


def history_of(elbos, **more):
    return [{"epoch": i + 1, "loss": -v - 1, "test": {"elbo": v}, **more} for i, v in enumerate(elbos)]


def test_early_epochs_do_not_squash_the_curve():
    ax = learning_curve(history_of([-1e6, -500.0, *np.linspace(-110, -100, 38)]), "title").axes[0]
    low, high = ax.get_ylim()
    assert -125 < low < -111
    assert -100 < high < -95
    assert any("−1000000" in t.get_text() or "−1.0000e+06" in t.get_text() for t in ax.texts)  # what is cut off is said
    assert ax.get_title(loc="left") == "title"


def test_lines_of_a_learning_curve():
    history = history_of([-5.0, -4.0, math.nan, -3.0], validation={"elbo": -6.0}, loss_is_bound=False)
    for line in history:
        line["test"]["evidence"] = -2.5
    ax = learning_curve(history).axes[0]
    texts = " ".join(t.get_text() for t in ax.texts)
    assert "test: ELBO −3.0000" in texts
    assert "test: log p(x), exact −2.5" in texts
    assert "validation: ELBO −6" in texts
    assert "not a bound" in texts
    assert all(np.isfinite(line.get_ydata()).all() for line in ax.lines)


@pytest.mark.parametrize(
    "history",
    [
        [{"epoch": 1, "loss": 3.0}],
        [{"epoch": 1, "loss": math.inf}],
        history_of([1.0, 1.0, 1.0]),
        [{"epoch": e, "loss": 1.0, "test": {"reconstruction": -e, "evidence": -9.0}} for e in (1, 2)],
    ],
)
def test_odd_histories_are_drawn(history, tmp_path):
    ax = learning_curve(history).axes[0]
    save(ax.figure, tmp_path / "curve.png")
    if "reconstruction" in history[0].get("test", {}):
        assert "log-likelihood" in ax.get_ylabel()
        assert not any("exact" in t.get_text() for t in ax.texts)  # no bound to hold against the evidence


def test_what_is_known_of_a_discrete_cause_has_panels_below(tmp_path):
    history = history_of(np.linspace(-30.0, -20.0, 30))
    for line in history:
        line["test"] |= {"entropy": 2.3 / line["epoch"], "accuracy": 1 - 0.9 / line["epoch"]}
    assert len(learning_curve(history_of([-3.0, -2.0])).axes) == 1
    bounds, entropy, accuracy = learning_curve(history, "title").axes
    save(bounds.figure, tmp_path / "panels.png")
    for ax, name in ((entropy, "entropy"), (accuracy, "accuracy")):
        (curve,) = ax.lines
        assert curve.get_xydata().tolist() == [[line["epoch"], line["test"][name]] for line in history]
        assert [t.get_text() for t in ax.texts] == [f"test: {history[-1]['test'][name]:.3f}"]
        assert ax.get_xlim() == bounds.get_xlim()
    assert [line.get_ydata()[-1] for line in bounds.lines] == [-19.0, -20.0]  # training, test
    assert (entropy.get_ylim()[0], accuracy.get_ylim()) == (0, (0, 1))
    assert bounds.get_title(loc="left") == "title"

    for line in history:
        del line["test"]["accuracy"]
    assert len(learning_curve(history).axes) == 2


def test_labels_at_the_ends_do_not_overlap():
    ax = learning_curve(history_of([0.0, 1.0])).axes[0]
    ax.set_ylim(0, 1)
    ax.texts[0].remove()
    ax.texts[0].remove()
    label_ends(ax, [(0.5, str(i), "black") for i in range(5)])
    heights = sorted(t.get_position()[1] for t in ax.texts)
    assert np.diff(heights).min() > 0.04


# Pictures


def test_tile_grey_and_colour():
    grey = tile(torch.arange(3.0).reshape(3, 1).expand(3, 4), (2, 2), columns=2, gap=1)
    assert grey.shape == (5, 5)
    assert grey[0, 0] == 0
    assert grey[0, 3] == 1
    assert grey[3, 0] == 2
    assert np.isnan(grey[2]).all()
    assert tile(torch.rand(3, 12), (3, 2, 2), columns=3, gap=0).shape == (2, 6, 3)
    assert tile(torch.rand(3, 4), (1, 2, 2), columns=3, gap=0).shape == (2, 6)


def test_samples_show_parameter_mean_and_draw_of_the_same_latents():
    pair, splits, _ = fitted("vae", "digits:dequantized", **SMALL, **GREYS, latent_dim=2)
    fig = samples(pair, splits["test"], n=7, seed=5)
    parameter, mean, x = images_of(fig)
    drawn = sample(pair, splits["test"].x, 7, seed=5)
    np.testing.assert_allclose(mean, tile(drawn["mean"], (8, 8), 7), rtol=1e-6)
    np.testing.assert_allclose(x, tile(drawn["x"], (8, 8), 7), rtol=1e-6)
    lam = torch.tensor(parameter[~np.isnan(parameter)])
    of_lam = dist.ContinuousBernoulli(probs=lam).mean.numpy()
    np.testing.assert_allclose(
        mean[~np.isnan(mean)], of_lam, atol=2e-3
    )  # torch's mean is rough near λ = 1/2 in float32
    assert all(word in fig.axes[i].get_title(loc="left") for i, word in enumerate(("Parameter", "Mean", "sample")))


def test_three_views_are_the_parameter_the_mean_and_a_sample_of_the_same_draws(tmp_path):
    pair, splits, _ = fitted("vae", "digits:dequantized", **SMALL, **GREYS, latent_dim=2)
    fig = three_views(pair, splits["test"], seed=5)
    save(fig, tmp_path / "views.png")
    (picture,) = images_of(fig)
    parameter, mean, x = (picture[9 * i : 9 * i + 8] for i in range(3))
    drawn = sample(pair, splits["test"].x, 10, seed=5)
    np.testing.assert_array_equal(mean, tile(drawn["mean"], (8, 8), 10))
    np.testing.assert_array_equal(x, tile(drawn["x"], (8, 8), 10))
    with torch.no_grad():
        probs = pair.eval().decoder(drawn["z"]).base_dist.probs
    np.testing.assert_allclose(parameter, tile(probs, (8, 8), 10), rtol=1e-5)
    assert np.nanmean(abs(parameter - mean)) > 0.01
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["parameter λ(z)", "mean E[x | z]", "sample x"]

    conditional, splits, _ = fitted("cvae", "digits:dequantized", steps=1, **SMALL, **GREYS, latent_dim=2)
    assert three_views(conditional, splits["test"]) is not None
    binary, splits, _ = fitted("vae", "digits:static", steps=1, **SMALL, latent_dim=2)
    assert three_views(binary, splits["test"]) is None


def test_samples_of_a_conditional_model_have_a_row_for_each_class():
    pair, splits, _ = fitted("cvae", "digits:static", **SMALL, latent_dim=2)
    fig = samples(pair, splits["test"], each=4)
    mean, x = images_of(fig)
    assert mean.shape == (10 * 8 + 9, 4 * 8 + 3)
    assert set(np.unique(x[~np.isnan(x)])) == {0.0, 1.0}
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == [str(y) for y in range(10)]


def test_reconstructions_stand_below_the_originals():
    pair, splits, _ = fitted("vae", "digits:dequantized", **SMALL, **GREYS, latent_dim=2)
    (picture,) = images_of(reconstructions(pair, splits["test"], n=3))
    np.testing.assert_allclose(picture[:8, :8], splits["test"].x[0].reshape(8, 8), rtol=1e-6)
    assert picture.shape == (17, 26)


def test_colour_images_are_drawn(tmp_path):
    colours = data.Dataset("mine", "test", torch.rand(12, 48), (3, 4, 4))
    pair = MODELS["vae"](data_dim=48, latent_dim=2, hidden=(8,), likelihood="continuous_bernoulli")
    for fig in (samples(pair, colours), reconstructions(pair, colours), manifold(pair, colours, side=4)):
        save(fig, tmp_path / "colour.png")


def test_manifold_runs_through_the_quantiles_of_the_prior(two_pixels):
    (picture,) = images_of(manifold(Plane(), two_pixels, side=4))
    pixels = picture[~np.isnan(picture)].reshape(4, 4, 2)  # rows from the top, columns, (Phi(z_1), Phi(z_2))
    quantiles = (np.arange(4) + 0.5) / 4
    np.testing.assert_allclose(pixels[..., 0], np.tile(quantiles, (4, 1)), atol=1e-6)
    np.testing.assert_allclose(pixels[..., 1], np.tile(quantiles[::-1, None], (1, 4)), atol=1e-6)


def test_the_gap_between_pictures_has_a_colour_that_no_pixel_has():
    (ax,) = manifold(MODELS["vae"](**SMALL, latent_dim=2), data.load("digits:threshold", "test")).axes
    picture = ax.images[0]
    colours = picture.to_rgba(np.ma.masked_invalid(np.append(np.linspace(0, 1, 256), np.nan)))[:, :3]
    assert np.ptp(colours[:-1], axis=1).max() == 0  # grey
    assert np.ptp(colours[-1]) > 0.15
    assert np.ma.getmaskarray(picture.get_array())[8::9].all()


@pytest.mark.parametrize("keywords", [{"scale": 2.0}, {"masked": True}, {"site": "w"}, {"width": 3}])
def test_manifold_applies_to_a_standard_normal_plane_only(two_pixels, keywords):
    assert manifold(Plane(**keywords), two_pixels) is None


def test_manifold_needs_images_and_no_condition():
    factor_analysis, splits, _ = fitted("factor_analysis", "factor_analysis", steps=1)
    assert manifold(factor_analysis, splits["test"]) is None
    cvae, splits, _ = fitted("cvae:standard", "digits:threshold", steps=1, **SMALL, latent_dim=2)
    assert manifold(cvae, splits["test"]) is None


def test_a_flat_prior_has_no_samples(two_pixels, tmp_path):
    paths = draw(Plane(masked=True), {"train": two_pixels, "test": two_pixels}, [], tmp_path)
    assert {path.stem for path in paths} == {"reconstructions", "latent"}
    with pytest.raises(InferenceError, match="flat"):
        samples(Plane(masked=True), two_pixels)


# Codes


def test_plane_of_codes_is_drawn_as_it_is_with_labels_at_medians():
    pair, splits, _ = fitted("vae", "digits:static", **SMALL, latent_dim=2)
    test = splits["test"]
    ax = latent_scatter(pair, test, n=50).axes[0]
    codes = encode(pair, test.x[:50])["z"].numpy()
    np.testing.assert_allclose(ax.collections[0].get_offsets(), codes, rtol=1e-5)
    for text in ax.texts:
        of_class = codes[test.labels[:50].numpy() == int(text.get_text())]
        np.testing.assert_allclose(text.get_position(), np.median(of_class, axis=0), rtol=1e-5)
    assert {int(t.get_text()) for t in ax.texts} == set(test.labels[:50].tolist())


def test_codes_without_labels_have_one_colour_and_collapsed_ones_are_drawn(two_pixels, tmp_path):
    fig = latent_scatter(Plane(), two_pixels)
    assert len(np.unique(fig.axes[0].collections[0].get_facecolors(), axis=0)) == 1
    flat = data.Dataset("mine", "test", torch.ones(20, 2), (1, 2))
    save(latent_scatter(Plane(width=3), flat), tmp_path / "collapsed.png")


# What a code costs


def test_kl_bars_are_sorted_and_the_dead_are_grey(tmp_path):
    fig = kl_bars({"z": [0.5, 0.0, 2.0, 0.0099, 0.0101]})
    save(fig, tmp_path / "kl.png")
    (ax,) = fig.axes
    assert [bar.get_height() for bar in ax.patches] == [2.0, 0.5, 0.0101, 0.0099, 0.0]
    assert [to_hex(bar.get_facecolor()).upper() for bar in ax.patches] == [BLUE] * 3 + [GREY] * 2
    assert [t.get_text() for t in ax.get_xticklabels()] == ["2", "0", "4", "3", "1"]
    assert "2.52 nats in all, 3 of 5 above 0.01" in ax.get_title(loc="left")
    steps = kl_bars({"z_1": [0.1, 0.2], "z_2": [0.3, 0.0]}).axes[0]
    assert [t.get_text() for t in steps.get_xticklabels()] == ["z_2[0]", "z_1[1]", "z_1[0]", "z_2[1]"]
    assert not kl_bars({"z": [0.1] * 100}).axes[0].get_xticklabels()
    assert kl_bars({"z": [0.1, 0.2]}) is None


def test_kl_bars_of_a_pair_are_those_of_its_evaluation():
    pair, splits, _ = fitted("vae", "digits:static", **SMALL, latent_dim=4)
    kl = kl_per_latent(pair, splits["test"].x)
    assert [bar.get_height() for bar in kl_bars(kl).axes[0].patches] == sorted(kl["z"], reverse=True)


def test_rate_and_distortion_with_the_line_of_equal_elbo(tmp_path):
    points = [
        {"beta": beta, "kl": rate, "reconstruction": -distortion}
        for beta, rate, distortion in ((4.0, 11.0, 98.0), (0.5, 32.0, 63.0), (1.0, 24.5, 71.0))
    ]
    fig = rate_distortion(points)
    save(fig, tmp_path / "rate.png")
    (ax,) = fig.axes
    curve, line = ax.lines
    assert curve.get_xydata().tolist() == [[32, 63], [24.5, 71], [11, 98]]  # in the order of beta
    assert [(t.get_text(), t.xy) for t in ax.texts] == [
        ("β = 0.5", (32, 63)),
        ("β = 1", (24.5, 71)),
        ("β = 4", (11, 98)),
    ]
    assert (line.get_xy1(), line.get_slope()) == ((24.5, 71), -1)
    assert "95.50" in ax.get_legend().get_texts()[0].get_text()
    assert len(rate_distortion(points[:2]).axes[0].lines) == 1


# Truths in one dimension


def test_gap_is_the_kl_to_the_posterior():
    x = torch.tensor([[1.5], [0.0], [-1.0]], dtype=torch.float64)
    pair = PriorGuide().double()
    estimate, error = gap(pair, x, 20_000)
    for i, posterior in enumerate(x.squeeze(-1) - 1):
        p = pair.posterior(x[i : i + 1])

        def integrand(z, p=p):
            return math.exp(-z) * (-z - p.log_prob(torch.tensor([z], dtype=torch.float64)).item())

        kl, _ = quad(integrand, 0, 40, epsabs=1e-9)
        assert abs(estimate[i] - kl) < 5 * error[i], posterior
        assert error[i] < 0.05


def test_gap_of_the_exact_posterior_is_zero_to_the_last_bits():
    estimate, error = gap(ExactGuide(), torch.linspace(-3, 6, 30).unsqueeze(-1), 100)
    assert estimate.abs().max() < 1e-10
    assert error.max() < 1e-10


def test_posterior_1d_draws_densities_and_numbers():
    fig = posterior_1d(ExactGuide(), xs=(1.5, 0.0, -2.0))
    assert len(fig.axes) == 3
    for ax, x in zip(fig.axes, (1.5, 0.0, -2.0), strict=True):
        prior, exact, guide = ax.lines
        z, p = exact.get_data()
        assert abs(np.trapezoid(p, z) - 1) < 0.01
        np.testing.assert_allclose(guide.get_ydata(), p, rtol=1e-4, atol=1e-6)
        assert prior.get_ydata()[z < 0].max() == 0
        evidence = ExactGuide().log_evidence(torch.tensor([[x]])).item()
        assert f"log p(x) = {number(evidence, '.4f')}" in ax.get_title(loc="left")
        assert "gap 0.0000 ± 0.0000" in ax.get_title(loc="left")


def test_posterior_1d_per_datum_takes_the_nearest_data():
    pair, splits, _ = fitted("exponential_gaussian:per_datum", "exponential_gaussian", total=ROWS)
    x = splits["train"].x
    row = (x[:, 0] - 1.5).abs().argmin()
    (ax,) = posterior_1d(pair, (1.5,), x).axes
    z, q = ax.lines[2].get_data()
    family = pair.family(*pair.eta.weight[row].detach().unsqueeze(-1))
    z = torch.tensor(z, dtype=torch.float32)
    expected = family.log_prob(z[z >= 0]).exp()
    np.testing.assert_allclose(q[z >= 0], expected, rtol=1e-4)


def test_evidence_curve_of_the_exact_guide_lies_on_the_evidence():
    top, bottom = evidence_curve(ExactGuide(), particles=10).axes
    np.testing.assert_allclose(top.lines[1].get_ydata(), top.lines[0].get_ydata(), atol=1e-6)
    assert abs(bottom.lines[0].get_ydata()).max() < 1e-8
    assert top.get_xlim() == (-2, 6)


def test_amortisation_draws_every_datum(tmp_path):
    pair, splits, _ = fitted("exponential_gaussian:per_datum", "exponential_gaussian", total=ROWS)
    fig = amortisation(ExactGuide(), pair, splits["train"].x, particles=20)
    own, shared = fig.axes[0].collections
    assert len(own.get_offsets()) == len(shared.get_offsets()) == ROWS
    np.testing.assert_allclose(shared.get_offsets()[:, 1], 1e-6)  # zero lies on the edge
    save(fig, tmp_path / "amortisation.png")


# The two KLs


def reverse_kl(loc, scale, s, t, x, log_evidence):
    """KL(q || p) in closed form: the log joint is a polynomial in z of degree 4, whose normal moments are known."""
    m2 = loc**2 + scale**2
    m4 = loc**4 + 6 * loc**2 * scale**2 + 3 * scale**4
    joint = -0.5 * m2 / s**2 - 0.5 * (x**2 - 2 * x * m2 + m4) / t**2 - math.log(2 * math.pi * s * t)
    entropy = 0.5 + math.log(scale) + 0.5 * math.log(2 * math.pi)
    return -entropy - joint + log_evidence


@pytest.mark.parametrize(
    ("s", "t", "x"), [(1.0, 0.5, 1.5), (2.0, 0.3, 1.0), (1.0, 0.5, -0.5), (0.7, 1.0, 3.0), (5.0, 0.5, 9.0)]
)
def test_two_kls_against_other_quadrature_and_closed_forms(s, t, x):
    fits = two_kls_fits(s, t, x)

    def joint(z):
        return math.exp(-0.5 * (z / s) ** 2 - 0.5 * ((x - z * z) / t) ** 2) / (2 * math.pi * s * t)

    hump = math.sqrt(max(x, 0.0))

    def integral(f):
        return quad(f, -10 * s, 10 * s, points=[-hump, 0.0, hump], limit=500, epsabs=1e-13)[0]

    evidence = integral(joint)
    assert fits.log_evidence == pytest.approx(math.log(evidence), abs=1e-7)

    # KL(p || q): the moments, and the divergence at them
    assert fits.covering.loc == pytest.approx(0.0, abs=1e-8)
    variance = integral(lambda z: z * z * joint(z)) / evidence
    assert fits.covering.scale == pytest.approx(math.sqrt(variance), abs=1e-7)
    log_p = integral(lambda z: joint(z) * math.log(max(joint(z), 1e-300))) / evidence - math.log(evidence)
    assert fits.covering.kl == pytest.approx(log_p + 0.5 * math.log(2 * math.pi * variance) + 0.5, abs=1e-6)

    # KL(q || p): the divergence, and no better normal near by or at the other fit
    q = fits.seeking
    assert q.kl == pytest.approx(reverse_kl(q.loc, q.scale, s, t, x, fits.log_evidence), abs=1e-6)
    for dm, ds in ((0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01)):
        assert reverse_kl(q.loc + dm, q.scale + ds, s, t, x, fits.log_evidence) >= q.kl
    assert q.kl <= reverse_kl(0.0, fits.covering.scale, s, t, x, fits.log_evidence) + 1e-9
    assert min(q.kl, fits.covering.kl) >= 0
    hump = x - t**2 / s**2 / 2  # z^2 at the maxima of the density, if positive
    if hump > 2.5 * t:  # two humps far apart: q takes one of them, and is short of the other's half: log 2
        assert q.loc > 0.8 * math.sqrt(hump)
        assert q.kl == pytest.approx(math.log(2), abs=0.1)
        assert q.scale < 0.5 * fits.covering.scale


def test_two_kls_refuses_scales_that_are_not_positive_and_is_drawn(tmp_path):
    with pytest.raises(ValueError, match="positive"):
        two_kls_fits(t=0.0)
    save(two_kls(), tmp_path / "two.png")
    save(two_kls(x=-1.0), tmp_path / "one.png")


def test_two_kls_of_a_pair_are_those_of_its_posterior():
    pair = MODELS["squared_gaussian"](s=1.0, t=0.5)
    by_formula, by_posterior = two_kls(1.0, 0.5, 1.5), two_kls_of(pair, 1.5)
    words = [[text.get_text() for text in fig.legends[0].get_texts()] for fig in (by_formula, by_posterior)]
    assert words[0] == words[1]
    assert any("its equal on the left" in text for text in words[0])
    assert two_kls_of(pair, -1.0) is None  # one hump
    assert two_kls_of(ExactGuide()) is None


def test_nearest_normals_to_humps_of_unequal_mass():
    z = torch.linspace(-8, 8, 8001, dtype=torch.float64)
    left, right = (dist.Normal(*p).log_prob(z) for p in torch.tensor([[-2.0, 0.3], [3.0, 0.5]]).to(z))
    fits = nearest(z, torch.logaddexp(math.log(0.7) + left, math.log(0.3) + right) - 5)
    assert fits.log_evidence == pytest.approx(-5, abs=1e-8)
    assert fits.seeking.loc == pytest.approx(-2, abs=1e-3)
    assert fits.seeking.scale == pytest.approx(0.3, abs=1e-3)
    assert fits.seeking.kl == pytest.approx(-math.log(0.7), abs=1e-4)
    assert fits.equal is None
    mean = 0.7 * -2 + 0.3 * 3
    assert fits.covering.loc == pytest.approx(mean, abs=1e-8)
    variance = 0.7 * (0.09 + 4) + 0.3 * (0.25 + 9) - mean**2
    assert fits.covering.scale == pytest.approx(math.sqrt(variance), abs=1e-8)


# Lines and factors


def test_ellipses_of_the_exact_posterior_are_at_one_and_two_standard_deviations():
    pair, splits, _ = fitted("linear_regression", "line")
    train = splits["train"]
    right = regression(pair, train).axes[1]
    exact = pair.posterior(train.x, train.covariates)
    for line, sd in zip(right.lines[:2], (1, 2), strict=True):
        away = torch.tensor(line.get_xydata(), dtype=torch.float32) - exact.mean
        distance = torch.linalg.solve_triangular(exact.scale_tril, away.T, upper=False).norm(dim=0)
        np.testing.assert_allclose(distance, sd, rtol=1e-2)


def test_the_tutorials_figures_of_factor_analysis(tmp_path):
    splits = {split: data.load("factor_analysis", split).x for split in ("train", "test")}
    step = np.arange(1, 1001)
    evidence = -4 - 4 * np.exp(-step / 50)
    curve = {"step": step.tolist(), "elbo": (evidence - 20 / step).tolist(), "evidence": evidence.tolist()}
    fig = fa_data(splits["train"])
    assert all(ax.get_xlim() == ax.get_ylim() == (-7, 7) for ax in fig.axes)
    save(fig, tmp_path / "data.png")

    fig = fa_experiment_1(curve, splits["test"], {n: torch.randn(1000, 3) for n in (5, 100, 800)}, truth=-3.97)
    save(fig, tmp_path / "one.png")
    insets = fig.axes[0].child_axes
    assert [inset.get_title(loc="left") for inset in insets] == [f"after {n} steps" for n in (5, 100, 800)]
    assert [arrow.xy[0] for arrow in fig.axes[0].texts] == [5, 100, 800]

    phases = [(0, 250, "guide"), (250, 500, "model"), (500, 750, "guide"), (750, 1000, "model")]
    for more in ({}, {"gap": (20 / step).tolist()}):
        fig = fa_experiment_2({**curve, **more}, phases, truth=-3.97, em=[-8.0, -5.0, -4.0] if more else None)
        assert fig.axes[0].get_ylim() == (-8.0, -3.8)
        assert len(fig.axes[0].patches) == 2
        assert len(fig.axes) == 2 + bool(more)
        save(fig, tmp_path / "two.png")
