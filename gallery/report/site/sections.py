"""The index page: one card per file of gallery/models, in sections."""

import inspect
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gallery.catalogue.needed import needs_files
from gallery.models import MODELS, family_module
from gallery.report.site.hero import recipes_of
from gallery.report.site.numbers import written
from gallery.report.site.pictures import known_pictures
from gallery.report.site.run_pages import RunPage
from gallery.report.site.thumbnails import draw_thumbnail

__all__ = [
    "PANELS",
    "PATH",
    "Card",
    "Headline",
    "card",
    "marks_of",
    "number_of",
    "title",
]

PANELS = {
    "squared_gaussian": "What the data say, and what they cannot",
    "gaussian_mixture": "Groups without any label",
    "vae": "Digits that were never written",
    "vrnn": "Images continued row by row",
}
"""The four panels at the top, each with a few words."""

PATH = (
    "loaded_die",
    "linear_regression",
    "logistic_regression",
    "exponential_gaussian",
    "squared_gaussian",
    "gaussian_mixture",
    "hmm",
    "state_space",
    "eight_schools",
    "item_response",
    "factor_analysis",
    "ppca",
    "lda",
    "prod_lda",
    "autoencoder",
    "vae",
    "cvae",
    "gmvae",
    "ss_vae",
    "vrnn",
    "deep_markov",
)
"""The reading path: each model adds one idea to those before."""

SMALLEST_GAP = 1e-4  # nats
SECONDS = 60  # of a fit that takes seconds


@dataclass(frozen=True)
class Headline:
    """The number of a card: value, unit, and what it is of."""

    value: str
    unit: str
    what: str


@dataclass(frozen=True)
class Card:
    """A card of the index page.

    :param what: the model in one line
    :param picture: the path of the thumbnail relative to the pages; empty without one
    :param alt: the text alternative of the thumbnail
    :param marks: see `marks_of`
    """

    title: str
    what: str
    page: str
    number: Headline | None
    picture: str
    alt: str
    marks: tuple[str, ...]


def title(family: str) -> tuple[str, str]:
    """Return (name, description) from the first line of the docstring of a file of gallery/models."""
    first = (inspect.getdoc(family_module(MODELS[family])) or "").partition("\n")[0].rstrip(".")
    name, _, what = first.partition(": ")
    return name, what


def number_of(*entries: dict[str, Any]) -> Headline | None:
    """Return the number for a card, the median over runs of the ledger or metrics.json; None if they have none of them.

    Bounds are not among them: those of pixels in {0, 1} are logarithms of probabilities, others of densities.
    """
    rows = [row for entry in entries if (row := _number(entry)) is not None]
    if not rows:
        return None
    median, (_, unit, what) = statistics.median(value for value, *_ in rows), rows[0]
    shown = written(median)
    if what.startswith("between"):
        shown = f"{median:.4f}" if median >= SMALLEST_GAP else f"< {SMALLEST_GAP:.4f}"  # below is rounding
    return Headline(shown, unit, what)


def _number(entry: dict[str, Any]) -> tuple[float, str, str] | None:
    """Return value, unit and meaning of the number for a card of one run."""
    test, train = entry.get("test", {}), entry.get("train", {})
    joint = "se" in test.get("undefined", {})
    bounds = train if joint and "elbo" in train else test
    if "value" in (right := test.get("classifier_accuracy", {})):
        return 100 * (1 - right["value"]), "%", "of the test images are misclassified"
    if "evidence" in bounds and "elbo" in bounds:
        gap = bounds["evidence"]["value"] - bounds["elbo"]["value"]
        return gap, "nats", "between the exact evidence and the bound, per data point"
    if "value" in (error := entry.get("reconstruction_error", {})) and "elbo" not in test:
        return error["value"], "squared error", "of a reconstructed data point"
    if "value" in (words := test.get("perplexity", {})):
        return words["value"], "perplexity", "of half of the words of a document, given the other half"
    if "value" in (kl := test.get("kl", {})):
        return kl["value"], "nats", "in the code of a data point (KL from the prior)"
    return None


def marks_of(family: str, seconds: float | None, explored: bool) -> tuple[str, ...]:
    """Return the marks of a card: no data needed, seconds, playable.

    :param seconds: the time of its fit; None if it was not run
    :param explored: whether its page has an explorer
    """
    (recipe, *_) = recipes_of(family)
    marks = {
        "no data needed": not needs_files(recipe.data),
        "takes seconds": seconds is not None and seconds < SECONDS,
        "can be played with": explored,
    }
    return tuple(mark for mark, holds in marks.items() if holds)


def card(
    family: str, rows: dict[str, Any], ledger: Path, runs: list[RunPage], site: Path, explored: bool = False
) -> Card:
    """Return the card of a model: its first recipe with a result in the ledger, else the user's first run.

    :param rows: the content of ledger.json
    :param ledger: the folder of the ledger
    :param site: the folder that the thumbnail is written to
    :param explored: whether its page has an explorer
    """
    measured = (rows.get(recipe.name, {"runs": {}})["runs"] for recipe in recipes_of(family))
    entries = list(next(filter(None, measured), {}).values())
    folders = [ledger / "pictures" / recipe.name.replace(":", "-") for recipe in recipes_of(family)]
    number = number_of(*entries)
    if number is None and runs:  # with its picture, so that both are of the same run
        number, folders = number_of(runs[0].metrics), [runs[0].folder / "figures"]
    paths = [path for folder in folders for path in known_pictures(folder) if path.stem != "learning_curve"]
    seconds = entries[0]["seconds"] if entries else None
    name, what = title(family)
    picture = draw_thumbnail(family, paths[0] if paths else None, site)
    alt = f"A picture of the model: {name}" if picture else ""
    return Card(name, what, f"{family}.html", number, picture, alt, marks_of(family, seconds, explored))
