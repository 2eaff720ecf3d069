"""The user's files of arrays: what is read, each fault is one line, and nothing is unpickled."""

import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from data_inputs import fault, pixels

import data


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


def test_a_file_without_a_transform_is_read_as_it_is_stored(save):
    path = save(x=pixels())
    assert data.load(path).name == f"{path}:grey"
    path = save(x=pixels() > 127)
    assert data.load(path).name == f"{path}:threshold"


@pytest.mark.parametrize("x", [np.linspace(-5, 5, 30), np.arange(60).reshape(30, 2), pixels(30, 2, 2) + 9.5])
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


@pytest.mark.parametrize("missing", ["", "nan", "NA", "null"])
def test_a_missing_name_in_a_file_is_an_unknown_label(save, missing):
    names = np.array(["u", missing, "v"] * 10)
    train = data.load(f"{save(x=np.arange(30.0), labels=names)}:real", "all")
    assert train.label_values == ("u", "v")
    assert torch.equal(train.labels, torch.tensor([0, -1, 1])[train.x[:, 0].long() % 3])


def test_a_file_with_train_and_test_sets(save):
    x, y = np.arange(20.0), np.arange(20)
    path = save(x_train=x, x_test=-x[:5], labels_train=y % 2, labels_test=y[:5])
    test, train, validation = (data.load(f"{path}:real", split) for split in ("test", "train", "validation"))
    assert test.x[:, 0].tolist() == [0, -1, -2, -3, -4]
    assert test.labels.tolist() == [0, 1, 2, 3, 4]
    assert (len(train), len(validation)) == (18, 2)
    assert train.classes == validation.classes == test.classes == 5
    assert sorted(train.x[:, 0].tolist() + validation.x[:, 0].tolist()) == x.tolist()
    fault("too few rows, 1; train, validation", name=save(x_train=x[:1], x_test=x) + ":real")


OK = np.full((20, 3), 0.5)
OK[0] = 0
INTEGERS = (2 * OK).astype(int)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.where(np.eye(20, 3) > 0, np.nan, 0)}, ["x has values that are NaN"]),
        ({"x": np.where(np.eye(20, 3) > 0, np.inf, 0)}, ["infinite"]),
        ({"x": np.where(np.eye(20, 3) > 0, 1e300, 0)}, ["too large for float32"]),
        ({"x": np.zeros(20)}, ["shape (20,)", "(n, d)"]),
        ({"x": np.float64(1)}, ["shape ()"]),
        ({"x": np.zeros((20, 3, 3, 3, 3))}, ["shape (20, 3, 3, 3, 3)"]),
        ({"x": np.zeros((20, 28, 28, 4))}, ["shape (20, 28, 28, 4)", "alpha channel"]),
        ({"x": np.zeros((20, 5, 28, 28))}, ["shape (20, 5, 28, 28)", "numpy.transpose", "reshape would mix"]),
        ({"x": np.zeros((0, 3))}, ["shape (0, 3)", "at least one"]),
        ({"x": np.zeros((20, 0))}, ["shape (20, 0)"]),
        ({"x": OK[:2]}, ["too few rows, 2"]),
        ({"x": OK - 0.1}, ["[-0.1, 0.4]", "FILE:real"]),
        ({"x": OK + 255.0}, ["[255, 255.5]", "FILE:real"]),
        ({"x": INTEGERS + 256}, ["0..255", "FILE:real"]),
        ({"x": INTEGERS.astype(np.int8) - 1}, ["0..255"]),
        ({"x": np.zeros((20, 3))}, ["x is 0 everywhere with 'grey'", "Use data that vary"]),
        ({"x": np.full((20, 3), 7)}, ["x is 1 everywhere", "7..7 of 8 levels"]),
        ({"x": OK.astype(complex)}, ["complex128"]),
        ({"x": OK.astype(str)}, ["<U32"]),
        ({"x": OK, "labels": np.arange(19)}, ["labels has shape (19,)", "(20,)"]),
        ({"x": OK, "labels": np.eye(20, dtype=int)}, ["labels has shape (20, 20)"]),
        ({"x": OK, "labels": np.int64(3)}, ["labels has shape ()"]),
        ({"x": OK, "labels": np.full(20, 0.5)}, ["labels", "integers"]),
        ({"x": OK, "labels": np.arange(20) - 2}, ["labels", "integers from 0"]),
        ({"x": OK, "labels": np.full(20, np.nan)}, ["labels has no known label"]),
        ({"x": OK, "labels": np.full(20, -1)}, ["labels has no known label"]),
        ({"x": OK, "labels": np.where(np.arange(20) % 2, 1, -1)}, ["only 1 and -1", "0 and 1"]),
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
        ({"x": OK, "x_train": OK, "x_test": OK}, ["x, x_train, x_test"]),
        ({"x_train": OK, "x_val": OK, "x_validation": OK, "x_test": OK}, ["x_validation, x_val"]),
        ({"x_train": OK, "x_test": OK, "labels_train": np.arange(20), "labels_test": OK.astype(str)[:, 0]}, ["alike"]),
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


def test_rows_of_integers_need_a_transform(save):
    path = save(x=np.arange(40).reshape(10, 4))
    fault("rows of integers", f"{path}:grey", f"{path}:real", name=path)
    assert data.load(f"{path}:real", "all").x.max() == 39
    assert data.load(f"{path}:grey", "all").x.max() == 1  # 40 levels
