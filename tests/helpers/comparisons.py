"""Small comparisons for tests."""

from pathlib import Path
from typing import Any

from gallery.comparison import Comparison, compare
from gallery.runs.specification import Run


def comparing(
    model: str,
    objectives: tuple[str, ...] = ("trace",),
    data: str | None = None,
    keywords: dict[str, Any] | None = None,
    eval_draws: int = 8,
    seeds: int = 1,
    settings: dict[str, Any] | None = None,
    **more: Any,
) -> Comparison:
    """Return a comparison of one epoch, one seed and few draws in double precision, unless set otherwise."""
    settings = {"epochs": 1, "precision": "float64"} | (settings or {})
    run = Run.of(model, None, data, keywords, settings)
    return Comparison(run, objectives, eval_draws=eval_draws, seeds=seeds, **more)


def compared(comparison: Comparison, folder: Path, **more: Any) -> tuple[dict[str, Any], list[str]]:
    """Run a comparison; return the content of compare.json, and the logged lines."""
    lines: list[str] = []
    return compare(comparison, folder, **{"jobs": 1, "log": lines.append} | more), lines
