"""A run reads the user's data in its precision, with the levels and labels that it was fitted to, and states them."""

import json

import numpy as np
import pytest
import torch

from gallery.cli.main import main
from gallery.runs.specification import Run

TINY = ["--hidden", "8", "--latent-dim", "2", "--epochs", "1"]
LEVEL = '''"""x ~ Normal(level + z, 1), z ~ Normal(0, 1)."""
import pyro
import pyro.distributions as dist
import torch
from torch import nn


class Level(nn.Module):
    def __init__(self, data_dim: int = 1, level: float = 1.7e9):
        super().__init__()
        self.level = level
        self.own = nn.ParameterDict({"shift": nn.Parameter(torch.zeros(1))})

    def model(self, x, total=None):
        pyro.module("own", self.own)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            zero = x.new_zeros(len(x), 1)
            z = pyro.sample("z", dist.Normal(zero, zero + 1).to_event(1))
            pyro.sample("x", dist.Normal(self.level + self.own["shift"] + z, zero + 1).to_event(1), obs=x)

    def guide(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Normal((x - self.level) / 2, x.new_full((len(x), 1), 0.5**0.5)).to_event(1))
'''


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def save(name="own.npz", labels=None, high=17, **arrays):
    x = np.random.default_rng(0).integers(0, high, (60, 4, 4))
    np.savez(name, x=x, **({} if labels is None else {"labels": labels}), **arrays)


def test_float64_is_kept_to_the_loss(tmp_path, capsys):
    (tmp_path / "level.py").write_text(LEVEL)
    x = 1.7e9 + np.random.default_rng(0).normal(scale=2**0.5, size=(500, 1))
    np.savez("own.npz", x=x)
    flags = ["--data", "own.npz:real", "--precision", "float64", "--epochs", "1", "--lr", "1e-9", "--run", "run"]
    assert main(["fit", "level.py:Level", *flags]) == 0
    assert f"x in [{x.min():.12g}, {x.max():.12g}]" in capsys.readouterr().out
    run, data_hash = Run.from_json(tmp_path / "run" / "run.json")
    splits = run.datasets()
    assert splits["train"].hash == data_hash
    assert torch.cat([part.x for part in splits.values()]).unique().numel() == 500
    test = splits["test"].x.numpy() - 1.7e9
    evidence = (-0.5 * np.log(4 * np.pi) - test**2 / 4).mean()  # the guide is exact
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["test"]["elbo"]["value"] == pytest.approx(evidence, abs=1e-6)


def test_integers_that_float32_rounds_are_refused(tmp_path, capsys):
    (tmp_path / "level.py").write_text(LEVEL)
    np.savez("own.npz", x=2**24 + np.arange(60))
    assert main(["fit", "level.py:Level", "--data", "own.npz:real", "--run", "run"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "x has the integer 16777217" in error
    assert not (tmp_path / "run").exists()


def test_levels_and_labels_of_the_fit_hold_for_other_rows(tmp_path, capsys):
    save(labels=1 + np.arange(60) % 3)
    assert main(["fit", "cvae", "--data", "own.npz:grey", *TINY, "--run", "run"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith("own.npz:grey: 54 train, 6 test rows of shape (4, 4), float32")
    assert out[1:3] == ["  x in [0, 1], from 17 levels", "  3 classes (0 is 1, 1 is 2, 2 is 3)"]
    run, _ = Run.from_json(tmp_path / "run" / "run.json")
    assert (run.levels, run.labels, run.keywords["classes"]) == (17, (1, 2, 3), 3)
    save("other.npz", labels=2 + np.arange(60) % 2, high=9)
    other = run.load("all", "other.npz:grey")
    assert other.x.max() == 0.5
    assert other.labels.unique().tolist() == [1, 2]
    assert main(["evaluate", "run", "--data", "other.npz:grey", "--particles", "2"]) == 0
    for keywords, words in (({"labels": np.arange(60) % 3}, "labels has 0"), ({"high": 40}, "fitted to 17 levels")):
        save("other.npz", **({"labels": 1 + np.arange(60) % 3} | keywords))
        capsys.readouterr()
        assert main(["evaluate", "run", "--data", "other.npz:grey"]) == 2
        assert words in capsys.readouterr().err


def test_a_run_from_before_reads_its_data_as_it_did(tmp_path):
    save(labels=1 + np.arange(60) % 3)
    assert main(["fit", "cvae", "--data", "own.npz:grey", *TINY, "--run", "run"]) == 0
    file = tmp_path / "run" / "run.json"
    content = json.loads(file.read_text())
    del content["levels"], content["labels"]
    content["keywords"]["classes"] = 4
    file.write_text(json.dumps(content))
    old = Run.from_json(file)[0].datasets()["train"]
    assert (old.levels, old.classes, old.labels.unique().tolist()) == (256, 4, [1, 2, 3])
    assert old.x.max() == pytest.approx(16 / 255)


@pytest.mark.parametrize(
    "labels",
    [
        [0, -1, 1],
        pytest.param([0, np.nan, 1], marks=pytest.mark.integration),
        pytest.param(["a", "", "b"], marks=pytest.mark.integration),
    ],
)
def test_unknown_labels_need_a_model_with_a_missing_label(tmp_path, capsys, labels):
    save(labels=np.array(labels)[np.arange(60) % 3])
    assert main(["fit", "cvae", "--data", "own.npz:threshold", *TINY, "--run", "no"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "train has unknown labels" in error
    assert not (tmp_path / "no").exists()
    for model in ("ss_vae", "gmvae"):
        assert main(["fit", model, "--data", "own.npz:threshold", *TINY, "--run", model]) == 0
        assert "; 33.3 % of the labels are unknown" in capsys.readouterr().out
        metrics = json.loads((tmp_path / model / "metrics.json").read_text())["test"]
        known = (Run.from_json(tmp_path / model / "run.json")[0].datasets()["test"].labels >= 0).sum()
        entry = metrics["clustering"]["accuracy"] if model == "gmvae" else metrics["classifier_accuracy"]
        assert entry["n"] == known < 6


def test_labels_that_only_the_test_set_lacks(tmp_path, capsys):
    x = np.random.default_rng(0).integers(0, 17, (60, 4, 4))
    np.savez("own.npz", x_train=x, x_test=x[:9], labels_train=np.arange(60) % 2, labels_test=np.arange(9) % 3 - 1)
    assert main(["fit", "cvae", "--data", "own.npz:threshold", *TINY, "--run", "no"]) == 2
    assert "test has unknown labels" in capsys.readouterr().err
