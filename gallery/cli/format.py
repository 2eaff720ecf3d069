"""Print the numbers of metrics.json as text, for `fit` and `evaluate`."""

from typing import Any

from inference.evaluation.estimate import Estimate

__all__ = ["format_metrics"]

LABELS = {"elbo": "ELBO", "k_hat": "k-hat of the importance weights"}


def format_metrics(split: str, metrics: dict[str, Any]) -> list[str]:
    """Return the metrics of a split as lines: a number each, with its unit and errors; then undefined metrics and why.

    :param split: name of the split, which begins each line
    :param metrics: of this split, as in metrics.json
    """
    entries = {name: entry for name, entry in metrics.items() if name not in ("clustering", "undefined")}
    entries |= {f"clustering {name}": entry for name, entry in metrics.get("clustering", {}).items()}
    lines = []
    for name, entry in entries.items():
        if name == "k_hat_above":
            lines.append(_k_hat_line(split, entry))
        elif isinstance(entry, dict) and "value" in entry:
            label = f"IWAE-{entry['k']}" if name == "iwae" else LABELS.get(name, name.replace("_", " "))
            lines.append(f"{split} {label}: {Estimate(entry)}")
        elif name == "active_units":
            lines.append(f"{split} active units: {entry}")
    reasons: dict[str, list[str]] = {}
    for name, reason in metrics.get("undefined", {}).items():
        reasons.setdefault(reason, []).append(name)
    return lines + [f"{split} {', '.join(names)}: undefined, {reason}" for reason, names in reasons.items()]


def _k_hat_line(split: str, entry: dict[str, Any]) -> str:
    """Return for what part of a split no practical number of draws makes the importance weights reliable."""
    if entry["value"] == 0:
        return f"k-hat <= 0.7 for all of the {split} data (n {entry['n']})"
    return (
        f"k-hat > 0.7 for {100 * entry['value']:.3g} % of the {split} data (n {entry['n']}): importance-weighted "
        "estimates are unreliable there"
    )
