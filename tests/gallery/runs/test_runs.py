"""Runs in folders: reproducible, never overwritten unless requested, with metrics that state their unit."""

import json
import pickle
import platform
import subprocess
import sys

import filelock
import numpy as np
import pytest
from tiny_runs import history, same, tiny, weights

from gallery.errors import RunError
from gallery.runs import Run, load, start, system
from gallery.runs.progress import PlainProgress, describe_line
from inference import InferenceError, Settings


def test_same_seed_same_history_and_another_seed_another(tmp_path, no_figures):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        start(tiny(seed=seed), tmp_path / name)
    assert history(tmp_path / "a") == history(tmp_path / "b") != history(tmp_path / "c")
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert [line["epoch"] for line in history(tmp_path / "a")] == [1, 2]


def test_metrics_have_errors_and_units(tmp_path, no_figures):
    metrics = start(tiny("digits:threshold"), tmp_path / "run")
    assert metrics == json.loads((tmp_path / "run" / "metrics.json").read_text())
    elbo = metrics["test"]["elbo"]
    assert elbo.keys() == {"value", "se", "mc_se", "n", "particles", "unit"}
    assert (elbo["n"], elbo["unit"]) == (297, "nats per data point")
    assert metrics["is_bound"]
    assert metrics["data"] == "digits:threshold"
    assert metrics["test"]["iwae"]["k"] == 16
    assert metrics["test"]["iwae"]["value"] > elbo["value"]
    assert "evidence" not in metrics["test"]


def test_a_delta_guide_has_no_bound_but_a_reason(tmp_path, no_figures):
    metrics = start(tiny("line", "linear_regression:map", {}), tmp_path / "run")
    assert not metrics["is_bound"]
    assert {"elbo", "iwae"}.isdisjoint(metrics["test"])
    assert "Delta" in metrics["test"]["undefined"]["elbo"]


def test_per_data_point_guides_have_no_bound_on_test_data(tmp_path, no_figures):
    metrics = start(tiny("exponential_gaussian", "exponential_gaussian:per_datum", {}), tmp_path / "run")
    assert "elbo" in metrics["train"]
    assert "elbo" not in metrics["test"]
    assert "none for these" in metrics["test"]["undefined"]["elbo"]


@pytest.mark.parametrize(("beta", "words"), [(0.5, "beta 0.5: not a bound"), (4.0, "beta 4: a looser bound")])
def test_beta_is_used_and_labelled(tmp_path, no_figures, beta, words):
    start(tiny(beta=beta), tmp_path / "run")
    for line in history(tmp_path / "run"):
        assert line["beta"] == beta
        assert line["loss_is_bound"] == (beta >= 1)
        assert words in describe_line(line | {"seconds": 0.0})


def test_a_collapse_is_reported_once_with_settings_that_may_help(tmp_path, no_figures, capsys):
    for warmup in (0.0, 1.0):
        strict = tiny("digits:threshold", beta=1e3, lr=1e-2, epochs=5, warmup=warmup)
        start(strict, tmp_path / f"{warmup}", listener=PlainProgress())
        warnings = [line for line in capsys.readouterr().out.splitlines() if "collapse" in line]
        assert len(warnings) == 1
        assert "z carries no information about x" in warnings[0]
        assert 'objective="free-bits:0.1" or a weaker decoder' in warnings[0]
        assert ("warmup=" in warnings[0]) == (warmup == 0)
        assert history(tmp_path / f"{warmup}")[-1]["collapsed"] == ["z"]
    start(tiny("factor_analysis", "factor_analysis", {}), tmp_path / "run", listener=PlainProgress())
    assert "collapse" not in capsys.readouterr().out


def test_run_json_is_a_specification(tmp_path, no_figures):
    start(tiny(), tmp_path / "first")
    again, _ = Run.from_json(tmp_path / "first" / "run.json")
    start(again, tmp_path / "second")
    assert same(weights(tmp_path / "first"), weights(tmp_path / "second"))


def test_a_run_is_never_overwritten_unless_requested(tmp_path, no_figures):
    start(tiny(), tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    with pytest.raises(RunError, match="holds a run already") as refused:
        start(tiny(seed=5), tmp_path / "run")
    assert refused.value.remedy == ("overwrite", "True")
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    start(tiny(seed=5), tmp_path / "run", overwrite=True)
    assert before[tmp_path / "run" / "weights.safetensors"] != (tmp_path / "run" / "weights.safetensors").read_bytes()


def test_a_folder_of_other_files_is_not_touched(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="other files"):
        start(tiny(), tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_two_writers_are_refused(tmp_path, no_figures):
    start(tiny(), tmp_path / "run")
    with filelock.FileLock(tmp_path / "run" / ".lock"), pytest.raises(RunError, match="another process"):
        start(tiny(), tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "metrics.json").exists()


def test_a_model_in_a_file_and_without_its_file(tmp_path, no_figures):
    file = tmp_path / "mine.py"
    file.write_text("from gallery.models.vae import VAE\n\n\nclass Mine(VAE):\n    pass\n")
    start(tiny(model=f"{file}:Mine"), tmp_path / "run")
    load(tmp_path / "run")
    file.write_text("")
    with pytest.raises(RunError, match="has no class Mine"):
        load(tmp_path / "run", trust=True)
    file.unlink()
    with pytest.raises(RunError, match="there is no file"):
        load(tmp_path / "run")


def test_steps_follow_from_the_data_where_a_model_declares_them_alone(tmp_path):
    own = (
        "from gallery import VAE\n\n\nclass Flow(VAE):\n    def __init__(self, steps=3):\n        super().__init__()\n"
    )
    (tmp_path / "flow.py").write_text(own)
    assert Run.of(f"{tmp_path}/flow.py:Flow", None, "digits:grey").keywords == {"steps": 3}
    assert Run.of("vrnn:steps", None, "digits:threshold").keywords["steps"] == 8


def test_settings_are_checked():
    for name, value in {"epochs": 0, "lr": -1.0, "beta": float("nan"), "precision": "bf16", "seed": -1}.items():
        with pytest.raises(InferenceError, match=name):
            Settings(**{name: value})


FREED = """
import resource, runpy, sys
import numpy as np

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        several = [np.ones(2**19) for _ in range(4)]
        del several
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
runpy.run_path(sys.argv[1])["keep_freed_memory"]()
first = faults()
print(before, first, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_kept_for_the_next_step():
    out = subprocess.run([sys.executable, "-c", FREED, system.__file__], capture_output=True, text=True, check=True)
    before, first, then = map(int, out.stdout.split())
    assert before > 10 * first  # the first round requests it from the system
    assert then < 10


def test_all_training_data_are_evaluated_where_a_latent_is_global(tmp_path, no_figures):
    covariates = np.linspace(-1, 1, 60)
    np.savez(tmp_path / "line.npz", x=covariates.round(1), covariates=covariates)
    run = tiny(f"{tmp_path / 'line.npz'}:real", "linear_regression", {})
    metrics = start(run, tmp_path / "run")
    assert metrics["train"]["elbo"]["n"] == 48
    assert metrics["test"]["elbo"]["n"] == 6
