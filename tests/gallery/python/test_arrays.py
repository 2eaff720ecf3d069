"""Data in memory: every usual form gives the same arrays; a wrong one is refused in one line that names the remedy."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import data
from gallery.errors import RunError
from gallery.python.arrays import arrays_of, transform_for

X = np.random.default_rng(0).random((30, 4, 3)).astype(np.float32)
Y = np.arange(30) % 3


def same(found, **arrays):
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_arrays_tensors_pairs_and_loaders_are_alike():
    x, y = torch.tensor(X), torch.tensor(Y)
    same(arrays_of(X)[0], x=X)
    same(arrays_of(x.requires_grad_())[0], x=X)
    same(arrays_of((X, y))[0], x=X, labels=Y)
    same(arrays_of(X, label=y)[0], x=X, labels=Y)
    same(arrays_of((X, Y.astype(float)))[0], x=X, covariates=Y)
    before = torch.random.get_rng_state()
    same(arrays_of(DataLoader(TensorDataset(x, y), batch_size=7))[0], x=X, labels=Y)
    assert torch.equal(before, torch.random.get_rng_state())
    same(arrays_of([x[:20], x[20:]])[0], x=X)
    same(arrays_of({"train": (X, Y), "test": X[:5]})[0], x_train=X, labels_train=Y, x_test=X[:5])
    same(arrays_of({"x": X, "labels": Y})[0], x=X, labels=Y)


@pytest.mark.parametrize("name", ["digits:grey", "digits:threshold", "digits:dynamic", "digits:dequantized", "line"])
def test_a_dataset_keeps_rows_support_and_transform(name):
    splits = {split: data.load(name, split) for split in ("train", "test")}
    arrays, transform = arrays_of(splits)
    again = data.from_arrays(arrays, transform)
    torch.testing.assert_close(again["test"].x, splits["test"].x, rtol=0, atol=0)
    assert again["test"].shape == splits["test"].shape
    assert str(again["train"].support) == str(splits["train"].support)
    assert (again["train"].transform is None) == (splits["train"].transform is None)
    assert torch.equal(again["test"].given, splits["test"].given)


def test_columns_of_a_frame():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X[:, 0], columns=list("abc")).assign(kind=["u", None, "w"] * 10)
    found = arrays_of(frame, label="kind", covariates=["b"])[0]
    same(found, x=X[:, 0][:, [0, 2]], covariates=X[:, 0][:, [1]], labels=np.array(["u", "", "w"] * 10))
    same(arrays_of(frame, columns=["b"])[0], x=X[:, 0][:, [1]])
    known = frame.assign(kind=["u", "v", "w"] * 10)
    found = arrays_of(known, columns=["kind", "a"], one_hot="kind", covariates=["b"])[0]
    same(found, x=np.column_stack([np.eye(3)[Y], X[:, 0, 0]]), covariates=X[:, 0][:, [1]])
    same(arrays_of(known, columns=["c", "kind"], codes=["kind"])[0], x=np.column_stack([X[:, 0, 2], Y]))
    for arguments, words in (
        ({}, "'kind' has elements"),
        ({"one_hot": ["kind"]}, "'kind' has no value in some rows"),
        ({"one_hot": ["kind"], "label": "kind"}, "'kind' of one_hot or codes is not read"),
        ({"one_hot": ["kind"], "codes": "kind"}, "named twice"),
        ({"codes": ["z"]}, "'z' of one_hot or codes is not read"),
        ({"columns": ["z"]}, "no column 'z'"),
        ({"label": "kind", "columns": []}, "no column is left"),
    ):
        with pytest.raises(ValueError, match=words):
            arrays_of(frame, **arguments)


@pytest.mark.parametrize("part", ["one_hot", "codes"])
def test_categories_of_splits_are_those_of_the_training_rows(part):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2.0, 3.0], "kind": ["u", "w", "v"]})
    for splits in ({"train": frame, "test": frame[2:]}, {"test": frame[2:], "train": frame}):
        arrays, _ = arrays_of(splits, **{part: ["kind"]})
        assert np.array_equal(arrays["x_test"], arrays["x_train"][2:])
    with pytest.raises(ValueError, match="column 'kind' has 'w', and the fitted categories are u"):
        arrays_of({"train": frame[:1], "test": frame}, **{part: ["kind"]})


def test_labels_and_covariates_beside_a_frame_may_be_arrays():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X[:, 0], columns=list("abc"))
    for label in (Y, list(Y), torch.as_tensor(Y)):
        same(arrays_of(frame, label=label, covariates=X[:, 0])[0], x=X[:, 0], labels=Y, covariates=X[:, 0])
    same(arrays_of(frame, label=[str(y) for y in Y])[0], x=X[:, 0], labels=Y.astype(str))


def test_splits_in_frames_have_the_columns_of_the_first():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "kind": ["u", "v"]})
    other = frame[["kind", "b", "a"]].assign(more=0.0)
    arrays, _ = arrays_of({"train": frame, "test": other}, label="kind")
    assert np.array_equal(arrays["x_train"], arrays["x_test"])
    arrays, _ = arrays_of({"train": frame[["a", "b"]], "test": np.ones((2, 2))})
    assert arrays["x_test"].shape == arrays["x_train"].shape
    with pytest.raises(ValueError, match="there is no column 'b'"):
        arrays_of({"train": frame, "test": other.drop(columns="b")}, label="kind")


NESTED = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)], layout=torch.jagged)
NO_BATCHES = [
    list(torch.randn(6, 3)),
    [torch.randn(3).numpy() for _ in range(6)],
    [(torch.randn(3), torch.tensor(1)) for _ in range(6)],
    [torch.randn(6, 3), torch.zeros(6)],
    [torch.randn(6, 3), torch.zeros(6, 2)],
    [(torch.randn(4, 3), torch.zeros(4, dtype=int)), torch.randn(4, 3)],
    [torch.randn(4, 3), (torch.randn(4, 3), torch.zeros(4, dtype=int))],
    [torch.tensor(1.0)] * 6,
]


@pytest.mark.parametrize("parts", NO_BATCHES)
def test_what_yields_no_batches_of_one_kind_is_refused(parts):
    for given in (parts, iter(parts)):
        with pytest.raises(RunError, match=r"data yields x \(.*; expected batches of one kind") as refused:
            arrays_of(given)
        assert "Join rows by numpy.stack" in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("x", [torch.eye(3).to_sparse(), torch.zeros(3, 2, device="meta"), NESTED])
def test_a_tensor_without_dense_values_is_refused(x):
    with pytest.raises(RunError, match="x is no dense tensor with values"):
        arrays_of(x)


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_integers_of_a_frame_that_float64_rounds_are_refused(dtype):
    pandas = pytest.importorskip("pandas")
    for low, exact in ((2**53 - 6, True), (2**53 + 1, False), (2**60, False)):
        frame = pandas.DataFrame({"a": (low + np.arange(5)).astype(dtype), "b": np.arange(5)})
        if exact:
            assert arrays_of(frame)[0]["x"][:, 0].tolist() == [low + i for i in range(5)]
        else:
            with pytest.raises(RunError, match="column 'a' has integers beyond 9007199254740992"):
                arrays_of(frame)


def test_a_series_is_an_array_and_what_is_none_is_told_so():
    pandas = pytest.importorskip("pandas")
    arrays, _ = arrays_of(pandas.Series([0.5, 1.5, 2.5]))
    assert arrays["x"].tolist() == [0.5, 1.5, 2.5]
    for other in ([1, 2, 3], [[1.0, 2.0], [3.0, 4.0]]):
        with pytest.raises(ValueError, match=r"is no array, and what it yields is of type (int|list)"):
            arrays_of(other)


def test_labels_of_strings_in_any_form_are_names():
    pandas = pytest.importorskip("pandas")
    words = ["u", None, "w"] * 10
    expected = np.array(["u", "", "w"] * 10)
    for label in (pandas.Series(words), pandas.Series(words).astype("category"), np.array(words, dtype=object)):
        same(arrays_of(X, label=label)[0], x=X, labels=expected)
    with pytest.raises(RunError, match="labels has elements of type object"):
        arrays_of(X, label=np.array([{}] * 30))


def test_a_column_of_a_frame_has_its_name_alone():
    pandas = pytest.importorskip("pandas")
    for options in ({}, {"label": "a"}, {"columns": ["b"]}):
        with pytest.raises(RunError, match="data has the column 'a' twice"):
            arrays_of(pandas.DataFrame(X[:, 0][:, [0, 1, 2]], columns=["a", "a", "b"]), **options)


@pytest.mark.parametrize("missing", [None, float("nan"), "NA"])
def test_labels_of_a_frame_may_be_unknown(missing):
    pandas = pytest.importorskip("pandas")
    missing = pandas.NA if missing == "NA" else missing
    frame = pandas.DataFrame({"a": [1.0, 2.0], "kind": ["u", missing]})
    assert arrays_of(frame, label="kind")[0]["labels"].tolist() == ["u", ""]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "of type object"),
        ([], "yields no batch"),
        (["a"], "of type str"),
        ({"y": X}, "unknown array 'y'"),
        ({"x": np.array([object()])}, "elements of type object"),
        ({"x": [[1.0], [1.0, 2.0]]}, "x is no array"),
        ((X, Y[:3]), "labels has shape"),
    ],
)
def test_other_forms_are_refused_in_one_line(value, words):
    with pytest.raises(ValueError, match=words) as refused:
        data.from_arrays(arrays_of(value)[0], "grey")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("x", "transform"),
    [(X, "grey"), (X[:, 0], "real"), (X[:, 0] > 0.5, "threshold"), ((X[:, 0] > 0.5) * 1.0, "threshold")],
)
def test_how_an_array_is_read(x, transform):
    assert transform_for(x) == transform


def test_rows_of_integers_may_be_pixels_or_not():
    with pytest.raises(ValueError, match='transform="grey"'):
        transform_for(np.arange(12).reshape(4, 3))


SEQUENCES = [np.arange(6.0).reshape(3, 2), np.arange(2.0).reshape(1, 2), np.arange(10.0).reshape(5, 2)]


def test_sequences_of_unequal_length_are_rows_with_nan_after_their_end():
    rows = data.padded(SEQUENCES)
    same(arrays_of(rows)[0], x=rows)
    same(arrays_of({"x": [torch.tensor(one, requires_grad=True) for one in SEQUENCES]})[0], x=rows)
    same(arrays_of({"x": SEQUENCES[:2], "labels": Y[:2]})[0], x=rows[:2, :3], labels=Y[:2])
    same(arrays_of((SEQUENCES, Y[:3]))[0], x=rows, labels=Y[:3])
    assert transform_for(rows) == "real"
    with pytest.raises(ValueError, match="sequence 1 of x has shape"):
        arrays_of({"x": [SEQUENCES[0], np.ones((7, 3))]})
    for several in (SEQUENCES, SEQUENCES[1:]):  # batches differ in length at the end, where one is shorter
        with pytest.raises(ValueError, match=r"may be sequences or batches\. Give data\.padded"):
            arrays_of(several)
    assert len(arrays_of(SEQUENCES[:2])[0]["x"]) == 4


@pytest.mark.parametrize("masked", [(0, 0), (5, 1)])
def test_masked_entries_are_no_values(masked):
    x = np.ma.array(np.arange(12.0).reshape(6, 2))
    assert arrays_of(x)[0]["x"].shape == (6, 2)
    x[masked] = np.ma.masked
    with pytest.raises(ValueError, match="x has masked entries"):
        arrays_of(x)
