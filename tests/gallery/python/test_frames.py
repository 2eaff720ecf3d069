"""DataFrames, and the rows of other ones that a fit is given afterwards: read by name, with the fitted categories."""

import numpy as np
import pytest
import torch

import data
import gallery
from gallery.errors import RunError
from gallery.python.request import request

X = np.random.default_rng(0).normal(size=(60, 3))
PIXELS = np.arange(180).reshape(60, 3) % 7 % 2
CLASSES = np.arange(60) % 2


@pytest.mark.parametrize("file", [False, True])
def test_other_rows_of_a_table_are_read_by_its_names(file, tmp_path):
    """In another order, beside further columns, with and without the column of labels, with classes of their own."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X[:, :3], columns=list("abc")).assign(kind=["u", "v"] * 30, other="text")
    frame.to_csv(tmp_path / "own.csv", index=False)
    table = str(tmp_path / "own.csv") if file else frame
    fit = gallery.fit("factor_analysis", table, columns=["a", "b", "c"], label="kind", epochs=1, progress=False)
    expected = fit.encode(X[:4, :3])["z"]
    shuffled = frame[["other", "c", "kind", "a", "b"]][:4]
    for rows in (shuffled, shuffled.drop(columns="kind"), frame[["a", "b", "c"]][:4]):
        assert torch.equal(fit.encode(rows)["z"], expected)
    assert torch.equal(fit.encode(shuffled, ["v"] * 4)["z"], expected)
    for given in (None, ["v"] * 4):
        with pytest.raises(RunError, match="there is no column 'b'"):
            fit.encode(shuffled.drop(columns="b"), given)
    assert torch.equal(fit.encode(shuffled.assign(kind="w"))["z"], expected)  # of a class that the model ignores


@pytest.mark.parametrize("file", [False, True])
@pytest.mark.parametrize("part", ["one_hot", "codes"])
def test_categories_of_other_rows_are_those_of_the_fit(file, part, tmp_path):
    """Of rows with the last category alone, which would be the first of their own; also of a stored fit."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X[:, :2], columns=list("ab")).assign(kind=["u", "v", "w"] * 20, age=[2, 10, 9] * 20)
    frame.to_csv(tmp_path / "own.csv", index=False)
    table = str(tmp_path / "own.csv") if file else frame
    fit = gallery.fit("factor_analysis", table, epochs=1, progress=False, **{part: ["kind", "age"]})
    kind, age = np.array(["u", "v", "w"] * 20) == "w", np.array([2, 10, 9] * 20)  # w stands beside 9
    columns = [np.eye(3)[2], np.eye(3)[1]] if part == "one_hot" else [[2.0], [1.0]]
    assert (age[kind] == 9).all()
    expected = fit.encode(np.column_stack([X[kind, :2], np.tile(np.concatenate(columns), (kind.sum(), 1))]))["z"]
    other = frame[kind][["age", "kind", "b", "a"]]
    for one in (fit, gallery.load(fit.save(tmp_path / "run"))):
        assert torch.equal(one.encode(other)["z"], expected)
        with pytest.raises(data.DataError, match="column 'kind' has 'new', and the fitted categories are u, v, w"):
            one.encode(other.assign(kind="new"))


def test_a_stored_fit_reads_other_rows_of_a_frame_by_its_names(tmp_path):
    pandas = pytest.importorskip("pandas")
    for names in (list("abc"), [2, 0, 1]):
        frame = pandas.DataFrame(X, columns=names)
        fit = gallery.fit("factor_analysis", frame, epochs=1, progress=False)
        loaded = gallery.load(fit.save(tmp_path / str(names[0])))
        assert torch.equal(loaded.encode(frame[names[::-1]])["z"], fit.encode(X)["z"])
        with pytest.raises(RunError, match="there is no column"):
            loaded.encode(frame[names[1:]])


@pytest.mark.parametrize("form", ["frame", "pair", "dictionary", "splits", "pairs", "dictionaries"])
def test_frames_are_read_by_name_wherever_they_stand(form, tmp_path):
    """In a pair with labels, and in dictionaries of arrays and of splits: other rows have their columns turned."""
    pandas = pytest.importorskip("pandas")
    frame, turned = pandas.DataFrame(X, columns=list("abc")), list("cab")
    forms = {
        "frame": lambda rows: rows,
        "pair": lambda rows: (rows, np.arange(len(rows)) % 2),
        "dictionary": lambda rows: {"x": rows, "labels": np.arange(len(rows)) % 2},
    }
    of_splits = {"splits": "frame", "pairs": "pair", "dictionaries": "dictionary"}
    given = forms[of_splits.get(form, form)]
    fitted = given(frame)
    if form in of_splits:
        fitted = {"train": given(frame[:50]), "test": given(frame[turned][50:])}
    fit = gallery.fit("factor_analysis", fitted, epochs=1, progress=False)
    if form in of_splits:
        assert torch.equal(fit.splits["test"].x, torch.as_tensor(X[50:]).float())
    expected = fit.encode(X)["z"]
    for one in (fit, gallery.load(fit.save(tmp_path / "run"))):
        for other in forms.values():
            assert torch.equal(one.encode(other(frame[turned]))["z"], expected)
        with pytest.raises(RunError, match="there is no column 'b'"):
            one.encode(given(frame[["a", "c"]]))


def test_categories_and_covariates_have_any_names_and_numbers_any_notation(tmp_path):
    """Columns that are numbered, and a category that other rows have as a float, since a value is missing elsewhere."""
    pandas = pytest.importorskip("pandas")
    kinds = np.array([2, 10, 3])[np.arange(60) % 3]
    frame = pandas.DataFrame({0: X[:, 0], 1: X[:, 1], 2: kinds})
    codes = np.array([0, 2, 1])[np.arange(60) % 3]
    for part in ("codes", "one_hot"):
        fit = gallery.fit("factor_analysis", frame, epochs=1, progress=False, **{part: [2]})
        columns = np.eye(3)[codes] if part == "one_hot" else codes[:, None]
        expected = fit.encode(np.column_stack([X[:, :2], columns]))["z"]
        for one in (fit, gallery.load(fit.save(tmp_path / part))):
            for other in (frame, frame[[2, 1, 0]], frame.astype({2: float}), frame.astype({2: object})):
                assert torch.equal(one.encode(other)["z"], expected)
            with pytest.raises(data.DataError, match=r"column 2 has '2\.5', and the fitted categories are 2, 3, 10"):
                one.encode(frame.replace({2: {3: 2.5}}))


def test_a_name_that_is_no_string_or_integer_is_refused():
    pandas = pytest.importorskip("pandas")
    days = pandas.date_range("2026-01-01", periods=3)
    for names in (days, pandas.MultiIndex.from_product([["a"], [1, 2, 3]])):
        with pytest.raises(RunError, match=r"a column is named .*; expected strings or integers\. Name them by frame"):
            request("factor_analysis", pandas.DataFrame(X, columns=names), {})


def test_covariates_beside_a_frame_are_arrays_or_other_frames():
    pandas = pytest.importorskip("pandas")
    x, dose = pandas.DataFrame(X[:, :1], columns=["effect"]), pandas.DataFrame(X[:, 1:], columns=["dose", "age"])
    fit = gallery.fit("linear_regression", x, covariates=X[:, 1:], epochs=1, progress=False)
    for covariates in (dose, X[:, 1:].tolist(), torch.as_tensor(X[:, 1:])):
        other = gallery.fit("linear_regression", x, covariates=covariates, epochs=1, progress=False)
        assert torch.equal(other.losses, fit.losses)
    for one in (
        gallery.fit("linear_regression", x, covariates=dose, epochs=1, progress=False),
        gallery.fit("linear_regression", (x, dose), epochs=1, progress=False),
        gallery.fit("linear_regression", {"x": x, "covariates": dose}, epochs=1, progress=False),
    ):
        assert torch.equal(one.losses, fit.losses)
        turned = dose[["age", "dose"]]
        for rows in ((x, turned), {"x": x, "covariates": turned}, x.join(turned)):
            assert one.evaluate(rows, particles=2) == fit.evaluate(X[:, :1], X[:, 1:], particles=2)
        assert one.evaluate(x, turned, particles=2) == fit.evaluate(X[:, :1], X[:, 1:], particles=2)
        with pytest.raises(ValueError, match="conditions on labels or covariates"):
            one.evaluate(x)


@pytest.mark.parametrize("framed", [False, True])
def test_covariates_of_splits_are_read_by_the_names_of_the_training_rows(framed, tmp_path):
    """In every form of splits, beside arrays and frames of x; and of other rows afterwards, also of a stored fit."""
    pandas = pytest.importorskip("pandas")
    x, dose = pandas.DataFrame(X[:, :1], columns=["effect"]), pandas.DataFrame(X[:, 1:], columns=["dose", "age"])
    x, turned = x if framed else X[:, :1], dose[["age", "dose"]]
    pair = {"train": (x[:50], dose[:50]), "test": (x[50:], turned[50:])}
    dictionary = {of: {"x": x, "covariates": covariates} for of, (x, covariates) in pair.items()}
    named = {f"{part}_{of}": rows for of, parts in dictionary.items() for part, rows in parts.items()}
    for splits in (pair, dictionary, named, {"train": pair["train"], "test": dictionary["test"]}):
        found = request("linear_regression", splits, {}).splits
        assert torch.equal(found["test"].covariates, torch.as_tensor(X[50:, 1:]).float())
    fit = gallery.fit("linear_regression", (x, dose), epochs=1, progress=False)
    for one in (fit, gallery.load(fit.save(tmp_path / "run"))):
        expected = one.evaluate(X[:, :1], X[:, 1:], particles=2)
        assert one.evaluate(x, turned, particles=2) == one.evaluate((x, turned), particles=2) == expected
        assert torch.equal(one.sample(60, given=turned)["x"], one.sample(60, given=X[:, 1:])["x"])


def test_covariates_that_are_values_are_no_names():
    """A Series or a list of 0 and 1 beside columns that are numbered; and an array that stands in memory in reverse."""
    pandas = pytest.importorskip("pandas")
    frame, group = pandas.DataFrame(X), pandas.Series(CLASSES)
    for covariates in (group, CLASSES.tolist(), CLASSES):
        found = request("linear_regression", frame, {}, covariates=covariates).splits["train"]
        assert (found.covariates.shape, found.x.shape) == ((48, 1), (48, 3))
    for names in ([1, 2], [np.int64(1), np.int64(2)], pandas.Index([1, 2])):
        found = request("linear_regression", frame, {}, covariates=names).splits["train"]
        assert (found.covariates.shape, found.x.shape) == ((48, 2), (48, 1))
    fit = gallery.fit("linear_regression", X[:, :1], covariates=X[:, 1:], epochs=1, progress=False)
    reverse = X[:, :0:-1]
    assert fit.evaluate(X[:, :1], reverse, particles=2) == fit.evaluate(X[:, :1], reverse.copy(), particles=2)
    with pytest.raises(RunError, match="name columns of a table, and data is no DataFrame"):
        request("factor_analysis", X, {}, one_hot=pandas.Index(["k"]))
    with pytest.raises(RunError, match="labels names columns, and data is no DataFrame"):
        request("cvae", {"x": frame}, {}, label=2)
    numbered = frame.assign(y=CLASSES).set_axis([0, 1, 2, 3], axis=1)
    assert request("cvae", numbered, {}, label=np.int64(3)).splits["train"].x.shape[1] == 3


def test_names_are_those_of_the_fit_when_its_file_has_gone(tmp_path):
    """Also of arrays, which have none."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abc"))
    frame.to_csv(tmp_path / "own.csv", index=False)
    fit = gallery.fit("factor_analysis", str(tmp_path / "own.csv"), epochs=1, progress=False)
    loaded = gallery.load(fit.save(tmp_path / "run"))
    (tmp_path / "own.csv").unlink()
    for one in (fit, loaded):
        assert torch.equal(one.encode(frame[list("cba")])["z"], one.encode(X)["z"])


def test_covariates_of_a_table_are_read_by_their_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"effect": X[:, 0], "dose": X[:, 1], "age": X[:, 2]})
    fit = gallery.fit("linear_regression", frame, covariates=["dose", "age"], epochs=1, progress=False)
    arrays = fit.evaluate(X[:, :1], X[:, 1:3], particles=2)
    given = frame[["age", "dose"]]
    assert fit.evaluate(frame[["age", "effect", "dose"]], particles=2) == arrays
    assert fit.evaluate(frame[["effect"]], given, particles=2) == arrays
    assert torch.equal(fit.sample(60, given=given)["x"], fit.sample(60, given=X[:, 1:3])["x"])


def test_a_column_of_objects_has_the_labels_that_stand_in_it():
    pandas = pytest.importorskip("pandas")
    kinds = np.array([1, 2, 10])[np.arange(60) % 3]
    frame = pandas.DataFrame(PIXELS * 1.0, columns=list("abc")).assign(kind=kinds.astype(object))
    fit = gallery.fit("cvae", frame, label="kind", epochs=1, progress=False, hidden=[3])
    assert fit.splits["train"].label_values == (1, 2, 10)
    assert torch.equal(fit.encode(frame)["z"], fit.encode(frame.drop(columns="kind"), kinds)["z"])
    holes = request("cvae", frame.assign(kind=[None, *kinds[1:]]), {}, label="kind").splits
    assert sum(int((rows.labels == -1).sum()) for rows in holes.values()) == 1


def test_a_column_may_be_named_by_a_number():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(np.column_stack([PIXELS, CLASSES * 1.0]))
    fit = gallery.fit("cvae", frame, label=3, transform="threshold", epochs=1, progress=False, hidden=[3])
    assert torch.equal(fit.encode(frame)["z"], fit.encode(PIXELS, CLASSES)["z"])
