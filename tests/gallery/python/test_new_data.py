"""Data that are given to a fit afterwards, in the labels of the fitted data; and data in memory beside a folder."""

import numpy as np
import pytest
import torch

import gallery
from gallery.comparison import Comparison, compare
from gallery.errors import RunError
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
