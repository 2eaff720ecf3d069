"""The metrics of a fitted pair as an aligned table for a terminal, with a verdict in words beside each number.

exponential_gaussian on exponential_gaussian, 1,000 test rows    log density in nats per data point, higher is better
  exact log p(x)      -1.7501 +- 0.028
  ELBO                -1.7515 +- 0.028  gap 0.0014 +- 0.0004: the guide is close to the posterior
    = reconstruction  -1.4406  -  KL 0.3109
"""

import math
from collections.abc import Sequence
from typing import Any

from gallery.runs.table import Row, aligned
from inference.evaluation.diagnostics import K_HAT_THRESHOLD
from inference.evaluation.estimate import NATS, Estimate, two_digits
from inference.evaluation.metrics import ACTIVE_UNIT_VARIANCE, COLLAPSE_NATS

__all__ = ["READING", "gap_verdict", "metrics_table", "report_table", "verdicts", "weights_verdict"]

REACHED = 1e-4  # nats: a gap below is rounding
CLOSE = 0.01  # nats, below which a guide is close to the posterior
MOST = 0.1  # fraction of the data with heavy weights, up to which importance weights are fine for most
FULL = 0.99  # share of the largest component, from which the components have collapsed
UNDECIDED = 0.95  # of the largest possible entropy of q(y | x), from which it is undecided
READING = "  the terms: 'How to read the numbers' and 'Glossary', pages of `gallery site`"
SHOWN = {"evidence", "elbo", "iwae", "fivo", "reconstruction", "kl", "kl_per_latent", "factors"}
SHOWN |= {"active_units", "k_hat", "k_hat_above"}


def report_table(metrics: dict[str, Any], model: str, data: str) -> list[str]:
    """Return the table of a finished fit: test data, or training data where a latent or the guide is of these alone.

    :param metrics: content of metrics.json
    :param model: name of the model
    :param data: name of the data
    """
    test, train = metrics["test"], metrics["train"]
    of_training = _is_joint(test) or ("elbo" in train and "elbo" not in test)
    split, other = ("train", "test") if of_training else ("test", "train")
    return [*metrics_table(metrics[split], model, data, split, _bound_of(metrics[other], other)), READING]


def _bound_of(entries: dict[str, Any], split: str) -> list[Row]:
    """Return a row with the bound of the other split: its ELBO, or else its evidence or reconstruction."""
    labels = {"elbo": "ELBO", "evidence": "exact log p(x)", "reconstruction": "reconstruction"}
    where = "training data" if split == "train" else f"{split} data"
    rows = [(f"{labels[name]}, {where}", _number(entries[name]), "") for name in labels if name in entries]
    return rows[:1]


def metrics_table(entries: dict[str, Any], model: str, data: str, split: str, others: Sequence[Row] = ()) -> list[str]:
    """Return the metrics of one split as lines: a heading, and a row for each number with its verdict.

    :param entries: of this split, as in metrics.json
    :param others: rows after the bounds
    """
    n = next((entry["n"] for entry in entries.values() if isinstance(entry, dict) and "n" in entry), None)
    count = "" if n is None else f"{n:,} "
    where = {"train": "training", "all": "training and validation"}.get(split, split)
    scale = f"{entries['scale']} in " if isinstance(entries.get("scale"), str) else ""
    heading = f"{model} on {data}, {count}{where} rows    {scale}{NATS}, higher is better"
    rows = [*_bound_rows(entries, split), *others, *_code_rows(entries), *_class_rows(entries), *_other_rows(entries)]
    lines = [heading, *aligned(rows)]
    if _is_joint(entries):
        lines.append("  all data share a latent: bounds are joint, divided by n; +- is the Monte Carlo error")
    elif any(" +- " in row[1] for row in rows):
        gap = "; behind a gap, the Monte Carlo error" if "elbo" in entries and "evidence" in entries else ""
        lines.append(f"  +- is one standard error over the data{gap}")
    return lines


def _is_joint(entries: dict[str, Any]) -> bool:
    return "se" in entries.get("undefined", {})


def _number(entry: dict[str, Any], digits: int = 4) -> str:
    return f"{entry['value']:.{digits}f}{_error(entry.get('se', entry.get('mc_se')))}"


def _error(error: float | None) -> str:
    return f" +- {two_digits(error)}" if error else ""


def _bound_rows(entries: dict[str, Any], split: str) -> list[Row]:
    rows: list[Row] = []
    exact, elbo, iwae = (entries.get(name) for name in ("evidence", "elbo", "iwae"))
    reconstruction = entries.get("reconstruction")
    if exact:
        rows.append(("exact log p(x)", _number(exact), ""))
    if elbo:
        verdict = gap_verdict(exact, elbo, _is_joint(entries)) if exact else ""
        if _is_joint(entries) and split not in ("train", "all"):
            verdict = "the guide is of the training data, and its KL is divided by these rows: see the gap there"
        rows.append(("ELBO", _number(elbo), verdict))
        if reconstruction and "kl" in entries:
            parts = f"{reconstruction['value']:.4f}  -  KL {entries['kl']['value']:.4f}"
            if "factors" in entries:
                parts += f"  +  factors {entries['factors']['value']:.4f}"
            rows.append(("  = reconstruction", parts, ""))
    elif reconstruction:
        rows.append(("reconstruction", _number(reconstruction), "log p(x | latents); it is no bound on log p(x)"))
    if iwae:
        above = "" if exact or not elbo else _above(elbo, iwae)
        if _is_joint(entries) and iwae["k"] > 1 and "mc_se" not in iwae:
            above = "without an error: too few effective draws; take more particles"
        rows.append((f"IWAE-{iwae['k']}", _number(iwae), above))
    if fivo := entries.get("fivo"):
        rows.append((f"FIVO-{fivo['k']}", _number(fivo), "the bound of a particle filter"))
    return rows


def _above(elbo: dict[str, Any], iwae: dict[str, Any]) -> str:
    """Return by how much IWAE exceeds the ELBO, which the gap of the guide exceeds in turn."""
    difference = iwae["value"] - elbo["value"]
    if difference <= 2 * math.hypot(elbo.get("mc_se", 0.0), iwae.get("mc_se", 0.0)):
        return "the ELBO, within Monte Carlo error"
    return f"{difference:.4f} nats above the ELBO: the gap to log p(x) is at least that"


def gap_verdict(exact: dict[str, Any], elbo: dict[str, Any], joint: bool = False) -> str:
    """Return the gap between the exact evidence and the ELBO, and what it says about the guide.

    >>> gap_verdict({"value": -1.0, "n": 9}, {"value": -1.25, "mc_se": 0.01})
    'gap 0.2500 +- 0.01: the guide is not the posterior'

    :param exact: the entry of the exact evidence
    :param elbo: the entry of the ELBO
    :param joint: whether both are of all n data points together, divided by n; the verdict is then on the product
    """
    gap = Estimate.of_gap(Estimate(exact), Estimate(elbo))
    value, error, scale = gap["value"], elbo.get("mc_se"), exact["n"] if joint else 1
    text = f"gap {abs(value) if abs(value) < 5e-5 else value:.4f}{_error(error)}"
    if joint:
        text += f", {scale * value:.2f} nats in all"
    if error is None:
        return f"{text}: of one draw, without an error"
    rounding = REACHED / scale
    if error == 0 and abs(value) <= rounding:  # all draws are equal, or there are none
        return f"{text}: the ELBO is log p(x)"
    if value < -max(4 * error, rounding):
        return f"{text}: a lower bound is not above log p(x), so check both"
    if 2 * error * scale < CLOSE and value <= max(2 * error, rounding):
        return f"{text}: the guide has reached the posterior"
    if value <= 2 * error:
        return f"{text}: not distinguishable from 0 with these draws"
    return f"{text}: the guide is {'close to' if scale * value < CLOSE else 'not'} the posterior"


def verdicts(entries: dict[str, Any], split: str) -> list[tuple[str, str]]:
    """Return (name, verdict in words) for the numbers of a split that have a verdict.

    >>> verdicts({"active_units": 0}, "test")
    [('active units', 'no coordinate of the code varies with x: the posterior has collapsed, or the fit is short')]

    :param entries: of this split, as in metrics.json
    """
    rows = [*_bound_rows(entries, split), *_code_rows(entries), *_class_rows(entries)]
    return [(name.strip(), verdict) for name, _, verdict in rows if verdict]


def weights_verdict(entries: dict[str, Any]) -> str:
    """Return what k-hat says about the importance weights of a split; empty where there is none.

    >>> weights_verdict({"k_hat": {"value": 0.9}, "k_hat_above": {"value": 1.0, "n": 50}})
    'not to be trusted: IWAE may lie far below log p(x) (median k-hat 0.90; above 0.7 for 100 % of 50 rows)'
    """
    if "value" not in (above := entries.get("k_hat_above", {})):
        return ""
    heavy, median = above["value"], entries.get("k_hat", {})
    if heavy == 0:
        verdict = "fine"
    elif heavy <= MOST:
        verdict = "fine for most of the data"
    else:
        far = "not to be trusted: IWAE may lie far below log p(x)"
        verdict = "unreliable for part of the data" if heavy < 0.5 else far
    middle = f"median k-hat {median['value']:.2f}; " if "value" in median else ""
    return f"{verdict} ({middle}above {K_HAT_THRESHOLD} for {100 * heavy:.3g} % of {above['n']} rows)"


def _code_rows(entries: dict[str, Any]) -> list[Row]:
    rows: list[Row] = []
    if weights := weights_verdict(entries):
        rows.append(("importance weights", "", weights))
    if parts := entries.get("kl_parts"):
        rows.append(("KL of the codes", _number(parts["kl"]), f"of one draw for each of {parts['kl']['n']:,} rows"))
        cap = f"about the index of the row, at most {parts['mutual_information']['cap']:.4f}"
        rows.append(("  = information", _number(parts["mutual_information"]), cap))
        rows.append(("  + total correlation", _number(parts["total_correlation"]), "of the coordinates, over all rows"))
        rows.append(("  + KL by coordinate", _number(parts["dimensionwise_kl"]), "of all rows together, summed"))
    if (units := entries.get("active_units")) is not None:
        sites = list(entries.get("kl_per_latent", {})) or ["the code"]
        names = ", ".join(sites if len(sites) < 4 else [sites[0], "...", sites[-1]])
        words = f"{units} coordinates of {names} vary" if units > 1 else f"one coordinate of {names} varies"
        none = f"no coordinate of {names} varies with x: the posterior has collapsed, or the fit is short"
        largest = max((kl for of_site in entries.get("kl_per_latent", {}).values() for kl in of_site), default=0.0)
        if largest >= COLLAPSE_NATS:  # of another unit than the threshold, such as a probability
            none = (
                f"no mean of {names} has a variance above {ACTIVE_UNIT_VARIANCE} over x, the threshold for a prior of "
                f"variance 1; its largest KL is {largest:.2g} nats"
            )
        rows.append(("active units", "", f"{words} with x" if units else none))
    return rows


def _class_rows(entries: dict[str, Any]) -> list[Row]:
    rows: list[Row] = []
    for name, label in (("accuracy", "class by Bayes' rule"), ("classifier_accuracy", "class by q(y | x)")):
        if "value" in entries.get(name, {}):
            cost = entries.get("wrong_label_cost") if name == "accuracy" else None
            remark = f"; a wrong label costs {cost['value']:.2f} nats" if cost and "value" in cost else ""
            rows.append((label, "", f"{_percent(entries[name])} are right{remark}"))
    clusters = entries.get("clustering", {})
    if "accuracy" in clusters:
        words = (
            f"{_percent(clusters['accuracy'])} of the rows match their class (NMI {abs(clusters['nmi']['value']):.2f})"
        )
        shares = [share["value"] for share in clusters.get("shares", [])]
        entropy = clusters["entropy_of_q"]["value"]
        if shares and max(shares) >= FULL:
            words += "; collapsed: every row is in one component"
        elif len(shares) > 1 and entropy > UNDECIDED * math.log(len(shares)):
            words += f"; q(y | x) is undecided, nearly uniform over {len(shares)}"
        rows.append(("components", "", words))
    return rows


def _percent(entry: dict[str, Any]) -> str:
    return f"{100 * entry['value']:.1f}" + (f" +- {100 * entry['se']:.1f}" if "se" in entry else "") + " %"


def _other_rows(entries: dict[str, Any]) -> list[Row]:
    """Return rows for numbers without a row above, and for undefined ones with their reasons."""
    known = SHOWN | {"accuracy", "classifier_accuracy", "wrong_label_cost", "clustering", "undefined"}
    rows: list[Row] = []
    reasons: dict[str, list[str]] = {}
    for name, reason in entries.get("undefined", {}).items():
        if name != "se":
            reasons.setdefault(reason, []).append({"elbo": "ELBO", "iwae": "IWAE", "kl": "KL"}.get(name, name))
    for name, entry in entries.items():
        if name in known - {"k_hat", "clustering"} or not isinstance(entry, dict):
            continue
        if "value" in entry and name not in known:
            rows.append((name.replace("_", " "), _number(entry), entry.get("unit", "")))
        elif "undefined" in entry and name != "k_hat":
            reasons.setdefault(entry["undefined"], []).append(name.replace("_", " "))
    return rows + [(f"no {', '.join(names)}", "", reason) for reason, names in reasons.items()]
