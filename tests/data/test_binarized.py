"""The original static binarisation of MNIST: both formats, hashes, and what is said where the files are wrong."""

import hashlib

import numpy as np
import pytest
from data_inputs import fault

import data
from data import binarized

HERE = next(row.available for row in data.describe() if row.name == "static_mnist")
ROWS = {"train": 4, "valid": 2, "test": 3}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A root with the packed arrays of a few random rows, whose hashes the reader expects."""
    rows = {part: np.random.RandomState(n).randint(0, 2, (n, 784)).astype(np.uint8) for part, n in ROWS.items()}
    texts = {part: "".join(" ".join(map(str, row)) + "\n" for row in of) for part, of in rows.items()}
    hashes = {part: (n, hashlib.sha256(texts[part].encode()).hexdigest()) for part, n in ROWS.items()}
    monkeypatch.setattr(binarized, "PARTS", hashes)
    folder = tmp_path / "binarized_mnist"
    folder.mkdir()
    np.savez(folder / "binarized_mnist.npz", **{part: np.packbits(of, axis=1) for part, of in rows.items()})
    return tmp_path, rows, texts


def test_packed_arrays_and_text_are_the_same_data(small):
    root, rows, texts = small
    packed = data.load_splits("static_mnist", ("train", "validation", "test", "all"), root=root)
    (root / "binarized_mnist" / "binarized_mnist.npz").unlink()
    for part, text in texts.items():
        (root / "binarized_mnist" / f"binarized_mnist_{part}.amat").write_text(text)
    assert binarized.static_is_here(root)
    for split, dataset in packed.items():
        assert data.load("static_mnist", split, root=root).hash == dataset.hash
        assert (dataset.name, dataset.shape, dataset.labels) == ("static_mnist", (28, 28), None)
    assert (packed["train"].x.numpy() == rows["train"]).all()
    assert (packed["all"].x.numpy() == np.concatenate([rows["train"], rows["valid"]])).all()
    assert (packed["test"].x.numpy() == rows["test"]).all()
    assert packed["test"].support.check(packed["test"].x).all()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file: file.unlink(), ["not on this machine", "binarized_mnist_train.amat", "GALLERY_DATA"]),
        (lambda file: file.write_bytes(b"<html>404</html>"), ["'train'", "Copy the original file"]),
        (lambda file: file.write_bytes(file.read_bytes()[:200]), ["'train'", "BadZipFile"]),
        (lambda file: np.savez(file, valid=np.zeros(3)), ["no array 'train'"]),
        (lambda file: np.savez(file, train=np.zeros((4, 98))), ["float64", "uint8"]),
        (lambda file: np.savez(file, train=np.zeros((5, 98), np.uint8)), ["(5, 98)", "(4, 98)"]),
        (lambda file: np.savez(file, train=np.zeros((4, 98), np.uint8)), ["not the original file", "SHA-256"]),
    ],
)
def test_files_that_are_missing_or_not_the_original_are_named(small, damage, words):
    root, *_ = small
    file = root / "binarized_mnist" / "binarized_mnist.npz"
    damage(file)
    fault(*words, str(file), name="static_mnist", root=root)


def test_text_that_is_cut_or_altered_is_named(small):
    root, _, texts = small
    (root / "binarized_mnist" / "binarized_mnist.npz").unlink()
    file = root / "binarized_mnist" / "binarized_mnist_test.amat"
    for text in (texts["test"][:-1], texts["test"].replace("0", "1", 1), texts["test"].replace(" ", "\t", 1), ""):
        file.write_text(text)
        fault(str(file), "not the original file", "test rows", name="static_mnist", split="test", root=root)


def test_names_that_the_set_has_not(tmp_path):
    fault("'static_mnist' has no grey levels", "'static_mnist' alone", name="static_mnist:threshold")
    fault("no labels to show", name="static_mnist:100-labels") if HERE else None
    fault("Did you mean 'static_mnist'?", name="static-mnist")
    with pytest.raises(data.DataError, match="no download") as caught:
        data.download("static_mnist", tmp_path)
    assert str(tmp_path / "binarized_mnist") in str(caught.value)


@pytest.mark.skipif(not HERE, reason="no binarized_mnist under $GALLERY_DATA")
def test_the_original_files_are_the_published_ones():
    splits = data.load_splits("static_mnist")
    assert [len(splits[split]) for split in ("train", "validation", "test")] == [50_000, 10_000, 10_000]
    assert splits["test"].x.mean().item() == pytest.approx(0.1327, abs=2e-4)
