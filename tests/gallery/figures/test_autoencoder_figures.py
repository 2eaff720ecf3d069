"""Pictures of autoencoders: denoised images, activations, sparsity."""

import numpy as np
import pytest
import torch
from autoencoder_cases import digits

from gallery.figures import activations, denoised, draw, save, sparsity
from gallery.figures.style import tile
from gallery.models import MODELS
from gallery.models.denoising_autoencoder import DenoisingAutoencoder
from gallery.models.k_sparse_autoencoder import KSparseAutoencoder
from inference import encode

pytestmark = pytest.mark.integration


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
    splits = dict(zip(("train", "test"), (dataset.head(10) for dataset in digits()), strict=True))
    common = {"reconstructions", "latent", "activations"}
    for name, more in (
        ("denoising_autoencoder", {"denoised"}),
        ("sparse_autoencoder", {"sparsity"}),
    ):
        paths = draw(MODELS[name](data_dim=64), splits, [], tmp_path / name)
        assert {p.stem for p in paths} == common | more
