"""The tables of a benchmark, from the result of `bench` or its JSON file: in Markdown, and for a terminal."""

from typing import Any

from rich.table import Table

from gallery.bench.timing import LABELS
from gallery.bench.whole_fits import ROUNDS, fits_table

__all__ = ["caption", "for_terminal", "table"]

NOT_MODELS = ("hardware", "versions", "how", "devices", "whole_fits")
LINES: list[tuple[str, str, str]] = [
    *((label, f"ms_{key}", "{:.3g}") for key, label in LABELS.items()),
    ("compiled over Pyro", "speedup_over_pyro", "{:.2f}x"),
    ("compiled over Pyro, a site per row", "speedup_over_pyro_steps", "{:.2f}x"),
    ("compiled over plain PyTorch, compiled", "speedup_over_torch_compiled", "{:.2f}x"),
    ("compiled over NumPyro, one step a call", "speedup_over_numpyro", "{:.2f}x"),
    ("compiled over NumPyro, 50 steps a call", "speedup_over_numpyro_scan", "{:.2f}x"),
    ("compiled in bfloat16 over Pyro", "speedup_bf16_over_pyro", "{:.2f}x"),
    ("compiled step, in times of its products alone", "times_floor", "{:.2f}x"),
    ("compiled over torch's products", "speedup_over_default", "{:.2f}x"),
    ("compiled over Pyro, oneDNN's products", "speedup_over_pyro_onednn", "{:.2f}x"),
    ("compiled over plain PyTorch, compiled, oneDNN's products", "speedup_over_torch_compiled_onednn", "{:.2f}x"),
    ("compiled step, in times of its products alone, by oneDNN", "times_floor_onednn", "{:.2f}x"),
    ("tracing, s", "graph_s", "{:.2f}"),
    ("tracing and compiling, s", "compile_s", "{:.1f}"),
    ("of which tracing, s", "trace_s", "{:.2f}"),
    ("of which the compiler, s", "compiler_s", "{:.1f}"),
    ("of which the first call, s", "first_call_s", "{:.2f}"),
    ("tracing, with the compiled step on disk, s", "cached_s", "{:.2f}"),
    ("first step of a second process, s", "second_process_s", "{:.2f}"),
    ("steps until that has paid, against the graph", "pays_after_steps", "{}"),
    ("steps until that has paid, against Pyro", "pays_after_steps_pyro", "{}"),
    ("IWAE-k of one data point, compiled", "ms_iwae", "{:.3g}"),
    ("matrix products of IWAE-k alone", "ms_iwae_floor", "{:.3g}"),
    ("IWAE-k, in times of its products alone", "iwae_times_floor", "{:.2f}x"),
    ("k of IWAE-k", "iwae_k", "{}"),
    ("tensors of a step, MiB: Pyro", "peak_mib_pyro", "{:.3g}"),
    ("tensors of a step, MiB: compiled", "peak_mib_compiled", "{:.3g}"),
]
"""(label of the line, its key in the JSON of a model, format of the number)"""


def _lines(content: dict[str, Any]) -> list[list[str]]:
    """Return the cells: a line of model names, then the lines of numbers that any model has."""
    models = {name: entry for name, entry in content.items() if name not in NOT_MODELS and isinstance(entry, dict)}
    lines = [["", *models]]
    for title, key, form in LINES:
        cells = ["-" if entry.get(key) is None else form.format(entry[key]) for entry in models.values()]
        if set(cells) - {"-"}:
            lines.append([title, *cells])
    return lines


def caption(content: dict[str, Any]) -> str:
    """Return the units of the numbers, and the machine and versions that they were measured with."""
    hardware, versions, how = content["hardware"], content["versions"], content["how"]
    instructions = f" ({hardware['instructions']})" if "instructions" in hardware else ""
    return (
        f"Milliseconds per step, medians of {how['rounds']} rounds in turn. {hardware['processor']}{instructions}, "
        f"{hardware['cores']} cores, {hardware['threads']} threads, device {hardware['device']}; "
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}; {how['started']}. "
        f"Compiling is that of a model's step; the first in a process takes {how['first_compile_s']:.1f} s more."
        f"{PRODUCTS.get(how.get('products'), '')}"
    )


PRODUCTS = {
    "default": (
        " Float32 products are torch's own here, since the test product left its switch off: Pyro and plain PyTorch as "
        "users have them and with the same products coincide, and have one row."
    ),
    "onednn": (
        " Float32 products of SVI are oneDNN's here, as the test product decided; those of Pyro and plain PyTorch are "
        "torch's own, but for the rows that name oneDNN's products."
    ),
}
"""By the outcome of the test product: who computes the products of which rows."""


def table(content: dict[str, Any]) -> str:
    """Return the table in Markdown, a column for each model."""
    first, *others = _lines(content)
    lines = [first, ["---"] * len(first), *others]
    return (
        "\n".join(f"| {' | '.join(line)} |" for line in lines)
        + f"\n\n{caption(content)}{_spread(content)}{_whole_fits(content)}{_devices(content)}"
    )


def _spread(content: dict[str, Any]) -> str:
    """Return a table of the least and the greatest of the rounds, a column for each model."""
    models = {name: entry for name, entry in content.items() if name not in NOT_MODELS and "spread" in entry}
    spreads = {name: entry["spread"] | entry.get("iwae_spread", {}) for name, entry in models.items()}
    labels = LABELS | {"iwae": "IWAE-k of one data point, compiled", "iwae_floor": "matrix products of IWAE-k alone"}
    lines = [["", *models], ["---"] * (1 + len(models))] if models else []
    for key, label in labels.items():
        if any(key in spread for spread in spreads.values()):
            cells = (f"{s[key][0]:.3g} to {s[key][1]:.3g}" if key in s else "-" for s in spreads.values())
            lines.append([label, *cells])
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"\n\nLeast and greatest of the rounds, milliseconds per step:\n\n{rows}" if lines else ""


def _whole_fits(content: dict[str, Any]) -> str:
    if "whole_fits" not in content:
        return ""
    return (
        f"\n\nWhole fits, from process start to files, medians of {ROUNDS} in turn (one without a cache). "
        "`gallery fit` also evaluates after epochs and at the end, and draws pictures; the scripts only fit.\n\n"
        f"{fits_table(content['whole_fits'])}"
    )


def _devices(content: dict[str, Any]) -> str:
    """Return, for each device that was merged, the numbers of the parts of tests/gpu/run.sh, and its benchmark."""
    sections = []
    for device, measured in content.get("devices", {}).items():
        rows = [["part", "of", "measured"], ["---"] * 3]
        for part, numbers in measured.items():
            if part not in NOT_MODELS and isinstance(numbers, dict):
                shown = numbers if part != "bench" else {name: numbers[name] for name in ("error",) if name in numbers}
                rows += [[part, of, number] for of, number in _flat(shown)]
        first, *others = _lines(measured.get("bench", {}))
        benchmark = [first, ["---"] * len(first), *others] if others else []
        tables = ("\n".join(f"| {' | '.join(row)} |" for row in lines) for lines in (rows, benchmark) if lines)
        about = ", ".join(f"{name} {version}" for name, version in measured.get("versions", {}).items())
        sections.append("\n\n".join([f"On {device}: {about}; {measured.get('started', 'undated')}.", *tables]))
    return "".join(f"\n\n{section}" for section in sections)


def _flat(numbers: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Return (names, number) of all numbers in a nested dictionary."""
    rows: list[tuple[str, str]] = []
    for name, value in numbers.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{before}{name}, ")
        else:
            rows.append((f"{before}{name}", f"{value:.3g}" if isinstance(value, float) else str(value)))
    return rows


def for_terminal(content: dict[str, Any]) -> Table:
    """Return the table for rich."""
    first, *others = _lines(content)
    shown = Table(*first, box=None)
    for line in others:
        shown.add_row(*line)
    return shown
