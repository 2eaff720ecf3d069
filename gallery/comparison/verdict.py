"""Conclude a comparison in one sentence: which way of fitting to take, and why."""

import math
from statistics import mean, stdev
from typing import Any

from gallery.comparison.report import groups, number

__all__ = ["verdict"]

ERRORS = 2.0  # two bounds closer than this many standard errors of their difference are a tie
LEFT_OUT = 0.05  # share of the modes, from which on the sentence names them
SHOWN = 4  # rows whose errors are listed


def verdict(result: dict[str, Any]) -> str:
    """Return what to take: by the bounds of the fits, and by the errors of posterior means, of samplers too.

    :param result: the content of compare.json
    :return: "" if there is nothing to choose between
    """
    return f"{_by_bound(result)}{_by_mean(result)}".strip()


def _by_mean(result: dict[str, Any]) -> str:
    """Return a sentence on the errors of posterior means, where those of a sampler are known beside others."""
    errors: dict[str, list[float]] = {}
    samplers = False
    for row in result["rows"]:
        of_sampler, of_guide = number(row, "largest_error"), number(row, "posterior/largest_error")
        value = of_guide if of_sampler is None else of_sampler
        if value is not None:
            errors.setdefault(row["label"], []).append(value)
            samplers = samplers or of_sampler is not None
    if not samplers or len(errors) < 2:
        return ""
    means = sorted((mean(values), label) for label, values in errors.items())
    listed = ", ".join(f"{label} {value:.2g}" for value, label in means[:SHOWN])
    return f" Largest error of a posterior mean, in sds of the posterior: {listed}."


def _by_bound(result: dict[str, Any]) -> str:
    """Return a sentence that names the fit with the highest ELBO, or the cheapest of those that tie with it.

    The standard error of a fit's mean over seeds has its Monte Carlo error, and the spread of its seeds. A fit with a
    seed that did not end, or without a bound, is left out. The cost is the mean number of passes.

    :param result: the content of compare.json
    :return: "" if no fit can be compared, or there is one only
    """
    fits = {}
    for label, rows in groups(result["rows"]):
        key = "evidence" if rows[0]["name"] == "em" else "elbo"
        values = [value for row in rows if (value := number(row, f"{key}/value")) is not None]
        if len(values) == result["seeds"]:
            noise = max(number(row, f"{key}/mc_se") or 0.0 for row in rows)
            spread = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
            fits[label] = mean(values), math.hypot(noise, spread), mean(row["passes"] for row in rows)
    labels = dict.fromkeys(row["label"] for row in result["rows"] if row["guide"] or row["name"] == "em")
    missing = [label for label in labels if label not in fits]
    apart = f" Not compared, for want of a bound for every seed: {'; '.join(missing)}." if missing else ""
    if not fits or len(labels) == 1:
        return ""
    ranked = sorted(fits, key=lambda label: -fits[label][0])
    best = ranked[0]
    if len(fits) == 1:
        return f"Only {best} has a bound for every seed: there is nothing to choose between.{apart}"

    def behind(label: str) -> tuple[float, float]:
        return fits[best][0] - fits[label][0], math.hypot(fits[best][1], fits[label][1])

    tied = [label for label in ranked if behind(label)[0] <= ERRORS * behind(label)[1]]
    chosen = min(tied, key=lambda label: fits[label][2])
    if len(tied) == 1:
        distance, error = behind(ranked[1])
        times = f"{fits[best][2] / fits[ranked[1]][2]:.2g}"
        cost = "as many passes" if times == "1" else f"{times} times the passes of that"
        lead = f"by {distance:.2g} nats per data point (standard error {error:.1g}) over {ranked[1]}"
        return f"Take {best}: its ELBO is the highest, {lead}, for {cost}.{_others(result, best)}{apart}"
    others = [label for label in tied if label != chosen]
    share = fits[chosen][2] / min(fits[label][2] for label in others)
    cost = "as many passes as the cheapest" if share > 0.99 else f"{share:.2g} times the passes of the cheapest"
    why = f"within {ERRORS:g} standard errors its ELBO is as high as that of {'; '.join(others)}"
    return f"Take {chosen}: {why}, for {cost} of them.{_others(result, chosen)}{apart}"


def _others(result: dict[str, Any], chosen: str) -> str:
    """Return what counts against the chosen fit: its bound of several draws, and modes that its guide leaves out."""
    return _by_iwae(result, chosen) + _by_modes(result, chosen)


def _by_modes(result: dict[str, Any], chosen: str) -> str:
    """Return a sentence if the guide leaves out modes of the exact posterior, with the fit that covers the most."""
    means = {}
    for label, rows in groups(result["rows"]):
        if known := [of for row in rows if (of := row.get("posterior", {}).get("modes"))]:
            means[label] = mean(of["covered"] for of in known), mean(of["modes"] for of in known)
    if chosen not in means or means[chosen][0] > (1 - LEFT_OUT) * means[chosen][1]:
        return ""
    covered, modes = means[chosen]
    most = max(means, key=lambda label: means[label][0])
    more = f"; {most} covers {means[most][0]:.2g}" if means[most][0] - covered >= LEFT_OUT * modes else ""
    return f" Where the posterior has several modes, {chosen} covers {covered:.2g} of {modes:.2g}{more}."


def _by_iwae(result: dict[str, Any], chosen: str) -> str:
    """Return a sentence if the bound of several draws is higher for another fit, as for one with that objective."""
    bounds = {}
    for label, rows in groups(result["rows"]):
        values = [value for row in rows if (value := number(row, "iwae/value")) is not None]
        if values:
            bounds[label] = mean(values), max(number(row, "iwae/mc_se") or 0.0 for row in rows)
    if chosen not in bounds:
        return ""
    highest = max(bounds, key=lambda label: bounds[label][0])
    distance = bounds[highest][0] - bounds[chosen][0]
    if distance <= ERRORS * math.hypot(bounds[highest][1], bounds[chosen][1]):
        return ""
    return f" For log p(x) take {highest}: its IWAE-{result['judge_draws']} is {distance:.2g} nats higher."
