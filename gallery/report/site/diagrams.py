"""The plate diagrams of a model and its guides, from traces of their code."""

from dataclasses import dataclass, replace

from markupsafe import Markup
from torch import Tensor

from data.chorales import JSB_CHORALES, NOTES, PARTS, STEPS
from data.images import HELD_OUT
from gallery.catalogue.needed import needs_files
from gallery.catalogue.recipes import recipe_for
from gallery.models import MODELS
from gallery.report.diagram import Diagram, factorisation, relations, svg
from gallery.runs.specification import run_of
from inference import Pair
from inference.pairs.capabilities import count
from inference.pairs.run import arguments

__all__ = ["Drawing", "diagrams", "example"]

IMAGES, SIDE = 60_000, 28  # of MNIST: training images, and pixels of a side


@dataclass(frozen=True)
class Drawing:
    """A plate diagram on a page.

    :param name: the model in the registry
    :param of: "model" or "guide"
    :param factors: the factorisation in one line
    """

    svg: Markup
    name: str
    of: str
    factors: str


def example(name: str) -> tuple[Pair, tuple[Tensor, ...], int]:
    """Build the pair of a recipe, and data of the shape that it is fitted to.

    No files are needed: zeros stand for the data in them.

    :return: (pair, (x,) or (x, given), number of data points)
    """
    recipe = recipe_for(name)
    assert recipe is not None  # every model of the gallery has one
    run = run_of(recipe, 0, quick=True)
    train = run.datasets()["train"]
    x, total = train.x, len(train)
    if needs_files(recipe.data):
        (steps, step_dim), total, held_out = _shape_in_files(recipe.data)
        total -= held_out * run.validation
        sizes = {"data_dim": steps * step_dim, "steps": steps, "step_dim": step_dim}
        run = replace(run, keywords={key: sizes.get(key, value) for key, value in run.keywords.items()})
        x = x.new_zeros(len(x), steps * step_dim)
    pair = run.build()
    return pair, arguments(pair, x, train.given), total


def _shape_in_files(name: str) -> tuple[tuple[int, int], int, int]:
    """Return the shape of a row of a set in files, and its number of rows, of all and of those for validation."""
    if name == JSB_CHORALES:
        n, validation = PARTS["train"][0], PARTS["valid"][0]
        return (STEPS, NOTES), n + validation, validation
    return (SIDE, SIDE), IMAGES, HELD_OUT


def _symbol(pair: Pair, diagram: Diagram) -> str:
    """Return the story's name of `given`: y for a class, "label" beside a site y, c for covariates."""
    if count(pair, "classes") is None:
        return "c"
    return "label" if any(node.name == "y" for node in diagram.nodes) else "y"


def diagrams(family: str) -> list[Drawing]:
    """Return the diagrams of a file of gallery/models: model and guide, then those of the variants that differ."""
    drawn: dict[tuple[str, str], Drawing] = {}
    for name in MODELS:
        if name.partition(":")[0] == family:
            pair, args, total = example(name)
            for of in ("model", "guide"):
                diagram = relations(pair, args, of, total)
                diagram = diagram.renamed("given", _symbol(pair, diagram)).in_greek()
                if (of, repr(diagram)) not in drawn:
                    picture = Markup(svg(diagram, f"The {of} of {name}"))
                    drawn[of, repr(diagram)] = Drawing(picture, name, of, factorisation(diagram))
    return list(drawn.values())
