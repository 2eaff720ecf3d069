"""Numbers of metrics.json in words, as `fit` and `evaluate` print them."""

ERRORS = {"se": "standard error over data", "mc_se": "Monte Carlo"}
LABELS = {
    "elbo": "ELBO",
    "k_hat": "k-hat of the importance weights",
    "k_hat_above": "data whose k-hat is too large for any number of draws",
}


def format_metrics(split: str, metrics: dict) -> list[str]:
    """What was measured on a split, a number a line with its unit and errors; what is undefined, and why."""
    entries = {name: entry for name, entry in metrics.items() if name not in ("clustering", "undefined")}
    entries |= {f"clustering {name}": entry for name, entry in metrics.get("clustering", {}).items()}
    lines = []
    for name, entry in entries.items():
        if isinstance(entry, dict) and "value" in entry:
            label = f"IWAE-{entry['k']}" if name == "iwae" else LABELS.get(name, name.replace("_", " "))
            errors = [f"{error} {entry[key]:.2g}" for key, error in ERRORS.items() if key in entry]
            text = f"{entry['value']:.4f} {entry['unit']}"
            lines.append(f"{split} {label}: {text} ({', '.join([*errors, 'n ' + str(entry['n'])])})")
        elif name == "active_units":
            lines.append(f"{split} active units: {entry}")
    reasons: dict[str, list[str]] = {}
    for name, reason in metrics.get("undefined", {}).items():
        reasons.setdefault(reason, []).append(name)
    return lines + [f"{split} {', '.join(names)}: undefined, {reason}" for reason, names in reasons.items()]
