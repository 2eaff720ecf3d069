"""Numbers as the pages print them: name, meaning, value, number of data points, unit and standard errors."""

import math
import statistics
from dataclasses import dataclass
from typing import Any

from gallery.catalogue.recipe import Recipe
from gallery.ledger.fields import displayed_fields, find_entry
from gallery.ledger.tables import number, source_number
from inference.evaluation.estimate import Estimate

__all__ = ["MEANINGS", "Number", "bounds", "information", "kl_bars", "numbers", "spread", "written"]

MEANINGS = {
    "error of q(y | x)": "share of test images that q(y | x) misclassifies; lower is better",
    "ELBO": "a lower bound on log p(x); higher is better",
    "ELBO, training data": "a lower bound on log p(x) of the data it was fitted to; higher is better",
    "log p(x), exact": "the evidence itself; higher is better",
    "squared error": "of reconstructed test images; lower is better. It is no bound: the guide is a point",
    "k-hat above 0.7": "share of test data with unreliable importance-weighted estimates; lower is better",
}
"""The meaning of each number, in the order of display."""


@dataclass(frozen=True)
class Number:
    """A line of a table of numbers.

    :param measured: median [range] over the seeds; empty if it was not measured
    :param published: what the source printed; empty if nothing
    :param remeasured: what the gallery measured from the weights or the code of the source; empty if nothing
    :param entry: the number of the first seed with its errors, n, particles and unit
    :param seeds: number of seeds
    """

    name: str
    measured: str
    published: str
    remeasured: str
    entry: dict[str, Any]
    seeds: int = 0

    @property
    def meaning(self) -> str:
        """The meaning of the number; empty if the gallery has none."""
        return MEANINGS.get(self.name, "")

    @property
    def unit(self) -> str:
        """The unit, with the number of particles it averages over. Monitoring after an epoch uses one."""
        if not self.entry and self.name.startswith(("ELBO", "log p(x)")):
            return "nats per data point" + (", 1 particle" if "epoch" in self.name else "")
        draws = f", {self.entry['particles']} particles" if "particles" in self.entry else ""
        return self.entry.get("unit", "") + draws

    @property
    def n(self) -> str:
        """The number of data points; empty if it is unknown."""
        return f"{self.entry['n']:,}" if "n" in self.entry else ""

    def error(self, kind: str) -> str:
        """The standard error over data, "se", or of Monte Carlo, "mc_se"; empty where there is none."""
        return Estimate(self.entry).error(kind)


def written(value: float) -> str:
    """Return a number as text with a minus sign (U+2212)."""
    return number(value).replace("-", "−")


def spread(values: list[float]) -> str:
    """Return the median, with the range if it differs from the median; empty for no values."""
    if not values:
        return ""
    middle, low, high = (written(f(values)) for f in (statistics.median, min, max))
    return middle if low == high else f"{middle} [{low}, {high}]"


def numbers(recipe: Recipe, row: dict[str, Any] | None) -> list[Number]:
    """Return the published and measured numbers of a recipe."""
    first: dict[str, Any] = next(iter((row or {"runs": {}})["runs"].values()), {})
    return [
        Number(
            field.name,
            spread(field.values),
            source_number(field.published).replace("-", "−"),
            source_number(field.remeasured).replace("-", "−"),
            find_entry(first, field.name),
            len(field.values),
        )
        for field in displayed_fields(recipe, row)
    ]


def bounds(entry: dict[str, Any]) -> list[Number]:
    """Return the lower bounds on the evidence of a run, and the evidence itself if it is known."""
    rows = [(name, find_entry(entry, name)) for name in ("ELBO", "IWAE-16", "log p(x), exact")]
    return [Number(name, f"{it['value']:.4f}".replace("-", "−"), "", "", it, 1) for name, it in rows if it]


def kl_bars(entry: dict[str, Any]) -> dict[str, Any] | None:
    """Return the KL of every latent dimension of a run, nats per data point: "values", "largest" and "text"."""
    latents: dict[str, list[float]] = entry.get("test", {}).get("kl_per_latent") or {}
    values = [value for dimensions in latents.values() for value in dimensions]
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
        f"{first if first == last else f'{first} to {last}'}, nats per data point: largest {written(max(values))}, "
        f"median {written(statistics.median(values))}, smallest {written(min(values))}, together {written(sum(values))}"
        + ("" if active is None else f"; {active} active")
    )
    return {"values": values, "largest": max(*values, 1e-9), "text": text}


def information(entry: dict[str, Any]) -> str:
    """Return a sentence on the mutual information of x and z under the guide; empty if it is undefined.

    An estimate from n data points cannot exceed its cap, which the sentence states.
    """
    it = entry.get("mutual_information", {}).get("mutual_information")
    if not it:
        return ""
    cap = f"; an estimate from {it['n']:,} data points cannot exceed {it['cap']:.2f}" if "cap" in it else ""
    return f"Mutual information of x and z: {it['value']:.2f} nats, standard error {it['se']:.2g}{cap}."
