"""Sequences of unequal length: as lists, in files, and what is said where they do not fit."""

import numpy as np
import pytest
import torch
from data_inputs import fault

import data

SEQUENCES = [np.arange(6.0).reshape(3, 2), np.arange(2.0).reshape(1, 2), np.arange(10).reshape(5, 2)]


def test_sequences_become_rows_with_nan_after_their_end():
    rows = data.padded(SEQUENCES)
    assert rows.shape == (3, 5, 2)
    for row, one in zip(rows, SEQUENCES, strict=True):
        assert (row[: len(one)] == one).all()
        assert np.isnan(row[len(one) :]).all()
    assert data.padded(SEQUENCES, 7).shape == (3, 7, 2)
    assert data.padded([torch.ones(2, 1), torch.ones(1, 1)]).shape == (2, 2)
    assert data.padded([np.ones(2, np.uint8), np.ones(1, bool)]).dtype == np.float32


@pytest.mark.parametrize(
    ("sequences", "words"),
    [
        ([], "has no sequence"),
        ([np.ones((2, 3)), np.ones((2, 4))], r"sequence 1 of x has shape \(2, 4\).*expected numbers of shape \(T, 3\)"),
        ([np.ones(2), np.ones((2, 1))], r"sequence 1 of x has shape \(2, 1\).*expected numbers of shape \(T,\)"),
        ([np.ones(2), np.array(["a"])], "sequence 1 of x .*type <U1"),
        ([np.ones(2), np.ones(0)], "sequence 1 of x has 0 steps, expected from 1 to 2"),
        ([np.ones((2, 3, 4))], r"sequence 0 of x has shape.*expected numbers of shape \(T,\) or \(T, d\)"),
        ([np.array(1.0)], "sequence 0 of x has shape"),
    ],
)
def test_sequences_of_another_form_are_refused(sequences, words):
    with pytest.raises(data.DataError, match=words):
        data.padded(sequences)


def test_files_hold_sequences_one_after_the_other(tmp_path):
    path, x, lengths = str(tmp_path / "s.npz"), np.concatenate(SEQUENCES), [len(one) for one in SEQUENCES]
    np.savez(path, x_train=x, lengths_train=lengths, x_test=x[:8], lengths_test=[7, 1])
    splits = data.load_splits(f"{path}:real", ("all", "test"))
    assert {split: of.shape for split, of in splits.items()} == {"all": (7, 2), "test": (7, 2)}  # of the longest
    assert sorted(splits["all"].x.isfinite().sum(1).tolist()) == [2, 6, 10]
    np.savez(path, x=x, lengths=lengths)
    stored = data.load_splits(f"{path}:real", ("all", "test"))
    memory = data.from_arrays({"x": x, "lengths": np.array(lengths)})
    for split, of in stored.items():
        assert of.hash == memory[split].hash
    for wrong, words in (
        ([3, 1, 4], "x has 9 steps, and the lengths sum to 8"),
        ([9, 0], "x: sequence 1 has the length 0"),
        ([4.5, 4.5], "x has lengths of shape (2,) and type float64"),
        ([[9]], "x has lengths of shape (1, 1)"),
        (["9"], "type <U1"),
    ):
        np.savez(path, x=x, lengths=wrong)
        fault(f"{path}: x", words, name=f"{path}:real")
    for other in (np.array(3.0), np.ones((9, 2, 2)), np.array(["a"] * 9)):
        np.savez(path, x=other, lengths=lengths)
        fault(f"{path}: x has shape", "expected numbers of shape (steps,) or (steps, d)", name=f"{path}:real")
