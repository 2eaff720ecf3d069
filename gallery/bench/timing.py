"""How long the steps of a case take, one contestant beside another: rounds in turn, medians, the same losses.

Every contestant starts from the same weights and takes the same minibatch sizes, estimator and rate. After the first
steps their losses have to agree, or nothing is measured: no speed is bought by skipping work. Then each takes its turn
in every round, so that what else the machine does meets them all.
"""

import copy
import importlib.util
import os
import statistics
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from gallery.bench import by_hand, floor, stock
from gallery.bench.cases import Case
from gallery.bench.stock import Turn
from gallery.errors import RunError
from gallery.runs.registry import constructor, model_class
from inference import SVI
from inference.fit.graph import UntraceableError
from inference.pairs.run import arguments

ROUNDS = 7
WARM = 20  # steps before those whose losses are compared, and as many of these

MEANINGS: dict[str, str] = {
    "pyro": "pyro.infer.SVI, data in memory",
    "pyro_loader": "pyro.infer.SVI, torch's DataLoader",
    "pyro_steps": "pyro.infer.SVI, a site per row",
    "graph": "SVI, the step as a graph",
    "compiled": "SVI, the graph compiled",
    "compiled_bf16": "the same, matrix products in bfloat16",
    "torch": "PyTorch by hand",
    "torch_compiled": "PyTorch by hand, compiled",
    "numpyro": "NumPyro, one step a call",
    "numpyro_scan": "NumPyro, 50 steps a call",
    "floor": "matrix products alone",
    "floor_bf16": "matrix products alone, in bfloat16",
}
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
}


def contestants(name: str, case: Case) -> dict[str, Callable[[], Turn]]:
    """How to make each contestant of the case, by its name in `MEANINGS`; all from the same weights."""
    torch.manual_seed(0)
    (x, given), pair = case.load(), case.build()

    def svi(mode: str, **settings: Any) -> SVI:
        fit = SVI(copy.deepcopy(pair), x, given, case.fit(**settings))
        fit.mode = mode
        return fit

    def ours(mode: str, **settings: Any) -> Turn:
        fit = svi(mode, **settings)
        return lambda steps: [fit.train_step() for _ in range(steps)]

    def pyro(source: Callable = stock.minibatches, model: str | None = None) -> Turn:
        own = case.build(model)
        own.load_state_dict(pair.state_dict())
        return stock.fitted(own, x, given, case.fit(), source)

    made: dict[str, Callable[[], Turn]] = {"pyro": pyro, "pyro_loader": lambda: pyro(stock.loaded)}
    if case.story:
        made["pyro_steps"] = lambda: pyro(model=case.story)
    made |= {"graph": lambda: ours("graph"), "compiled": lambda: ours("compiled")}
    if case.half:
        made["compiled_bf16"] = lambda: ours("compiled", precision="bfloat16")
    if case.model in by_hand.LOSSES:
        loss, data = by_hand.LOSSES[case.model], arguments(pair, x, given)
        made["torch"] = lambda: by_hand.fitted(loss, copy.deepcopy(pair), data, case.fit())
        made["torch_compiled"] = lambda: by_hand.fitted_compiled(loss, copy.deepcopy(pair), data, case.fit())
    if importlib.util.find_spec("numpyro"):
        from gallery.bench import in_numpyro

        if name in in_numpyro.PAIRS and in_numpyro.is_on(x.device):
            made["numpyro"] = lambda: in_numpyro.fitted(name, pair, x, case.fit())
            made["numpyro_scan"] = lambda: in_numpyro.fitted(name, pair, x, case.fit(), in_numpyro.STEPS)
    made["floor"] = lambda: floor.turn(floor.products(svi("graph")))
    if case.half:
        made["floor_bf16"] = lambda: floor.turn(floor.products(svi("graph", precision="bfloat16")))
    return made


def measure(name: str, case: Case, seconds: float = 2.0, only: Collection[str] = MEANINGS) -> dict[str, Any]:
    """What is said of a case in the JSON file; None where there is no such contestant.

    `ms_*` are medians over ROUNDS of milliseconds per step, and `spread` has the least and the greatest. `loss` is the
    mean in nats per data point over the steps that were compared. `compile_s` and `graph_s` are what the first step takes
    longer than others. `pays_after_steps` is the number after which compiling has made up for that against the graph,
    `pays_after_steps_pyro` against Pyro. `peak_mib_*` is of the tensors of a step, above those that rest between steps.

    :param seconds: for which each contestant is timed, in all its turns together
    :param only: the contestants that are measured
    :raises RunError: if their losses do not agree
    """
    turns: dict[str, Turn] = {}
    first: dict[str, float] = {}
    once: dict[str, float] = {}
    losses: dict[str, list[float]] = {}
    for key, make in contestants(name, case).items():
        if key not in only:
            continue
        with suppress(UntraceableError):  # there is no graph to read the products off
            turns[key] = make()
            first[key], start = _timed(turns[key], 1)
            start += turns[key](WARM)
            once[key], more = _timed(turns[key], WARM)
            if not key.startswith("floor"):
                losses[key] = [float(loss) for loss in (start + more)[: 1 + 2 * WARM]]
    _check(name, losses)

    rounds: dict[str, list[float]] = {key: [] for key in turns}
    for number in range(ROUNDS):
        for key in list(turns) if number % 2 else reversed(turns):
            steps = max(1, round(seconds / ROUNDS / once[key]))
            rounds[key].append(1e3 * _timed(turns[key], steps)[0])
    ms = {key: statistics.median(times) for key, times in rounds.items()}
    found: dict[str, Any] = {f"ms_{key}": ms.get(key) for key in MEANINGS}
    for ratio, (slow, fast) in RATIOS.items():
        found[ratio] = ms[slow] / ms[fast] if slow in ms and fast in ms else None
    for key in ("graph", "compiled", "torch_compiled"):
        found[f"{key}_s".replace("compiled_s", "compile_s")] = first[key] - ms[key] / 1e3 if key in ms else None
    found["pays_after_steps"] = _pays(found["compile_s"], found["graph_s"], ms, "graph")
    found["pays_after_steps_pyro"] = _pays(found["compile_s"], 0.0, ms, "pyro")
    found["loss"] = {key: statistics.fmean(values[-WARM:]) for key, values in losses.items()}
    found["spread"] = {key: [min(times), max(times)] for key, times in rounds.items()}
    of_torch = [key for key in turns if "numpyro" not in key and "floor" not in key]
    found |= {f"peak_mib_{key}": _peak(turns[key]) / 2**20 for key in of_torch}
    return found


def growth(
    name: str, case: Case, seconds: float = 2.0, only: Collection[str] = GROWTH
) -> dict[str, dict[str, dict[str, float]]]:
    """{what grows: {its value: {contestant: ms per step}}}: batch size, particles, components, steps of time."""
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
    for what, cases in sweeps.items():
        for value, other in cases.items():
            found = measure(name, other, seconds, only)
            grown.setdefault(what, {})[str(value)] = {key: found[f"ms_{key}"] for key in only}
    return grown


def _timed(turn: Turn, steps: int) -> tuple[float, list]:
    """(seconds per step, losses)"""
    start = time.perf_counter()
    losses = turn(steps)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / len(losses), losses


def _check(name: str, losses: dict[str, list[float]]) -> None:
    """Are the last losses of all contestants alike, as far as their noise lets one tell?

    Differences at the same step have no trend in them. Beside their standard error 2 % of what training gained is
    allowed for: the noise of a step stays in the weights.
    """
    (known, expected), *others = losses.items() if losses else [("", [])]
    for key, values in others:
        apart = [a - b for a, b in zip(values[-WARM:], expected[-WARM:], strict=True)]
        mean = statistics.fmean(apart)
        gained = abs(expected[0] - statistics.fmean(expected[-WARM:]))
        allowed = 5 * statistics.stdev(apart) / WARM**0.5 + 0.02 * gained
        if not abs(mean) <= allowed:
            raise RunError(
                f"{name}: the losses of {MEANINGS[key]} and of {MEANINGS[known]} differ by {mean:.4g} "
                f"nats per data point, where {allowed:.2g} could be noise: they do not do the same work."
            )


def _pays(compiling: float | None, other: float | None, ms: dict[str, float], key: str) -> int | None:
    """The number of steps after which compiling has paid; None if it never does."""
    if compiling is None or other is None or key not in ms or ms[key] <= ms["compiled"]:
        return None
    return max(0, round(1e3 * (compiling - other) / (ms[key] - ms["compiled"])))


def _peak(turn: Turn) -> int:
    """Bytes of tensors that a step needs above those that rest between steps, at the most."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        rest = torch.cuda.memory_allocated()
        turn(1)
        return torch.cuda.max_memory_allocated() - rest
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # that there is no GPU
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        turn(1)
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    used = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        used += event.nbytes()
        peak = max(peak, used)
    return peak
