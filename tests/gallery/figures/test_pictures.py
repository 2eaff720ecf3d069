"""Samples, reconstructions and the manifold show the pixels that the model computes."""

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from figure_cases import GREYS, SMALL, Plane, fitted, images_of

import data
from gallery.figures import (
    manifold,
    reconstructions,
    samples,
    save,
    three_views,
)
from gallery.figures.style import tile
from gallery.models import MODELS
from inference import sample


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
    fig = three_views(conditional, splits["test"])
    (picture,) = images_of(fig)
    assert picture.shape == (3 * 8 + 2, 10 * 8 + 9)
    assert "10 draws of z" in fig.axes[0].get_title(loc="left")
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
        for picture in images_of(fig):
            assert picture.shape[2] == 3
            assert 0 <= picture.min() < picture.max() <= 1


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
