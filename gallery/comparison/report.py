"""Tables of a comparison for the terminal: fits, the highest bound first, samplers, and failed and refused rows."""

from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

from rich.table import Table
from rich.text import Text

from gallery.runs.table import file_name

__all__ = ["groups", "number", "progress_line", "tables"]

Column = tuple[str, str, Callable[[list[float]], float] | None]
"""(path of the number in a row, format, statistic over seeds; if None, median and range)"""
SAMPLERS: dict[str, Column] = {
    "seed": ("seed", "d", None),
    "data": ("n", "d", None),
    "R-hat": ("r_hat", ".4f", None),
    "k-hat": ("k_hat", ".2f", None),
    "ELBO": ("path_elbo/value", ".5g", None),
    "ESS": ("ess", ".0f", None),
    "constant": ("constant", "d", None),
    "ESS per gradient": ("ess_per_gradient", ".3g", None),
    "divergences": ("divergences", "d", None),
    "error of the mean, MC errors": ("largest_z", ".2g", None),
    "error of the mean, sd": ("largest_error", ".2g", None),
    "error of the sd, sd": ("largest_sd_error", ".2g", None),
    "gradients": ("gradients", "d", None),
    "passes": ("passes", ".3g", None),
    "seconds": ("seconds", ".3g", None),
}
EVIDENCE: dict[str, Column] = {
    "seed": ("seed", "d", None),
    "data": ("n", "d", None),
    "log p(x) from below": ("lower/value", ".5g", None),
    "MC error below": ("lower/mc_se", ".1g", None),
    "from above": ("upper/value", ".5g", None),
    "MC error above": ("upper/mc_se", ".1g", None),
    "log p(x), exact": ("evidence/value", ".5g", None),
    "gradients": ("gradients", "d", None),
    "passes": ("passes", ".3g", None),
    "seconds": ("seconds", ".3g", None),
}
POSTERIOR: dict[str, Column] = {
    "data": ("posterior/n", "d", None),
    "EUBO": ("posterior/eubo/value", ".5g", median),
    "MC error": ("posterior/eubo/mc_se", ".1g", max),
    "KL(posterior || guide)": ("posterior/forward_kl/value", ".3g", median),
    "forward ESS": ("posterior/forward_ess", ".2g", median),
    "error of the mean, sd": ("posterior/largest_error", ".2g", median),
    "MC errors": ("posterior/largest_z", ".2g", median),
    "error of the sd, sd": ("posterior/largest_sd_error", ".2g", median),
    "its MC errors": ("posterior/largest_sd_z", ".2g", median),
    "Wasserstein, sd": ("posterior/wasserstein", ".2g", median),
    "MC error of the reference, sd": ("posterior/reference_error", ".2g", max),
    "total variation": ("posterior/total_variation", ".2g", median),
    "modes": ("posterior/modes/modes", ".2g", median),
    "covered": ("posterior/modes/covered", ".2g", median),
    "overlap": ("posterior/modes/overlap", ".2g", median),
}
OF_EXACT = "The guide against the exact posterior, median of the seeds."
OF_NUTS = (
    "The guide against as many draws of NUTS, which stand for the posterior: R-hat is at most 1.01, and no draw "
    "diverged. Median of the seeds."
)
OF_SAMPLERS = "Worst of all coordinates of the latents that vary."
NOTES = {  # sentences of a caption, by the column that they explain
    "EUBO": "EUBO: upper bound on log p(x) of these data, in nats per data point.",
    "forward ESS": "Forward ESS: effective sample size of a draw of the guide weighted by p / q, the least.",
    "Wasserstein, sd": "Errors and Wasserstein-1 distance: largest of all coordinates, in sds of the reference and in "
    "Monte Carlo standard errors, of which the largest of many coordinates is 3 or 4 where nothing is wrong.",
    "total variation": "Total variation: of q(y | x) from p(y | x), the largest of all data points.",
    "modes": "Modes: mean number where the posterior has several; covered: those to which the guide gives at least a "
    "tenth of their mass; overlap: mass that guide and posterior have in the same modes.",
    "R-hat": "R-hat: rank-normalised and folded.",
    "k-hat": "k-hat: of the weights of Pathfinder, above 0.7 do not use the draws, blank where all are equal.",
    "ELBO": "ELBO: of the best path, in nats per data point.",
    "ESS": "ESS: effective sample size of all draws, of Pathfinder of the resampled ones.",
    "constant": "Constant: number of coordinates that have the same value in all draws.",
    "error of the mean, MC errors": "Error of the mean: its distance from that of the exact posterior, in Monte Carlo "
    "standard errors and in standard deviations of the posterior.",
}


def fit_columns(k: int, part: str = "guide") -> dict[str, Column]:
    """Return the columns of fits that are evaluated with k draws of the guide.

    :param part: whose gradient is shown: that of the model, where the guide has no parameters
    """
    return {
        "ELBO": ("elbo/value", ".5g", None),
        "MC error": ("elbo/mc_se", ".1g", max),
        f"IWAE-{k}": ("iwae/value", ".5g", median),
        f"FIVO-{k}": ("fivo/value", ".5g", median),
        "log p(x)": ("evidence/value", ".5g", None),
        "gap": ("gap/value", ".3g", None),
        "perplexity": ("perplexity/value", ".4g", None),
        f"{part}'s gradient: variance": (f"noise/{part}/variance", ".3g", median),
        "SNR": (f"noise/{part}/snr", ".3g", median),
        "SBC: p-value": ("calibration/p_value", ".2g", min),
        "spread": ("calibration/spread", ".3g", median),
        "gradients": ("gradients", ".3g", median),
        "passes": ("passes", ".3g", median),
        "seconds": ("seconds", ".3g", median),
    }


def number(row: dict[str, Any], path: str) -> float | None:
    """Return the number at a path of a row, such as "elbo/value"; None if there is none."""
    value: Any = row
    for key in path.split("/"):
        value = (value or {}).get(key)
    return value


def groups(rows: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Group the finished fits by label, each with a row for every seed, the highest bound first.

    The bound is the ELBO; of EM, whose posterior is exact, the evidence. Fits without a bound come last.
    """

    def bound(row: dict[str, Any]) -> float:
        value = number(row, "evidence/value" if row["name"] == "em" else "elbo/value")
        return float("-inf") if value is None else value

    by_label: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["status"] == "finished" and (row["guide"] or row["name"] == "em"):
            by_label.setdefault(row["label"], []).append(row)
    return sorted(by_label.items(), key=lambda item: -median(map(bound, item[1])))


def tables(result: dict[str, Any]) -> Iterator[Table | str]:
    """Yield the tables and lines to be printed one after the other, from the content of compare.json."""
    if fits := groups(result["rows"]):
        guided = any(number(row, "noise/guide/variance") is not None for _, rows in fits for row in rows)
        columns = fit_columns(result["judge_draws"], "guide" if guided else "model")
        yield _table("fit", columns, fits, _caption(result))
    known = [(label, rows) for label, rows in fits if any("n" in row.get("posterior", ()) for row in rows)]
    if known:
        exact = any({"eubo", "exact"} & row.get("posterior", {}).keys() for _, rows in known for row in rows)
        yield _table("posterior", POSTERIOR, known, OF_EXACT if exact else OF_NUTS, NOTES)
    for what, path in (
        ("comparison with the posterior", "posterior"),
        ("calibration", "calibration"),
        ("FIVO", "fivo"),
    ):
        labels: dict[Any, list[str]] = {}
        for label, rows in fits:
            if reason := next((r for row in rows if (r := number(row, f"{path}/undefined"))), None):
                labels.setdefault(reason, []).append(label)
        yield from (f"no {what}: {'; '.join(of)}: {reason}" for reason, of in labels.items())
    if chains := [row for row in result["rows"] if "ess" in row]:
        yield _table("sampler", SAMPLERS, [(row["label"], [row]) for row in chains], OF_SAMPLERS, NOTES)
    if bounds := [row for row in result["rows"] if "lower" in row]:
        yield _table("evidence", EVIDENCE, [(row["label"], [row]) for row in bounds], _evidence_caption(bounds))
    for row in result["rows"]:
        if row["status"] == "failed":
            yield f"failed: {row['label']}, seed {row['seed']}: {row['reason']}"
    for label, reason in result["refused"].items():
        yield f"refused: {label}: {reason}"


def _table(
    first: str,
    columns: dict[str, Column],
    rows: list[tuple[str, list[dict[str, Any]]]],
    caption: str,
    notes: dict[str, str] | None = None,
) -> Table:
    """Return a table of the columns that have a number.

    :param notes: sentences of the caption, by the column that they explain
    """
    cells = {
        heading: [_cell([number(row, path) for row in seeds], form, one) for _, seeds in rows]
        for heading, (path, form, one) in columns.items()
    }
    shown = {heading: column for heading, column in cells.items() if any(column)}
    words = [caption, *(note for heading, note in (notes or {}).items() if heading in shown)]
    table = Table(first, *shown, box=None, caption=Text(" ".join(words)), caption_justify="left")
    for i, (label, _) in enumerate(rows):
        table.add_row(label, *(column[i] for column in shown.values()))
    return table


def _cell(values: list[float | None], form: str, one: Callable[[list[float]], float] | None) -> str:
    """Format the numbers of several seeds: the statistic `one`, or their median and range."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    if one or min(known) == max(known):
        return _written((one or min)(known), form)
    middle, low, high = (_written(of(known), form) for of in (median, min, max))
    return f"{middle} [{low}, {high}]"


def _written(value: float, form: str) -> str:
    """Format a number, without an exponent where it is large."""
    text = format(value, form)
    return f"{float(text):,.0f}" if "e+" in text else text


def _caption(result: dict[str, Any]) -> str:
    errors = [error for row in result["rows"] if (error := number(row, "elbo/se")) is not None]
    at = next((row["at"] for row in result["rows"] if "noise" in row), None)
    over_data = f"; the standard error over data is up to {max(errors):.2g}" if errors else ""
    seeds = "seed 0" if result["seeds"] == 1 else f"median [range] of {result['seeds']} seeds"
    sentences = [
        f"Nats per data point, {result['n']} {result['split']} data of {file_name(result['data'])}, "
        f"{result['judge_draws']} draws of the guide for each; {seeds}. MC error: at these data{over_data}.",
        "A gradient is one of log p(x, z): a step has one for each draw of the guide and each enumerated case. A pass "
        "is a data point once through model and guide, forwards and backwards; seconds are processor time.",
    ]
    if any("gap" in row for row in result["rows"]):
        sentences.append("gap: KL(guide || posterior).")
    if of := next((of for row in result["rows"] if "draws" in (of := row.get("calibration") or {})), None):
        sentences.append(
            f"SBC: simulation-based calibration at {of['simulations']} data points simulated from the fitted model, "
            f"with {of['draws']} draws of the guide for each (as many forward passes, which are not counted): least "
            "p-value of uniform ranks, times the number of coordinates, and their variance over that of uniform ones: "
            "above 1 the guide is too narrow or off the centre, below too wide. Not for guides of one data set or "
            "refined ones."
        )
    if any("value" in row.get("perplexity", {}) for row in result["rows"]):
        sentences.append("Perplexity: of half of the words of each document, given the other half; lower is better.")
    if at:
        sentences.append(
            f"Variance (squared nats per data point) and SNR: at the weights that {at} was fitted to with the same "
            "guide; at an SNR of 0 this estimate cannot separate the signal from the noise."
        )
    return " ".join(sentences)


def _evidence_caption(rows: list[dict[str, Any]]) -> str:
    at = next((f" at the weights of {row['at']}" for row in rows if row["at"]), "")
    error = max(row[side]["se"] for row in rows for side in ("lower", "upper"))
    return (
        f"Nats per data point, for data simulated from the model{at}, not those of the fits' metrics: from below by "
        f"annealed importance sampling, from above by its reverse, {rows[0]['lower']['chains']} chains for each data "
        "point. Bounds in expectation, which noise may cross where they meet; MC error: at these data, whose standard "
        f"error is up to {error:.2g} and moves both bounds together. Gradients are those of log p(x, z) for one data "
        "point, of both bounds and their pilot chains."
    )


def progress_line(content: dict[str, Any]) -> str:
    """Return one line about a row that has ended, from the content of its file."""
    row = content["asked"]
    name = " ".join(filter(None, (row["name"], row["guide"], f"seed {row['seed']}")))
    if content["status"] == "failed":
        return f"{name}: failed, {content['reason']}"
    paths = {
        "ELBO": "elbo/value",
        "ELBO of the best path": "path_elbo/value",
        "from below": "lower/value",
        "log p(x)": "evidence/value",
    }
    paths |= {"from above": "upper/value", "ESS": "ess", "k-hat": "k_hat", "SNR": "noise/guide/snr"}
    paths |= {"error of the mean, sd": "posterior/largest_error", "perplexity": "perplexity/value"}
    if number(content, paths["SNR"]) is None:  # the guide has no parameters
        paths["SNR"] = "noise/model/snr"
    numbers = [f"{key} {value:.5g}" for key, path in paths.items() if (value := number(content, path)) is not None]
    return f"{name}: {', '.join(numbers)}" + (f", {content['seconds']:.1f} s" if "seconds" in content else "")
