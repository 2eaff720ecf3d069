"""Data that are given to a fit afterwards, in the labels of the fitted data; and data in memory beside a folder."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import data
import gallery
from data.memory import rows_like
from gallery.comparison import Comparison, compare
from gallery.errors import RunError
from gallery.python.arrays import array_of
from gallery.python.request import request
from gallery.runs.specification import Run

X = np.random.default_rng(0).normal(size=(60, 3))
IMAGES = np.random.default_rng(0).random((100, 4, 3))


@pytest.mark.parametrize("values", [(1, 2, 7), ("u", "v", "w")])
def test_labels_of_new_data_are_those_of_the_fit(values):
    """Of the first two classes alone, in the labels that were fitted: the numbers are those of the classes 0 and 1."""
    classes = np.arange(100) % 3
    y = np.array(values)[classes]
    fits = [gallery.fit("cvae", (IMAGES, of), epochs=1, progress=False, hidden=[4]) for of in (classes, y)]
    few = classes < 2
    (plain, other), labels = fits, (classes[few], y[few])
    assert plain.evaluate(IMAGES[few], labels[0])["elbo"] == other.evaluate(IMAGES[few], labels[1])["elbo"]
    assert torch.equal(plain.encode(IMAGES[few], labels[0])["z"], other.encode(IMAGES[few], labels[1])["z"])
    first = [one.sample(4, given=of[[1, 2, 0, 1]])["mean"] for one, of in zip(fits, (classes, y), strict=True)]
    assert torch.equal(*first)
    unknown = "x" if isinstance(values[0], str) else 77
    for call in (lambda: other.evaluate(IMAGES[:2], [unknown] * 2), lambda: other.sample(2, given=[unknown] * 2)):
        with pytest.raises(ValueError, match=f"has .*{unknown}.*, and the model was fitted to labels ") as refused:
            call()
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("transform", ["threshold", "grey"])
@pytest.mark.parametrize("axes", [(6, 2, 2), (6, 2, 2, 3)])
def test_pixels_of_new_data_are_read_as_those_of_the_fit(transform, axes):
    """In the types that hold them, each the same as the rows of the split that they are."""
    raw = np.random.default_rng(0).integers(0, 256, axes).astype(np.uint8)
    parts = {"train": raw[:4], "test": raw[4:]}
    fitted = gallery.fit("vae", parts, transform=transform, epochs=1, progress=False, hidden=[4], latent_dim=1)
    own = fitted.encode()["z"]
    for x in (raw[4:], raw[4:].astype(np.int64), torch.as_tensor(raw[4:]), (raw[4:] / 255).astype(np.float32)):
        assert torch.equal(fitted.encode(x)["z"], own)
    if transform == "threshold":
        assert torch.equal(fitted.encode(raw[4:] > 127)["z"], own)
    assert torch.equal(fitted.encode(fitted.splits["test"].x)["z"], own)  # as they are scored
    half = (raw[4:] / 255).astype(np.float16)  # rounded
    assert torch.equal(fitted.encode(half)["z"], fitted.encode(half.astype(np.float32))["z"])


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.full((2, 2, 3), 300), "lies in .300, 300., and the fitted pixels are integers 0..255 or floats in .0, 1."),
        (np.full((2, 2, 3), -1), "lies in .-1, -1."),
        (np.full((2, 2, 3), 7.5), "lies in .7.5, 7.5."),
        (np.ones((2, 2, 3), bool), "x is booleans, and the fitted pixels have 256 levels"),
        (np.ones((2, 2, 3), int), "only the integers 0 and 1, nearly black among the 256 levels"),
        (np.full((2, 3, 2), 200), "rows of shape .3, 2., and the fitted data .2, 3."),
        (np.full((2, 2, 3), np.nan), "NaN"),
        (np.full((2, 2, 3), None), "no|type object"),
    ],
)
def test_what_is_no_pixel_of_the_fit_is_refused(x, words):
    fitted = data.from_arrays({"x": np.arange(240).reshape(40, 2, 3).astype(np.uint8)}, "grey")["train"]
    with pytest.raises(data.DataError, match=words) as refused:
        rows_like(replace(fitted, levels=256), x)
    assert "\n" not in str(refused.value)


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
    with pytest.raises(data.DataError, match=r"has .*w.*, and the model was fitted to labels"):
        fit.encode(shuffled.assign(kind="w"))


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


@pytest.mark.parametrize(("row", "part"), [(0, "names of the columns"), (1, "(training|test|validation) rows")])
def test_a_stored_fit_refuses_a_changed_table(row, part, tmp_path):
    """Names that are exchanged, which leave all numbers as they are, and one number of any split."""
    lines = ["u,v,w", *(",".join(map(str, x)) for x in X)]
    for at in range(row, 1 if row == 0 else len(lines), 9):
        (tmp_path / "own.csv").write_text("\n".join(lines))
        fit = gallery.fit("factor_analysis", str(tmp_path / "own.csv"), epochs=1, progress=False)
        folder = fit.save(tmp_path / "run", overwrite=True)
        gallery.load(folder)
        changed = ["v,u,w"] if row == 0 else ["0.5," + lines[at].partition(",")[2]]
        (tmp_path / "own.csv").write_text("\n".join([*lines[:at], *changed, *lines[at + 1 :]]))
        with pytest.raises(RunError, match=f"the {part} of .*own.csv have changed"):
            gallery.load(folder)


def test_a_stored_fit_reads_other_rows_of_a_frame_by_its_names(tmp_path):
    pandas = pytest.importorskip("pandas")
    for names in (list("abc"), [2, 0, 1]):
        frame = pandas.DataFrame(X, columns=names)
        fit = gallery.fit("factor_analysis", frame, epochs=1, progress=False)
        loaded = gallery.load(fit.save(tmp_path / str(names[0])))
        assert torch.equal(loaded.encode(frame[names[::-1]])["z"], fit.encode(X)["z"])
        with pytest.raises(RunError, match="there is no column"):
            loaded.encode(frame[names[1:]])


def test_covariates_of_a_table_are_read_by_their_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"effect": X[:, 0], "dose": X[:, 1], "age": X[:, 2]})
    fit = gallery.fit("linear_regression", frame, covariates=["dose", "age"], epochs=1, progress=False)
    arrays = fit.evaluate(X[:, :1], X[:, 1:3], particles=2)
    given = frame[["age", "dose"]]
    assert fit.evaluate(frame[["age", "effect", "dose"]], particles=2) == arrays
    assert fit.evaluate(frame[["effect"]], given, particles=2) == arrays
    assert torch.equal(fit.sample(60, given=given)["x"], fit.sample(60, given=X[:, 1:3])["x"])


def test_a_folder_with_the_name_of_data_in_memory_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "arrays").mkdir()
    monkeypatch.chdir(tmp_path)
    for x, name in ((IMAGES > 0.5, "arrays:threshold"), (X, "arrays:real")):
        assert request("vae", x, {}).run.data == name


def test_what_was_read_of_own_data_is_printed(tmp_path, capsys):
    summary = "48 train, 6 validation, 6 test rows of shape (3,)"
    for progress in (True, False):
        gallery.fit("factor_analysis", X, epochs=1, progress=progress)
        assert (f"arrays:real: {summary}" in capsys.readouterr().out) == progress
    np.savez(tmp_path / "own.npz", x=X)
    lines: list[str] = []
    run = Run.of("factor_analysis", None, f"{tmp_path / 'own.npz'}:real")
    with pytest.raises(RunError, match="nothing applies to factor_analysis"):
        compare(Comparison(run, ("enum",)), tmp_path / "compare", log=lines.append)
    assert summary in lines[0]


PIXELS = np.arange(180).reshape(60, 3) % 7 % 2
CLASSES = np.arange(60) % 2


def labelled(values, x=PIXELS):
    return data.from_arrays({"x": x, "labels": np.array(values)[CLASSES]}, "threshold")["all"]


@pytest.mark.parametrize("values", [(1, 2), ("u", "w")])
def test_labels_of_a_dataset_are_those_that_its_numbers_stand_for(values):
    """Its classes are numbered by the labels of the file it was read from."""
    rows = labelled(values)
    fit = gallery.fit("cvae", rows, epochs=1, progress=False, hidden=[3])
    assert fit.splits["train"].label_values == values
    codes = {values[k]: fit.encode(PIXELS, [values[k]] * 60)["z"] for k in (0, 1)}
    assert not torch.equal(*codes.values())
    both = fit.encode(rows)["z"]
    read = data.from_arrays({"x": PIXELS, "labels": np.array(values)[CLASSES]}, "threshold")["all"]
    assert torch.equal(both, fit.encode(rows.x.numpy(), np.array(values)[read.labels])["z"])


def test_datasets_with_other_classes_are_joined_and_read_by_their_labels():
    first, second = labelled((1, 2)), labelled((2, 3))
    fit = gallery.fit("cvae", {"train": first, "test": second}, epochs=1, progress=False, hidden=[3])
    assert fit.splits["train"].label_values == (1, 2, 3)
    assert torch.equal(fit.splits["test"].labels, second.labels + 1)
    assert torch.equal(fit.encode(second)["z"], fit.encode()["z"])
    only = gallery.fit("cvae", first, epochs=1, progress=False, hidden=[3])
    with pytest.raises(data.DataError, match=r"has 3, and the model was fitted to labels 1, 2"):
        only.encode(second)


def test_given_is_what_the_fitted_data_have_beside_their_rows():
    """Integers are covariates, and floats that are integers labels, as the data of the fit have them."""
    covariates = np.random.default_rng(1).integers(2, 9, (60, 2))
    fit = gallery.fit("linear_regression", X[:, :1], covariates=covariates, epochs=1, progress=False)
    for given in (covariates, covariates.astype(float), torch.as_tensor(covariates)):
        assert fit.evaluate(X[:, :1], given)["elbo"] == fit.evaluate((X[:, :1], given))["elbo"]
        assert torch.equal(fit.sample(60, given)["x"], fit.sample(60, covariates * 1.0)["x"])
    exact = fit.evaluate(X[:, :1], covariates * 1.0)
    assert fit.evaluate(X[:, :1], covariates) == exact
    classes = gallery.fit("cvae", (PIXELS, CLASSES), transform="threshold", epochs=1, progress=False, hidden=[3])
    assert torch.equal(classes.encode(PIXELS, CLASSES * 1.0)["z"], classes.encode(PIXELS, CLASSES)["z"])


def test_draws_of_a_model_without_conditions_have_no_given():
    """A class that is asked for would be ignored."""
    fit = gallery.fit("vae", (PIXELS, CLASSES), transform="threshold", epochs=1, progress=False, hidden=[3])
    with pytest.raises(RunError, match="vae conditions on nothing, so that its draws have no `given`"):
        fit.sample(2, given=[1, 1])


def test_a_column_of_objects_has_the_labels_that_stand_in_it():
    pandas = pytest.importorskip("pandas")
    kinds = np.array([1, 2, 10])[np.arange(60) % 3]
    frame = pandas.DataFrame(PIXELS * 1.0, columns=list("abc")).assign(kind=kinds.astype(object))
    fit = gallery.fit("cvae", frame, label="kind", epochs=1, progress=False, hidden=[3])
    assert fit.splits["train"].label_values == (1, 2, 10)
    assert torch.equal(fit.encode(frame)["z"], fit.encode(frame.drop(columns="kind"), kinds)["z"])
    holes = request("cvae", frame.assign(kind=[None, *kinds[1:]]), {}, label="kind").splits
    assert sum(int((rows.labels == -1).sum()) for rows in holes.values()) == 1


def test_splits_in_place_of_rows_are_refused():
    fit = gallery.fit("factor_analysis", X, epochs=1, progress=False)
    with pytest.raises(RunError, match=r"the given data are splits\. Give one of them\."):
        fit.evaluate({"train": X, "test": X})


def test_numbers_below_one_are_refused():
    fit = gallery.fit("factor_analysis", X, epochs=1, progress=False)
    with pytest.raises(ValueError, match="particles is 0; expected an integer from 1 on"):
        fit.evaluate(particles=0)
    with pytest.raises(RunError, match="n is 0; expected at least one data point"):
        fit.to_arviz(n=0)


def test_a_column_may_be_named_by_a_number():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(np.column_stack([PIXELS, CLASSES * 1.0]))
    fit = gallery.fit("cvae", frame, label=3, transform="threshold", epochs=1, progress=False, hidden=[3])
    assert torch.equal(fit.encode(frame)["z"], fit.encode(PIXELS, CLASSES)["z"])


@pytest.mark.parametrize("values", [X.astype(np.float32), X > 0])
def test_tensors_of_rare_kinds_are_read_as_their_values(values):
    x = torch.as_tensor(values).float()
    negative = torch.complex(x, -x).conj().imag
    assert negative.is_neg()
    assert np.array_equal(array_of(negative, "x"), x.numpy())
    assert np.array_equal(array_of(x.to(torch.float8_e5m2), "x"), x.to(torch.float8_e5m2).float().numpy())
