"""A sheet to draw an image on, and what the guide of a pair makes of the drawing, computed in the page.

The encoder of the pair is in the page where it is a chain of affine layers on [x, class] and gives the means and the
standard deviations of a diagonal Normal: that is checked on test images, not read off a name.
"""

import html
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import kl_divergence

from data import Dataset
from gallery.report.explorers.decoding import likelihood_of, run_guide, run_model
from gallery.report.explorers.fragment import packed, rounded
from gallery.report.explorers.network import Network
from inference.pairs.info import PairInfo
from inference.pairs.sites import INDEPENDENT, unwrap

__all__ = [
    "DRAWS",
    "LIBRARIES",
    "Encoder",
    "bounds",
    "drawing_data",
    "encoder_of",
    "examples",
    "is_grey",
    "lab",
    "noise_of",
    "picture",
    "sheet",
    "small_print",
    "source_of",
]

DRAWS, ROWS, PER_CLASS = 16, 300, 2  # of the guide for a bound; test images for comparison; examples of a class
FIRST = 3  # the class of the first example, since a 0 of 8 x 8 binary pixels is hard to recognise
SPREADS: dict[str, Callable[[Tensor], Tensor]] = {"softplus": torch.nn.functional.softplus, "exp": torch.exp}
LIBRARIES = "network", "charts", "drawing"


@dataclass(frozen=True, eq=False)
class Encoder:
    """The encoder of a pair as a chain.

    :param tails: what it reads after the pixels, (classes, length)
    :param spread: name of the function from its second half of outputs to the standard deviation
    """

    network: Network
    tails: Tensor
    spread: str


def is_grey(test: Dataset) -> bool:
    """Return whether the data are images of one channel with pixels in [0, 1]."""
    grey = len(test.shape) == 2 or (len(test.shape) == 3 and test.shape[0] == 1)
    low, high = test.x.aminmax()
    return grey and low.item() >= 0 and high.item() <= 1


def encoder_of(info: PairInfo, test: Dataset, choices: int) -> Encoder | None:
    """Return the encoder of a pair with a diagonal Normal guide; None if it is not one that a page computes."""
    network = Network.of(getattr(info.pair, "encoder", None))
    if network is None or not is_grey(test) or info.component:
        return None
    x, few = test.x[:20], torch.arange(min(20, len(test))) % choices
    read, sites = run_guide(info, x, few)
    tails, _ = run_guide(info, torch.zeros_like(x[:1]).expand(choices, -1), torch.arange(choices))
    q = unwrap(sites[info.codes[0]]["fn"], INDEPENDENT)
    if read is None or tails is None or not isinstance(q, dist.Normal):
        return None
    tails = tails[:, x.shape[1] :]
    if not torch.equal(read, torch.cat([x, tails[few]], 1)):
        return None
    with torch.no_grad():
        loc, raw = network.outputs(read).chunk(2, dim=-1)
        if loc.shape != q.loc.shape or not torch.allclose(loc, q.loc):
            return None
        spread = next((name for name, of in SPREADS.items() if torch.allclose(of(raw), q.scale)), None)
    prior, _, fn = run_model(info, few)
    normal = isinstance(unwrap(prior, INDEPENDENT), dist.Normal)
    return Encoder(network, tails, spread) if spread and normal and likelihood_of(fn) else None


def noise_of(latent_dim: int, seed: int = 0) -> Tensor:
    """Return the noise of every bound in a page, (DRAWS, latent_dim), as float32 values."""
    return torch.randn(DRAWS, latent_dim, generator=torch.Generator().manual_seed(seed)).double()


def bounds(info: PairInfo, x: Tensor, choice: Tensor) -> tuple[Tensor, Tensor]:
    """Return (E_q log p(x | z, choice) as the mean over `noise_of`, KL(q(z | x) || p(z | choice))), (n,) in nats."""
    _, sites = run_guide(info, x, choice)
    q = sites[info.codes[0]]["fn"]
    terms = []
    for eps in noise_of(q.event_shape[0]):
        prior, _, fn = run_model(info, choice, q.mean + q.stddev * eps)
        terms.append(fn.log_prob(x))
    return torch.stack(terms).mean(0), kl_divergence(q, prior)


def examples(test: Dataset) -> dict[str, Any]:
    """Return the first test images of each class as bytes, and their classes."""
    rows = list(range(min(len(test), 10 * PER_CLASS)))
    if test.labels is not None and test.classes:
        order = ((y + FIRST) % test.classes for y in range(test.classes))
        of = [(test.labels == y).nonzero()[:PER_CLASS, 0].tolist() for y in order]
        rows = [r[i] for i in range(PER_CLASS) for r in of if len(r) > i]
    x = test.x[rows]
    labels = None if test.labels is None else test.labels[rows].tolist()
    return {"examples": packed((255 * x).round().to(torch.uint8), "u1"), "labels": labels}


def sheet(test: Dataset, title: str = "x: draw here", below: str = "") -> str:
    """Return the HTML of a sheet on the grid of the images, with more controls below."""
    height, width = test.shape[-2:]
    return f"""<div class="part pen"><p class="head">{title}</p>
<div class="sheet" data-part="sheet" tabindex="0" role="application" aria-roledescription="drawing"
 aria-label="Drawing of {height} by {width} pixels: arrow keys move the pen, Space draws or erases a pixel">
<canvas data-part="ink" role="img" aria-label="The drawing" width="{width}" height="{height}"></canvas>
<svg data-part="grid" viewBox="0 0 {width} {height}" aria-hidden="true"></svg></div>
<p class="buttons"><button type="button" data-part="clear">Clear</button>
<button type="button" data-part="erase" aria-pressed="false">Erase</button>
<button type="button" data-part="example">{test.split.capitalize()} image</button></p>{below}</div>"""


def picture(test: Dataset, name: str, title: str) -> str:
    """Return the HTML of a canvas of the size of an image, with its scale of ink."""
    height, width = test.shape[-2:]
    return f"""<p class="head">{title}</p>
<canvas data-part="{name}" role="img" width="{width}" height="{height}"></canvas>
<p class="scale" aria-hidden="true">0 <i></i> 1</p>"""


def source_of(test: Dataset, weights: int, bits: int) -> str:
    """Return the caption of an explorer that computes with networks."""
    images = f"{test.split.capitalize()} images: {test.name}."
    return f"Computed in this page by {weights:,} weights, rounded to {bits} bits. {images}"


def lab(body: str) -> str:
    """Return the body of an explorer with the style sheet of drawings, which applies to nothing else."""
    style = (files(__package__) / "drawing.css").read_text(encoding="utf-8")
    return f'<style>\n{style}</style>\n<div class="lab">{body}</div>'


def small_print(text: str) -> str:
    """Return a folded paragraph."""
    return f"\n<details><summary>What is computed</summary><p>{html.escape(text)}</p></details>"


def drawing_data(info: PairInfo, test: Dataset, encoder: Encoder, choices: int, bits: int) -> dict[str, Any]:
    """Return what a page needs to encode a drawing and to compute its bound.

    :param info: of the pair with rounded weights
    """
    each = torch.arange(choices)
    prior, _, fn = run_model(info, each)
    known = likelihood_of(fn)
    assert known is not None
    few = test.head(ROWS)
    given = few.labels if info.conditional and few.labels is not None else torch.zeros(len(few), dtype=torch.long)
    terms, kl = bounds(info, few.x, given)
    return {
        **examples(test),
        "binary": bool(((test.x == 0) | (test.x == 1)).all()),
        "encoder": encoder.network.pack(bits),
        "tails": rounded(encoder.tails, 6),
        "spread": encoder.spread,
        "likelihood": known[0],
        "sd": known[1],
        "prior": [prior.mean.tolist(), prior.stddev.tolist()],
        "noise": packed(noise_of(prior.event_shape[0])),
        "elbos": sorted(rounded(terms - kl, 3)),
        "split": test.split,
    }
