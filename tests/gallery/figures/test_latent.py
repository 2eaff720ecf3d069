"""The scatter of codes: positions, colours and labels."""

import numpy as np
import torch
from figure_cases import SMALL, Plane, fitted

import data
from gallery.figures import (
    latent_scatter,
    save,
)
from inference import encode


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
    fig = latent_scatter(Plane(width=3), flat)
    save(fig, tmp_path / "collapsed.png")
    assert "first two coordinates" in fig.axes[0].get_title(loc="left")
    np.testing.assert_array_equal(fig.axes[0].collections[0].get_offsets(), 1.0)


def test_three_coordinates_are_drawn_on_their_leading_principal_components():
    """The plane of the largest variance; codes that lie in a plane keep their distances, which t-SNE does not."""
    x = torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ax = latent_scatter(Plane(width=3), data.Dataset("mine", "test", x, (1, 2))).axes[0]
    points, codes = ax.collections[0].get_offsets().data, x[:, [0, 1, 0]].numpy()
    assert "t-SNE" not in ax.get_title(loc="left")
    assert "principal components of 3 dimensions, 100 % of variance" in ax.get_title(loc="left")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("first principal component", "second principal component")
    np.testing.assert_allclose(np.cov(points.T), np.diag(np.linalg.eigvalsh(np.cov(codes.T))[:0:-1]), atol=1e-8)
    np.testing.assert_allclose(*(np.linalg.norm(a[:, None] - a, axis=2) for a in (points, codes)), atol=1e-8)
