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
    free = gallery.fit("vae", first, epochs=1, progress=False, hidden=[3])  # which ignores labels
    assert torch.equal(free.encode(second)["z"], free.encode(second.x)["z"])
    assert torch.equal(free.encode((PIXELS, CLASSES + 5))["z"], free.encode(PIXELS)["z"])


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
    """A class would be ignored."""
    fit = gallery.fit("vae", (PIXELS, CLASSES), transform="threshold", epochs=1, progress=False, hidden=[3])
    with pytest.raises(RunError, match="vae conditions on nothing, so that its draws have no `given`"):
        fit.sample(2, given=[1, 1])


def test_splits_in_place_of_rows_are_refused():
    fit = gallery.fit("factor_analysis", X, epochs=1, progress=False)
    with pytest.raises(RunError, match=r"the given data are splits\. Give one of them\."):
        fit.evaluate({"train": X, "test": X})


def test_numbers_below_one_are_refused():
    fit = gallery.fit("factor_analysis", X, epochs=1, progress=False)
    with pytest.raises(ValueError, match="particles is 0; expected an integer from 1 on"):
        fit.evaluate(particles=0)
    for call in (lambda: fit.to_arviz(n=0), lambda: fit.to_arviz(draws=0), lambda: fit.sample(0)):
        with pytest.raises(ValueError, match=r"(n|draws) is 0; expected an integer from 1 on"):
            call()
    given = gallery.fit("linear_regression", X[:, :1], covariates=X[:, 1:], epochs=1, progress=False)
    with pytest.raises(ValueError, match="n is -1; expected an integer from 1 on"):
        given.sample(-1)
    assert torch.equal(given.sample(np.int64(3))["x"], given.sample(3)["x"])


@pytest.mark.parametrize("values", [X.astype(np.float32), X > 0])
def test_tensors_of_rare_kinds_are_read_as_their_values(values):
    x = torch.as_tensor(values).float()
    negative = torch.complex(x, -x).conj().imag
    assert negative.is_neg()
    assert np.array_equal(array_of(negative, "x"), x.numpy())
    assert np.array_equal(array_of(x.to(torch.float8_e5m2), "x"), x.to(torch.float8_e5m2).float().numpy())
