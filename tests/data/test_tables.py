"""CSV, TSV and Parquet: the chosen columns are read as those of an .npz file; a fault is one line with its remedy."""

import sys
import types

import numpy as np
import pytest

import data

ROWS = [f"{i / 7:.3f},{i % 5},{'uvw'[i % 3]},{i}" for i in range(40)]
TEXT = "\n".join(["width,length: cm,kind,age", *ROWS]) + "\n"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(TEXT)
    (tmp_path / "t.tsv").write_text(TEXT.replace(",", "\t"))


@pytest.mark.parametrize("file", ["t.csv", "t.tsv"])
def test_columns_labels_and_covariates(file):
    name = data.table_name(file, ["width", "length: cm"], "kind", ["age"])
    assert data.is_file(name)
    splits = data.load_splits(name, ("train", "validation", "test", "all"))
    train, rest = splits["all"], splits["test"]
    assert (train.x.shape, train.classes, train.label_values) == ((36, 2), 3, ("u", "v", "w"))
    assert train.covariates.shape == (36, 1)
    age = np.concatenate([train.covariates[:, 0].numpy(), rest.covariates[:, 0].numpy()])
    assert sorted(age) == list(range(40))
    np.testing.assert_allclose(train.x[:, 1].numpy(), train.covariates[:, 0].numpy() % 5)
    assert str(train.support) == "Real()"
    assert data.absolute_name(name).endswith(name)
    assert data.load(data.absolute_name(name)).hash == data.load(name).hash


def test_all_columns_that_are_left_are_x():
    assert data.load(data.table_name("t.csv", label="kind")).x.shape[1] == 3
    assert data.table_name("t.csv") == "t.csv"
    assert data.table_name("t.csv:grey", columns=["age"]) == "t.csv?columns=age:grey"


def test_categories_are_encoded():
    length = ["length: cm"]
    name = data.table_name("t.csv", ["width", "kind"], covariates=length, one_hot=["kind"], codes=length)
    assert name == "t.csv?columns=width,kind&covariates=length%3A%20cm&one_hot=kind&codes=length%3A%20cm"
    splits = data.load_splits(name, ("train", "validation", "test"))
    x = np.concatenate([split.x.numpy() for split in splits.values()])
    order = np.argsort(x[:, 0])  # width grows with the number of the row
    assert x.shape == (40, 4)
    assert (x[order, 1:] == np.eye(3)[np.arange(40) % 3]).all()
    codes = np.concatenate([split.covariates.numpy() for split in splits.values()])
    assert (codes[order, 0] == np.arange(40) % 5).all()
    assert splits["train"].notes == (
        "kind: u, v, w as columns of zeros and ones",
        "length: cm: 0, 1, 2, 3, 4 as numbers from 0",
    )


def test_categories_that_are_numbers_are_in_their_order(tmp_path):
    (tmp_path / "n.csv").write_text("a,b\n" + "".join(f"{i % 12},{-i % 3 - 1}\n" for i in range(36)))
    assert data.load(data.table_name("n.csv", codes=["a", "b"])).notes == (
        "a: 0, 1, 2, 3, 4, 5, ... as numbers from 0",
        "b: -1, 0, 1 as numbers from 0",
    )


def test_pixels_in_a_table(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 4))
    lines = ["a,b,c,d", *(",".join(map(str, row)) for row in pixels)]
    (tmp_path / "p.csv").write_text("\n".join(lines))
    x = data.load("p.csv:grey", "all").x.numpy() * 255
    assert x.max() > 1
    np.testing.assert_allclose(x, x.round(), atol=1e-4)


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        (None, "t.csv", ["'kind'", "row 2", "expected a number", "label"]),
        (None, "t.csv?columns=wide", ["no column 'wide'", "width, length: cm, kind, age"]),
        (None, "t.csv?wide=1", ["unknown part 'wide'"]),
        (None, "t.csv?columns=age&one_hot=kind", ["'kind' is encoded by `one_hot` or `codes`", "covariate: age"]),
        (None, "t.csv?label=kind&codes=kind", ["'kind' is encoded by `one_hot` or `codes`"]),
        (None, "t.csv?one_hot=kind&codes=kind", ["'kind' is named twice"]),
        ("a,b\n1,u\n3,\n", "t.csv?one_hot=b", ["column 'b' has no value in row 3"]),
        ("a,b\n" + "".join(f"1,{i}\n" for i in range(1001)), "t.csv?codes=b", ["1001 categories, expected at most"]),
        (None, "no.csv", ["no.csv does not exist"]),
        ("a,b\n1,2\n3\n", "t.csv", ["row 3 has 1 values, expected 2"]),
        ("a,b\n1,\n3,4\n", "t.csv?columns=a&covariates=b", ["column 'b' has no value in row 2", "Remove the row"]),
        ("a,b\n1,\n3,4\n5,6\n", "t.csv:grey", ["NaN", "FILE:real alone"]),
        ("a,b\n,\n,nan\nNA,\n", "t.csv", ["x has no value", "Give some values"]),
        ("a,b\n1,1\n1,\n,1\n", "t.csv", ["x is 1 everywhere", "a: no value in row 4"]),
        ("a,b\n1,inf\n,2\n", "t.csv", ["values that are infinite or too large"]),
        ("1,2\n3,4\n", "t.csv", ["begins with numbers", "Add a line of names"]),
        ("a,a\n3,4\n", "t.csv", ["the column 'a' twice"]),
        ("a;b\n3;4\n", "t.csv", ["separated by semicolons, expected commas"]),
        ("a\tb\n3\t4\n", "t.csv", ["separated by tabs, expected commas"]),
        ("a|b\n3|4\n", "t.csv", ["separated by bars, expected commas"]),
        (",a,b\n0,3,4\n", "t.csv", ["column 1 of 3 has no name", "index=False"]),
        ("a,,b\n0,3,4\n", "t.csv", ["column 2 of 3 has no name"]),
        ("", "t.csv", ["no line"]),
        ("a,b\n", "t.csv", ["no row"]),
        ("a\n\x00\n", "t.csv", ["t.csv"]),
        ("a\n1e999\n2\n", "t.csv", ["infinite"]),
        ("a\n1_000\n2\n", "t.csv", ["'1_000' in row 2", "expected a number"]),
        ("a\n2\n9007199254740993\n", "t.csv", ["integer 9007199254740993 in row 3", "Subtract a constant"]),
        ("a,b\n-36028797018963969,.5\n2,1\n", "t.csv", ["integer -36028797018963969 in row 2"]),
        ("a,b\n1,2\n3,4\n", "t.csv?label=a&label=b", ["twice", "once"]),
        ("a,b\n1,2\n3,4\n", "t.csv?columns=a&columns=b", ["twice", "once"]),
    ],
)
def test_faults_are_one_line(tmp_path, text, name, words):
    if text is not None:
        (tmp_path / "t.csv").write_text(text)
    with pytest.raises(data.DataError) as refused:
        data.load(name)
    assert all(word in str(refused.value) for word in words), refused.value
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("empty", ["", "NaN", "na", " null "])
def test_an_empty_cell_of_x_is_nan(tmp_path, empty):
    rows = [f"{i}.5,{empty if i in (3, 7) else i},{i % 2 if i else ''}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,kind", *rows]))
    splits = data.load_splits("t.csv?label=kind")
    x = np.concatenate([split.x.numpy() for split in splits.values()])
    x = x[np.argsort(x[:, 0])]
    assert np.flatnonzero(np.isnan(x[:, 1])).tolist() == [3, 7]
    assert (np.delete(x[:, 1], (3, 7)) == np.delete(np.arange(40), (3, 7))).all()
    assert sum(int((split.labels < 0).sum()) for split in splits.values()) == 1  # as before
    assert splits["train"].notes == (
        "b: no value in 2 rows, the first of them row 5",
        "kind: no label in 1 row",
    )
    assert "  2 of 80 entries of x are missing (NaN), 2.5 %" in data.summary(splits)
    assert "  x in [0, 39.5]" in data.summary(splits)


def test_an_empty_line_of_one_column_is_a_missing_value_and_of_several_none(tmp_path):
    values = [None if i % 4 == 1 else i + 0.5 for i in range(40)]
    for text, n in (("x\n" + "".join(f"{'' if v is None else v}\n" for v in values) + "\n\n", 40), (None, 30)):
        text = text or "x,y\n" + "".join("\n" if v is None else f"{v},1.5\n" for v in values)
        (tmp_path / "t.csv").write_text(text)
        x = np.concatenate([split.x[:, 0].numpy() for split in data.load_splits("t.csv").values()])
        assert len(x) == n
        assert sorted(x[~np.isnan(x)]) == [v for v in values if v is not None]
        assert np.isnan(x).sum() == n - 30


@pytest.mark.parametrize("word", ["0,5", "-12,25", "1 000", "1,000.5"])
def test_a_number_in_another_notation_is_no_category(tmp_path, word):
    (tmp_path / "t.csv").write_text("a\tb\n" + "".join(f"{word}\t{i}\n" for i in range(20)))
    (tmp_path / "t.csv").rename(tmp_path / "t.tsv")
    with pytest.raises(data.DataError, match=r"expected a number\. Write it with a decimal point\.$"):
        data.load("t.tsv")


@pytest.mark.parametrize("empty", ["", "NaN", "NA", "null", "nan"])
@pytest.mark.parametrize("words", [("0", "1", "10"), ("0.0", "1.0", "10.0"), ("2", "3e0", "11."), ("u", "v", "w")])
def test_labels_of_a_table_are_known_where_a_number_of_x_would_be(tmp_path, empty, words):
    """Whole numbers are integers however they are written, so 10.0 comes after 2; a missing one is unknown."""
    column = [empty if i % 10 == 7 else words[i % 3] for i in range(60)]
    (tmp_path / "t.csv").write_text("a,kind\n" + "".join(f"{i}.5,{word}\n" for i, word in enumerate(column)))
    rows = data.load_splits("t.csv?label=kind")
    x, labels = (np.concatenate([getattr(split, name) for split in rows.values()]) for name in ("x", "labels"))
    expected = [-1 if i % 10 == 7 else i % 3 for i in range(60)]
    assert labels[np.argsort(x[:, 0])].tolist() == expected
    values = words if words[0] == "u" else tuple(int(float(word)) for word in words)
    assert rows["train"].label_values == values
    assert "kind: no label in 6 rows" in rows["train"].notes


@pytest.mark.parametrize("word", ["--1", "9" * 5000, "1-", str(2**63)])
def test_labels_that_are_almost_integers_are_names(tmp_path, word):
    rows = "".join(f"{i},{word if i % 2 else 7}\n" for i in range(20))
    (tmp_path / "t.csv").write_text("a,kind\n" + rows)
    assert sorted(data.load("t.csv?label=kind").label_values) == sorted([word, "7"])


def test_columns_of_another_file_are_refused():
    with pytest.raises(data.DataError, match="Leave them out"):
        data.table_name("digits:grey", label="kind")


def test_parquet_is_read_by_pyarrow(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(data.DataError, match="needs pyarrow"):
        data.load("t.parquet")
    columns = {"a": [None, *map(float, range(19))], "kind": ["u", None] * 10}
    table = types.SimpleNamespace(to_pydict=lambda: columns)
    monkeypatch.setitem(sys.modules, "pyarrow", types.ModuleType("pyarrow"))
    sys.modules["pyarrow"].parquet = types.SimpleNamespace(read_table=lambda path: table)
    train = data.load("t.parquet?label=kind", "all")
    assert train.x.shape == (18, 1)
    assert (train.labels < 0).any()
    assert train.classes == 1
    assert train.missing + data.load("t.parquet?label=kind", "test").missing == 1
