"""The plate diagrams of a model and its guides: what their code does when it is run, on nothing but shapes."""

import inspect
from dataclasses import dataclass, replace

import torch
from markupsafe import Markup
from torch import Tensor, nn

from data.images import HELD_OUT
from gallery.catalogue.recipes import recipe_for
from gallery.models import MODELS
from gallery.report.diagram import factorisation, relations, svg
from gallery.runs.specification import run_of

IMAGES, PIXELS, ROWS = 60_000, 784, 28  # of MNIST: images for training, pixels of one, and its rows


@dataclass(frozen=True)
class Drawing:
    """A diagram on a page.

    :param factors: the factorisation in one line
    """

    svg: Markup
    name: str
    of: str
    factors: str


def example(name: str) -> tuple[nn.Module, tuple[Tensor, ...], int]:
    """A pair as its recipe has it, (x,) or (x, given) of the size of its data, and how many those are. MNIST need not
    be here: the embedded digits stand for it."""
    run = run_of(recipe_for(name), 0, quick=True)
    train = run.datasets()["train"]
    x, total = train.x, len(train)
    if train.is_image:
        sizes = {"data_dim": PIXELS, "steps": ROWS}
        run = replace(run, keywords={key: sizes.get(key, value) for key, value in run.keywords.items()})
        x, total = x.new_zeros(len(x), PIXELS), IMAGES - HELD_OUT * run.validation
    with torch.random.fork_rng():
        pair = run.build()
    return pair, (x, train.given) if "given" in inspect.signature(pair.model).parameters else (x,), total


def diagrams(family: str) -> list[Drawing]:
    """Model and guide of a file of gallery/models, then what its variants do otherwise."""
    drawn: dict[tuple[str, str], Drawing] = {}
    for name in MODELS:
        if name.partition(":")[0] == family:
            pair, args, total = example(name)
            for of in ("model", "guide"):
                diagram = relations(pair, args, of, total)
                if (of, repr(diagram)) not in drawn:
                    picture = Markup(svg(diagram, f"The {of} of {name}"))
                    drawn[of, repr(diagram)] = Drawing(picture, name, of, factorisation(diagram))
    return list(drawn.values())
