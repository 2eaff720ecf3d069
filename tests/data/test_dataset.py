"""Splits of one set, hashes, and the move to another type."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from data_inputs import pixels

import data
from data.pixels import PIXEL_TRANSFORMS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("transform", PIXEL_TRANSFORMS)
def test_train_and_validation_are_all_bit_for_bit(transform):
    train, validation, both = (data.load(f"digits:{transform}", split) for split in ("train", "validation", "all"))
    assert (len(train), len(validation), len(both)) == (1200, 300, 1500)
    assert len(data.load(f"digits:{transform}", "test")) == 297
    assert torch.equal(train.x, both.x[:1200])
    assert torch.equal(train.labels, both.labels[:1200])
    if transform != "dynamic":  # validation is sampled once, "all" again for each minibatch
        assert torch.equal(validation.x, both.x[1200:])


def test_another_process_imports_lightly_and_computes_the_same_hashes(save):
    path = save(x=pixels())
    script = f"""
import sys, data
assert not {{"torchvision", "sklearn", "PIL"}} & set(sys.modules)
print(data.load("{path}:static").hash, data.load("line").hash)"""
    there = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=os.environ | {"GALLERY_DATA": "/nowhere"}, capture_output=True
    )
    assert there.stderr == b""
    assert there.stdout.decode().split() == [data.load(f"{path}:static").hash, data.load("line").hash]


def test_hashes_differ_between_transforms_splits_and_seeds():
    hashes = [data.load(f"digits:{transform}").hash for transform in PIXEL_TRANSFORMS]
    hashes += [data.load("digits:static", "test").hash, data.load("digits:static", seed=1).hash]
    assert len(set(hashes)) == len(hashes)


def test_pixel_noise_shown_labels_and_random_labels_share_no_stream(monkeypatch, save):
    file = save(x_train=pixels(), labels_train=np.arange(40) % 2, x_test=pixels(), labels_test=np.arange(40) % 2)
    seeds = {"rand": set(), "randperm": set(), "randint": set()}  # pixels, shown labels, random labels

    def record(name, draw):
        def recorded(*args, generator, **kwargs):
            seeds[name].add(generator.initial_seed())
            return draw(*args, generator=generator, **kwargs)

        monkeypatch.setattr(torch, name, recorded)

    for name in seeds:
        record(name, getattr(torch, name))
    for seed in range(3):
        for labels in ("", "-1", "-2"):
            for way in ("2-labels", "random-labels"):
                data.load_splits(f"{file}:static:{way}{labels}", ("train", "test"), seed=seed)
    assert [len(kept) for kept in seeds.values()] == [3 * 2, 3 * 3, 3 * 3 * 2]
    assert len(set().union(*seeds.values())) == 6 + 9 + 18


def test_random_labels_are_uniform_and_all_else_stays(save):
    same, random = (data.load(f"digits:threshold{labels}", "all") for labels in ("", ":random-labels"))
    assert random.name == "digits:threshold:random-labels"
    assert torch.equal(same.x, random.x)
    assert same.hash != random.hash
    n = len(same)
    counts = torch.zeros(10, 10).index_put((same.labels, random.labels), torch.ones(n), accumulate=True)
    expected = counts.sum(1, keepdim=True) * counts.sum(0) / n
    assert ((counts - expected).square() / expected).sum() < 81 + 4 * 162**0.5  # chi^2 of independence, 81 degrees
    assert torch.equal(data.load("digits:threshold:random-labels").labels, random.labels[:1200])
    assert not torch.equal(data.load("digits:threshold:random-labels-1").labels, random.labels[:1200])
    labels = np.where(np.arange(40) % 4, np.arange(40) % 3, -1)
    file = save(x=np.random.rand(40, 2), labels=labels)
    assert torch.equal(data.load(f"{file}:random-labels").labels < 0, data.load(file).labels < 0)
    with pytest.raises(data.DataError, match="no labels to replace"):
        data.load("line:random-labels")


def test_the_hash_covers_labels_and_covariates(save):
    x = pixels()
    plain = data.load(save(x=x)).hash
    labelled = data.load(save(x=x, labels=np.arange(40) % 3)).hash
    covariate = data.load(save(x=x, covariates=np.arange(40.0))).hash
    flat = data.load(save(x=x.reshape(40, -1)) + ":grey").hash
    assert len({plain, labelled, covariate, flat}) == 4


def test_moving_keeps_the_hash_and_the_labels():
    line, digits = (data.load(name).to("cpu", torch.float64) for name in ("line", "digits:grey"))
    assert line.x.dtype == line.covariates.dtype == torch.float64
    assert digits.labels.dtype == torch.int64
    assert digits.name == "digits:grey"
    assert line.hash == data.load("line").hash
    assert digits.hash == data.load("digits:grey").hash
    assert data.load("line").to().x.dtype == torch.float32


def test_a_data_set_is_shown_in_one_line():
    assert repr(data.load("line")) == "line, train: 200 rows of shape (1,), float32 in the reals, 1 covariate"
    shown = repr(data.load("digits:threshold:100-labels"))
    assert shown == (
        "digits:threshold:100-labels, train: 1,200 rows of shape (8, 8), float32 in {0, 1}, 10 classes, 100 labels "
        "shown to the model"
    )
    x = np.array([[1.5, np.nan], [2.5, 3.0], [0.5, np.nan]] * 10)
    whole = data.from_arrays({"x": x})["all"]
    assert repr(whole).endswith(
        f"rows of shape (2,), float32 in the reals, {whole.missing} of 54 entries missing (NaN)"
    )
