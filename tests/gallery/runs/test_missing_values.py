"""NaN in x is a missing value for a model that masks it; elsewhere it is refused in one line, with nothing written."""

import json
from dataclasses import replace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import data
import gallery
from gallery.cli.check import findings_of, sentence_of
from gallery.cli.main import main
from gallery.figures import draw
from gallery.runs.metrics import squared_error
from inference import InferenceError, check_fit
from inference.contract import CLAUSES, Case

X = np.random.default_rng(0).normal(size=(60, 3))
GAPS = np.where(np.random.default_rng(1).random(X.shape) < 0.2, np.nan, X)
QUICK = {"epochs": 1, "progress": False}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = [",".join("" if np.isnan(value) else f"{value:.4f}" for value in row) for row in GAPS]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c", *cells]))
    np.savez(tmp_path / "test_alone.npz", x_train=X, x_test=GAPS)


@pytest.mark.parametrize("name", ["t.csv", "test_alone.npz:real"])
@pytest.mark.parametrize("command", ["fit factor_analysis --run new", "compare factor_analysis --out new"])
def test_a_model_that_does_not_mask_refuses_them(command, name, tmp_path, capsys):
    assert main([*command.split(), "--data", name]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    words = ["entries of x are missing (NaN)", "does not mask them", "capability missing_values"]
    assert all(word in error for word in words), error
    named = [f"{column}: no value in" in error for column in "abc"]
    numbered = ", in columns 1, 2, 3 of 3. The model" in error
    assert (all(named), numbered) == (name == "t.csv", name != "t.csv")  # by their names where they have some
    assert not (tmp_path / "new").exists()


def test_the_error_has_no_notes_on_other_columns(tmp_path, capsys):
    rows = [f"{i},{'uv'[i % 2]},{'' if i == 4 else i % 3}" for i in range(20)]
    (tmp_path / "mixed.csv").write_text("\n".join(["a,kind,b", *rows]))
    data = ["--data", "mixed.csv", "--columns", "a,b,kind", "--one-hot", "kind"]
    assert main(["fit", "factor_analysis", "--run", "new", *data]) == 2
    assert capsys.readouterr().err == (
        "gallery: factor_analysis on mixed.csv: 1 of 80 entries of x are missing (NaN), 1.2 %; b: no value in row 6. "
        "The model does not mask them. Remove these rows or columns, or fit a model that declares the capability "
        "missing_values, such as factor_analysis:missing.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "Leave it out with --columns, make it the --label, or encode it with --one-hot or --codes."),
        (
            "--columns a --codes kind",
            "is encoded by --one-hot or --codes, and is neither a column of x nor",
        ),
        ("--columns a,kind --codes kind --one-hot kind", "is named twice in --one-hot and --codes."),
    ],
)
def test_errors_of_tables_name_flags(arguments, words, tmp_path, capsys):
    (tmp_path / "kinds.csv").write_text("\n".join(["a,kind", *[f"{i},{'uv'[i % 2]}" for i in range(20)]]))
    assert main(["fit", "factor_analysis", "--data", "kinds.csv", *arguments.split()]) == 2
    assert words in capsys.readouterr().err


def test_a_conditional_model_names_the_flags_that_are_missing(capsys):
    assert main(["fit", "linear_regression", "--data", "t.csv", "--run", "new"]) == 2
    assert "or name them: --label, --covariates." in capsys.readouterr().err


def test_a_table_with_empty_cells_goes_through_every_command(capsys, tmp_path):
    assert main(["fit", "factor_analysis:missing", "--data", "t.csv", "--epochs", "2", "--run", "run"]) == 0
    assert "entries of x are missing (NaN)" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    numbers = [metrics["test"][name]["value"] for name in ("elbo", "evidence", "iwae", "kl", "reconstruction")]
    assert np.isfinite(numbers).all()
    assert "undefined" not in metrics["test"]
    assert {path.stem for path in (tmp_path / "run" / "figures").iterdir()} >= {"learning_curve", "samples"}
    for command in ("evaluate run --data t.csv --split train", "summary run", "sample run --n 5 --out x.npz"):
        assert main(command.split()) == 0
    with np.load("x.npz") as draws:
        assert np.isfinite(draws["x"]).all()
    np.savez("complete.npz", x=X)
    assert main(["fit", "factor_analysis", "--data", "complete.npz:real", "--epochs", "1", "--run", "other"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "other", "--data", "t.csv"]) == 2
    assert "declares missing_values takes NaN" in capsys.readouterr().err


def test_arrays_and_frames_in_memory(tmp_path):
    fitted = gallery.fit("factor_analysis:missing", GAPS, **QUICK)
    assert np.isfinite(fitted.evaluate()["elbo"]["value"])
    assert fitted.reconstruct().isfinite().all()
    fitted.save(tmp_path / "run")
    loaded = gallery.load(tmp_path / "run")
    assert torch.equal(loaded.splits["train"].x.nan_to_num(), fitted.splits["train"].x.nan_to_num())
    with pytest.raises(ValueError, match="does not mask them"):
        gallery.fit("factor_analysis", GAPS, **QUICK)
    complete = gallery.fit("factor_analysis", X, **QUICK)
    with pytest.raises(InferenceError, match="declares missing_values takes NaN"):
        complete.evaluate(GAPS)
    frame = pytest.importorskip("pandas").DataFrame(GAPS, columns=list("abc"))
    assert gallery.fit("factor_analysis:missing", frame, **QUICK).splits["train"].missing > 0
    with pytest.raises(ValueError, match="covariates has values that are NaN"):
        gallery.fit("linear_regression", frame, columns=["a"], covariates=["b"], **QUICK)


@pytest.mark.parametrize(("model", "keywords"), [("hmm", {}), ("vrnn", {"state_dim": 4, "hidden": [8]})])
def test_sequences_of_unequal_length_are_fitted_and_read_again(model, keywords, tmp_path):
    draw = np.random.default_rng(2)
    lengths = draw.integers(1, 6, 40)
    lengths[:2] = 2, 5
    sequences = [(draw.random(length if model == "hmm" else (length, 3)) < 0.5).astype(float) for length in lengths]
    rows = data.padded(sequences)
    fitted = gallery.fit(model, rows, batch_size=10, **keywords, **QUICK)
    train = fitted.splits["train"]
    assert train.shape == ((5,) if model == "hmm" else (5, 3))
    assert train.missing > 0
    assert np.isfinite(fitted.evaluate()["elbo"]["value"])
    assert np.isfinite(fitted.evaluate(rows[:, :2])["elbo"]["value"])  # shorter ones
    assert fitted.sample(4)["x"].isfinite().all()
    assert "each step of the sequences that have it" in str(fitted.summary())
    fitted.save(tmp_path / "run")
    assert gallery.load(tmp_path / "run").splits["train"].hash == train.hash
    with pytest.raises(ValueError, match="does not mask them"):
        gallery.fit("vae", rows, **QUICK)


class Masked(nn.Module):
    """x, in {0, 1} or NaN: Bernoulli with logits W z."""

    capabilities = ("missing_values",)
    missing_values = True

    def __init__(self):
        super().__init__()
        self.decoder, self.encoder = nn.Linear(1, 3), nn.Linear(3, 1)

    def model(self, x, total=None):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 1), 1.0).to_event(1))
            likelihood = dist.Bernoulli(logits=self.decoder(z)).mask(~x.isnan())
            pyro.sample("x", likelihood.to_event(1), obs=x.nan_to_num())

    def guide(self, x, total=None):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x.nan_to_num()), 1.0).to_event(1))


def test_the_contract_finds_a_model_that_declares_it_and_does_not_mask():
    class Declared(gallery.FactorAnalysis):
        capabilities = ("missing_values",)
        missing_values = True

    case = Case(Declared, (torch.randn(12, 3),))
    (finding,) = findings_of(CLAUSES["gradients"], case)
    assert "capability 'missing_values' is declared, and the pair fails where x has NaN: " in sentence_of(finding)
    assert not findings_of(CLAUSES["gradients"], replace(case, build=Masked, args=(torch.ones(12, 3),)))


def test_the_observed_entries_are_checked_against_the_support():
    x = torch.tensor([[0.0, 1.0, torch.nan], [torch.nan, torch.nan, torch.nan], [1.0, 0.0, 1.0]])
    check_fit(Masked(), x)
    for wrong, words in ((0.5, r"needs values in \{0, 1\}.*such as 0.5"), (torch.inf, "not finite")):
        other = x.clone()
        other[2, 2] = wrong
        with pytest.raises(InferenceError, match=words):
            check_fit(Masked(), other)
    with pytest.raises(InferenceError, match="without a value"):
        check_fit(Masked(), torch.full((4, 3), torch.nan))


def test_images_with_missing_pixels_are_drawn_and_compared(tmp_path):
    x = torch.tensor([[0.0, 1.0, torch.nan], [1.0, torch.nan, 0.0]]).repeat(15, 1)
    images = {split: data.Dataset("mine:real", split, x, (1, 3)) for split in ("train", "test")}
    names = {path.stem for path in draw(Masked(), images, [], tmp_path)}  # a warning would be an error
    assert names >= {"samples", "reconstructions", "latent"}
    assert squared_error(x, torch.ones_like(x))["value"] == 1.0  # of the pixels that are known


def test_a_hash_does_not_depend_on_the_precision():
    first, second = (data.load("factor_analysis_missing", dtype=dtype) for dtype in (torch.float32, torch.float64))
    assert first.hash == second.hash
