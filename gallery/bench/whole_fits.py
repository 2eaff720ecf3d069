"""The time of a whole fit, from the start of its process to its files, beside scripts of stock Pyro and of NumPyro.

And that of `make demo` in a new clone, and of the first step of a process that finds the compiled step on disk.
"""

import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from data import describe
from gallery.errors import RunError

__all__ = ["FITS", "fits_table", "time_demo", "time_fits", "time_second_process"]

ROUNDS = 3
ROOT = Path(__file__).parents[2]
COLUMNS = {
    "cold": "`gallery fit`, no cache",
    "warm": "`gallery fit`, warm cache",
    "pyro": "script of stock Pyro",
    "numpyro": "script of NumPyro",
}

FITS: dict[str, dict[str, str]] = {
    "factor_analysis": {"model": "factor_analysis"},
    "vae, digits": {"model": "vae", "data": "digits:dequantized"},
    "vae, one epoch of MNIST": {"model": "vae", "data": "mnist:dequantized", "epochs": "1"},
}
"""By title: model, and the data and epochs that differ from its recipe."""


def time_fits(rounds: int = ROUNDS) -> dict[str, dict[str, Any]]:
    """Measure whole fits: medians of rounds in turn, in seconds.

    `gallery fit` evaluates after every epoch and at the end, and draws its pictures; the scripts do neither. It starts
    once without any cache of compiled steps, and then with the one that it has left. A fit whose data are not on this
    machine is left out.

    :return: title -> {"cold", "warm", "pyro", "numpyro", "spread"}; "numpyro" where it is installed; "spread" has the
        least and the greatest of the rounds of each
    :raises RunError: if one of the programs fails
    """
    scripts = ["pyro", *(["numpyro"] if importlib.util.find_spec("numpyro") else [])]
    measured: dict[str, dict[str, Any]] = {}
    missing = {entry.name for entry in describe() if not entry.available}
    for title, fit in FITS.items():
        if fit.get("data", "").partition(":")[0] in missing:
            continue
        model, flags = fit["model"], {name: value for name, value in fit.items() if name != "model"}
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            os_cache = {"XDG_CACHE_HOME": folder, "TORCHINDUCTOR_CACHE_DIR": str(here / "inductor")}
            options = [f"--{name}={value}" for name, value in flags.items()]
            seconds: dict[str, list[float]] = {"cold": [], "warm": [], **{script: [] for script in scripts}}
            for i in range(rounds + 1):
                command = ["-m", "gallery", "fit", model, *options, "--run", str(here / f"run-{i}")]
                seconds["warm" if i else "cold"].append(_seconds(command, os_cache))
                for script in scripts if i else []:
                    flags_of_script = [f"{name}={value}" for name, value in flags.items()]
                    losses = str(here / f"{script}-{i}.json")
                    seconds[script].append(
                        _seconds(["-m", "gallery.bench.script", script, model, losses, *flags_of_script], os_cache)
                    )
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        measured[title] = medians | {"spread": {name: [min(values), max(values)] for name, values in seconds.items()}}
    return measured


def time_demo(rounds: int = ROUNDS) -> dict[str, Any] | None:
    """Measure `make demo` in new clones of this checkout, from no environment to its page, in seconds.

    A first one, which is not counted, leaves the packages in the cache of pip.

    :return: "warm", the median over rounds, and "spread", as of `time_fits`; "profile", the shares of installation and
        demo; None outside a checkout
    :raises RunError: if a program fails
    """
    if not (ROOT / ".git").exists() or not all(shutil.which(program) for program in ("git", "make")):
        return None
    warm, installation = [], []
    for i in range(1 + rounds):
        with tempfile.TemporaryDirectory() as folder:
            _run(["git", "clone", "--quiet", str(ROOT), folder])
            parts = []
            for goal in (".venv/installed", "demo"):
                start = time.perf_counter()
                _run(["make", "-C", folder, goal, f"PYTHON={sys.executable}"])
                parts.append(time.perf_counter() - start)
        if i:
            warm.append(sum(parts))
            installation.append(parts[0])
    share = statistics.median(installation) / statistics.median(warm)
    return {
        "warm": statistics.median(warm),
        "spread": {"warm": [min(warm), max(warm)]},
        "profile": {"installation of the packages": share, "the demo": 1 - share},
    }


def time_second_process(name: str, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure the first step of further processes, after one has put the compiled step of a case on disk.

    :return: "second_process_s", the median over processes in seconds, from a pair and its data in memory to the loss of
        the first step; "second_process_spread", the least and the greatest
    :raises RunError: if a process fails
    """
    command = [sys.executable, "-m", "gallery.bench.first_step", name]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # the library is made for that number
    _, *seconds = (json.loads(_run(command, threads))["first_step"] for _ in range(1 + rounds))
    return {"second_process_s": statistics.median(seconds), "second_process_spread": [min(seconds), max(seconds)]}


def fits_table(measured: dict[str, dict[str, Any]]) -> str:
    """Return the table of `time_fits` in Markdown: medians, with the least and the greatest where they differ."""
    lines = [["seconds", *COLUMNS.values()], ["---"] * (1 + len(COLUMNS))]
    for title, seconds in measured.items():
        lines.append([title, *(_cell(seconds, name) for name in COLUMNS)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(seconds: dict[str, Any], name: str) -> str:
    if name not in seconds:
        return "-"
    least, greatest = seconds.get("spread", {}).get(name, (0.0, 0.0))
    return f"{seconds[name]:.3g}" + (f" ({least:.3g} to {greatest:.3g})" if greatest > least else "")


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    """Run Python with these arguments; return the time until it ends, in seconds."""
    start = time.perf_counter()
    _run([sys.executable, *command], environment)
    return time.perf_counter() - start


def _run(command: list[str], environment: dict[str, str] | None = None) -> str:
    """Run a command; return what it prints.

    :raises RunError: if it fails
    """
    done = subprocess.run(command, env=os.environ | (environment or {}), capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        name = " ".join([Path(command[0]).name, *command[1:]])
        raise RunError(f"`{name}` failed: {last} Run it alone to see the whole message.")
    return done.stdout
