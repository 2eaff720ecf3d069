"""The 28 x 28 sets: IDX files, damaged files, downloads, and MNIST where its files are here."""

import os
import pickle
import struct
import urllib.error

import numpy as np
import pytest
import torch
from data_inputs import fault

import data

HAVE_MNIST = next(row.available for row in data.describe() if row.name == "mnist")
needs_mnist = pytest.mark.skipif(not HAVE_MNIST, reason="no raw MNIST files under $GALLERY_DATA")


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


def test_the_error_of_a_missing_set_names_the_folder_and_the_command(tmp_path):
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
        ("mnits", tmp_path, "Did you mean 'mnist'?"),
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
def test_mnist_files_have_independent_noise():
    train, test = (data.load("mnist:dequantized", split) for split in ("train", "test"))
    u = torch.stack([train.x[:10_000, 0], test.x[:, 0]]) * 256  # the corner pixel is always black
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(torch.corrcoef(u)[0, 1]) < 4 / 10_000**0.5
