"""The estimators and samplers in the comparisons of the ledger, in Markdown: one row for each model and guide."""

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gallery.ledger.experiment_tables import markdown_table
from inference.fit.objectives import ALIASES, OBJECTIVES

__all__ = ["LESSONS_FOLDER", "estimators_table"]

LESSONS_FOLDER = Path(__file__).parent / "results" / "lessons"
FITS = {
    "ELBO": "elbo/value",
    "IWAE": "iwae/value",
    "gap": "gap/value",
    "variance of the guide's gradient": "noise/guide/variance",
    "SNR": "noise/guide/snr",
    "passes": "passes",
}
CHAINS = {
    "log p(x)": "evidence/value",
    "R-hat": "r_hat",
    "k-hat": "k_hat",
    "ESS": "ess",
    "error of a posterior mean, sds": "largest_error",
    "gradients": "gradients",
    "passes": "passes",
}
"""By column: the path of its number in a row of compare.json."""
LARGE = 10_000  # numbers from here on are counts, printed in full


def estimators_table() -> str:
    """Return two tables, of the objectives and of the samplers: each in every comparison that has it, or "not run"."""
    from gallery.comparison.rows import SAMPLERS

    results = [(file, json.loads(file.read_text())) for file in sorted(LESSONS_FOLDER.rglob("compare.json"))]
    draws = ", ".join(str(k) for k in sorted({result["judge_draws"] for _, result in results}))
    names = ["lesson", "model", "seeds"]
    fits = ["objective", *names, *(f"IWAE-{draws}" if name == "IWAE" else name for name in FITS)]
    rows, columns = _rows(results, OBJECTIVES, FITS), ["sampler", *names, *CHAINS]
    return f"{markdown_table(fits, rows)}\n\n{markdown_table(columns, _rows(results, SAMPLERS, CHAINS))}"


def _rows(
    results: list[tuple[Path, dict[str, Any]]], registry: Iterable[str], columns: dict[str, str]
) -> list[list[str]]:
    """Return the cells of all rows whose name, without its numbers, is in a registry, in the order of the registry.

    A variant, such as `relaxed` of gmvae, is in none.
    """
    cells: dict[str, list[list[str]]] = {form.partition(":")[0]: [] for form in registry}
    for file, result in results:
        labels: dict[str, list[dict[str, Any]]] = {}
        for row in result["rows"]:
            labels.setdefault(row["label"], []).append(row)
        for label, seeds in labels.items():
            kind = seeds[0]["name"].partition(":")[0]
            if (kind := ALIASES.get(kind, kind)) in cells:
                known = [
                    f"`{label}`",
                    f"`{file.parts[-3]}`",
                    f"`{result['model']}`",
                    str(sum(row["status"] == "finished" for row in seeds)),
                ]
                cells[kind].append([*known, *(_cell(seeds, path) for path in columns.values())])
    return [row for kind, of in cells.items() for row in of or [[f"`{kind}`", "", "", "not run", *[""] * len(columns)]]]


def _cell(rows: list[dict[str, Any]], path: str) -> str:
    """Return the median over seeds of the number at a path, with the range where it prints otherwise."""
    values: list[Any] = rows
    for key in path.split("/"):
        values = [(value or {}).get(key) for value in values]
    values = [value for value in values if value is not None]
    if not values:
        return ""
    numbers = [f(values) for f in (statistics.median, min, max)]
    median, lowest, highest = (f"{value:.4g}" if abs(value) < LARGE else f"{value:,.0f}" for value in numbers)
    return median if lowest == highest else f"{median} [{lowest}, {highest}]"
