"""Data: the laws of pixels, the catalogue, synthetic truths, and a one-line error for every fault of input."""

import os
import pickle
import struct
import subprocess
import sys
import urllib.error
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.distributions import Exponential, MultivariateNormal, Normal

import data
from data.laws import PIXEL_LAWS

ROOT = Path(__file__).parents[1]
HAVE_MNIST = next(row.available for row in data.describe() if row.name == "mnist")
needs_mnist = pytest.mark.skipif(not HAVE_MNIST, reason="no raw MNIST files under $GALLERY_DATA")


@pytest.fixture
def save(tmp_path):
    """save(x=..., labels=...) -> path of an .npz file."""

    def save(**arrays) -> str:
        path = tmp_path / "user.npz"
        np.savez(path, **arrays)
        return str(path)

    return save


def fault(*words, name, split="train", **keywords) -> str:
    """The message of the DataError that loading raises: one line that holds all the words."""
    with pytest.raises(data.DataError) as caught:
        data.load(name, split, **keywords)
    message = str(caught.value)
    assert message
    assert len(message.splitlines()) == 1
    for word in words:
        assert word in message
    return message


def pixels(n=40, h=4, w=5, seed=0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (n, h, w)).astype(np.uint8)


# Pixel laws


@pytest.mark.parametrize("law", PIXEL_LAWS)
@pytest.mark.parametrize("split", ["train", "validation", "test", "all"])
def test_a_law_keeps_to_its_support(law, split):
    digits = data.load(f"digits:{law}", split)
    values = digits.x if digits.transform is None else digits.transform(digits.x)
    assert digits.support.check(values).all()
    assert digits.x.dtype == torch.float32
    assert digits.x.shape == (len(digits), 64)
    assert (digits.name, digits.split, digits.shape, digits.levels) == (f"digits:{law}", split, (8, 8), 17)
    assert digits.is_image
    assert digits.classes == 10
    assert digits.given is digits.labels


def test_laws_agree_with_the_stored_pixels():
    from sklearn.datasets import load_digits

    stored = torch.from_numpy(load_digits().images[:1200]).flatten(1)
    grey, dequantized, threshold = (data.load(f"digits:{law}").x for law in ("grey", "dequantized", "threshold"))
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
    once = data.laws.LAWS["dequantized"].once
    largest = torch.full((1, 1), 1 - 2**-24)
    assert once(torch.full((1, 1), 255, dtype=torch.uint8), 256, lambda: largest) < 1


# Splits, seeds, hashes


@pytest.mark.parametrize("law", PIXEL_LAWS)
def test_train_and_validation_are_all_bit_for_bit(law):
    train, validation, both = (data.load(f"digits:{law}", split) for split in ("train", "validation", "all"))
    assert (len(train), len(validation), len(both)) == (1200, 300, 1500)
    assert len(data.load(f"digits:{law}", "test")) == 297
    assert torch.equal(train.x, both.x[:1200])
    assert torch.equal(train.labels, both.labels[:1200])
    if law != "dynamic":  # validation is sampled once, "all" afresh
        assert torch.equal(validation.x, both.x[1200:])


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


def test_another_process_imports_lightly_and_finds_the_same_hashes(save):
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


def test_hashes_tell_laws_splits_and_seeds_apart():
    hashes = [data.load(f"digits:{law}").hash for law in PIXEL_LAWS]
    hashes += [data.load("digits:static", "test").hash, data.load("digits:static", seed=1).hash]
    assert len(set(hashes)) == len(hashes)


def test_the_hash_covers_labels_and_covariates(save):
    x = pixels()
    plain = data.load(save(x=x)).hash
    labelled = data.load(save(x=x, labels=np.arange(40) % 3)).hash
    covariate = data.load(save(x=x, covariates=np.arange(40.0))).hash
    flat = data.load(save(x=x.reshape(40, -1)) + ":grey").hash
    assert len({plain, labelled, covariate, flat}) == 4


def test_rows_of_integers_need_a_law(save):
    path = save(x=np.arange(40).reshape(10, 4))
    fault("rows of integers", f"{path}:grey", f"{path}:real", name=path)
    assert data.load(f"{path}:real", "all").x.max() == 39
    assert data.load(f"{path}:grey", "all").x.max() == torch.tensor(39 / 255)


def test_moving_keeps_the_hash_and_the_labels():
    line, digits = (data.load(name).to("cpu", torch.float64) for name in ("line", "digits:grey"))
    assert line.x.dtype == line.covariates.dtype == torch.float64
    assert digits.labels.dtype == torch.int64
    assert digits.name == "digits:grey"
    assert line.hash == data.load("line").hash
    assert digits.hash == data.load("digits:grey").hash
    assert data.load("line").to().x.dtype == torch.float32


# Synthetic sets


def test_factor_analysis_is_the_published_draw():
    np.random.seed(42)
    z = {split: np.random.normal(size=(1000, 2)) for split in ("train", "test")}
    noise = {split: np.random.normal(size=(1000, 3)) for split in ("train", "test")}
    w, sigma = data.synthetic.FA_W, data.synthetic.FA_SIGMA
    truth = MultivariateNormal(torch.zeros(3).double(), torch.from_numpy(w @ w.T + np.diag(sigma**2)))
    for split, evidence in (("train", -3.9348), ("test", -3.9705)):
        loaded = data.load("factor_analysis", split)
        x = (z[split] @ w.T + noise[split] * sigma).astype(np.float32)
        assert np.array_equal(loaded.x.numpy(), x)
        assert abs(truth.log_prob(loaded.x.double()).mean().item() - evidence) < 5e-4
    assert [f"{value:.6f}" for value in loaded.x[0].tolist()] == ["0.796182", "0.464161", "-1.208192"]
    assert torch.equal(data.load("factor_analysis", "all").x, data.load("factor_analysis").x)
    assert (loaded.shape, loaded.is_image, loaded.support) == ((3,), False, torch.distributions.constraints.real)


def test_exponential_gaussian_has_the_stated_evidence():
    sizes = [len(data.load("exponential_gaussian", split)) for split in ("train", "validation", "test", "all")]
    assert sizes == [2000, 500, 1000, 2500]
    z = torch.linspace(0, 40, 400_001).double()
    x = data.load("exponential_gaussian", "test").x[:20].double()
    brute = torch.trapezoid((Exponential(1.0).log_prob(z) + Normal(z, 1.0).log_prob(x)).exp(), z).log()
    assert torch.allclose(0.5 - x + Normal(0.0, 1.0).cdf(x - 1).log(), brute[:, None], atol=1e-6)
    x = data.load("exponential_gaussian", "all").x  # E x = 1, Var x = 1 + 1
    assert abs(x.mean() - 1) < 4 * (2 / len(x)) ** 0.5


def test_line_regresses_to_its_truth():
    line = data.load("line", "test")
    assert line.given is line.covariates
    assert line.covariates.shape == line.x.shape == (200, 1)
    assert 0 <= line.covariates.min() < 1
    assert 4 < line.covariates.max() <= 5
    design = torch.cat([torch.ones(200, 1), line.covariates], 1).double()
    sigma = data.synthetic.LINE_SIGMA
    covariance = sigma**2 * torch.linalg.inv(design.T @ design)
    error = torch.linalg.lstsq(design, line.x.double()).solution[:, 0] - torch.tensor(
        [data.synthetic.LINE_INTERCEPT, data.synthetic.LINE_SLOPE]
    )
    assert (error.abs() < 4 * covariance.diagonal().sqrt()).all()
    assert covariance[0, 1] ** 2 > 0.5 * covariance[0, 0] * covariance[1, 1]


# Names


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("digits", ["'digits' needs a pixel law", "digits:grey", "digits:dynamic"]),
        ("digits:", ["needs a pixel law"]),
        ("digits:gray", ["'gray'", "did you mean 'grey'?", "digits:threshold"]),
        ("digits:real", ["no pixel law 'real'"]),
        ("mnits:grey", ["unknown data set 'mnits'", "did you mean 'mnist'?", "factor_analysis"]),
        ("fashion_mnist:grey", ["did you mean 'fashion-mnist'?"]),
        ("", ["unknown data set ''"]),
        ("line:grey", ["takes no pixel law", "'line' alone"]),
        ("./some.npz:gray", ["unknown pixel law 'gray'", "did you mean 'grey'?"]),
        ("./none.npz:grey", ["./none.npz does not exist"]),
        ("none.npy", ["none.npy does not exist"]),
        ("no/such/folder:grey", ["no/such/folder does not exist"]),
        ("~nobody/x.npz", ["does not exist"]),
        (__file__, ["is not a kind of file that is read"]),
    ],
)
def test_names_that_mean_nothing(name, words):
    fault(*words, name=name)


def test_splits_and_seeds_that_mean_nothing():
    fault("unknown split 'valid'", "did you mean 'validation'?", name="digits:grey", split="valid")
    fault("'factor_analysis' has no validation split", "train, test", name="factor_analysis", split="validation")
    fault("'line' has no validation split", name="line", split="validation")
    fault("seed -1", name="digits:static", seed=-1)


def test_the_catalogue_says_what_is_here(tmp_path):
    rows = {row.name: row for row in data.describe(tmp_path)}
    assert [name for name in rows if not rows[name].available] == ["mnist", "fashion-mnist", "kmnist"]
    assert rows["digits"].laws == PIXEL_LAWS
    assert rows["line"].laws == ()
    for name in ("digits:grey", "factor_analysis", "exponential_gaussian", "line"):
        size = rows[name.split(":")[0]].size
        for part in size.split(", "):
            number, split = part.split()
            assert len(data.load(name, split)) == int(number.replace(",", ""))
    for name in rows:  # every name of the catalogue is understood
        if rows[name].available:
            data.load(":".join((name, *rows[name].laws[:1])))


# The 28 x 28 sets


def write_idx(path, shape, rows=()):
    """An IDX file of zeros (sparse on disk) whose first rows are `rows`."""
    with open(path, "wb") as file:
        file.write(struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape))
        file.write(b"".join(bytes(row) for row in rows))
        file.truncate(4 + 4 * len(shape) + int(np.prod(shape)))


@pytest.fixture
def mnist(tmp_path):
    """A root with raw files laid out as KMNIST's, blank but for the first image and labels."""
    raw = tmp_path / "KMNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, n in (("train", 60_000), ("t10k", 10_000)):
        write_idx(raw / f"{prefix}-images-idx3-ubyte", (n, 28, 28), [[0, 51, 127, 128, 255]])
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", (n,), [[7, 9]])
    return tmp_path


def test_idx_files_are_read_in_order(mnist):
    test = data.load("kmnist:grey", "test", root=mnist)
    assert (test.x.shape, test.shape, test.classes, test.levels) == ((10_000, 784), (28, 28), 10, 256)
    assert torch.allclose(test.x[0, :5], torch.tensor([0, 0.2, 127 / 255, 128 / 255, 1]))
    assert test.labels[:3].tolist() == [7, 9, 0]
    assert test.labels.dtype == torch.int64
    assert data.load("kmnist:threshold", "test", root=mnist).x[0, :5].tolist() == [0, 0, 0, 1, 1]
    assert next(row for row in data.describe(mnist) if row.name == "kmnist").available


def test_the_root_may_come_from_the_environment(mnist, monkeypatch):
    monkeypatch.setenv("GALLERY_DATA", str(mnist))
    assert len(data.load("kmnist:grey", "test")) == 10_000
    monkeypatch.delenv("GALLERY_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(mnist))
    fault(str(mnist / "gallery" / "KMNIST" / "raw"), name="kmnist:grey")


def test_a_missing_set_says_where_and_how(tmp_path):
    fault(
        "'mnist' is not on this machine", str(tmp_path / "MNIST" / "raw"), "`gallery data download mnist`",
        "GALLERY_DATA", name="mnist:grey", root=tmp_path,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file: os.truncate(file, 5000), ["truncated"]),
        (lambda file: os.truncate(file, 0), ["truncated"]),
        (lambda file: os.truncate(file, 10), ["truncated"]),
        (lambda file: file.write_bytes(b"<html>404 not found</html>" * 9), ["no IDX file"]),
        (lambda file: file.write_bytes(pickle.dumps([1, 2])), ["no IDX file"]),
        (lambda file: write_idx(file, (100, 28, 28)), ["shape (100, 28, 28)", "(10000, 28, 28)"]),
        (lambda file: write_idx(file, (10_000, 27, 28)), ["shape (10000, 27, 28)"]),
        (lambda file: write_idx(file, (10_000,)), ["no IDX file"]),
        (lambda file: (file.unlink(), file.mkdir()), ["no file"]),
        (lambda file: file.rename(f"{file}.gz"), ["no file", "only t10k-images-idx3-ubyte.gz"]),
    ],
)
def test_a_damaged_image_file_is_named(mnist, damage, words):
    file = mnist / "KMNIST" / "raw" / "t10k-images-idx3-ubyte"
    damage(file)
    fault(str(file), "gallery data download kmnist", *words, name="kmnist:grey", split="test", root=mnist)
    assert len(data.load("kmnist:grey", "validation", root=mnist)) == 5_000  # the other file is whole


def test_damaged_labels_are_named(mnist):
    file = mnist / "KMNIST" / "raw" / "t10k-labels-idx1-ubyte"
    write_idx(file, (9_999,))
    fault(str(file), "shape (9999,)", "(10000,)", name="kmnist:grey", split="test", root=mnist)
    write_idx(file, (10_000,), [[10]])
    fault(str(file), "label 10", name="kmnist:grey", split="test", root=mnist)


def test_a_download_that_fails_is_one_line(tmp_path, mnist, monkeypatch):
    def unreachable(*_, **__):
        raise urllib.error.URLError("no route\nto host")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", unreachable)
    for name, root, words in [
        ("mnist", tmp_path, "'mnist' could not be downloaded"),
        ("mnist", __file__, "'mnist' could not be downloaded"),
        ("mnits", tmp_path, "did you mean 'mnist'?"),
        ("digits", tmp_path, "needs no download"),
    ]:
        with pytest.raises(data.DataError, match=words) as caught:
            data.download(name, root)
        assert len(str(caught.value).splitlines()) == 1
    assert data.download("kmnist", mnist) == mnist / "KMNIST" / "raw"  # all there: nothing to fetch
    os.truncate(mnist / "KMNIST" / "raw" / "train-labels-idx1-ubyte", 100)
    with pytest.raises(data.DataError, match="train-labels-idx1-ubyte"):
        data.download("kmnist", mnist)
    (mnist / "KMNIST" / "raw" / "train-labels-idx1-ubyte").unlink()
    (mnist / "KMNIST" / "processed").mkdir()  # of pickles, which torchvision would read
    with pytest.raises(data.DataError, match="old torchvision"):
        data.download("kmnist", mnist)


@needs_mnist
def test_mnist_is_mnist():
    train, validation, test = (data.load("mnist:threshold", split) for split in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (55_000, 5_000, 10_000)
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert torch.bincount(torch.cat([train.labels, validation.labels])).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949
    ]  # fmt: skip
    grey = data.load("mnist:grey", "test")
    assert torch.equal(test.x, (grey.x * 255).round().ge(128).float())
    assert not {row.tobytes() for row in train.x[:2000].numpy()} & {row.tobytes() for row in test.x.numpy()}


@needs_mnist
def test_mnist_files_have_noise_of_their_own():
    train, test = (data.load("mnist:dequantized", split) for split in ("train", "test"))
    u = torch.stack([train.x[:10_000, 0], test.x[:, 0]]) * 256  # the corner pixel is always black
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(torch.corrcoef(u)[0, 1]) < 4 / 10_000**0.5


# Files of the user


@pytest.mark.parametrize(
    ("x", "shape", "levels"),
    [
        (pixels(), (4, 5), 256),
        (pixels()[..., None], (4, 5), 256),
        (pixels().astype(">i8"), (4, 5), 256),
        (pixels().reshape(40, 20), (20,), 256),
        (np.stack([pixels(seed=s) for s in range(3)], 3), (3, 4, 5), 256),
        (pixels() / 255, (4, 5), None),
        ((pixels() / 255).astype(">f2"), (4, 5), None),
        (pixels() > 127, (4, 5), 2),
    ],
    ids=["bytes", "one channel", "big-endian", "flat", "colour", "floats", "halves", "booleans"],
)
def test_arrays_of_pixels(save, x, shape, levels):
    path = save(x=x)
    loaded = [data.load(f"{path}:grey", split) for split in ("train", "validation", "test")]
    assert [len(part) for part in loaded] == [32, 4, 4]
    assert all((part.shape, part.levels, part.labels) == (shape, levels, None) for part in loaded)
    rows = x[..., 0] if x.shape[-1] == 1 else np.moveaxis(x, 3, 1) if x.ndim == 4 else x
    rows = rows.reshape(40, -1).astype(np.float32) / (255 if x.dtype.kind in "ui" else 1)
    together = np.concatenate([part.x.numpy() for part in loaded])
    assert sorted(map(tuple, together)) == sorted(map(tuple, rows))  # every row once, in one split
    assert not np.array_equal(together, rows)  # and shuffled


def test_floats_and_booleans_under_other_laws(save):
    grey = pixels() / 255
    path = save(x=grey)
    x = data.load(f"{path}:grey").x
    assert torch.equal(data.load(f"{path}:threshold").x, (x >= 0.5).float())
    assert data.load(f"{path}:static").support.check(data.load(f"{path}:static").x).all()
    fault("'dequantized'", "float pixels", name=f"{path}:dequantized")
    path = save(x=grey > 0.5)
    binary = [data.load(f"{path}:{law}").x for law in ("grey", "threshold", "static")]
    assert torch.equal(binary[0], binary[1])
    assert torch.equal(binary[0], binary[2])


def test_a_file_without_a_law_is_read_as_it_is_stored(save):
    path = save(x=pixels())
    assert data.load(path).name == f"{path}:grey"
    path = save(x=pixels() > 127)
    assert data.load(path).name == f"{path}:threshold"


@pytest.mark.parametrize("x", [np.linspace(-5, 5, 30), np.arange(60).reshape(30, 2), np.full((30, 2, 2), 9.5)])
def test_values_that_are_no_pixels(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    real = data.load(f"{tmp_path / 'x.npy'}:real", "all")
    assert real.x.shape == (27, x[0].size)
    assert real.levels is None
    assert real.support is torch.distributions.constraints.real
    assert set(real.x.flatten().tolist()) <= set(x.astype(np.float32).flatten().tolist())


def test_labels_and_covariates_follow_their_rows(save):
    n = np.arange(50)
    path = save(x=n[:, None] * 1.0, labels=n.astype(np.uint8), covariates=np.stack([n, n**2], 1))
    for split in ("train", "validation", "test"):
        part = data.load(f"{path}:real", split)
        assert torch.equal(part.labels.float(), part.x[:, 0])
        assert part.classes == 50
        assert torch.equal(part.covariates, torch.cat([part.x, part.x**2], 1))
        assert part.given is part.covariates


def test_train_and_test_of_the_users_own(save):
    x, y = np.arange(20.0), np.arange(20)
    path = save(x_train=x, x_test=-x[:5], labels_train=y % 2, labels_test=y[:5])
    test, train, validation = (data.load(f"{path}:real", split) for split in ("test", "train", "validation"))
    assert test.x[:, 0].tolist() == [0, -1, -2, -3, -4]
    assert test.labels.tolist() == [0, 1, 2, 3, 4]
    assert (len(train), len(validation)) == (18, 2)
    assert train.classes == validation.classes == test.classes == 5
    assert sorted(train.x[:, 0].tolist() + validation.x[:, 0].tolist()) == x.tolist()
    fault("too few rows, 1: train, validation", name=save(x_train=x[:1], x_test=x) + ":real")


def test_noise_of_train_and_test_differs(save):
    grey = np.full((100, 8), 0.5)
    path = save(x_train=grey, x_test=grey)
    assert not torch.equal(data.load(f"{path}:static").x, data.load(f"{path}:static", "test").x[:90])


OK = np.zeros((20, 3))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.where(np.eye(20, 3) > 0, np.nan, 0)}, ["x has values that are NaN"]),
        ({"x": np.where(np.eye(20, 3) > 0, np.inf, 0)}, ["infinite"]),
        ({"x": np.where(np.eye(20, 3) > 0, 1e300, 0)}, ["too large for float32"]),
        ({"x": np.zeros(20)}, ["shape (20,)", "(n, d)"]),
        ({"x": np.float64(1)}, ["shape ()"]),
        ({"x": np.zeros((20, 3, 3, 3, 3))}, ["shape (20, 3, 3, 3, 3)"]),
        ({"x": np.zeros((20, 3, 28, 28))}, ["shape (20, 3, 28, 28)", "(n, h, w, 3)"]),
        ({"x": np.zeros((0, 3))}, ["shape (0, 3)", "at least one"]),
        ({"x": np.zeros((20, 0))}, ["shape (20, 0)"]),
        ({"x": OK[:2]}, ["too few rows, 2"]),
        ({"x": OK - 0.1}, ["[-0.1, -0.1]", "FILE:real"]),
        ({"x": OK + 255.0}, ["[255, 255]", "FILE:real"]),
        ({"x": OK.astype(int) + 256}, ["0..255", "FILE:real"]),
        ({"x": OK.astype(np.int8) - 1}, ["0..255"]),
        ({"x": np.eye(20, 3).astype(int)}, ["only integers 0 and 1", "bool"]),
        ({"x": OK.astype(complex)}, ["complex128"]),
        ({"x": OK.astype(str)}, ["<U32"]),
        ({"x": OK, "labels": np.arange(19)}, ["labels has shape (19,)", "(20,)"]),
        ({"x": OK, "labels": np.eye(20, dtype=int)}, ["labels has shape (20, 20)"]),
        ({"x": OK, "labels": np.int64(3)}, ["labels has shape ()"]),
        ({"x": OK, "labels": np.zeros(20)}, ["labels", "integers"]),
        ({"x": OK, "labels": np.arange(20) - 1}, ["labels", "integers from 0"]),
        ({"x": OK, "labels": np.full(20, 2**63, np.uint64)}, ["labels"]),
        ({"x": OK, "covariates": OK[:5]}, ["covariates has shape (5, 3)"]),
        ({"x": OK, "covariates": OK + np.nan}, ["covariates has values that are NaN"]),
        ({"x": OK, "covariates": np.zeros((20, 0))}, ["covariates has shape (20, 0)"]),
        ({"y": OK}, ["neither x nor x_train and x_test"]),
        ({"x_train": OK}, ["neither x nor x_train and x_test"]),
        ({"x_train": OK, "x_test": OK[:, :2]}, ["train has rows (3,)", "test has rows (2,)"]),
        ({"x_train": OK, "x_test": OK > 0}, ["no levels", "2 levels"]),
        ({"x_train": OK, "x_test": OK, "labels_train": np.arange(20)}, ["labels", "no labels"]),
        ({"x_train": OK, "x_test": OK[:0]}, ["x_test has shape (0, 3)"]),
        ({"x_train": OK, "x_test": OK, "labels_train": np.arange(20), "labels_test": np.arange(3)}, ["labels_test"]),
    ],
)  # fmt: skip
def test_faults_of_arrays(save, arrays, words):
    path = save(**arrays)
    for split in ("train", "test"):
        fault(path, *words, name=f"{path}:grey", split=split)


class Bomb:
    """Unpickling this makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["x", "labels", "npy", "pickle.npy", "pickle.npz"])
def test_nothing_is_unpickled(tmp_path, kind):
    trace, path = tmp_path / "executed", tmp_path / f"user.{'npy' if kind.endswith('npy') else 'npz'}"
    bombs = np.array([Bomb(trace)] * 20, dtype=object)
    if kind.startswith("pickle"):
        path.write_bytes(pickle.dumps(bombs))
    elif kind == "npy":
        np.save(path, bombs)
    else:
        np.savez(path, **({"x": OK} | {kind: bombs}))
    fault(str(path), "pickled Python objects are never loaded", name=f"{path}:grey")
    assert not trace.exists()
    pickle.loads(pickle.dumps(bombs[:1]))
    assert trace.exists()  # the bomb was live


@pytest.mark.parametrize("size", [0, 5, 60, 200, -30])
@pytest.mark.parametrize("ending", ["npz", "npy"])
def test_truncated_files(tmp_path, size, ending):
    path = tmp_path / f"user.{ending}"
    np.savez(path, x=pixels()) if ending == "npz" else np.save(path, pixels())
    os.truncate(path, size if size >= 0 else path.stat().st_size + size)
    fault(str(path), "cannot be read", name=f"{path}:grey")


def test_corrupt_contents(tmp_path):
    path = tmp_path / "user.npz"
    np.savez_compressed(path, x=pixels())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("x.npy").header_offset + 100
    whole = path.read_bytes()
    path.write_bytes(whole[:start] + bytes(50) + whole[start + 50 :])
    fault(str(path), "cannot be read", name=f"{path}:grey")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", "no array")
    fault(str(path), name=f"{path}:grey")


# Folders of pictures


def draw(path, mode="L", size=(5, 4), value=200):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode in ("L", "I", "I;16", "F") else None).save(path)


def test_a_flat_folder(tmp_path):
    for i, name in enumerate(("b.png", "a.PNG", "d.bmp", "c.png", ".hidden.png", "notes.txt")):
        draw(tmp_path / name, value=10 * i) if name != "notes.txt" else (tmp_path / name).write_text("x")
    parts = [data.load(f"{tmp_path}:grey", split) for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [2, 1, 1]
    assert parts[0].shape == (4, 5)
    assert parts[0].labels is None
    assert parts[0].levels == 256
    assert sorted(round(255 * v) for part in parts for v in part.x[:, 0].tolist()) == [0, 10, 20, 30]


def test_a_folder_per_class_in_colour(tmp_path, monkeypatch):
    for k, kind in enumerate(("cat", "ant", "bee")):
        for i in range(4):
            path = tmp_path / "animals" / kind / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (5, 4), (k * 10, i, 255)).save(path)
    (tmp_path / "animals" / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    both = data.load("animals:grey", "all")  # no separator, no ending: it is there
    assert both.shape == (3, 4, 5)
    assert both.classes == 3
    assert len(both) == 11
    red = (both.x.view(-1, 3, 20)[:, 0, 0] * 255).round()
    assert torch.equal(red, torch.tensor([10.0, 20.0, 0.0])[both.labels])  # ant 0, bee 1, cat 2
    assert (both.x.view(-1, 3, 20)[:, 2] == 1).all()


@pytest.mark.parametrize(
    ("pictures", "words"),
    [
        ({}, ["no .png, .jpg, .jpeg, .bmp"]),
        ({"a.png": {}, "k/b.png": {}}, ["both in it and in sub-folders"]),
        ({"a.png": {}, "b.png": {}, "c.png": {"size": (6, 4)}}, ["c.png has shape (4, 6)", "a.png has (4, 5)"]),
        ({"a.png": {}, "b.png": {"mode": "RGB"}}, ["b.png has shape (4, 5, 3)"]),
        ({"a.png": {"mode": "I;16"}}, ["a.png is no 8-bit picture", "more than 8 bits"]),
        ({"a.png": {}, "b.png": {}}, ["too few rows, 2"]),
    ],
)
def test_faults_of_folders(tmp_path, pictures, words):
    for name, keywords in pictures.items():
        draw(tmp_path / name, **keywords)
    fault(str(tmp_path), *words, name=f"{tmp_path}:grey")


@pytest.mark.parametrize("content", [b"", b"no picture", "half"])
def test_a_broken_picture_is_named(tmp_path, content):
    for name in ("a.png", "b.png", "c.png"):
        draw(tmp_path / name, size=(50, 40))
    if content == "half":
        content = (tmp_path / "b.png").read_bytes()[:60]
    (tmp_path / "b.png").write_bytes(content)
    fault(str(tmp_path / "b.png"), "is no 8-bit picture", name=f"{tmp_path}:grey")
