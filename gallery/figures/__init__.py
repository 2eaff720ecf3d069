"""What a trained model shows. Every function returns a `matplotlib.figure.Figure`, or for an animation a list of them;
`draw` saves all that apply.

    figures = draw(pair, {"train": train, "test": test}, history, folder)    # paths of PNGs and GIFs
    save(samples(pair, test, n=30), folder / "samples.png")

What applies is read off the pair and its data, not off the name of its class: images have samples and
reconstructions, local continuous latents a map of their codes, a standard normal plane of codes a manifold, and a
model that knows its posterior and its evidence is drawn beside them.
"""

from pathlib import Path

import torch
from torch import nn

from data import Dataset
from gallery.figures.autoencoders import activations, contraction, denoised, sparsity
from gallery.figures.components import components
from gallery.figures.conditionals import conditionals
from gallery.figures.curves import learning_curve
from gallery.figures.exact import amortisation, evidence_curve, posterior_1d
from gallery.figures.factor_analysis import fa_data, fa_experiment_1, fa_experiment_2, fa_prior_samples
from gallery.figures.labels import labels_grow, parted_plane
from gallery.figures.latent import latent_scatter
from gallery.figures.pictures import manifold, reconstructions, samples, three_views
from gallery.figures.rate import kl_bars, rate_distortion
from gallery.figures.regression import regression
from gallery.figures.sequence import completion, sequence_animation
from gallery.figures.style import save, save_frames
from gallery.figures.traits import Traits
from gallery.figures.two_kls import two_kls, two_kls_fits, two_kls_of
from gallery.figures.width import compression, overfitting
from inference.evaluation.metrics import kl_per_latent
from inference.pairs.sites import is_delta

__all__ = [
    "activations",
    "amortisation",
    "completion",
    "components",
    "compression",
    "conditionals",
    "contraction",
    "denoised",
    "draw",
    "evidence_curve",
    "fa_data",
    "fa_experiment_1",
    "fa_experiment_2",
    "fa_prior_samples",
    "kl_bars",
    "labels_grow",
    "latent_scatter",
    "learning_curve",
    "manifold",
    "overfitting",
    "parted_plane",
    "posterior_1d",
    "rate_distortion",
    "reconstructions",
    "regression",
    "samples",
    "save",
    "save_frames",
    "sequence_animation",
    "sparsity",
    "three_views",
    "two_kls",
    "two_kls_fits",
    "two_kls_of",
]


def draw(pair: nn.Module, datasets: dict[str, Dataset], history: list[dict], folder: Path, seed: int = 0) -> list[Path]:
    """Draws and saves every figure that applies to a fitted pair; returns the paths.

    :param datasets: "train", what it was fitted to, and "test"
    :param history: a dictionary for every epoch, as `learning_curve` takes them
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    train, test = datasets["train"], datasets["test"]
    traits = Traits(pair, test)
    local = bool(traits.codes) and not traits.per_datum
    exact = traits.scalar and getattr(pair, "log_evidence", None) is not None

    figures, frames = {}, None
    if history:
        figures["learning_curve"] = learning_curve(history, f"{type(pair).__name__} on {test.name}")
    if traits.generates and not traits.is_global:
        figures["samples"] = samples(pair, test, seed=seed)
        figures["three_views"] = three_views(pair, test, seed=seed)
    if local and test.is_image and not traits.in_steps:
        figures["reconstructions"] = reconstructions(pair, test, seed=seed)
    if local:
        figures["latent"] = latent_scatter(pair, test)
        figures["manifold"] = manifold(pair, test)
    if local and traits.generates:
        figures["components"] = components(pair, test, seed=seed)
        figures["completion"] = completion(pair, test, seed=seed)
        frames = sequence_animation(pair, test, seed=seed)
    if local and traits.generates and not any(is_delta(site) for site in traits.guide.values()):
        few = test.head(2000)
        figures["kl"] = kl_bars(kl_per_latent(pair, few.x, few.given, seed))
    if local and all(is_delta(site) for site in traits.guide.values()):
        figures["activations"] = activations({type(pair).__name__: pair}, test)
    if local and hasattr(pair, "corrupt") and test.is_image:
        figures["denoised"] = denoised(pair, test, seed=seed)
    if local and hasattr(pair, "rho"):
        figures["sparsity"] = sparsity(pair.rho, traits.encode(test.x).mean(0))
    if exact and getattr(pair, "posterior", None) is not None:
        figures["posterior"] = posterior_1d(pair, data=train.x if traits.per_datum else None)
        figures["two_kls"] = two_kls_of(pair)
    if exact and traits.per_datum:
        figures["evidence"] = amortisation(None, pair, train.x)
    elif exact:
        figures["evidence"] = evidence_curve(pair, *test.x.quantile(torch.tensor([0.005, 0.995]).to(test.x)).tolist())
    if hasattr(pair, "least_squares") and train.covariates is not None and train.covariates.shape[1] == 1:
        figures["regression"] = regression(pair, train)
    paths = [save(fig, folder / f"{name}.png") for name, fig in figures.items() if fig is not None]
    return paths + ([save_frames(frames, folder / "animation.gif")] if frames else [])
