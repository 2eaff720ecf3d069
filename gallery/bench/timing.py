"""Time the steps of a case for several contestants: medians over rounds in turn, after a check that losses agree.

Every contestant starts from the same weights, with the same minibatch size, estimator and learning rate. After the
first steps their losses must agree, or nothing is measured: no contestant gains speed by skipping work. Then all take
turns in every round, so that other work of the machine affects them alike.
"""

import copy
import importlib.util
import os
import statistics
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from gallery.bench import floor, plain_pytorch, stock
from gallery.bench.cases import Case
from gallery.bench.stock import Stepper
from gallery.errors import RunError
from gallery.runs.registry import constructor, model_class
from inference import SVI
from inference.fit.graph import UntraceableError
from inference.fit.step import Mode
from inference.pairs.run import arguments
from inference.pairs.streams import seeded
from inference.products import choose_products, has_bfloat16, using_products

__all__ = ["GROWTH", "LABELS", "ONEDNN", "ROUNDS", "contestants", "growth", "measure"]

ROUNDS = 7
WARMUP = 20  # steps before those whose losses are compared, and the number of the compared steps

LABELS: dict[str, str] = {
    "pyro": "pyro.infer.SVI, data in memory",
    "pyro_loader": "pyro.infer.SVI, torch's DataLoader",
    "pyro_steps": "pyro.infer.SVI, a site per row",
    "graph": "SVI, the step as a graph",
    "compiled": "SVI, the graph compiled",
    "compiled_bf16": "the same, matrix products in bfloat16",
    "torch": "plain PyTorch",
    "torch_compiled": "plain PyTorch, compiled",
    "numpyro": "NumPyro, one step a call",
    "numpyro_scan": "NumPyro, 50 steps a call",
    "floor": "matrix products alone",
    "floor_bf16": "matrix products alone, in bfloat16",
    "compiled_default": "SVI, the graph compiled, torch's products",
    "pyro_onednn": "pyro.infer.SVI, data in memory, oneDNN's products",
    "torch_compiled_onednn": "plain PyTorch, compiled, oneDNN's products",
    "floor_onednn": "matrix products alone, by oneDNN",
}
ONEDNN = {"compiled_default", "pyro_onednn", "torch_compiled_onednn", "floor_onednn"}
"""Contestants that are measured where `inference.products` sends the products of SVI to oneDNN."""
GROWTH = ("pyro", "graph", "compiled", "floor")
RATIOS: dict[str, tuple[str, str]] = {
    "speedup_over_pyro": ("pyro", "compiled"),
    "speedup_over_pyro_loader": ("pyro_loader", "compiled"),
    "speedup_over_pyro_steps": ("pyro_steps", "compiled"),
    "speedup_over_graph": ("graph", "compiled"),
    "speedup_over_torch": ("torch", "compiled"),
    "speedup_over_torch_compiled": ("torch_compiled", "compiled"),
    "speedup_over_numpyro": ("numpyro", "compiled"),
    "speedup_over_numpyro_scan": ("numpyro_scan", "compiled"),
    "speedup_bf16_over_pyro": ("pyro", "compiled_bf16"),
    "times_floor": ("compiled", "floor"),
    "speedup_over_default": ("compiled_default", "compiled"),
    "speedup_over_pyro_onednn": ("pyro_onednn", "compiled"),
    "speedup_over_torch_compiled_onednn": ("torch_compiled_onednn", "compiled"),
    "times_floor_onednn": ("compiled", "floor_onednn"),
}


@dataclass
class _Steps:
    """The steps of a fit of this package."""

    fit: SVI

    def __call__(self, steps: int) -> list:
        losses: list = []
        while len(losses) < steps:
            losses += self.fit.train_steps(steps - len(losses))
        return losses


def contestants(name: str, case: Case) -> dict[str, Callable[[], Stepper]]:
    """Return a function that makes each contestant of a case, by its key in `LABELS`; all from the same weights."""
    with seeded(0, "bench"):
        (x, given), pair = case.load(), case.build()

    def svi(mode: Mode, **settings: Any) -> SVI:
        fit = SVI(copy.deepcopy(pair), x, given, case.fit(**settings))
        fit.runner.mode = mode
        return fit

    def ours(mode: Mode, **settings: Any) -> Stepper:
        return _Steps(svi(mode, **settings))

    def pyro(source: Callable = stock.minibatches, model: str | None = None) -> Stepper:
        copied = case.build(model)
        copied.load_state_dict(pair.state_dict())
        return stock.stepper(copied, x, given, case.fit(), source)

    made: dict[str, Callable[[], Stepper]] = {"pyro": pyro, "pyro_loader": lambda: pyro(stock.minibatches_of_loader)}
    if case.pyro_model:
        made["pyro_steps"] = lambda: pyro(model=case.pyro_model)
    made |= {"graph": lambda: ours("graph"), "compiled": lambda: ours("compiled")}
    half = case.bfloat16 and has_bfloat16(x.device)
    if half:
        made["compiled_bf16"] = lambda: ours("compiled", precision="bfloat16")
    if case.model in plain_pytorch.LOSSES:
        loss, data = plain_pytorch.LOSSES[case.model], arguments(pair, x, given)
        made["torch"] = lambda: plain_pytorch.stepper(loss, copy.deepcopy(pair), data, case.fit())
        made["torch_compiled"] = lambda: plain_pytorch.compiled_stepper(loss, copy.deepcopy(pair), data, case.fit())
    if importlib.util.find_spec("numpyro"):
        from gallery.bench import numpyro_svi

        if name in numpyro_svi.PAIRS and numpyro_svi.runs_on(x.device):
            made["numpyro"] = lambda: numpyro_svi.stepper(name, pair, x, case.fit())
            made["numpyro_scan"] = lambda: numpyro_svi.stepper(name, pair, x, case.fit(), numpyro_svi.STEPS)
    made["floor"] = lambda: floor.stepper(floor.products(svi("graph")))
    if half:
        made["floor_bf16"] = lambda: floor.stepper(floor.products(svi("graph", precision="bfloat16")))
    if choose_products("auto", x.device, x.dtype) == "onednn":
        made["compiled_default"] = lambda: ours("compiled", products="default")
        made |= {f"{key}_onednn": _by_onednn(made[key]) for key in ("pyro", "torch_compiled", "floor") if key in made}
    return made


def _by_onednn(make: Callable[[], Stepper]) -> Callable[[], Stepper]:
    """Return the same contestant with its products sent to oneDNN."""

    def made() -> Stepper:
        with using_products("onednn"):
            steps_of = make()

        def take_steps(steps: int) -> list:
            with using_products("onednn"):
                return steps_of(steps)

        return take_steps

    return made


def measure(name: str, case: Case, seconds: float = 2.0, only: Collection[str] = LABELS) -> dict[str, Any]:
    """Measure the contestants of a case.

    `ms_*` are medians over ROUNDS of milliseconds per step; `spread` has the least and the greatest. `loss` is the mean
    in nats per data point over the steps that were compared. `compile_s` and `graph_s` are the seconds that the first
    step takes longer than others, `cached_s` those of a fit that finds its compiled step on disk. The parts of
    `compile_s` are `trace_s`, `compiler_s` and `first_call_s`, the rest of the first step. `pays_after_steps` is
    the number of steps after which compiling has made up for that against the graph, `pays_after_steps_pyro` against
    Pyro. `peak_mib_*` is the memory of the tensors of a step, above those that rest between steps.

    :param seconds: for which each contestant is timed, in all its turns together
    :param only: the contestants that are measured
    :return: the entry of the case in the JSON file, with None where there is no such contestant
    :raises RunError: if their losses do not agree
    """
    steppers: dict[str, Stepper] = {}
    first: dict[str, float] = {}
    once: dict[str, float] = {}
    losses: dict[str, list[float]] = {}
    makers = {key: make for key, make in contestants(name, case).items() if key in only}
    for key, make in makers.items():
        with suppress(UntraceableError):  # there is no graph to read the products off
            steppers[key] = make()
            first[key], start = _timed(steppers[key], 1)
            start += steppers[key](WARMUP)
            once[key], more = _timed(steppers[key], WARMUP)
            if not key.startswith("floor"):
                losses[key] = [float(loss) for loss in (start + more)[: 1 + 2 * WARMUP]]
    _check(name, losses)

    rounds: dict[str, list[float]] = {key: [] for key in steppers}
    for number in range(ROUNDS):
        for key in list(steppers) if number % 2 else reversed(steppers):
            steps = max(1, round(seconds / ROUNDS / once[key]))
            rounds[key].append(1e3 * _timed(steppers[key], steps)[0])
    ms = {key: statistics.median(times) for key, times in rounds.items()}
    entry: dict[str, Any] = {f"ms_{key}": ms.get(key) for key in LABELS}
    for ratio, (slow, fast) in RATIOS.items():
        entry[ratio] = ms[slow] / ms[fast] if slow in ms and fast in ms else None
    for key in ("graph", "compiled", "torch_compiled"):
        entry[f"{key}_s".replace("compiled_s", "compile_s")] = first[key] - ms[key] / 1e3 if key in ms else None
    entry["cached_s"] = _timed(makers["compiled"](), 1)[0] - ms["compiled"] / 1e3 if "compiled" in ms else None
    if isinstance(compiled := steppers.get("compiled"), _Steps):
        parts = compiled.fit.runner.seconds
        entry["trace_s"], entry["compiler_s"] = parts.get("tracing"), parts.get("compiling")
        entry["first_call_s"] = entry["compile_s"] - sum(parts.values())
    entry["pays_after_steps"] = _pays(entry["compile_s"], entry["graph_s"], ms, "graph")
    entry["pays_after_steps_pyro"] = _pays(entry["compile_s"], 0.0, ms, "pyro")
    entry["loss"] = {key: statistics.fmean(values[-WARMUP:]) for key, values in losses.items()}
    entry["spread"] = {key: [min(times), max(times)] for key, times in rounds.items()}
    of_torch = [key for key in steppers if "numpyro" not in key and "floor" not in key]
    device = case.fit().torch_device()
    entry |= {f"peak_mib_{key}": _peak(steppers[key], device) / 2**20 for key in of_torch}
    return entry


def growth(
    name: str, case: Case, seconds: float = 2.0, only: Collection[str] = GROWTH
) -> dict[str, dict[str, dict[str, float]]]:
    """Time steps of growing batch size, number of particles, number of components, and length of the sequence.

    :return: {name of the size: {its value: {contestant: ms per step}}}
    """
    size, known = case.fit().batch_size, constructor(model_class(case.model))

    def fitted(**settings: int) -> Case:
        return replace(case, settings=case.settings | settings)

    def sized(**keywords: int) -> Case:
        return replace(case, keywords=case.keywords | keywords)

    sweeps = {
        "batch_size": {n: fitted(batch_size=n) for n in (size // 4, size, 4 * size)},
        "particles": {n: fitted(particles=n) for n in (1, 2, 4)},
    }
    if "components" in known:
        sweeps["components"] = {n: sized(components=n) for n in (5, 10, 20)}
    if "steps" in known and case.pixels:
        sweeps["steps"] = {n: sized(steps=n, data_dim=28 * n) for n in (7, 14, 28)}
    grown: dict[str, dict[str, dict[str, float]]] = {}
    for size_name, cases in sweeps.items():
        for value, other in cases.items():
            entry = measure(name, other, seconds, only)
            grown.setdefault(size_name, {})[str(value)] = {key: entry[f"ms_{key}"] for key in only}
    return grown


def _timed(take_steps: Stepper, steps: int) -> tuple[float, list]:
    """Take steps; return (seconds per step, losses)."""
    start = time.perf_counter()
    losses = take_steps(steps)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / len(losses), losses


def _check(name: str, losses: dict[str, list[float]]) -> None:
    """Check that the last losses of all contestants agree within their noise.

    The differences at the same step have no trend. Beside their standard error, 2 % of the decrease of the loss is
    allowed for: the noise of a step stays in the weights.

    :raises RunError: if the losses of two contestants differ by more
    """
    (known, expected), *others = losses.items() if losses else [("", [])]
    for key, values in others:
        apart = [a - b for a, b in zip(values[-WARMUP:], expected[-WARMUP:], strict=True)]
        mean = statistics.fmean(apart)
        gained = abs(expected[0] - statistics.fmean(expected[-WARMUP:]))
        allowed = 5 * statistics.stdev(apart) / WARMUP**0.5 + 0.02 * gained
        if not abs(mean) <= allowed:
            raise RunError(
                f"{name}: the losses of {LABELS[key]} and of {LABELS[known]} differ by {mean:.4g} "
                f"nats per data point, where {allowed:.2g} could be noise. They do not compute the same loss: correct "
                "one of them."
            )


def _pays(compiling: float | None, other: float | None, ms: dict[str, float], key: str) -> int | None:
    """Return the number of steps after which compiling has paid; None if it never does."""
    if compiling is None or other is None or key not in ms or ms[key] <= ms["compiled"]:
        return None
    return max(0, round(1e3 * (compiling - other) / (ms[key] - ms["compiled"])))


def _peak(take_steps: Stepper, device: torch.device | None = None) -> int:
    """Return the peak memory of a step in bytes of tensors, above those that rest between steps."""
    if device is not None and device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        rest = torch.cuda.memory_allocated()
        take_steps(1)
        return torch.cuda.max_memory_allocated() - rest
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it logs that there is no GPU
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        take_steps(1)
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    used = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        used += event.nbytes()
        peak = max(peak, used)
    return peak
