"""A guide with parameters for each data point is evaluated at the rows that it was fitted to, and nowhere else."""

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
from gallery.catalogue.recipes import recipe_for
from gallery.cli.main import main
from gallery.errors import RunError
from gallery.runs import metrics, training
from gallery.runs.metrics import evaluate_split
from gallery.runs.prepare import prepare
from gallery.runs.rows import places_of
from gallery.runs.specification import Run
from inference import encode

MODEL = "exponential_gaussian:per_datum"

GLOBAL_AND_LOCAL = """
import pyro, torch
import pyro.distributions as dist
from torch import nn


class Schools(nn.Module):
    def __init__(self, total: int = 30):
        super().__init__()
        self.mu, self.theta = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(total, 1))

    def model(self, x, total=None):
        mu = pyro.sample("mu", dist.Normal(x.new_zeros(()), 5.0))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            theta = pyro.sample("theta", dist.Normal(mu.expand(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(theta, 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        pyro.module("own", self)
        pyro.sample("mu", dist.Normal(self.mu, 0.3))
        with pyro.plate("data", total or len(x), subsample_size=len(x)) as rows:
            pyro.sample("theta", dist.Normal(self.theta[rows], 0.7).to_event(1))
"""


class Trials(nn.Module):
    """Each fitted row has a latent of its guide, and a number of trials in the model."""

    def __init__(self, trials):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(len(trials)))
        self.register_buffer("trials", trials)

    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)) as rows:
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            likelihood = dist.Binomial(self.trials[rows].unsqueeze(1), logits=z.unsqueeze(1))
            pyro.sample("x", likelihood.to_event(1), obs=x)

    def guide(self, x, total=None):
        pyro.module("own", self)
        with pyro.plate("data", total or len(x), subsample_size=len(x)) as rows:
            pyro.sample("z", dist.Normal(self.loc[rows], x.new_tensor(0.5)))


def per_data_point(validation):
    settings = {"epochs": 1, "batch_size": 500}
    return Run.of(MODEL, recipe_for(MODEL), settings=settings, validation=validation)


def test_each_split_has_its_place_among_the_fitted_rows():
    n = len(data.load("exponential_gaussian"))
    kept, whole = per_data_point(True), per_data_point(False)
    assert [kept.load(split).first_row for split in ("train", "validation", "test", "all")] == [0, None, None, None]
    assert [whole.load(split).first_row for split in ("train", "validation", "test", "all")] == [0, n, None, 0]
    assert whole.load("train", "exponential_gaussian").first_row is None  # other data, whatever its name
    assert {name: split.first_row for name, split in kept.datasets().items()} == {
        "train": 0,
        "validation": None,
        "test": None,
    }


def test_the_validation_rows_of_a_run_to_all_rows_have_their_own_parameters():
    run = per_data_point(False)
    pair, whole, part = run.build(), run.load("all"), run.load("validation")
    n = len(run.load("train"))
    with torch.no_grad():  # a guide close to the posterior at the validation rows alone
        for parameter in pair.parameters():
            if len(parameter) == len(whole):
                parameter[:n] -= 3.0
    ours = evaluate_split(pair, part, particles=64)["elbo"]["value"]
    others = evaluate_split(pair, replace(part, first_row=0), particles=64)["elbo"]["value"]
    assert ours > others + 1
    for dataset in (run.load("test"), replace(part, first_row=None)):
        assert "elbo" in evaluate_split(pair, dataset)["undefined"]


@pytest.mark.parametrize("test_rows", [6, 60])  # fewer and more than the training data
def test_local_parameters_beside_a_global_latent(test_rows, tmp_path, monkeypatch, no_figures):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "schools.py").write_text(GLOBAL_AND_LOCAL)
    x = np.random.default_rng(0).normal(size=(30 + test_rows, 1)).astype(np.float32)
    np.savez("own.npz", x_train=x[:30], x_test=x[30:])
    settings = {"epochs": 2, "batch_size": 30}
    run = Run.of("schools.py:Schools", None, "own.npz:real", settings=settings, validation=False)
    result = training.start(run, tmp_path / "run")
    assert "elbo" in result["test"]["undefined"]
    assert "elbo" in result["train"]
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert not any("test" in line for line in history)


def test_draws_of_other_data_are_refused(tmp_path):
    arviz = pytest.importorskip("gallery.report.export.arviz", reason="pip install '.[arviz]'")
    run = per_data_point(True)
    pair = run.build()
    for dataset in (run.load("all"), run.load("test"), run.load("train", "exponential_gaussian")):
        with pytest.raises(RunError, match="has parameters for each data point that it was fitted to"):
            arviz.write(run, pair, dataset.head(10), tmp_path / "draws.nc", draws=2)
    assert list(tmp_path.iterdir()) == []
    assert arviz.write(run, pair, run.load("train").head(10), tmp_path / "draws.nc", draws=2).exists()


def test_labels_and_components_of_unfitted_rows_are_not_evaluated():
    table = {row.name: row for row in metrics.METRICS}
    run = per_data_point(True)
    subject = metrics.Subject(run.build(), run.load("test"))
    assert not subject.guide_applies
    labelled = replace(subject.dataset, labels=torch.arange(len(subject.dataset)) % 2)
    assert not table["clustering"].applies(metrics.Subject(subject.pair, labelled))


@pytest.mark.parametrize(("split", "value"), [("test", -1), ("test", 0.5), ("validation", -1)])
def test_what_held_out_rows_cannot_be_is_known_before_the_first_step(split, value, tmp_path, capsys):
    rows = np.random.default_rng(0).poisson(2.0, (30, 25)).astype(np.float32)
    parts = {"x_train": rows[:20], "x_validation": rows[20:25], "x_test": rows[25:]}
    parts[f"x_{split}"][3, 4] = value
    np.savez(tmp_path / "words.npz", **parts)
    run = tmp_path / "run"
    assert main(["fit", "lda", "--data", f"{tmp_path / 'words.npz'}:real", "--epochs", "1", "--run", str(run)]) == 2
    error = capsys.readouterr().err
    assert f"{split} rows: Words needs values in {{0, 1, 2, ...}}; x has others, such as {value:g}." in error
    assert error.count("\n") == 1
    assert not run.exists()


@pytest.mark.parametrize("names", [("validation", "test"), ("test", "validation")])
def test_the_first_split_with_a_fault_is_named(names):
    run = Run.of("lda", recipe_for("lda"), settings={"epochs": 1})
    splits = run.datasets()
    wrong = dict.fromkeys(names, replace(splits["test"], x=splits["test"].x - 1))
    with pytest.raises(RunError, match=f"{names[0]} rows: Words needs"):
        prepare(run, {"train": splits["train"], **wrong})


def test_held_out_rows_are_not_compared_with_what_a_model_holds_of_fitted_rows():
    rows = {"train": torch.tensor([[2.0], [5.0], [9.0]]), "test": torch.tensor([[3.0], [1.0], [4.0], [6.0]])}
    found = gallery.fit(Trials(torch.full((3,), 9.0)), data=rows, epochs=1, progress=False).evaluate()
    assert "the guide has parameters for each data point" in str(found)


@pytest.mark.parametrize("use", ["encode", "reconstruct"])
def test_codes_are_those_of_the_fitted_rows_alone(use):
    fitted = gallery.fit("exponential_gaussian:per_datum", epochs=1, progress=False)
    of_fit = getattr(fitted, use)
    train = fitted.splits["train"]
    for own in ({"split": "train"}, {"x": train}):
        assert len(of_fit(**own) if use == "reconstruct" else of_fit(**own)["z"]) == len(train)
    for held_out in ({}, {"x": train.x.numpy() + 1}):
        with pytest.raises(RunError, match="has parameters for each data point that it was fitted to"):
            of_fit(**held_out)


def test_codes_of_a_part_are_those_of_its_rows_among_the_fitted():
    run = per_data_point(False)
    pair, whole, part = run.build(), run.load("all"), run.load("validation")
    with torch.no_grad():
        for parameter in pair.parameters():
            if len(parameter) == len(whole):
                parameter += torch.arange(len(whole)).reshape(-1, *[1] * (parameter.dim() - 1)) / len(whole)
    codes = []
    for rows in (whole, part):
        with places_of(rows, pair):
            codes.append(encode(pair, rows.x)["z"][-len(part) :])
    assert torch.equal(*codes)


def test_the_remedy_of_other_rows_does_not_name_what_was_given(tmp_path, capsys, no_figures):
    """Of other data no split has parameters, and `total` is no setting of a command on a run."""
    pytest.importorskip("arviz")
    folder = gallery.fit(MODEL, epochs=1, progress=False, batch_size=500).save(tmp_path / "run")
    np.savez(tmp_path / "other.npz", x=1.0 + np.arange(30)[:, None])
    for split in ("train", "test"):
        other = ["--data", f"{tmp_path / 'other.npz'}:real", "--split", split]
        assert main(["evaluate", str(folder), *other]) == 0
        assert "no ELBO, IWAE, KL" in capsys.readouterr().out
        assert main(["export", str(folder), "--to", "arviz", *other]) == 2
        error = capsys.readouterr().err
        assert f"none for split='{split}' of {tmp_path}" in error
        assert "leave out other data" in error
        assert "Use --" not in error
