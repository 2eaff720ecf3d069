"""The command line as its users meet it: commands, and for each bad request one line with exit code 2."""

import gzip
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from gallery.cli.main import message_of
from gallery.errors import RunError
from gallery.models import MODELS, title
from inference import InferenceError

TINY = ["--hidden", "16", "--latent-dim", "2", "--epochs", "1"]


def test_fit_evaluate_sample_on_digits(run, tmp_path):
    code, out, _ = run("fit", "cvae", "--data", "digits:threshold", *TINY, "--run", "run")
    assert code == 0
    assert "\n  ELBO  " in out
    assert "gallery summary run " in out
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert {"accuracy", "wrong_label_cost"} <= metrics["test"].keys()
    spec = json.loads((tmp_path / "run" / "run.json").read_text())
    assert spec["keywords"]["data_dim"] == 64
    assert spec["keywords"]["likelihood"] == "bernoulli"
    assert {path.name for path in (tmp_path / "run" / "figures").iterdir()} >= {"samples.png", "learning_curve.png"}
    code, out, _ = run("evaluate", "run", "--split", "validation", "--particles", 4, "--as-json")
    assert json.loads(out)["validation"]["iwae"]["k"] == 4
    code, out, _ = run("sample", "run", "--n", 7, "--out", "drawn.npz")
    assert "x (7, 64)" in out
    with np.load(tmp_path / "drawn.npz") as drawn:
        assert drawn["x"].shape == drawn["mean"].shape == (7, 64)
        assert set(np.unique(drawn["x"])) <= {0, 1}
    assert run("sample", "run", "--out", "drawn.png")[0] == 0
    code, _, err = run("fit", "cvae", "--data", "digits:threshold", *TINY, "--run", "run")
    assert (code, err.count("\n")) == (2, 1)
    assert "--overwrite" in err
    assert run("fit", "--from", "run/run.json", "--run", "again")[0] == 0
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == (
        tmp_path / "again" / "weights.safetensors"
    ).read_bytes()
    code, _, err = run("resume", "run")
    assert (code, "nothing to resume" in err) == (2, True)


def test_list_show_and_data(run):
    code, out, _ = run("list")
    assert code == 0
    assert all(name in out for name in MODELS)
    assert all(title(name) in out for name in MODELS)  # nothing is cut
    assert re.search(r"^  vae +\d+ min  needs mnist +Variational", out, flags=re.MULTILINE)
    code, out, _ = run("show", "cvae")
    assert re.search(r"--latent-dim +20 +length of the code", out)
    assert "1820.1" in out
    code, out, _ = run("data")
    assert "digits" in out
    assert "mnist" in out


def test_flags_come_from_the_constructor_and_the_settings(run):
    code, out, _ = run("fit", "vae", "--help")
    assert code == 0
    for flag in ("--latent-dim", "--likelihood", "--lr-schedule", "--no-shuffle", "--run", "--data"):
        assert flag in out
    assert "--given-dim" not in out


def test_a_model_in_a_users_file(run, tmp_path):
    (tmp_path / "mine.py").write_text("from gallery.models.vae import VAE\n\n\nclass Mine(VAE):\n    pass\n")
    code, out, _ = run("fit", "mine.py:Mine", "--data", "digits:grey", *TINY, "--run", "run")
    assert code == 0
    assert "  ELBO  " in out


def test_data_in_a_users_file(run, tmp_path):
    np.savez(tmp_path / "mine.npz", x=np.random.default_rng(0).random((60, 6, 5)), labels=np.arange(60) % 3)
    assert run("fit", "cvae", "--data", "mine.npz:grey", *TINY, "--run", "run")[0] == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["keywords"]["classes"] == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("fit vea", ["'vea'", "Did you mean 'vae'"]),
        ("show cave", ["Did you mean 'cvae'"]),
        ("fot vae", ["fot", "fit"]),
        ("fit", ["gallery fit vae"]),
        ("fit vae --data mnis:grey", ["'mnis'", "mnist"]),
        ("fit vae --data digits", ["pixel transform", "digits:grey"]),
        ("fit vae --data digits:gray", ["grey"]),
        ("fit vae --data mnist:grey", ["gallery data download mnist", "GALLERY_DATA"]),
        ("fit vae --data nothing/here.npz", ["nothing/here.npz"]),
        ("fit linear_regression --latent-dim 3", ["--latent-dim", "--help"]),
        ("fit vae --data digits:grey --latnt-dim 3", ["--latnt-dim", "--latent-dim"]),
        ("fit vae --data digits:grey --likelihood bernoulli", ["{0, 1}", "digits:threshold", "continuous_bernoulli"]),
        ("fit vae --data digits:grey --likelihood bernouli", ["bernoulli"]),
        ("fit vae --data digits:grey --epochs 0", ["epochs", "at least 1"]),
        ("fit vae --data digits:grey --epochs many", ["--epochs", "int"]),
        ("fit vae --data digits:grey --lr -1", ["lr", "positive"]),
        ("fit vae --data digits:grey --latent-dim 0", ["latent_dim", "at least 1"]),
        ("fit vae --data digits:grey --hidden 0", ["hidden", "at least 1"]),
        ("fit vae --data digits:grey --dropout 2", ["dropout", "0 and 1"]),
        ("fit vae --data digits:grey --scale -1 --likelihood gaussian", ["scale", "positive"]),
        ("fit vae --data digits:grey --device abacus", ["abacus"]),
        ("fit vae --data digits:grey --objective enum", ["no discrete latent"]),
        ("fit vae --data digits:grey --objective elbow", ["trace"]),
        ("fit vae --data digits:grey --data-dim 10", ["(10,)", "(64,)"]),
        ("fit vae --no-compile", ["--no-compile", "Use --engine pyro."]),
        ("compare vae --compile", ["--compile", "Use --engine compiled."]),
        ("fit vae --engine fast", ["engine", "auto", "pyro", "graph", "compiled"]),
        ("compare hmm --objectives trace enum", ["unexpected 'enum'", "commas alone", "gallery compare --help"]),
        ("fit vae --recipe cvae", ["no recipe for vae", "gallery show vae"]),
        ("fit vae:slides", ["is a recipe", "gallery fit vae", "vae:slides"]),
        ("reproduce vae:slide", ["Did you mean 'vae:slides'", "gallery show MODEL"]),
        ("fit linear_regression --data digits:grey", ["1 covariate ", "labels"]),
        ("fit exponential_gaussian:per_datum --total 10", ["10 data", "2000"]),
        ("fit loaded_die --data digits:grey", ["one-hot"]),
        ("fit cvae --data factor_analysis", ["labels or covariates"]),
        ("fit cvae --data digits:grey --classes 5", ["0 to 4", "0 to 9"]),
        ("fit vae --data exponential_gaussian --likelihood bernoulli", ["{0, 1}"]),
        ("fit exponential_gaussian:normal", ["KL(guide || prior) is infinite", "[0, inf)"]),
        ("fit exponential_gaussian --data factor_analysis", ["shape (1,)", "(3,)"]),
        ("fit factor_analysis:fixed_variance --variance 0", ["variance", "positive"]),
        ("fit --from nothing.json --run run", ["nothing.json"]),
        ("fit mine.py:Mine", ["mine.py"]),
        ("resume nowhere", ["nowhere", "no run"]),
        ("evaluate nowhere", ["nowhere", "no run"]),
        ("data download digits", ["needs no download"]),
    ],
)
def test_bad_requests(refused, arguments, words):
    if arguments.startswith("fit ") and "--run" not in arguments:
        arguments += " --run run"
    refused(arguments, *words)


def _array(**arrays):
    return lambda path: np.savez(path, **arrays)


def _nan(path):
    x = np.full((20, 4), 0.5)
    x[3, 2] = np.nan
    np.savez(path, x=x)


class Executed:
    def __reduce__(self):
        return (print, ("a pickle was run",))


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (_nan, ["finite"]),
        (_array(x=np.zeros(20)), ["shape"]),
        (_array(x=np.zeros((0, 4))), ["at least one"]),
        (_array(x=np.full((20, 4), 7.0)), ["[0, 1]", ":real"]),
        (_array(y=np.zeros((20, 4))), ["x"]),
        (_array(x=np.array([Executed()] * 20, dtype=object)), ["object"]),
        (_array(x=np.full((20, 4), 0.5), labels=np.arange(7)), ["labels"]),
        (_array(x=np.full((20, 4), 0.5), labels=np.full(20, -1)), ["labels"]),
        (lambda path: path.write_bytes(b"PK\x03\x04 truncated"), ["bad.npz"]),
        (lambda path: path.write_bytes(b""), ["bad.npz"]),
    ],
)
def test_bad_arrays(refused, tmp_path, capsys, write, words):
    write(tmp_path / "bad.npz")
    refused("fit vae --data bad.npz:grey --run run", *words)
    assert "a pickle was run" not in capsys.readouterr().out


def test_truncated_idx_file(refused, tmp_path):
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-labels-idx1-ubyte").write_bytes(b"\x00\x00\x08\x01\x00\x00\xea\x60" + bytes(60000))
    (raw / "train-images-idx3-ubyte").write_bytes(b"\x00\x00\x08\x03\x00\x00\xea\x60" + bytes(1000))
    refused("fit vae --data mnist:grey --run run", "train-images-idx3-ubyte")
    (raw / "train-images-idx3-ubyte").write_bytes(gzip.compress(b"not an IDX file"))
    refused("fit vae --data mnist:grey --run run", "train-images-idx3-ubyte")


def test_debug_shows_the_traceback(run):
    assert "Traceback" not in run("fit", "vea")[2]
    assert "Traceback" in run("fit", "vea", "--debug")[2]


def test_version_is_that_of_the_distribution(run):
    assert run("--version")[:2] == (0, f"{importlib.metadata.version('latent-gallery')}\n")


@pytest.mark.parametrize(
    ("remedy", "words"),
    [
        (("batch_size", "200"), "Use --batch-size 200."),
        (("validation", True), "Use --validation."),
        (("validation", False), "Use --no-validation."),
        ("Fit more epochs.", "Fit more epochs."),
        (None, ""),
    ],
)
@pytest.mark.parametrize("kind", [RunError, InferenceError])
def test_a_remedy_is_a_flag(kind, remedy, words):
    assert message_of(kind("wrong.", remedy)) == f"wrong. {words}".strip()
    assert "--" not in str(kind("wrong.", remedy))


@pytest.mark.integration
def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "gallery", "fit", "vea"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"gallery: .*Did you mean 'vae'.*\n", done.stderr)


@pytest.mark.integration
@pytest.mark.parametrize(("arguments", "buffered"), [("show vae", True), ("show vae", False), ("data", True)])
def test_a_closed_pipe_is_no_error(arguments, buffered, monkeypatch):
    """As in `gallery show vae | head -0`: no traceback, and no message of Python at its exit."""
    monkeypatch.setenv("PYTHONUNBUFFERED", "" if buffered else "1")
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "gallery", *arguments.split()]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.integration
def test_training_rows_are_not_held_out(run):
    for validation in ("--validation", "--no-validation"):
        assert run("fit", "vae", "--data", "digits:threshold", *TINY, validation, "--run", f"run{validation}")[0] == 0
    kept, seen = (
        run("evaluate", f"run{way}", "--split", "validation", "--as-json")[1]
        for way in ("--validation", "--no-validation")
    )
    assert "k_hat" in json.loads(kept)["validation"]
    assert "k_hat" not in json.loads(seen)["validation"]
    code, _, err = run("evaluate", "run--validation", "--particles", 0)
    assert code == 2
    assert "--particles" in err


def test_a_run_without_figures_can_be_sampled_from(run, tmp_path):
    assert run("fit", "vae", "--data", "digits:threshold", *TINY, "--run", "run")[0] == 0
    shutil.rmtree(tmp_path / "run" / "figures")
    assert run("sample", "run")[0] == 0
    assert (tmp_path / "run" / "figures" / "sample.png").exists()


def test_one_class_among_the_held_out_rows_is_no_reason_to_stop(run, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "one.npz", x=rng.normal(size=(60, 2)), labels=np.zeros(60, int))
    assert run("fit", "gaussian_mixture", "--data", "one.npz:real", "--epochs", 1, "--run", "run")[0] == 0
    assert "clustering" not in json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("evaluate", "draws of the guide for each data point"),
        ("sample", "Number of draws."),
        ("check", "path/to/file.py:CLASS"),
        ("reproduce", "The first of them."),
        ("site", "every finished run"),
        ("fit vae", "weight of the KL"),
        ("compare vae", "Number of seeds"),
    ],
)
def test_help_explains_every_flag(run, command, words):
    _, out, _ = run(*command.split(), "--help")
    assert words in " ".join(re.sub("[│╭╰─╮╯]", " ", out).split())


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.integration
def test_a_file_that_changed_since_the_fit_is_refused_and_taken_as_other_data(run, tmp_path, split):
    pixels = np.random.default_rng(0).random((40, 9), dtype=np.float32)

    def write(train):
        np.savez(tmp_path / "own.npz", x=train, test_x=pixels[:20])

    write(pixels)
    file, folder = f"{tmp_path}/own.npz:grey", tmp_path / "r"
    assert run("fit", "vae", "--data", file, "--epochs", 1, "--run", folder)[0] == 0
    assert run("evaluate", folder, "--split", split)[0] == 0
    write(pixels[::-1])
    for command in (("evaluate", folder, "--split", split), ("sample", folder), ("export", folder, "--to", "onnx")):
        code, _, err = run(*command)
        assert code == 2
        assert err.count("\n") == 1
        assert "the training rows of" in err
    assert run("evaluate", folder, "--split", split, "--data", file)[0] == 0
