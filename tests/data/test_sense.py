"""Data mean what they seem to: levels, constant pixels, channels, labels and precision of the user's arrays."""

import warnings

import numpy as np
import pytest
import torch
from data_inputs import fault, pixels

import data
from data.arrays import check_numbers
from data.dataset import BLOCK


@pytest.mark.parametrize(
    ("high", "levels"), [(1, 2), (3, 4), (16, 17), (100, 101), (127, 128), (128, 256), (200, 256), (255, 256)]
)
def test_levels_follow_from_the_greatest_integer(save, high, levels):
    x = np.arange(240).reshape(40, 3, 2) % (high + 1)
    x[0, 0, 0] = high
    parts = data.load_splits(save(x=x) + ":grey").values()
    assert {part.levels for part in parts} == {levels}
    grey = torch.cat([part.x for part in parts])
    assert torch.equal((grey * (levels - 1)).round().unique(), torch.from_numpy(np.unique(x)).float())


def test_digits_of_17_levels_are_not_all_black(save):
    x = np.random.default_rng(0).integers(0, 17, (60, 8, 8), dtype=np.uint8)
    path = save(x=x)
    assert data.load(f"{path}:threshold").x.unique().tolist() == [0, 1]
    own = torch.cat([data.load(f"{path}:threshold", split).x for split in ("all", "test")])
    assert own.sum() == (x >= 9).sum()
    assert "from 17 levels" in data.summary(data.load_splits(f"{path}:grey"))[1]


def test_levels_are_those_of_all_parts_or_of_the_fitted_data(save):
    x = np.arange(80).reshape(20, 2, 2) % 9
    path = save(x_train=x, x_test=2 * x)
    assert {split: part.levels for split, part in data.load_splits(path).items()} == dict.fromkeys(
        ("train", "validation", "test"), 17
    )
    dark = save(x=x)
    assert data.load(dark, levels=17).x.max() == 0.5
    fault("pixels up to 8", "fitted to 5 levels", name=dark, levels=5)


@pytest.mark.parametrize("transform", ["grey", "threshold", "static", "dynamic", "dequantized", "real"])
@pytest.mark.parametrize(("low", "high"), [(0, 0), (3, 3), (0, 100), (0, 255), (254, 255)])
def test_only_x_that_is_constant_is_refused(save, transform, low, high):
    x = np.full((30, 4), low, np.uint8)
    x[3, 1] = high
    x = x if high in (0, 3) else np.concatenate([x, [[0, 0, 0, 255]]]).astype(np.uint8) if high == 100 else x
    levels = 256 if high > 3 else max(2, high + 1)
    scaled = x if transform == "real" else x >= levels / 2 if transform == "threshold" else x
    constant = (scaled == scaled.flat[0]).all() and transform != "dequantized"
    path = save(x=x)
    if constant:
        fault("everywhere", f"'{transform}'", name=f"{path}:{transform}")
    else:
        assert len(data.load(f"{path}:{transform}"))


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_first_are_the_same_pictures(save, channels):
    last = np.stack([pixels(seed=s) for s in range(channels)], 3)
    expected = data.load(save(x=last) + ":grey", "all")
    first = data.load(save(x=np.moveaxis(last, 3, 1)) + ":grey", "all")
    assert torch.equal(first.x, expected.x)
    assert first.shape == expected.shape
    assert f"{channels} channels of 4 x 5 pixels" in first.notes[0]
    assert expected.notes == ()


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        ([0, 1, 2], (0, 1, 2)),
        ([1, 2, 3], (1, 2, 3)),
        ([7, 100, 30], (7, 30, 100)),
        ([2.0, 1.0, 5.0], (1, 2, 5)),
        ([True, False, True], (0, 1)),
        (["cat", "ant", "bee"], ("ant", "bee", "cat")),
    ],
)
def test_labels_are_numbered_and_the_mapping_is_kept(save, labels, values):
    labels = np.tile(np.array(labels), 20)
    x = np.arange(60.0)[:, None]
    for split in ("train", "test"):
        part = data.load(save(x=x, labels=labels) + ":real", split)
        assert part.label_values == values
        assert part.classes == len(values)
        assert [values[y] for y in part.labels.tolist()] == labels[part.x[:, 0].long().numpy()].tolist()
        assert part.labelled() is part


@pytest.mark.parametrize(
    "labels",
    [
        np.array([1, 2, -1, 3]),
        np.array([1, 2, -1, 3], np.int8),
        np.array([1, 2, np.nan, 3]),
        np.array([1, 2, -1.0, 3], np.float32),
        np.array(["a", "b", "", "c"]),
        np.array(["a", "b", " ", "c"]),
    ],
)
def test_unknown_labels_are_minus_one(save, labels):
    x = np.arange(80.0)[:, None]
    path = save(x=x, labels=np.tile(labels, 20)) + ":real"
    part = data.load(path, "all")
    assert torch.equal(part.labels, torch.tensor([0, 1, -1, 2])[part.x[:, 0].long() % 4])
    assert torch.equal(part.given, part.labels)
    assert part.classes == 3
    known = part.labelled()
    assert known.labels.min() == 0
    assert len(known) == (part.labels >= 0).sum() < len(part)
    assert "; 25.0 % of the labels are unknown" in data.summary(data.load_splits(path))[2]
    assert data.load(f"{path}:6-labels").known.sum() == 6  # none of them an unknown one
    assert (data.load(f"{path}:6-labels").given >= 0).sum() == 6


def test_other_rows_keep_the_classes_of_the_fitted_data(save):
    x = np.arange(30.0)[:, None]
    fitted = data.load(save(x=x, labels=10 + np.arange(30) % 3) + ":real")
    other = save(x=x, labels=11 + np.arange(30) % 2) + ":real"
    assert data.load(other, label_values=("a", "b")).classes == 13  # integers are the numbers of named classes
    assert data.load(other, "all", label_values=fitted.label_values).labels.unique().tolist() == [1, 2]
    fault("has 12", "fitted to labels 10, 11", name=other, label_values=(10, 11))
    names = save(x=x, labels=np.array(["b", "a", "c"])[np.arange(30) % 3]) + ":real"
    fault("are strings", name=names, label_values=(10, 11))
    fault("has 'c'", "a, b", name=names, label_values=("a", "b"))


def test_an_unsigned_minus_one_is_pointed_at(save):
    part = data.load(save(x=np.arange(30.0), labels=np.array([0, 1, 255], np.uint8)[np.arange(30) % 3]) + ":real")
    assert part.classes == 3
    assert part.notes == ("label 255 is read as a class: if it stands for -1, store signed integers",)


@pytest.mark.parametrize("key", ["x", "covariates"])
@pytest.mark.parametrize(
    ("values", "exact"),
    [
        (np.arange(60) + 2**24 - 60, True),
        (np.arange(60) * 2 + 2**24, True),
        (np.arange(60) + 2**24, False),
        (-np.arange(60) - 2**24, False),
        (np.arange(60, dtype=np.uint64) + 2**40, False),
    ],
)
def test_integers_are_exact_or_refused(save, key, values, exact):
    path = save(**({"x": np.arange(60.0)} | {key: values})) + ":real"
    wide = data.load(path, "all", dtype=torch.float64)
    assert (
        torch.cat([getattr(data.load(path, s, dtype=torch.float64), key) for s in ("all", "test")]).unique().numel()
        == 60
    )
    if exact:
        narrow = data.load(path, "all")
        assert torch.equal(getattr(narrow, key).double(), getattr(wide, key))
        assert narrow.hash == wide.hash
    else:
        fault(f"{key} has the integer", "up to 16777216", "float64", name=path)


def test_integers_above_53_bits_are_refused_in_float64(save):
    fault("up to 9007199254740992", name=save(x=np.arange(60) + 2**53) + ":real", dtype=torch.float64)
    fault("torch.int64 is no type", name="line", dtype=torch.int64)


def test_float64_is_read_as_it_is_stored(save):
    random = np.random.default_rng(0)
    x, covariates = 1.7e9 + random.normal(size=(500, 1)), random.normal(size=(500, 2))
    path = save(x=x, covariates=covariates) + ":real"
    splits = data.load_splits(path, dtype=torch.float64)
    assert set(torch.cat([part.x for part in splits.values()]).flatten().tolist()) == set(x.flatten().tolist())
    assert set(torch.cat([part.covariates for part in splits.values()]).flatten().tolist()) == set(covariates.flat)
    fault("x is 1.7e+09 everywhere", "rounded to float32", 'precision "float64"', name=path)
    moved = data.load(save(x=x, covariates=covariates + 1e-12) + ":real", dtype=torch.float64)
    assert moved.hash != splits["train"].hash
    (note,) = data.load(save(x=x - 1.7e9 + 1e6) + ":real").notes
    assert "x is rounded to float32, by up to 0.031" in note
    assert data.load(save(x=x - 1.7e9) + ":real").notes == ()


def test_grey_pixels_and_noise_in_float64(save):
    x = pixels()
    path = save(x=x)
    grey, narrow = (data.load(f"{path}:grey", dtype=t) for t in (torch.float64, torch.float32))
    assert torch.equal((grey.x * 255).round() / 255, grey.x)
    assert torch.equal(grey.x.float(), narrow.x)
    for transform in ("static", "threshold"):
        both = [data.load(f"{path}:{transform}", dtype=t) for t in (torch.float64, torch.float32)]
        assert torch.equal(both[0].x, both[1].x.double())
        assert both[0].hash == both[1].hash


def test_arrays_of_several_blocks_are_read_as_one(tmp_path):
    x = np.random.default_rng(0).random((3 * BLOCK // 1000 + 17, 1000), dtype=np.float32)
    np.save(tmp_path / "c.npy", x)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(x))
    np.savez(tmp_path / "z.npz", x=x)
    splits = [data.load_splits(f"{tmp_path}/{name}:real") for name in ("c.npy", "fortran.npy", "z.npz")]
    for split in ("train", "validation", "test"):
        assert len({parts[split].hash for parts in splits}) == 1
    together = torch.cat([part.x for part in splits[0].values()]).numpy()
    assert np.array_equal(together, x[np.random.RandomState(0).permutation(len(x))])
    assert splits[0]["train"].x.untyped_storage().data_ptr() == splits[0]["test"].x.untyped_storage().data_ptr()
    noisy = data.load_splits(f"{tmp_path}/c.npy:static", ("train", "validation", "all"))  # whatever the blocks
    assert torch.equal(torch.cat([noisy["train"].x, noisy["validation"].x]), noisy["all"].x)


def test_a_validation_set_that_is_given(save):
    x = np.arange(20.0)
    for name in ("x_validation", "x_val"):
        splits = data.load_splits(save(x_train=x, x_test=-x[:5], **{name: 100 + x[:3]}) + ":real", data.dataset.SPLITS)
        assert {split: len(part) for split, part in splits.items()} == {
            "train": 20,
            "validation": 3,
            "test": 5,
            "all": 23,
        }
        assert splits["validation"].x.flatten().tolist() == [100, 101, 102]
        assert sorted(splits["train"].x.flatten().tolist()) == x.tolist()
        assert torch.equal(splits["all"].x[:20], splits["train"].x)


def test_a_warning_is_never_raised_by_checks(save):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fault("infinite", name=save(x=np.array([[np.nan, np.inf, 1e300]] * 9)) + ":real")
        fault("NaN", "FILE:real alone", name=save(x=np.arange(9.0), covariates=np.full(9, np.nan)) + ":real")


def test_integers_that_stand_in_floats_and_are_rounded_are_stated():
    """As those of a table: float32 holds integers up to 2^24; the rounding of measurements of that size is not."""
    numbers = 2.0**24 + np.arange(60)
    for x, stated in (
        (numbers, True),
        (np.where(numbers % 7, numbers, np.nan), True),
        (numbers + np.arange(60), False),
    ):
        *_, note = check_numbers("own.csv: x", np.column_stack([x, np.ones(60)]), torch.float32, gaps=True)
        assert (note is not None) == stated
    *_, note = check_numbers("own.csv: x", np.linspace(0.25, 2.0**26 + 0.3, 60)[:, None], torch.float32)
    assert note is None
