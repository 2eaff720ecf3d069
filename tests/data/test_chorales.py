"""The chorales: sequences of unequal length, and what is said where their file is wrong."""

import hashlib

import numpy as np
import pytest
import torch
from data_inputs import fault

import data
from data import chorales

HERE = next(row.available for row in data.describe() if row.name == "jsb_chorales")
LENGTHS = {"train": [3, 5, 2, 4], "valid": [2, 6], "test": [160, 1, 3]}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A root with the file of a few random sequences, whose hashes the reader expects; and these, by part."""
    draw = np.random.RandomState(0)
    steps = {part: draw.randint(0, 2, (sum(of), 88)).astype(np.uint8) for part, of in LENGTHS.items()}
    stored, hashes = {}, {}
    for part, lengths in LENGTHS.items():
        stored[part], stored[f"{part}_lengths"] = np.packbits(steps[part], axis=1), np.array(lengths, np.int32)
        content = stored[part].tobytes() + np.array(lengths, "<i8").tobytes()
        hashes[part] = len(lengths), hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(chorales, "PARTS", hashes)
    (tmp_path / "jsb_chorales").mkdir()
    np.savez(tmp_path / "jsb_chorales" / "jsb_chorales.npz", **stored)
    return tmp_path, stored, {part: np.split(of, np.cumsum(LENGTHS[part])[:-1]) for part, of in steps.items()}


def test_sequences_are_rows_with_nan_after_their_end(small):
    root, _, sequences = small
    splits = data.load_splits("jsb_chorales", ("train", "validation", "test", "all"), root=root, dtype=torch.float64)
    parts_of = {"train": ["train"], "validation": ["valid"], "test": ["test"], "all": ["train", "valid"]}
    for split, parts in parts_of.items():
        found = splits[split].x.unflatten(1, splits[split].shape)
        expected = [one for part in parts for one in sequences[part]]
        assert found.shape == (len(expected), 160, 88)
        for row, one in zip(found.numpy(), expected, strict=True):
            assert (row[: len(one)] == one).all()
            assert np.isnan(row[len(one) :]).all()


def changed(**arrays):
    """Return a damage to the file: these arrays in place of its own."""
    return lambda file, stored: np.savez(file, **(stored | arrays))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file, stored: file.unlink(), ["not on this machine", "GALLERY_DATA"]),
        (lambda file, stored: file.write_bytes(b"<html>404</html>"), ["'train'", "Copy the original file"]),
        (lambda file, stored: file.write_bytes(file.read_bytes()[:200]), ["'train'", "BadZipFile"]),
        (lambda file, stored: np.savez(file, train=stored["train"]), ["no array 'train'", "KeyError"]),
        (changed(train=np.zeros((14, 11))), ["float64", "uint8"]),
        (changed(train_lengths=np.array([14])), ["(1,) lengths", "(4,)"]),
        (changed(train_lengths=np.array([5, 3, 2, 4])), ["not the original file", "SHA-256"]),
        (changed(train=np.zeros((14, 11), np.uint8)), ["not the original file", "SHA-256"]),
    ],
)
def test_a_file_that_is_missing_or_not_the_original_is_named(small, damage, words):
    root, stored, _ = small
    file = root / "jsb_chorales" / "jsb_chorales.npz"
    damage(file, stored)
    fault(*words, str(file), name="jsb_chorales", root=root)


def test_names_that_the_set_has_not(tmp_path):
    fault("'jsb_chorales' has no grey levels", "'jsb_chorales' alone", name="jsb_chorales:threshold")
    with pytest.raises(data.DataError, match="no download") as caught:
        data.download("jsb_chorales", tmp_path)
    assert str(tmp_path / "jsb_chorales") in str(caught.value)


@pytest.mark.skipif(not HERE, reason="no jsb_chorales under $GALLERY_DATA")
def test_the_chorales_are_the_published_ones():
    splits = data.load_splits("jsb_chorales")
    assert [len(splits[split]) for split in ("train", "validation", "test")] == [229, 76, 77]
    steps = [int(of.x.unflatten(1, of.shape)[..., 0].isfinite().sum()) for of in splits.values()]
    assert steps == [13_807, 4602, 4725]
    assert splits["test"].x[0, : 84 * 88].isfinite().all()
    assert splits["test"].x[0, 84 * 88 :].isnan().all()
