"""Time a step of this gallery beside stock Pyro, plain PyTorch, NumPyro, and its matrix products alone.

cases.py          models, data and settings
stock.py          pyro.infer.SVI
plain_pytorch.py  the same losses in plain PyTorch
numpyro_svi.py    and in NumPyro, where it is installed (extra `bench`)
floor.py          the matrix products of the step
timing.py         the measurement of the contestants, in turn
evaluation.py     the time of IWAE-k with large k
whole_fits.py     the time of whole fits, beside script.py: the same fit by stock Pyro or NumPyro; of the demo
first_step.py     the script of that: the first compiled step of a process
step_profile.py   the parts of a compiled step
report.py         the tables
bars.py           what has to be reached
"""

import importlib.metadata
import importlib.util
import logging
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch._inductor.utils import fresh_cache

from gallery.bench.cases import CASES, Case, case
from gallery.bench.evaluation import time_iwae
from gallery.bench.report import table
from gallery.bench.step_profile import profile_step
from gallery.bench.timing import ROUNDS, growth, measure
from gallery.bench.whole_fits import time_demo, time_fits, time_second_process
from gallery.errors import RunError
from gallery.runs.system import processor
from inference import Settings
from inference.products import choose_products

__all__ = ["CASES", "Case", "bench", "growth", "hardware", "measure", "table", "versions"]


def bench(
    names: Sequence[str] = (),
    seconds: float = 2.0,
    grow: bool = False,
    whole_fits: bool = False,
    profile: bool = False,
    device: str = "auto",
) -> dict[str, Any]:
    """Measure the steps of models.

    The compiler starts with an empty cache, so that each model is compiled as if for the first time. The time of the
    first compilation in a process, of a trivial function, does not count for a model: it is "first_compile_s" in "how",
    in seconds.

    :param names: of cases or models of the gallery; all CASES if empty
    :param seconds: for which each contestant of a model is timed
    :param grow: also measure how the steps grow with batch size, particles, components and length: minutes more
    :param whole_fits: also measure `time_fits` and `time_demo`, and first steps of second processes: minutes more
    :param profile: also measure the parts of the compiled step, as `profile_step` does: minutes more
    :param device: of the steps, as in `inference.Settings`
    :return: {model: the result of `measure`}, with "hardware", "versions" and "how"
    :raises RunError: if there is no such model, or the losses of contestants do not agree
    """
    chosen = {name: _on(case(name), device) for name in names or CASES}
    target = Settings(device=device).torch_device()
    content: dict[str, Any] = {"hardware": hardware(device), "versions": versions()}
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns that there is no GPU
    with fresh_cache(), _no_libraries(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler warns about itself
        start = time.perf_counter()
        torch.compile(torch.neg)(torch.zeros(8, device=target))
        content["how"] = {
            "rounds": ROUNDS,
            "seconds": seconds,
            "started": time.strftime("%Y-%m-%d"),
            "first_compile_s": time.perf_counter() - start,
            "products": choose_products("auto", target, torch.float32),
        }
        for name, chosen_case in chosen.items():
            print(f"{name} ...", file=sys.stderr)
            content[name] = measure(name, chosen_case, seconds)
            if chosen_case.iwae:
                content[name] |= time_iwae(chosen_case)
            if whole_fits and content[name]["ms_compiled"] is not None and target.type == "cpu":
                content[name] |= time_second_process(name)
            if profile:
                content[name]["profile"] = profile_step(chosen_case, seconds)
            if grow:
                content[name]["growth"] = growth(name, chosen_case, seconds / 2)
            torch.compiler.reset()
    if whole_fits:
        content["whole_fits"] = time_fits()
        try:
            demo = time_demo()
        except RunError as error:  # as without a network
            demo = None
            print(f"make demo is left out: {error}", file=sys.stderr)
        if demo is not None:
            content["whole_fits"]["make demo"] = demo
    return content


def _on(chosen: Case, device: str) -> Case:
    return replace(chosen, settings=chosen.settings | {"device": device})


@contextmanager
def _no_libraries() -> Iterator[None]:
    """Keep compiled steps in a new folder, so that none is there yet."""
    before = os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        try:
            yield
        finally:
            del os.environ["XDG_CACHE_HOME"]
            if before is not None:
                os.environ["XDG_CACHE_HOME"] = before


def hardware(device: str = "auto") -> dict[str, Any]:
    """Return the names of processor and device, its widest instructions, the number of cores, and the threads of torch.

    :param device: as in `inference.Settings`
    """
    target = Settings(device=device).torch_device()
    return {
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if target.type == "cuda" else str(target),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the measured packages that are installed."""
    packages = {"torch": "torch", "pyro": "pyro-ppl", "numpyro": "numpyro", "jax": "jax"}
    installed = {name: package for name, package in packages.items() if importlib.util.find_spec(name)}
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(package) for name, package in installed.items()},
    }
