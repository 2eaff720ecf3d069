"""Comparisons that are interrupted, fail, are damaged or refused; and the printed tables of the command."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from comparisons import compared, comparing

from gallery.cli.main import main
from gallery.comparison import default_objectives, tables, work
from gallery.errors import RunError
from gallery.figures.comparison import bound
from gallery.models import factor_analysis
from inference.errors import InferenceError

pytestmark = pytest.mark.integration


def test_an_interrupted_comparison_goes_on_with_the_rows_that_are_left(tmp_path):
    comparison = comparing("factor_analysis", ("trace", "score"), seeds=2)

    def stop(line):
        if line.startswith("fit 2/4"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compared(comparison, tmp_path, log=stop)
    assert not (tmp_path / "compare.json").exists()
    rows = tmp_path / "rows"
    before = {path: path.stat().st_mtime_ns for path in rows.glob("*.json")}
    assert {path.stem for path in before} == {"trace-own-0", "trace-own-1"}
    result, log = compared(comparison, tmp_path)
    assert log[0] == "4 rows, 2 for each of: trace; score"
    assert log[1] == "fit: 2 of 4 rows are there already"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(result["rows"]) == 4
    again, log = compared(comparison, tmp_path)
    assert log[1:] == [f"{work}: 4 of 4 rows are there already" for work in ("fit", "measure_noise")]
    assert again == result
    with pytest.raises(RunError, match=r"another epochs\. Remove the folder"):
        compared(comparing("factor_analysis", ("trace", "score"), settings={"epochs": 2}), tmp_path)


def test_rows_of_a_model_that_was_edited_are_not_taken(tmp_path):
    file, folder = tmp_path / "mine.py", tmp_path / "out"
    source = Path(factor_analysis.__file__).read_text()
    file.write_text(source)
    model = f"{file}:FactorAnalysis"
    first, _ = compared(comparing(model, data="factor_analysis"), folder)
    assert first["rows"][0]["status"] == "finished"
    _, log = compared(comparing(model, data="factor_analysis"), folder)
    assert log[1] == "fit: 1 of 1 rows are there already"
    file.write_text(source + "\nSHIFT = 1\n")
    with pytest.raises(RunError, match=r"another content of the model's file\. Remove the folder, or choose"):
        compared(comparing(model, ("trace", "analytic"), "factor_analysis"), folder)


def test_a_row_that_fails_does_not_stop_the_others(tmp_path, monkeypatch):
    follow = work.follow

    def fails(svi, *args):
        if svi.settings.objective == "score":
            raise InferenceError("the loss is not finite\nat step 7")
        return follow(svi, *args)

    comparison = comparing("factor_analysis", ("score", "trace", "enum"), samplers=("em",))
    monkeypatch.setattr(work, "follow", fails)
    result, log = compared(comparison, tmp_path)
    assert [row["status"] for row in result["rows"]] == ["failed", "finished", "finished"]
    assert "failed, InferenceError: the loss is not finite at step 7" in log[2]  # after the refused rows and the list
    assert list(result["refused"]) == ["enum"]
    lines = [part for part in tables(result) if isinstance(part, str)]
    assert lines == [
        "failed: score, seed 0: InferenceError: the loss is not finite at step 7",
        'refused: enum: FactorAnalysis has no discrete latent to enumerate. Use objective="trace".',
    ]
    assert bound(result).axes[0].get_ylabel() == "ELBO of test data, nats per data point"
    monkeypatch.setattr(work, "follow", follow)
    result, log = compared(comparison, tmp_path)
    assert log[2] == "fit: 2 of 3 rows are there already"
    assert [row["status"] for row in result["rows"]] == ["finished"] * 3
    monkeypatch.setattr(work, "follow", fails)
    with pytest.raises(RunError, match=r"no row could be finished\. score: InferenceError"):
        compared(comparing("factor_analysis", ("score",)), tmp_path / "alone")


PAIRS = """
import pyro
import torch
import pyro.distributions as dist
from torch import nn


class Level(nn.Module):
    # theta ~ Normal(0, 1), x ~ Normal(theta, 1)
    def __init__(self):
        super().__init__()
        self.q = nn.ParameterDict({"loc": torch.zeros(()), "log_scale": torch.zeros(())})

    def model(self, x, total=None):
        theta = pyro.sample("theta", dist.Normal(x.new_zeros(()), 1.0))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            self.rows(x, theta)

    def guide(self, x, total=None):
        pyro.module("q", self.q)
        theta = pyro.sample("theta", dist.Normal(self.q["loc"], self.q["log_scale"].exp()))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            self.code(x, theta)

    def rows(self, x, theta):
        pyro.sample("x", dist.Normal(theta[..., None, None].expand(*theta.shape, *x.shape), 1.0).to_event(1), obs=x)

    def code(self, x, theta):
        pass


class Levels(Level):
    # z ~ Normal(theta, 1) for each data point, x ~ Normal(z, 1)
    def rows(self, x, theta):
        z = pyro.sample("z", dist.Normal(theta[..., None].expand(*theta.shape, len(x)), 1.0))
        pyro.sample("x", dist.Normal(z[..., None].expand(*z.shape, x.shape[1]), 1.0).to_event(1), obs=x)

    def code(self, x, theta):
        pyro.sample("z", dist.Normal(theta[..., None] * x.new_ones(len(x)), 1.0))


class OneTheta(Level):
    # does not broadcast over particles of theta
    def rows(self, x, theta):
        pyro.sample("x", dist.Normal(theta.reshape(1, 1).expand(x.shape), 1.0).to_event(1), obs=x)


class Draws(Level):
    # refuses draws that no gradient passes through, as a model of a user may
    def rows(self, x, theta):
        if torch.is_grad_enabled() and self.training and not theta.requires_grad:
            raise KeyError("theta")
        super().rows(x, theta)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Return a function that compares a pair of PAIRS on data whose training rows are apart from the others."""
    (tmp_path / "pairs.py").write_text(PAIRS)
    rows = {"train": torch.randn(12, 1) + 3, "validation": torch.randn(6, 1), "test": torch.randn(40, 1) - 3}
    monkeypatch.chdir(tmp_path)
    np.savez("apart.npz", **{f"x_{split}": x.numpy() for split, x in rows.items()})

    def run(name, *arguments):
        command = f"compare pairs.py:{name} --data apart.npz:real --out out --seeds 1 --jobs 1 --eval-draws 8".split()
        code = main([*command, *arguments])
        return code, json.loads((tmp_path / "out" / "compare.json").read_text()) if not code else None

    return run


@pytest.mark.parametrize("name", ["Level", "Levels"])
@pytest.mark.parametrize("validation", [True, False])
def test_a_sampler_of_a_global_latent_has_the_training_rows(own, monkeypatch, name, validation):
    seen = []
    sampler = work.nuts
    monkeypatch.setattr(work, "nuts", lambda pair, x, *args, **kept: seen.append(x) or sampler(pair, x, *args, **kept))
    kept = "--validation" if validation else "--no-validation"
    code, result = own(name, "--objectives", "none", "--samplers", "nuts", "--nuts-draws", "20", kept)
    assert (code, result["split"], result["rows"][0]["n"]) == (0, "train", 12 if validation else 18)
    (x,) = seen
    with np.load("apart.npz") as arrays:
        expected = [arrays[f"x_{split}"] for split in ("train", "validation")[: 2 - validation]]
    np.testing.assert_array_equal(x.sort(0).values.numpy(), np.sort(np.concatenate(expected), 0))


@pytest.mark.parametrize(
    ("name", "objectives", "fails", "words"),
    [
        ("OneTheta", "iwae:5,trace", "iwae:5", "Particles of a global latent come as a new dimension on the left"),
        ("Draws", "score,trace", "score", "the first step fails with KeyError: 'theta'."),
    ],
)
def test_an_objective_that_an_own_pair_refuses_does_not_end_a_comparison(own, capsys, name, objectives, fails, words):
    code, result = own(name, "--objectives", objectives, "--epochs", "1", "--batch-size", "12")
    assert (code, list(result["refused"])) == (0, [fails])
    assert words in result["refused"][fails]
    assert [(row["label"], row["status"]) for row in result["rows"]] == [("trace", "finished")]
    assert "Traceback" not in capsys.readouterr().err


def test_a_damaged_file_is_not_taken_for_a_row(tmp_path):
    comparison = comparing("factor_analysis")
    compared(comparison, tmp_path)
    (tmp_path / "rows" / "trace-own-0.json").write_text('{"asked": 3')
    with pytest.raises(RunError, match=r"trace-own-0\.json is damaged\. Remove it"):
        compared(comparison, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "compare needs a model"),
        ("--lesson sore", "it is one of score, enumeration"),
        ("factor_analysis --objectives elbo", "no objective 'elbo'"),
        ("factor_analysis --objectives iwae:0", "at least 1: iwae:0 has 0"),
        ("factor_analysis --objectives renyi:1:5", "is the ELBO. Use --objectives trace."),
        ("factor_analysis --guides mean_field", "no guide 'mean_field'"),
        ("factor_analysis --samplers hmc", "no sampler 'hmc': it is one of nuts, em"),
        ("factor_analysis --samplers ais:0", "STEPS must be a whole number of at least 1"),
        (
            "factor_analysis --samplers pathfinder:none",
            "PATHS must be a whole number of at least 1, as in pathfinder:4",
        ),
        ("factor_analysis --samplers nuts:5", "no sampler 'nuts:5': it is one of nuts, em, ais"),
        ("factor_analysis --objectives none --samplers ais", "weights, to be fitted first"),
        ("linear_regression --objectives none --samplers ais", "w of LinearRegression is global"),
        ("gaussian_mixture --objectives none --samplers ais", "no continuous latent"),
        (
            "gmvae --data digits:threshold --objectives none --samplers ais",
            "z of GMVAE has an enumerated parent",
        ),
        ("factor_analysis --seeds 0", "seeds must be at least 1, not 0"),
        ("factor_analysis --eval-draws 1", "eval_draws must be at least 2, not 1"),
        ("factor_analysis --jobs 0", "jobs must be at least 1, not 0"),
        ("factor_analysis --objectives none", "there is nothing to compare"),
        ("factor_analysis --objectives none --samplers nuts", "weights, to be fitted first"),
        ("factor_analysis --objectives enum", "no discrete latent to enumerate. Use --objectives trace."),
        ("gaussian_mixture --objectives iwae:5", "sums out y"),
        ("gaussian_mixture --objectives none --samplers nuts", "no continuous latent"),
        (
            "factor_analysis --objectives none --samplers pathfinder",
            "FactorAnalysis has latents of single data points only",
        ),
        (
            "gmvae --data digits:threshold --objectives none --samplers nuts",
            "z of GMVAE has an enumerated parent",
        ),
        ("linear_regression --objectives none --samplers nuts --batch-size 20", "no minibatch"),
        ("linear_regression --objectives iwae:5 --batch-size 20", "Use --batch-size 200"),
        ("linear_regression --objectives none --samplers em", "no closed E and M steps"),
        ("exponential_gaussian:normal --objectives trace", "KL(guide || prior) is infinite"),
    ],
)
def test_refused_requests(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_a_table_and_leaves_its_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = "--samplers nuts --seeds 1 --epochs 1 --eval-draws 8 --nuts-draws 20 --jobs 1"
    assert main(["compare", "linear_regression", *flags.split()]) == 0
    out = capsys.readouterr().out
    folder = tmp_path / "runs" / "compare-linear_regression-line"
    pictures = {"bound.png", "variance.png", "error.png"}
    assert {path.name for path in folder.iterdir()} == {"rows", "compare.json", *pictures}
    result = json.loads((folder / "compare.json").read_text())
    assert (
        result["objectives"]
        == list(default_objectives(comparing("linear_regression").run))
        == ["trace", "analytic", "score"]
    )
    assert result["split"] == "train"  # one posterior, of these data
    assert result["command"].split()[:3] == ["gallery", "compare", "linear_regression"]
    for words in ("ELBO", "log p(x)", "gap", "R-hat", "200 train data of line", "8 draws of the guide", "seed 0"):
        assert words in out
