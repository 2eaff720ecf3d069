"""`draw` saves the figures that apply to a pair, and changes neither the pair nor global state."""

from pathlib import Path

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from figure_cases import GREYS, ROWS, SMALL, Plane, fitted, histogram
from PIL import Image

from data import Dataset
from gallery.figures import (
    FIGURES,
    Subject,
    draw,
    learning_curve,
    posterior_1d,
    samples,
    save,
)
from inference import InferenceError

pytestmark = pytest.mark.integration

IMAGES = {"learning_curve", "samples", "reconstructions", "latent"}
EXACT = {"learning_curve", "samples", "posterior", "evidence"}


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
        ("linear_regression", "line", {}, {"learning_curve", "regression", "shared"}),
        ("linear_regression:map", "line", {}, {"learning_curve", "regression", "shared"}),
        ("linear_regression:unknown_noise", "line", {}, {"learning_curve", "regression"}),
        ("logistic_regression", "logistic", {}, {"learning_curve", "odds", "shared"}),
        ("eight_schools", "eight_schools", {}, {"learning_curve", "shared"}),
        ("item_response", "lsat6", {}, {"learning_curve", "answers", "latent"}),
        ("item_response:bayesian", "lsat6", {}, {"learning_curve", "answers", "latent"}),
        ("factor_analysis", "factor_analysis", {}, {"learning_curve", "samples", "latent"}),
    ],
)  # fmt: skip
def test_draw_saves_what_applies_and_leaves_the_pair_alone(name, data_name, keywords, expected, tmp_path):
    pair, splits, history = fitted(name, data_name, **keywords)
    weights = {key: value.clone() for key, value in pair.state_dict().items()}
    generator, names = torch.get_rng_state(), list(pyro.get_param_store().keys())

    paths = draw(pair, splits, history, tmp_path / "figures")

    assert {path.stem for path in paths} == expected
    subject = Subject(pair, splits["train"], splits["test"], history, 0)
    assert {kind for kind, (applies, _) in FIGURES.items() if applies(subject)} == expected
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


class Chance(torch.nn.Module):
    """p in (0, 1); ten answers of that probability."""

    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            p = pyro.sample("p", dist.Beta(x.new_full((len(x),), 2.0), 5.0))
            pyro.sample("x", dist.Bernoulli(p[:, None].expand(-1, 10)).to_event(1), obs=x)

    def guide(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("p", dist.Beta(2.0 + x.sum(1), 15.0 - x.sum(1)))


def test_a_probability_is_no_ability(tmp_path):
    """An ability is any real number: its figure draws the items over it, also where a probability has no value."""
    x = torch.bernoulli(torch.full((40, 10), 0.3), generator=torch.Generator().manual_seed(0))
    rows = Dataset("mine", "test", x, (10,))
    paths = draw(Chance(), {"train": rows, "test": rows}, [], tmp_path)
    assert {path.stem for path in paths} == {"samples", "latent"}


def test_a_flat_prior_has_no_samples(two_pixels, tmp_path):
    paths = draw(Plane(masked=True), {"train": two_pixels, "test": two_pixels}, [], tmp_path)
    assert {path.stem for path in paths} == {"reconstructions", "latent"}
    with pytest.raises(InferenceError, match="flat"):
        samples(Plane(masked=True), two_pixels)
