"""What a comparison says, on the terminal: fits, nearest to the truth first, then samplers, then what has no number."""

from collections.abc import Callable, Iterator
from statistics import median

from rich.table import Table
from rich.text import Text

Column = tuple[str, str, Callable[[list[float]], float] | None]  # where in a row, how written, which of several seeds
SAMPLERS: dict[str, Column] = {
    "seed": ("seed", "d", None),
    "data": ("n", "d", None),
    "R-hat": ("r_hat", ".4f", None),
    "ESS": ("ess", ".0f", None),
    "ESS per gradient": ("ess_per_gradient", ".3g", None),
    "divergences": ("divergences", "d", None),
    "mean off, MC errors": ("largest_z", ".2g", None),
    "mean off, sd": ("largest_error", ".2g", None),
    "passes": ("passes", ".3g", None),
    "seconds": ("seconds", ".3g", None),
}
SIDES: dict[str, Column] = {
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
OF_SAMPLERS = (
    "Worst of all coordinates of the latents: split R-hat, effective sample size of all draws, and that per gradient "
    "of all data; how far the mean of the draws is from that of the exact posterior, in Monte Carlo standard errors "
    "and in standard deviations of the posterior."
)


def fits_of(k: int) -> dict[str, Column]:
    """The columns of fits that are judged by k draws."""
    return {
        "ELBO": ("elbo/value", ".5g", None),
        "MC error": ("elbo/mc_se", ".1g", max),
        f"IWAE-{k}": ("iwae/value", ".5g", median),
        "log p(x)": ("evidence/value", ".5g", None),
        "gap": ("gap/value", ".3g", None),
        "guide's gradient: variance": ("noise/guide/variance", ".3g", median),
        "SNR": ("noise/guide/snr", ".3g", median),
        "passes": ("passes", ".3g", median),
        "seconds": ("seconds", ".3g", median),
    }


def number(row: dict, path: str) -> float | None:
    """What stands in a row at "elbo/value"; None if nothing does."""
    for key in path.split("/"):
        row = (row or {}).get(key)
    return row


def groups(rows: list[dict]) -> list[tuple[str, list[dict]]]:
    """The finished fits by label, each with a row for every seed. The best come first: a bound is nearest to the truth
    where it is highest; of EM, whose posterior is exact, it is the evidence. Those without a bound come last."""

    def bound(row: dict) -> float:
        found = number(row, "evidence/value" if row["name"] == "em" else "elbo/value")
        return float("-inf") if found is None else found

    found: dict[str, list[dict]] = {}
    for row in rows:
        if row["status"] == "finished" and (row["guide"] or row["name"] == "em"):
            found.setdefault(row["label"], []).append(row)
    return sorted(found.items(), key=lambda item: -median(map(bound, item[1])))


def tables(result: dict) -> Iterator[Table | str]:
    """The tables and lines to be printed one after the other, from what compare.json holds."""
    if fits := groups(result["rows"]):
        yield _table("fit", fits_of(result["judge_draws"]), fits, _caption(result))
    if chains := [row for row in result["rows"] if "r_hat" in row]:
        yield _table("sampler", SAMPLERS, [(row["label"], [row]) for row in chains], OF_SAMPLERS)
    if sides := [row for row in result["rows"] if "lower" in row]:
        yield _table("evidence", SIDES, [(row["label"], [row]) for row in sides], _of_sides(sides))
    for row in result["rows"]:
        if row["status"] == "failed":
            yield f"failed: {row['label']}, seed {row['seed']}: {row['reason']}"
    for label, reason in result["refused"].items():
        yield f"refused: {label}: {reason}"


def _table(first: str, columns: dict[str, Column], rows: list[tuple[str, list[dict]]], caption: str) -> Table:
    cells = {
        heading: [_cell([number(row, path) for row in seeds], *written) for _, seeds in rows]
        for heading, (path, *written) in columns.items()
    }
    shown = {heading: column for heading, column in cells.items() if any(column)}
    table = Table(first, *shown, box=None, caption=Text(caption), caption_justify="left")
    for i, (label, _) in enumerate(rows):
        table.add_row(label, *(column[i] for column in shown.values()))
    return table


def _cell(values: list[float | None], form: str, one: Callable[[list[float]], float] | None) -> str:
    """One number of those of several seeds, or their median and range."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    if one or min(known) == max(known):
        return format((one or min)(known), form)
    return "{:{form}} [{:{form}}, {:{form}}]".format(median(known), min(known), max(known), form=form)


def _caption(result: dict) -> str:
    errors = [error for row in result["rows"] if (error := number(row, "elbo/se")) is not None]
    at = next((row["at"] for row in result["rows"] if "noise" in row), None)
    over_data = f"; the standard error over data is up to {max(errors):.2g}" if errors else ""
    seeds = "seed 0" if result["seeds"] == 1 else f"median [range] of {result['seeds']} seeds"
    words = [
        f"Nats per data point, {result['n']} {result['split']} data of {result['data']}, {result['judge_draws']} draws of "
        f"the guide for each; {seeds}. MC error: at these data{over_data}.",
        "A pass is a datum once through model and guide, forwards and backwards; seconds are those of the processor.",
    ]
    if any("gap" in row for row in result["rows"]):
        words.append("gap: KL(guide || posterior).")
    if at:
        words.append(
            f"Variance (squared nats per data point) and SNR: at the weights that {at} came to with the same guide; an SNR "
            "of 0 is a signal not to be told from the noise of this estimate."
        )
    return " ".join(words)


def _of_sides(rows: list[dict]) -> str:
    at = next((f" at the weights of {row['at']}" for row in rows if row["at"]), "")
    error = max(row[side]["se"] for row in rows for side in ("lower", "upper"))
    return (
        f"Nats per data point, of data simulated from the model{at}, which the fits were not judged by: from below by "
        f"annealed importance sampling, from above by its reverse, {rows[0]['lower']['chains']} chains for each datum. "
        "Bounds in expectation, which noise may cross where they meet; MC error: at these data, whose standard error "
        f"is up to {error:.2g} and moves both sides together. Gradients are those of log p(x, z) for one datum, of "
        "both sides and their pilot chains."
    )


def ending(found: dict) -> str:
    """One line about a row that has ended."""
    row = found["asked"]
    what = " ".join(filter(None, (row["name"], row["guide"], f"seed {row['seed']}")))
    if found["status"] == "failed":
        return f"{what}: failed, {found['reason']}"
    told = {"ELBO": "elbo/value", "from below": "lower/value", "log p(x)": "evidence/value"}
    told |= {"from above": "upper/value", "ESS": "ess", "SNR": "noise/guide/snr"}
    words = [f"{name} {value:.5g}" for name, path in told.items() if (value := number(found, path)) is not None]
    return f"{what}: {', '.join(words)}" + (f", {found['seconds']:.1f} s" if "seconds" in found else "")
