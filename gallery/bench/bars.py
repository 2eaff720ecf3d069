"""The bars of the benchmark: what each case has to reach, whether it does, and why not.

The bars are for two cores. Where `inference.products` leaves the products to torch, stock Pyro and plain PyTorch have
the same products as a fit, and a comparison with the same products is that with what users have.
"""

from dataclasses import dataclass
from typing import Any

from gallery.bench.timing import RATIOS

__all__ = ["BARS", "Bar", "bars_table", "limit", "missed", "value"]


@dataclass(frozen=True)
class Bar:
    """What a number of a case has to be.

    :param case: name in `CASES`, or the title of a whole fit
    :param compared: what it is, in words
    :param keys: of the number in the entry of the case; the first that was measured counts
    :param bar: the number has to be at least this
    :param most: the number has to be at most `bar`
    :param unit: of the number: "x" for a ratio, " s" for seconds
    """

    case: str
    compared: str
    keys: tuple[str, ...]
    bar: float
    most: bool = False
    unit: str = "x"


PYRO, SAME = ("speedup_over_pyro",), ("speedup_over_pyro_onednn", "speedup_over_pyro")
STEPS, HALF = ("speedup_over_pyro_steps",), ("speedup_bf16_over_pyro",)
TORCH = ("speedup_over_torch_compiled_onednn", "speedup_over_torch_compiled")
NUMPYRO, FLOOR, IWAE = ("speedup_over_numpyro_scan",), ("times_floor_onednn", "times_floor"), ("iwae_times_floor",)
SECOND = ("second_process_s",)
OVER = {
    PYRO: "compiled over Pyro",
    SAME: "compiled over Pyro, same products",
    STEPS: "compiled over Pyro, a site per row",
    HALF: "compiled in bfloat16 over Pyro",
    TORCH: "compiled over plain PyTorch, compiled, same products",
    NUMPYRO: "compiled over NumPyro, 50 steps a call",
    FLOOR: "compiled step, in times of its products alone",
    IWAE: "IWAE-k, in times of its products alone",
    SECOND: "first step of a second process",
}
LEAST: dict[str, dict[tuple[str, ...], float]] = {
    "factor_analysis": {PYRO: 30, SAME: 25, TORCH: 5, NUMPYRO: 0.5},
    "vae": {PYRO: 3.4, SAME: 2.6, TORCH: 1.25, NUMPYRO: 1.0},
    "vae:continuous_bernoulli": {PYRO: 3.0, SAME: 2.4, TORCH: 1.6, NUMPYRO: 1.0},
    "gmvae": {PYRO: 2.1, HALF: 3.5, SAME: 1.45, TORCH: 1.4, NUMPYRO: 1.1},
    "vrnn": {STEPS: 3.0, TORCH: 1.1},
}
MOST: dict[str, dict[tuple[str, ...], float]] = {
    "factor_analysis": {SECOND: 1.5},
    "vae": {FLOOR: 1.4, IWAE: 1.25, SECOND: 1.5},
    "vae:continuous_bernoulli": {FLOOR: 1.7},
    "gmvae": {FLOOR: 1.2},
}
BARS: tuple[Bar, ...] = (
    *(
        Bar(case, OVER[keys], keys, bar, most, " s" if keys == SECOND else "x")
        for case in LEAST
        for of, most in ((LEAST, False), (MOST, True))
        for keys, bar in of.get(case, {}).items()
    ),
    Bar("whole fit of factor_analysis", "`gallery fit` with a warm cache", ("warm",), 6.0, True, " s"),
    Bar("make demo", "a new clone, with a warm cache of packages", ("warm",), 60.0, True, " s"),
)


def value(content: dict[str, Any], bar: Bar) -> float | None:
    """Return the number that a bar is for, from the result of `bench`; None if it was not measured."""
    entry = _entry(content, bar.case)
    return next((entry[key] for key in bar.keys if entry.get(key) is not None), None)


def _entry(content: dict[str, Any], case: str) -> dict[str, Any]:
    title = case.removeprefix("whole fit of ")
    found: dict[str, Any] = content.get(case) or content.get("whole_fits", {}).get(title, {})
    return found


def limit(entry: dict[str, Any], bar: Bar) -> float | None:
    """Return the ratio that a step of its matrix products alone would have; None where that is no ratio of steps."""
    key = next((key for key in bar.keys if entry.get(key) is not None and key in RATIOS), None)
    if key is None or bar.most:
        return None
    slow, fast = RATIOS[key]
    floors = ("floor_bf16",) if fast == "compiled_bf16" else ("floor_onednn", "floor")
    floor = next((entry[f"ms_{name}"] for name in floors if entry.get(f"ms_{name}") is not None), None)
    return None if floor is None else entry[f"ms_{slow}"] / floor


def missed(content: dict[str, Any], bar: Bar) -> bool | None:
    """Return whether the number is on the wrong side of the bar; None if it was not measured."""
    measured = value(content, bar)
    return None if measured is None else measured > bar.bar if bar.most else measured < bar.bar


def bars_table(content: dict[str, Any]) -> str:
    """Return a row for each bar in Markdown, and below them the profiles of the cases that miss one."""
    rows = [["case", "compared", "bar", "measured", "", "products alone"], ["---"] * 6]
    for bar in BARS:
        measured, most = value(content, bar), limit(content.get(bar.case, {}), bar)
        rows.append(
            [
                bar.case,
                bar.compared,
                f"{'<=' if bar.most else '>='} {bar.bar:g}{bar.unit}",
                "-" if measured is None else f"{measured:.4g}{bar.unit}",
                {True: "missed", False: "met", None: "not measured"}[missed(content, bar)],
                "-" if most is None else f"{most:.3g}x",
            ]
        )
    lines = [f"| {' | '.join(row)} |" for row in rows]
    failed = {bar.case: None for bar in BARS if missed(content, bar)}
    return "\n".join([*lines, "", COLUMN, "", *(_reason(case, content) for case in failed)])


COLUMN = (
    'The column "products alone" has the ratio of a step of its matrix products alone, by the library of its '
    "row: what work on all else cannot exceed. Missed bars:"
)


def _reason(case: str, content: dict[str, Any]) -> str:
    """Return a line on the missed bars of a case: the share of products, and the profile."""
    entry = _entry(content, case)
    bars = [bar for bar in BARS if bar.case == case and missed(content, bar)]
    parts = [f"- {case}: {len(bars)} missed."]
    if (times := entry.get("times_floor_onednn") or entry.get("times_floor")) is not None:
        parts.append(f"Products alone take {_percent(1 / times)} of the time of a compiled step.")
    for bar in bars:
        if (most := limit(entry, bar)) is not None and most < bar.bar:
            parts.append(
                f"They alone reach {most:.3g}x of the {bar.bar:g}x of {bar.compared}: it is out of reach here."
            )
    shares = ", ".join(f"{name} {_percent(share)}" for name, share in entry.get("profile", {}).items())
    if shares:
        parts.append(f"Profile: {shares}.")
    elif case in LEAST:
        parts.append("Not profiled yet (`gallery bench --profile`).")
    return " ".join(parts)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
