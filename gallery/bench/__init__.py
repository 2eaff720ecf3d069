"""`gallery bench`: a step of this gallery beside stock Pyro, PyTorch by hand, NumPyro, and its matrix products alone.

cases.py        what is measured
stock.py        pyro.infer.SVI
by_hand.py      the same losses in plain PyTorch
in_numpyro.py   and in NumPyro, where it is installed (extra `bench`)
floor.py        the matrix products of the step
timing.py       contestants in turn
evaluation.py   a bound of many draws
report.py       the table in README
"""

import importlib.metadata
import importlib.util
import logging
import os
import platform
import sys
import time
import warnings
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch._inductor.utils import fresh_cache

from gallery.bench.cases import CASES, Case, case
from gallery.bench.evaluation import evaluation
from gallery.bench.report import for_terminal, table, under
from gallery.bench.timing import ROUNDS, growth, measure
from gallery.errors import RunError
from gallery.runs.system import processor
from inference import Settings
from inference.files import write_atomically

__all__ = ["CASES", "Case", "bench", "command", "growth", "measure", "table"]


def bench(names: Sequence[str] = (), seconds: float = 2.0, grow: bool = False) -> dict[str, Any]:
    """{model: what `measure` says of it}, with "hardware", "versions" and "how"; all CASES if none is named.

    Nothing compiled before is used, so compiling takes as long as the first time. What a process needs before it can
    compile anything is not counted for a model: it is told in `how`, in seconds.

    :param seconds: for which each contestant of a model is timed
    :param grow: with how the steps grow with batch size, particles, components and length: minutes more
    :raises RunError: if a model is not there, or the losses of contestants do not agree
    """
    chosen = {name: case(name) for name in names or CASES}
    content: dict[str, Any] = {"hardware": hardware(), "versions": versions()}
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # that there is no GPU
    with fresh_cache(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler about itself
        start = time.perf_counter()
        torch.compile(torch.neg)(torch.zeros(8, device=Settings().torch_device()))
        content["how"] = {
            "rounds": ROUNDS,
            "seconds": seconds,
            "started": time.strftime("%Y-%m-%d"),
            "first_compile_s": time.perf_counter() - start,
        }
        for name, of in chosen.items():
            print(f"{name} ...", file=sys.stderr)
            content[name] = measure(name, of, seconds) | (evaluation(of) if of.iwae else {})
            if grow:
                content[name]["growth"] = growth(name, of, seconds / 2)
            torch.compiler.reset()
    return content


def hardware() -> dict[str, Any]:
    """Names of processor and device, cores, and threads of torch."""
    device = Settings().torch_device()
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else str(device),
    }


def versions() -> dict[str, str]:
    """Of Python and of the packages that contend, where they are installed."""
    packages = {"torch": "torch", "pyro": "pyro-ppl", "numpyro": "numpyro", "jax": "jax"}
    found = {name: importlib.metadata.version(of) for name, of in packages.items() if importlib.util.find_spec(name)}
    return {"python": platform.python_version(), **found}


def command(
    names: Sequence[str] = (),
    json: Path | None = None,
    threads: int | None = None,
    seconds: float = 2.0,
    growth: bool = False,
) -> None:
    """`gallery bench`: prints the table and, if asked, writes the JSON file.

    :raises RunError: if the folder of the file is not there, or a number is not positive
    """
    if json is not None and not json.parent.is_dir():
        raise RunError(f"there is no folder {json.parent}: make it first.")
    if not seconds > 0 or (threads is not None and threads < 1):
        raise RunError(f"--seconds and --threads must be positive, not {seconds} and {threads}.")
    if threads is not None:
        torch.set_num_threads(threads)
    content = bench(names, seconds, growth)
    console = Console(width=140 if not sys.stdout.isatty() else None)
    console.print(for_terminal(content))
    console.print(under(content))
    if json is not None:
        write_atomically(json, (dumps(content, indent=2) + "\n").encode())
        print(json)
