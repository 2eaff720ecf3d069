"""The class of a recipe: one fit of one model, with the numbers that a source published for it."""

from dataclasses import dataclass, field, replace
from typing import Any

from gallery.catalogue.published import NOTES, PUBLISHED, REMEASURED

__all__ = ["SAMPLED", "Recipe", "sampled"]

SAMPLED, SAMPLED_NOTE = ":sampled", "The source has the KL in closed form; here it is sampled."


@dataclass(frozen=True)
class Recipe:
    """One fit of one model, with the numbers that a source published for it.

    :param name: name of the recipe, `model` or `model:variant`
    :param model: name in the registry of models
    :param data: name for `data.load`
    :param source: the source of model and published numbers
    :param keywords: arguments of the model's constructor
    :param settings: fields of `inference.Settings` that differ from their defaults
    :param validation: whether the last training images are held out. The published runs trained on all
    :param extra_metrics: names in `gallery.ledger.extra_metrics.EXTRA_METRICS`, evaluated for the ledger too
    """

    name: str
    model: str
    data: str
    source: str
    keywords: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    validation: bool = True
    extra_metrics: tuple[str, ...] = ()

    @property
    def published(self) -> dict[str, float]:
        """Numbers that the source printed."""
        return PUBLISHED.get(self.name.removesuffix(SAMPLED), {})

    @property
    def remeasured(self) -> dict[str, float]:
        """Numbers that the gallery measured from what the source released."""
        return REMEASURED.get(self.name.removesuffix(SAMPLED), {})

    @property
    def note(self) -> str:
        """How these numbers differ from the measured ones in what they measure; empty if they do not."""
        note = NOTES.get(self.name.removesuffix(SAMPLED), "")
        return f"{note} {SAMPLED_NOTE}".lstrip() if self.name.endswith(SAMPLED) else note


def sampled(recipe: Recipe) -> Recipe:
    """Return a recipe with the KL sampled in place of its closed form."""
    return replace(recipe, name=recipe.name + SAMPLED, settings=recipe.settings | {"objective": "trace"})
