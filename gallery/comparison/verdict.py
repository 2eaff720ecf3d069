"""One sentence on a comparison: which fit to take, and why."""

import math
from collections.abc import Callable
from statistics import median
from typing import Any

from gallery.comparison.report import groups

__all__ = ["verdict"]

ERRORS = 2  # standard errors within which two bounds count as equal
CONVERGED = 1.01  # R-hat of a sampler

Rows = list[dict[str, Any]]


def verdict(result: dict[str, Any]) -> str | None:
    """Return the sentence: the fit whose ELBO is the highest, or the cheapest of those within the error of it.

    The error of an ELBO is that of its draws, or half of its range over seeds where that is larger. Cost is counted in
    passes of data through model and guide, which do not depend on the machine.

    :param result: the content of compare.json
    :return: None unless two fits have an ELBO
    """
    bounds = {label: rows for label, rows in groups(result["rows"]) if all("elbo" in row for row in rows)}
    if len(bounds) < 2:
        return None
    best, *others = bounds
    near = [label for label in others if _below(bounds[best], bounds[label]) <= ERRORS * _error(bounds, best, label)]
    chosen = min([best, *near], key=lambda label: _median(bounds[label], lambda row: row["passes"]))
    passes = {label: _median(bounds[label], lambda row: row["passes"]) for label in (best, chosen)}
    if chosen != best:
        share = passes[chosen] / passes[best]
        words = f"its ELBO is that of {best} within the error, for {share:.2g} of the passes"
    elif near:
        words = f"its ELBO is the highest, and {', '.join(near)}, within the error of it, costs no fewer passes"
    else:
        words = f"its ELBO is the highest, {_below(bounds[best], bounds[others[0]]):.2g} nats above {others[0]}"
    return f"By the ELBO, take {chosen}: {words}." + _remaining(bounds[chosen], result["rows"])


def _median(rows: Rows, of: Callable[[dict[str, Any]], float]) -> float:
    return median(map(of, rows))


def _below(best: Rows, other: Rows) -> float:
    """Return by how many nats the bound of other rows is below, in the median over seeds."""
    return _median(best, lambda row: row["elbo"]["value"]) - _median(other, lambda row: row["elbo"]["value"])


def _error(bounds: dict[str, Rows], *labels: str) -> float:
    """Return the standard error of the difference of two bounds."""
    errors = []
    for rows in map(bounds.__getitem__, labels):
        values = [row["elbo"]["value"] for row in rows]
        of_draws = max(row["elbo"].get("mc_se", 0.0) for row in rows)
        errors.append(max(of_draws, (max(values) - min(values)) / 2))
    return math.hypot(*errors)


def _remaining(rows: Rows, others: Rows) -> str:
    """Return a sentence on the gap that remains, and on a sampler that has none; empty where the gap is unknown."""
    if not all("gap" in row for row in rows):
        return ""
    gap = _median(rows, lambda row: row["gap"]["value"])
    if gap <= ERRORS * max(row["gap"].get("mc_se", 0.0) for row in rows):
        return " It has reached the posterior, within the error."
    fine = [row["label"] for row in others if row.get("r_hat", math.inf) < CONVERGED and not row.get("divergences")]
    other = f"; the draws of {fine[0]}, without a guide, have none" if fine else ""
    return f" A gap of {gap:.2g} nats remains{other}."
