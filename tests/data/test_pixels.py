"""Pixel transforms: supports, agreement with the stored pixels, and noise that depends on the seed alone."""

import numpy as np
import pytest
import torch
from data_inputs import fault, pixels

import data
from data.pixels import PIXEL_TRANSFORMS, TRANSFORMS


@pytest.mark.parametrize("transform", PIXEL_TRANSFORMS)
@pytest.mark.parametrize("split", ["train", "validation", "test", "all"])
def test_a_transform_keeps_to_its_support(transform, split):
    digits = data.load(f"digits:{transform}", split)
    values = digits.x if digits.transform is None else digits.transform(digits.x)
    assert digits.support.check(values).all()
    assert digits.x.dtype == torch.float32
    assert digits.x.shape == (len(digits), 64)
    assert (digits.name, digits.split, digits.shape, digits.levels) == (f"digits:{transform}", split, (8, 8), 17)
    assert digits.is_image
    assert digits.classes == 10
    assert digits.given is digits.labels


def test_transforms_agree_with_the_stored_pixels():
    from sklearn.datasets import load_digits

    stored = torch.from_numpy(load_digits().images[:1200]).flatten(1)
    grey, dequantized, threshold = (data.load(f"digits:{name}").x for name in ("grey", "dequantized", "threshold"))
    assert torch.equal((grey * 16).round().double(), stored)
    assert grey.max() == 1
    assert torch.equal((dequantized * 17).floor().double(), stored)
    assert dequantized.max() < 1
    assert torch.equal(threshold == 1, stored >= 9)
    u = dequantized * 17 - stored
    assert abs(u.mean() - 0.5) < 4 * (1 / 12 / u.numel()) ** 0.5


def test_sampled_pixels_have_the_grey_mean():
    grey, static = data.load("digits:grey").x.double(), data.load("digits:static").x.double()
    spread = (grey * (1 - grey)).sum(0).sqrt()  # of the number of ones in each pixel
    assert ((static - grey).sum(0).abs() <= 5 * spread).all()  # 64 pixels at once
    assert (static - grey).sum().abs() < 4 * spread.square().sum().sqrt()
    assert torch.equal(static[grey == 0], grey[grey == 0])
    assert torch.equal(static[grey == 1], grey[grey == 1])


def test_dynamic_pixels_are_fresh_in_training_and_fixed_when_held_out():
    train = data.load("digits:dynamic", "all")
    assert torch.equal(train.x, data.load("digits:grey", "all").x)
    assert not torch.equal(train.transform(train.x), train.transform(train.x))
    for split in ("validation", "test"):
        held_out = data.load("digits:dynamic", split)
        assert held_out.transform is None
        assert torch.equal(held_out.x, data.load("digits:static", split).x)


def test_no_dequantized_pixel_rounds_up_to_one():
    apply = data.pixels.TRANSFORMS["dequantized"].apply
    largest = torch.full((1, 1), 1 - 2**-24)
    assert apply(torch.full((1, 1), 255, dtype=torch.uint8), 256, lambda: largest) < 1


def test_floats_and_booleans_under_other_transforms(save):
    grey = pixels() / 255
    path = save(x=grey)
    x = data.load(f"{path}:grey").x
    assert torch.equal(data.load(f"{path}:threshold").x, (x >= 0.5).float())
    assert data.load(f"{path}:static").support.check(data.load(f"{path}:static").x).all()
    fault("'dequantized'", "float pixels", name=f"{path}:dequantized")
    path = save(x=grey > 0.5)
    binary = [data.load(f"{path}:{transform}").x for transform in ("grey", "threshold", "static")]
    assert torch.equal(binary[0], binary[1])
    assert torch.equal(binary[0], binary[2])


def test_noise_of_train_and_test_differs(save):
    grey = np.full((100, 8), 0.5)
    path = save(x_train=grey, x_test=grey)
    assert not torch.equal(data.load(f"{path}:static").x, data.load(f"{path}:static", "test").x[:90])


def test_the_seed_is_that_of_the_noise_alone():
    static = [data.load("digits:static", seed=seed).x for seed in (0, 0, 1)]
    assert torch.equal(static[0], static[1])
    assert not torch.equal(static[0], static[2])
    assert torch.equal(data.load("digits:grey", seed=0).x, data.load("digits:grey", seed=1).x)
    state = torch.get_rng_state()
    data.load("digits:static")
    assert torch.equal(state, torch.get_rng_state())


def test_noise_ignores_the_default_type():
    before = data.load("digits:static")
    torch.set_default_dtype(torch.float64)
    try:
        after = data.load("digits:static")
    finally:
        torch.set_default_dtype(torch.float32)
    assert after.x.dtype == torch.float32
    assert after.hash == before.hash


def test_a_minibatch_is_binarised_by_independent_draws_of_its_grey_levels():
    torch.manual_seed(0)
    grey = torch.tensor([0.0, 0.25, 0.5, 0.9, 1.0], dtype=torch.float64)
    draws = torch.stack([TRANSFORMS["dynamic"].per_minibatch(grey) for _ in range(4000)])
    assert draws.dtype == grey.dtype
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    error = (grey * (1 - grey) / len(draws)).sqrt()
    assert ((draws.mean(0) - grey).abs() <= 4 * error).all()  # exact at 0 and 1
    centred = (draws - grey)[:, 1:4] / (grey * (1 - grey)).sqrt()[1:4]
    for products in (centred[:, 1:] * centred[:, :-1], centred[1:] * centred[:-1]):
        assert abs(products.mean().item()) < 4 / products.numel() ** 0.5
