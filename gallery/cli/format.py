"""Lines of text for the numbers of metrics.json, as `fit` and `evaluate` print them."""

from inference.evaluation.estimate import Estimate

__all__ = ["format_metrics"]

LABELS = {
    "elbo": "ELBO",
    "k_hat": "k-hat of the importance weights",
    "k_hat_above": "data points with k-hat too large for importance weighting",
    "se": "standard error over data",
}


def format_metrics(split: str, metrics: dict) -> list[str]:
    """Return a line for each number of a split, with its unit and errors, and a line for each reason of undefined ones.

    :param metrics: the entry of the split in metrics.json
    """
    entries = {name: entry for name, entry in metrics.items() if name not in ("clustering", "undefined")}
    entries |= {f"clustering {name}": entry for name, entry in metrics.get("clustering", {}).items()}
    lines = []
    for name, entry in entries.items():
        if isinstance(entry, dict) and "value" in entry:
            label = f"IWAE-{entry['k']}" if name == "iwae" else LABELS.get(name, name.replace("_", " "))
            lines.append(f"{split} {label}: {Estimate(entry)}")
        elif name == "active_units":
            lines.append(f"{split} active units: {entry}")
    reasons: dict[str, list[str]] = {}
    for name, reason in metrics.get("undefined", {}).items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        lines.append(f"{split} {', '.join(LABELS.get(name, name) for name in names)}: undefined, {reason}")
    return lines
