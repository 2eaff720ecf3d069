"""The figure of the components of a mixture of images."""

import numpy as np
import pytest
from sequence_cases import NETS, STEPS, Corners, images_in, rows_of

import data
from gallery.figures import components, save
from gallery.models import MODELS
from inference import encode


@pytest.mark.parametrize("one_hot", [True, False])
def test_rows_are_drawn_given_their_component_in_the_order_of_the_classes(corners, one_hot, tmp_path):
    fig = components(Corners(one_hot), corners, each=6)
    save(fig, tmp_path / "components.png")
    picture, names = rows_of(fig)
    assert [name.split() for name in names] == [
        ["0", "40.0", "%"],
        ["1", "30.0", "%"],
        ["2", "20.0", "%"],
        ["3", "10.0", "%"],
        ["–", "0.0", "%"],
    ]
    lit = np.concatenate([np.eye(4), np.zeros((1, 4))])  # the pixel of the class, and none
    images = images_in(picture, 2, 6).reshape(5, 6, 4)
    np.testing.assert_allclose(images, np.repeat(lit[:, None], 6, axis=1), atol=0.06)
    assert images.std(axis=1).min() > 0  # every draw has another z
    assert "10 test images; accuracy 1.000" in fig.axes[0].get_title(loc="left")


def test_without_labels_rows_are_in_the_order_of_their_shares(corners):
    nameless = data.Dataset("mine", "test", corners.x.flip(0), (2, 2))
    picture, names = rows_of(components(Corners(), nameless, each=2))
    assert [name.split() for name in names] == [[share, "%"] for share in ("40.0", "30.0", "20.0", "10.0", "0.0")]
    np.testing.assert_allclose(images_in(picture, 2, 2)[:4, 0].reshape(4, 4), np.eye(4), atol=0.06)


@pytest.mark.parametrize("name", ["gmvae", "gmvae:relaxed"])
def test_components_of_a_trained_kind_of_pair(name, digits):
    pair = MODELS[name](**NETS, latent_dim=3, components=12)
    picture, names = rows_of(components(pair, digits))
    assert images_in(picture, 8, 15).shape[:2] == (12, 15)
    assert [row[0] for row in names] == [*"0123456789", "–", "–"]
    component = encode(pair, digits.x)["y"].argmax(1).bincount(minlength=12) / len(digits)
    shares = [float(row[1:-2]) for row in names]
    np.testing.assert_allclose(sorted(shares), sorted(100 * component.numpy()), atol=0.051)


@pytest.mark.parametrize("name", ["vae", "cvae", "ss_vae", "vrnn", "factor_analysis"])
def test_a_pair_without_a_free_component_of_images_has_no_such_rows(name, digits):
    keywords = {"vrnn": STEPS, "factor_analysis": {"data_dim": 64}}.get(name, NETS)
    assert components(MODELS[name](**keywords), digits) is None
