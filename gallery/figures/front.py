"""The picture of README.md: four panels, from embedded digits and synthetic data.

`python -m gallery.figures.front` fits six models, in about 90 seconds, and writes docs/front.png.
"""

import io
from itertools import islice
from pathlib import Path

import numpy as np
import pyro.distributions as dist
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from PIL import Image
from pyro import poutine
from torch import Tensor

from data import load
from gallery.catalogue.recipe import Recipe
from gallery.catalogue.recipes import RECIPES
from gallery.figures.style import BLUE, GREEN, ORANGE, RED, array, dress, figure, save, show, tile
from gallery.models.exponential_gaussian import Exponential, ExponentialGaussian, Gamma
from gallery.models.factor_analysis import FactorAnalysis
from gallery.models.gaussian_mixture import GaussianMixture
from gallery.models.vae import VAE
from inference import SVI, Pair, Settings, eval_mode, monitor_elbo, svi
from inference.files import write_atomically
from inference.pairs.sites import latent_sites

__all__ = ["PICTURE", "front", "reduce_colours"]

PICTURE = Path(__file__).parents[2] / "docs" / "front.png"
SIDE = 11  # images on each side of the manifold
STEPS = 400  # of the fit whose ELBO is drawn


def front() -> Figure:
    """Draw a manifold of digits, an exact posterior and two guides, a mixture, and an ELBO below the exact evidence."""
    fig = figure(9.0, 7.6)
    with torch.random.fork_rng():
        for draw, ax in zip((_manifold, _posterior, _mixture, _bound), fig.subplots(2, 2).flat, strict=True):
            draw(ax)
    return fig


def _fit(model: type[Pair], recipe: Recipe) -> Pair:
    """Fit a model by its recipe."""
    torch.manual_seed(0)
    pair = model(**recipe.keywords)
    svi(pair, load(recipe.data).x, settings=Settings(**recipe.settings))
    return pair


def _manifold(ax: Axes) -> None:
    digits = load("digits:threshold")
    torch.manual_seed(0)
    pair = VAE(data_dim=64, latent_dim=2, hidden=(128, 128), dropout=0.0)
    svi(pair, digits.x, settings=Settings(epochs=150, batch_size=100, lr=3e-3, lr_schedule="cosine"))
    z = torch.special.ndtri((torch.arange(SIDE) + 0.5) / SIDE)
    grid = torch.stack([z.repeat(SIDE), z.flip(0).repeat_interleave(SIDE)], dim=-1)  # (SIDE^2, 2), top row first
    with eval_mode(pair):
        images = pair.decoder(grid).mean
    picture = np.nan_to_num(tile(images, digits.shape, SIDE, gap=3))  # white between images
    show(ax, picture, (0.0, 1.0), "VAE: mean image over the plane of codes")


def _posterior(ax: Axes) -> None:
    x, z = torch.tensor([[1.5]]), torch.linspace(0, 4.5, 500)
    exact = array(_density(ExponentialGaussian().posterior(x), z))  # the model has no parameters
    ax.fill_between(z, exact, color=GREEN, alpha=0.3, linewidth=0, label="exact p(z | x)")
    guides = {"truncated normal": ("", ExponentialGaussian, BLUE), "gamma": (":gamma", Gamma, ORANGE)}
    for label, (variant, model, colour) in (guides | {"exponential": (":exponential", Exponential, RED)}).items():
        with eval_mode(pair := _fit(model, RECIPES[f"exponential_gaussian{variant}"])):
            (site,) = latent_sites(poutine.trace(pair.guide).get_trace(x)).values()
        ax.plot(z, array(_density(site["fn"], z)), color=colour, linewidth=1.5, label=f"q(z | x), {label}")
    dress(ax, "Exponential-Gaussian: exact posterior and three guides", "z", "density").set_xlim(0, 4.5)
    ax.set_ylim(0, 1.6 * exact.max())
    ax.legend(frameon=False, fontsize=9)


def _density(distribution: dist.TorchDistribution, z: Tensor) -> Tensor:
    """Return the density of a scalar distribution of batch shape (1,) at z, (m,)."""
    return distribution.log_prob(z.clamp(min=1e-6).unsqueeze(-1)).squeeze(-1).exp().detach()


def _mixture(ax: Axes) -> None:
    pair, x = _fit(GaussianMixture, RECIPES["gaussian_mixture"]), load("gaussian_mixture").x
    with eval_mode(pair):
        component = pair.posterior(x).probs.argmax(1)
        centres = pair.likelihood(torch.arange(3)).base_dist
    for k, colour in enumerate((BLUE, ORANGE, GREEN)):
        ax.scatter(x[component == k, 0], x[component == k, 1], s=5, color=colour, alpha=0.5, linewidths=0)
        for scale in (1, 2):
            width, height = (2 * scale * centres.stddev[k]).tolist()
            ax.add_patch(Ellipse(centres.mean[k].tolist(), width, height, fill=False, color=colour, linewidth=1.5))
    dress(ax, "Gaussian mixture: component enumerated", "$x_1$", "$x_2$")


def _bound(ax: Axes) -> None:
    train, test = load("factor_analysis").x, load("factor_analysis", "test").x
    torch.manual_seed(42)
    pair = FactorAnalysis()
    curve = []
    for step, _ in islice(SVI(pair, train, settings=Settings(epochs=20, batch_size=32, lr=1e-2)), STEPS):
        curve.append({"step": step, **monitor_elbo(pair, test, seed=step)})
    steps = [point["step"] for point in curve]
    ax.plot(steps, [point["evidence"] for point in curve], color=GREEN, label="log p(x), exact")
    ax.plot(steps, [point["elbo"] for point in curve], color=RED, linewidth=1, label="ELBO, one draw")
    dress(ax, "Factor analysis: the ELBO bounds the evidence", "step", "nats per test data point")
    ax.legend(frameon=False, fontsize=9, loc="lower right")


def reduce_colours(path: Path, colours: int = 128) -> None:
    """Rewrite a PNG with a palette, which takes a third of the bytes."""
    buffer = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").quantize(colours).save(buffer, format="png", optimize=True)
    write_atomically(path, buffer.getvalue())


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    reduce_colours(save(front(), PICTURE))
    print(PICTURE)
