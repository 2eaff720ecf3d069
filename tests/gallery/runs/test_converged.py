"""A run until its weights have converged: its files, and its resumption to the bit."""

import os
import signal

import pytest
from tiny_runs import history, same, weights

from gallery.cli.fit import print_run
from gallery.cli.main import main
from gallery.runs import Run, resume, start
from gallery.runs.parse import parse_metrics

SETTINGS = {"until": "converged:0.3", "lr_schedule": "constant", "epochs": 5000, "engine": "graph", "particles": 4}


@pytest.mark.integration
def test_a_run_ends_early_and_resumes_to_the_bit(tmp_path, after, capsys):
    run = Run.of("linear_regression:map", None, None, {}, SETTINGS)
    metrics = start(run, tmp_path / "through")
    steps = metrics["steps"]
    with pytest.raises(KeyboardInterrupt):
        start(run, tmp_path / "stopped", listener=after(1503, lambda svi: os.kill(os.getpid(), signal.SIGINT)))
    resume(tmp_path / "stopped")
    assert same(weights(tmp_path / "stopped"), weights(tmp_path / "through"))
    lines = history(tmp_path / "through")
    assert history(tmp_path / "stopped") == lines

    outcome = parse_metrics(tmp_path / "through" / "metrics.json")["convergence"]
    assert outcome["converged"]
    assert outcome["weight_error"] == lines[-1]["weight_error"] <= outcome["tolerance"] == 0.3
    assert lines[-1]["step"] == steps
    assert lines[-1]["epoch"] == metrics["epochs"] < 5000
    assert "test" in lines[-1]
    print_run(tmp_path / "through", metrics)
    assert f"converged after {metrics['epochs']:,} epochs: weights within" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", ["linear_regression", "exponential_gaussian", "factor_analysis"])
def test_the_schedule_of_a_recipe_gives_way(name):
    assert Run.of(name).settings.lr_schedule == "flat_cosine"
    assert Run.of(name, settings={"until": "converged"}).settings.lr_schedule == "constant"


def test_a_schedule_that_the_user_sets_is_refused_in_one_line(tmp_path, capsys):
    command = ["fit", "linear_regression", "--until", "converged", "--lr-schedule", "cosine"]
    assert main([*command, "--run", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("lr_schedule is cosine. Use --lr-schedule constant.")
    assert not (tmp_path / "run").exists()
