"""Damage to the files of a run, and hostile command lines, drawn at random."""

import copy
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gallery.errors import RunError
from inference import InferenceError

__all__ = ["VALUES", "command_line", "damage", "leaves", "outcome", "put"]

VALUES: list[Any] = [1.5, -1, None, [], {}, "", "x", True, float("nan"), float("inf"), 10**30, [None], "\0", "é" * 300]


def leaves(content: Any, path: tuple = ()) -> list[tuple]:
    """The paths of all values in JSON content, containers included."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [path] * bool(path) + [leaf for key, value in items for leaf in leaves(value, (*path, key))]


def put(content: Any, path: tuple, value: Any) -> Any:
    """JSON content with another value at a path."""
    content = copy.deepcopy(content)
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return content


def _flip(whole: bytes, rng: random.Random) -> bytes:
    changed = bytearray(whole)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _value(whole: bytes, rng: random.Random) -> bytes:
    """Another value in one JSON text of the file, which has one a line or is one."""
    try:
        texts = [json.loads(whole)]
    except ValueError:
        texts = [json.loads(line) for line in whole.splitlines()]
    at = rng.randrange(len(texts))
    texts[at] = put(texts[at], rng.choice(leaves(texts[at])), rng.choice(VALUES))
    return "\n".join(map(json.dumps, texts)).encode()


def _without_lines(whole: bytes, rng: random.Random) -> bytes:
    lines = whole.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    return b"".join(lines)


BYTES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flip": _flip,
    "truncate": lambda whole, rng: whole[: rng.randrange(len(whole))],
    "empty": lambda whole, rng: b"",
    "noise": lambda whole, rng: rng.randbytes(len(whole)),
    "deep": lambda whole, rng: b"[" * 100_000,
    "twice": lambda whole, rng: whole + whole,
}
TEXT = BYTES | {"value": _value, "lines": _without_lines}


def damage(folder: Path, other: Path, rng: random.Random) -> str:
    """Damage one file of a run at random, and return what was done.

    :param other: a run with another seed, whose files may take the place of this one's
    """
    path = rng.choice(sorted(p for p in folder.iterdir() if p.is_file() and p.name != ".lock"))
    kinds = BYTES if path.suffix == ".safetensors" else TEXT
    kind = rng.choice([*kinds, *(["value"] * 4 if "value" in kinds else []), "swap", "folder", "link"])
    if kind == "swap":
        shutil.copy(other / path.name, path)
    elif kind in ("folder", "link"):
        path.unlink()
        path.mkdir() if kind == "folder" else path.symlink_to(folder / "nothing")
    else:
        path.write_bytes(kinds[kind](path.read_bytes(), rng))
    return f"{kind} of {path.name}"


def outcome(action: Callable[[], Any]) -> tuple[Any, str | None]:
    """(result, None), or (None, the line of the refusal)."""
    try:
        return action(), None
    except (RunError, InferenceError) as error:
        line = str(error)
    assert "\n" not in line
    return None, line


NUMBERS = [
    "0",
    "-1",
    "1",
    "1.5",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "9223372036854775807",
    "9223372036854775808",
    "10" * 40,
]
WORDS = ["", "x", "é\u202e", "a" * 300, "../..", "/", "/dev/null", "[b]", "none", "true", "--", "-", "x:y:z", "\n"]
FIT = ("exponential_gaussian", "linear_regression", "vae", "hmm", "gaussian_mixture", "nothing", "mine.py:Mine", "/")
SIZES = [
    "--epochs",
    "--batch-size",
    "--particles",
    "--seed",
    "--lr",
    "--beta",
    "--warmup",
    "--adam-beta2",
    "--final-temperature",
]
COMMANDS: dict[str, tuple[tuple[str, ...], list[str]]] = {  # the command with its argument, and its flags
    "fit": (FIT, [*SIZES, "--objective", "--device", "--data", "--optimiser", "--precision", "--latent-dim", "--hidden",
                  "--data-dim", "--total", "--classes", "--recipe", "--lr-schedule", "--engine", "--states", "--run"]),
    "evaluate": (("RUN", "nowhere"), ["--split", "--particles", "--at-a-time", "--data"]),
    "sample": (("RUN", "nowhere"), ["--n", "--seed", "--out"]),
    "export": (("RUN",), ["--to", "--n", "--draws", "--seed", "--split", "--out", "--data"]),
    "resume": (("RUN", "nowhere", "/"), ["--trust"]),
    "new": (("mine", "a" * 300, "class", "é", "/"), ["--out"]),
    "show": (("vae", "nothing", "a" * 300 + ".py:X"), ["--of", "--data"]),
    "reproduce": (("nothing",), ["--seeds", "--first-seed", "--ledger", "--out"]),
    "compare": (("exponential_gaussian",), ["--objectives", "--guides", "--samplers", "--seeds", "--eval-draws"]),
    "data": (("download",), ["--x"]),
    "check": (("nothing", "mine.py:Mine", "a" * 5000), ["--data", "--objective"]),
    "site": (("--runs",), ["--out"]),
    "summary": (("RUN", "nowhere", "/"), ["--seed"]),
    "lesson": (("1", "0", "-1", "10" * 40, "x"), ["--out"]),
    "grade": (("nowhere.ipynb", "mine.py", "/", "a" * 300), ["--lesson"]),
    "list": (("x",), ["--x"]),
    "demo": (("--overwrite",), ["--out"]),
    "bench": (("nothing",), ["--threads", "--seconds", "--json"]),
}  # fmt: skip


def command_line(rng: random.Random, run: Path) -> list[str]:
    """A command line with hostile values.

    :param run: a finished run
    """
    name = rng.choice([*COMMANDS, "fit", "fit", "evaluate", "sample"])
    arguments, flags = COMMANDS[name]
    argument = rng.choice(arguments)
    words = [name, str(run) if argument == "RUN" else argument]
    for flag in rng.sample(flags, min(len(flags), rng.choice([1, 1, 2, 3]))):
        words += [flag, rng.choice(NUMBERS if rng.random() < 0.7 else WORDS)]
    return words


SETTINGS = {"epochs": 3, "batch_size": 1000}


class Stop:
    """A listener that ends a fit after a step, as Ctrl-C twice would."""

    def begin(self, svi, run):
        pass

    def step(self, step, loss):
        if step == 5:
            raise KeyboardInterrupt

    def epoch(self, line):
        pass

    def close(self):
        pass


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and p.name != ".lock"}
