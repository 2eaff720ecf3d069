"""Hostile command lines: an exit code, one line at most, and nothing written elsewhere."""

import errno
import os
import random
import resource
import subprocess
import tempfile
from pathlib import Path

import pytest
from damage import command_line
from tiny_runs import tiny

import gallery
from gallery.cli.main import _largest_setting, main
from gallery.comparison.process import run_row
from gallery.runs import start
from gallery.runs.memory import describe_allocation
from inference import SVI, InferenceError
from inference.files import is_temporary
from inference.fit.guard import DivergenceError

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A finished run of the smallest model."""
    folder = tmp_path_factory.mktemp("fitted") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gallery.figures.draw", lambda *_, **__: [])
        start(tiny("exponential_gaussian", "exponential_gaussian", {}, epochs=1, batch_size=1000), folder)
    return folder


@pytest.fixture
def short(monkeypatch, no_figures):
    """A fit ends after two steps, also that of the first row of a comparison, as if by Ctrl-C."""
    train_steps = SVI.train_steps

    def two_steps(self, most):
        if self.step == 2:
            raise KeyboardInterrupt
        return train_steps(self, 1)

    def first_row(calls, jobs, log):
        run_row(*calls[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(SVI, "train_steps", two_steps)
    monkeypatch.setattr("gallery.comparison._run_calls", first_row)


def check_lines(fitted, capsys, seeds):
    around = {path.name for path in Path("..").iterdir()}
    Path("mine.py").write_text("from gallery.models.vae import VAE\n\n\nclass Mine(VAE):\n    pass\n")
    for seed in seeds:
        words = command_line(random.Random(seed), fitted)
        code = main(words)
        err = capsys.readouterr().err
        assert code in (0, 2, 130) or (words[0], code) == ("grade", 1), words
        assert err.count("\n") == (code > 1), (words, err)
    assert {path.name for path in Path("..").iterdir()} == around


def test_random_command_lines(fitted, short, capsys):
    check_lines(fitted, capsys, range(8))


@pytest.mark.slow
def test_2000_random_command_lines(fitted, short, capsys):
    check_lines(fitted, capsys, range(8, 2008))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("fit vae --data digits:threshold --hidden 1000000000", ["hidden 1000000000", "GiB", "smaller hidden"]),
        ("fit vae --data digits:threshold --latent-dim 100000000000", ["latent_dim", "GiB"]),
        (
            "fit vae --data digits:threshold --data-dim 9223372036854775808",
            ["data_dim", "more weights than any memory"],
        ),
        ("fit cvae --data digits:threshold --classes 1000000000000", ["classes"]),
        ("fit exponential_gaussian --particles 9223372036854775807", ["particles must be at most"]),
        ("fit exponential_gaussian --seed 9223372036854775808", ["seed"]),
        ("evaluate RUN --particles 9223372036854775807", ["--particles"]),
        ("evaluate RUN --particles 100000000000000", ["--particles", "GiB"]),
        ("sample RUN --out x.npz --n 9223372036854775807", ["--n"]),
        ("sample RUN --out x.npz --seed 9223372036854775808", ["--seed"]),
        ("compare exponential_gaussian --guides semi:1000000000", ["STEPS must be at most"]),
        ("compare exponential_gaussian --seeds 9223372036854775807", ["seeds"]),
        ("new " + "a" * 300, ["name"]),
        ("reproduce gaussian_mixture --ledger /", ["--ledger is a file"]),
        ("reproduce gaussian_mixture --ledger .", ["--ledger is a file"]),
        ("fit " + "a" * 300 + ".py:X --data line", ["too long"]),
        ("bench --json /", ["/"]),
    ],
)
def test_sizes_and_names_are_refused_in_one_line(fitted, short, capsys, command, words):
    assert main(command.replace("RUN", str(fitted)).split()) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err
    for word in words:
        assert word in err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("can't allocate memory: you tried to allocate 4294967296 bytes."), "4.0 GiB"),
        (MemoryError("Unable to allocate 7.45 GiB for an array"), "7.45 GiB"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), "2.00 GiB"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
        (KeyError("x"), None),
    ],
)
def test_an_allocation_that_failed_is_told_from_other_errors(error, words):
    line = describe_allocation(error)
    assert (line is None) if words is None else words in line


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        ("fit state_space --batch-size 20 --objective fivo:1000 --seed 12345 --run 2026", "--objective"),
        ("compare hmm --objectives=enum,iwae:1000000 --epochs 3", "--objectives"),
        ("fit vae --hidden 9000,10 --latent-dim 100", "--hidden"),
        ("fit vae --data 7", None),
    ],
)
def test_what_takes_more_than_there_is_names_the_largest_size(command, flag):
    assert _largest_setting(command.split()) == flag


# files and output that the system refuses


@pytest.mark.parametrize(
    "command", ["sample RUN --n 500 --out x.npz", "show vae --diagram x.svg", "new mine", "evaluate RUN --particles 2"]
)
def test_a_limit_on_the_size_of_files_is_one_line(fitted, capsys, command, monkeypatch):
    """A real one, of the system: EFBIG. What only reads is not affected."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        code = main(command.replace("RUN", str(fitted)).split())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    err = capsys.readouterr().err
    assert (code, err.count("\n")) == ((0, 0) if command.startswith("evaluate") else (2, 1)), err
    assert [path for path in Path().rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_is_one_line(fitted, capsys, monkeypatch, code):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    commands = (
        "sample RUN --out x.npz",
        "export RUN --to arviz --n 2 --draws 2",
        "fit exponential_gaussian --overwrite --run RUN",
        "fit exponential_gaussian --run new",
        "site --out site",
        "reproduce gaussian_mixture",
        "compare exponential_gaussian --objectives trace --seeds 1 --jobs 1 --out compared",
        "resume RUN",
        "export RUN --to onnx --n 2",
        "sample RUN",
        "show vae --diagram x.svg",
        "lesson 1",
        "new mine",
    )
    (fitted / "metrics.json").rename(fitted / "kept")  # so that there is something to resume
    for command in commands:
        assert main(command.replace("RUN", str(fitted)).split()) == 2, command
        err = capsys.readouterr().err
        assert err.count("\n") == 1, (command, err)
        assert os.strerror(code) in err, (command, err)
    (fitted / "kept").rename(fitted / "metrics.json")
    with pytest.raises(InferenceError, match=os.strerror(code)):
        gallery.load(fitted).save("copy")


class Full:
    """A disk on which `room` bytes are left for the files of this process."""

    def __init__(self, patch, room):
        self.room, self.temporary = room, tempfile.NamedTemporaryFile
        patch.setattr("tempfile.NamedTemporaryFile", self.opened)

    def opened(self, *args, **kept):
        file = self.temporary(*args, **kept)
        write = file.file.write

        def limited(content):
            if len(content) > self.room:
                write(content[: self.room])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.room -= len(content)
            return write(content)

        file.write = limited
        return file


FIT = "fit factor_analysis --epochs 1 --run new"


@pytest.mark.parametrize("command", ["sample RUN --n 500 --out x.npz", "show vae --diagram x.svg", "new mine", FIT])
@pytest.mark.parametrize("room", [0, 60, 600])
def test_a_disk_that_fills_is_one_line_and_leaves_nothing(fitted, capsys, monkeypatch, no_figures, command, room):
    with monkeypatch.context() as patch:
        Full(patch, room)
        code = main(command.replace("RUN", str(fitted)).split())
    err = capsys.readouterr().err
    assert (code, err.count("\n")) == (2, 1), err
    assert "No space left on device" in err
    assert {path.name for path in Path().rglob("*") if path.is_file()} <= {".lock"}
    assert command != FIT or main(command.split()) == 0


def test_a_first_step_that_fails_leaves_no_run_beside_tensorboard(capsys, monkeypatch, no_figures):
    pytest.importorskip("tensorboard", reason="pip install latent-gallery[tensorboard]")

    def fails(*_):
        raise DivergenceError("the loss is not finite.", "Use a smaller lr.")

    command = ["fit", "loaded_die", "--epochs", "1", "--run", "new", "--tensorboard"]
    with monkeypatch.context() as patch:
        patch.setattr("inference.fit.svi.StepRunner.run", fails)
        assert main(command) == 2
    assert capsys.readouterr().err == "gallery: the loss is not finite. There is no checkpoint. Use a smaller lr.\n"
    assert {path.name for path in Path().rglob("*") if path.is_file()} <= {".lock"}
    assert main(command) == 0


@pytest.mark.parametrize("room", [6_000, 20_000])
def test_a_disk_that_fills_during_a_fit_leaves_a_run_that_resumes(capsys, monkeypatch, no_figures, room):
    """There is room for run.json and some checkpoints, which replace each other."""
    command = "fit factor_analysis --epochs 40 --batch-size 1000 --run new"
    with monkeypatch.context() as patch:
        Full(patch, room)
        patch.setattr("gallery.runs.loop.EPOCH_SECONDS", 0.0)
        assert main(command.split()) == 2
    assert capsys.readouterr().err.count("\n") == 1
    left = {path.name for path in Path("new").iterdir()} - {".lock"}
    assert left in (set(), {"run.json", "history.jsonl", "checkpoint.safetensors"}), left
    assert main(["resume", "new"] if left else command.split()) == 0
    assert main(["evaluate", "new", "--particles", "2"]) == 0


@pytest.fixture
def small_disk():
    """A file system of 256 kB that is real."""
    folder = tempfile.mkdtemp()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True)
    if made.returncode:
        pytest.skip("no file system can be mounted here")
    yield Path(folder)
    subprocess.run(["umount", folder], check=True)
    Path(folder).rmdir()


@pytest.mark.integration
@pytest.mark.parametrize(
    "command",
    [
        "fit exponential_gaussian --epochs 2 --run DISK/new",
        "compare factor_analysis --objectives trace --seeds 1 --jobs 1 --epochs 1 --out DISK/new",
        "sample RUN --n 200000 --out DISK/x.npz",
        "export RUN --to arviz --n 90 --draws 300 --out DISK/draws.nc",
        "site --runs RUN/.. --out DISK/site",
    ],
)
@pytest.mark.parametrize("room", [0, 4096, 16384, 65536])
def test_a_real_disk_that_is_full_is_one_line(fitted, small_disk, capsys, no_figures, command, room):
    (small_disk / "filling").write_bytes(bytes(256 * 1024 - 8192 - room))  # two pages are of folders
    code = main(command.replace("RUN", str(fitted)).replace("DISK", str(small_disk)).split())
    err = capsys.readouterr().err
    assert code in (0, 2)
    assert err.count("\n") == (code == 2), err
    assert code == 0 or "No space left on device" in err or "cannot be" in err
    for path in small_disk.rglob("*"):
        assert not is_temporary(path)
        assert path.name != "x.npz" or code == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", ["show vae", "data", "fit vae --help", "evaluate RUN --particles 2"])
def test_output_to_a_full_device_is_one_line(fitted, monkeypatch, capsys, command):
    with open("/dev/full", "w") as full, monkeypatch.context() as patch:
        patch.setattr("sys.stdout", full)
        code = main(command.replace("RUN", str(fitted)).split())
    assert (code, capsys.readouterr().err) == (2, "gallery: cannot write the output: No space left on device.\n")
