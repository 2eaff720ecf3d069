"""Numbers as the pages say them: what each is, of which data, with which errors."""

import math
import statistics
from dataclasses import dataclass

from gallery.catalogue.recipes import Recipe
from gallery.ledger.fields import found, shown
from gallery.ledger.tables import number
from inference.evaluation.estimate import Estimate

MEANINGS = {
    "error of q(y | x)": "test images whose class q(y | x) gets wrong; lower is better",
    "ELBO": "a lower bound on log p(x); higher is better",
    "ELBO, training data": "a lower bound on log p(x) of the data it was fitted to; higher is better",
    "log p(x), exact": "the evidence itself; higher is better",
    "squared error": "of reconstructed test images; lower is better, and no bound: the code is a point",
    "k-hat above 0.7": "test data whose importance weights have no reliable mean; lower is better",
}
"""The number on a card is the first of these that was measured."""


@dataclass(frozen=True)
class Number:
    """A line of a table.

    :param measured: of all seeds, the median [range]; empty if it was not measured
    :param entry: the number of the first seed with its errors, n, draws and unit
    :param seeds: how many of them
    """

    name: str
    measured: str
    published: str
    entry: dict
    seeds: int = 0

    @property
    def meaning(self) -> str:
        return MEANINGS.get(self.name, "")

    @property
    def unit(self) -> str:
        """Unit of the number, with the draws that it is an average over; what is looked at after an epoch has one."""
        if not self.entry and self.name.startswith("ELBO"):
            return "nats per data point" + (", 1 draw" if "epoch" in self.name else "")
        draws = f", {self.entry['particles']} draws" if "particles" in self.entry else ""
        return self.entry.get("unit", "") + draws

    @property
    def n(self) -> str:
        return f"{self.entry['n']:,}" if "n" in self.entry else ""

    def error(self, kind: str) -> str:
        """The standard error over data, "se", or of Monte Carlo, "mc_se"; empty where there is none."""
        return Estimate(self.entry).error(kind)


def written(value: float) -> str:
    """With a true minus."""
    return number(value).replace("-", "−")


def spread(values: list[float]) -> str:
    """The median, and the range of several where it is not the median itself; empty for none."""
    if not values:
        return ""
    middle, low, high = (written(f(values)) for f in (statistics.median, min, max))
    return middle if low == high else f"{middle} [{low}, {high}]"


def numbers(recipe: Recipe, row: dict | None) -> list[Number]:
    """What is published and what was measured of a recipe."""
    first = next(iter((row or {"runs": {}})["runs"].values()), {})
    return [
        Number(name, spread(values), "" if known is None else written(known), found(first, name), len(values))
        for name, known, values in shown(recipe, row)
    ]


def headline(lines: list[Number]) -> Number | None:
    """The number for a card."""
    measured = {number.name: number for number in lines if number.measured}
    return next((measured[name] for name in MEANINGS if name in measured), None)


def bounds(entry: dict) -> list[Number]:
    """What bounds the evidence from below in a run, and the evidence itself where it is known."""
    rows = [(name, found(entry, name)) for name in ("ELBO", "IWAE-16", "log p(x), exact")]
    return [Number(name, f"{it['value']:.4f}".replace("-", "−"), "", it, 1) for name, it in rows if it]


def kl_bars(entry: dict) -> dict | None:
    """KL of every latent dimension of a run, nats per data point: the heights of bars, and words for them."""
    latents = entry.get("test", {}).get("kl_per_latent")
    values = [value for dimensions in (latents or {}).values() for value in dimensions]
    if not values or not all(map(math.isfinite, values)):
        return None
    first, *_, last = [*latents, *latents]
    if len(values) == 1:
        return {
            "values": values,
            "largest": values[0],
            "text": f"KL of {first} from its prior: {written(*values)} nats",
        }
    active = entry["test"].get("active_units")
    text = (
        f"KL from the prior of {len(values)} dimensions of "
        f"{first if first == last else f'{first} to {last}'}, nats per data point: largest {written(max(values))}, median "
        f"{written(statistics.median(values))}, smallest {written(min(values))}, together {written(sum(values))}"
        + ("" if active is None else f"; {active} active")
    )
    return {"values": values, "largest": max(*values, 1e-9), "text": text}


def information(entry: dict) -> str:
    """Mutual information of x and z under the guide, with the cap of an estimate from n data; empty where undefined."""
    it = entry.get("mutual_information", {}).get("mutual_information")
    if not it:
        return ""
    cap = f"; an estimate from {it['n']:,} data cannot exceed {it['cap']:.2f}" if "cap" in it else ""
    return f"Mutual information of x and z: {it['value']:.2f} nats, standard error {it['se']:.2g}{cap}."
