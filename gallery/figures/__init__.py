"""Draw a fitted pair. Every function returns a `matplotlib.figure.Figure`, or for an animation a list of them;
`draw` saves all that apply.

    figures = draw(pair, {"train": train, "test": test}, history, folder)    # paths of PNGs and GIFs
    save(samples(pair, test, n=30), folder / "samples.png")

Which figures apply depends on the structure of the pair (`PairInfo`), its declared capabilities and its data, not on
the name of its class: images have samples and reconstructions, local continuous latents a map of their codes, a
standard normal plane of codes a manifold, and a model with an exact posterior and evidence is drawn beside them.
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import pyro.distributions as dist
import torch
from matplotlib.figure import Figure

from data import Dataset
from gallery.figures.autoencoders import activations, contraction, denoised, sparsity
from gallery.figures.components import components
from gallery.figures.conditionals import conditionals
from gallery.figures.curves import learning_curve
from gallery.figures.exact import amortisation, evidence_curve, posterior_1d
from gallery.figures.factor_analysis import (
    fa_data,
    fa_experiment_1,
    fa_experiment_2,
    fa_fixed_variance,
    fa_one_axis,
    fa_prior_samples,
)
from gallery.figures.funnel import funnel
from gallery.figures.info import codes_of
from gallery.figures.items import answers
from gallery.figures.labels import labels_grow, parted_plane
from gallery.figures.latent import latent_scatter
from gallery.figures.odds import odds
from gallery.figures.pictures import manifold, reconstructions, samples, three_views
from gallery.figures.rate import kl_bars, rate_distortion
from gallery.figures.regression import regression
from gallery.figures.responsibilities import responsibilities
from gallery.figures.rolls import rolls
from gallery.figures.sequence import completion, sequence_animation
from gallery.figures.shared import shared
from gallery.figures.steps import paths, smoothed
from gallery.figures.style import save, save_frames
from gallery.figures.subject import Subject
from gallery.figures.topics import topics
from gallery.figures.two_kls import two_kls, two_kls_fits, two_kls_of
from gallery.figures.width import compression, overfitting
from inference import Pair
from inference.evaluation.evidence_gap import evidence_gap
from inference.evaluation.metrics import kl_per_latent
from inference.files import make_folder
from inference.pairs.capabilities import capability

__all__ = [
    "FIGURES",
    "Subject",
    "activations",
    "amortisation",
    "answers",
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
    "fa_fixed_variance",
    "fa_one_axis",
    "fa_prior_samples",
    "funnel",
    "kl_bars",
    "labels_grow",
    "latent_scatter",
    "learning_curve",
    "manifold",
    "odds",
    "overfitting",
    "parted_plane",
    "paths",
    "posterior_1d",
    "rate_distortion",
    "reconstructions",
    "regression",
    "responsibilities",
    "rolls",
    "samples",
    "save",
    "save_frames",
    "sequence_animation",
    "shared",
    "smoothed",
    "sparsity",
    "three_views",
    "topics",
    "two_kls",
    "two_kls_fits",
    "two_kls_of",
]


MIN_CODES = 10  # of a picture of codes


Drawing = Figure | list[Figure] | None


def _learning_curve(s: Subject) -> Drawing:
    return learning_curve(s.history, f"{type(s.pair).__name__} on {s.test.name}")


def _has_three_views(s: Subject) -> bool:
    (fn, *others) = s.info.likelihood
    single = not others and isinstance(fn, dist.ContinuousBernoulli)
    return single and s.test.is_image and s.info.generates and not s.info.has_global_latent


def _kl_of(s: Subject, n: int) -> dict[str, list[float]]:
    few = s.test.head(n)
    return kl_per_latent(s.pair, few.x, few.given, s.seed)


def _has_bars(s: Subject) -> bool:
    closed = s.encodes and s.info.generates and not s.info.delta_sites
    return closed and sum(len(of_site) for of_site in _kl_of(s, 2).values()) > 2


def _has_square_code(s: Subject) -> bool:
    units = [site["fn"].event_shape.numel() for site in s.info.guide_sites.values()]
    square = len(units) == 1 and round(units[0] ** 0.5) ** 2 == units[0] >= 9
    return s.encodes and s.test.is_image and len(s.info.delta_sites) == len(units) and square


def _evidence(s: Subject) -> Drawing:
    if s.info.is_per_data_point:
        return amortisation(
            s.train.x, {"one q per data point, log p(x) − ELBO": evidence_gap(s.pair, s.train.x, 200)[0]}
        )
    return evidence_curve(s.pair, *s.test.x.quantile(torch.tensor([0.005, 0.995]).to(s.test.x)).tolist())


def _sparsity(s: Subject) -> Drawing:
    return sparsity(capability(s.pair, "rho"), codes_of(s.info, s.test.x).mean(0))


def _has_line(s: Subject) -> bool:
    covariates = s.train.covariates
    return bool(capability(s.pair, "least_squares")) and covariates is not None and covariates.shape[1] == 1


FIGURES: dict[str, tuple[Callable[[Subject], bool], Callable[[Subject], Drawing]]] = {
    "learning_curve": (lambda s: bool(s.history), _learning_curve),
    "samples": (
        lambda s: s.info.generates and not (s.info.has_global_latent or s.has_steps or s.has_answers or s.ends_early),
        lambda s: samples(s.pair, s.test, seed=s.seed),
    ),
    "topics": (lambda s: capability(s.pair, "topics") is not None, lambda s: topics(s.pair, s.test)),
    "answers": (lambda s: s.has_answers, lambda s: answers(s.pair, s.train, seed=s.seed)),
    "rolls": (lambda s: s.ends_early, lambda s: rolls(s.pair, s.test, seed=s.seed)),
    "smoothed": (lambda s: s.has_steps, lambda s: smoothed(s.pair, s.test, seed=s.seed)),
    "paths": (lambda s: s.has_steps and s.info.generates, lambda s: paths(s.pair, s.test, seed=s.seed)),
    "three_views": (_has_three_views, lambda s: three_views(s.pair, s.test, seed=s.seed)),
    "reconstructions": (
        lambda s: s.encodes and s.test.is_image and not (s.info.generates_rows(s.test.shape) or s.ends_early),
        lambda s: reconstructions(s.pair, s.test, seed=s.seed),
    ),
    "latent": (
        lambda s: s.encodes and not (s.has_steps or s.ends_early) and len(s.test) >= MIN_CODES,
        lambda s: latent_scatter(s.pair, s.test),
    ),
    "manifold": (
        lambda s: s.has_whole_images and s.info.has_standard_normal_plane,
        lambda s: manifold(s.pair, s.test),
    ),
    "components": (
        lambda s: s.has_whole_images and s.info.generates and s.info.component is not None,
        lambda s: components(s.pair, s.test, seed=s.seed),
    ),
    "completion": (
        lambda s: s.has_rows and not s.test.missing and s.info.filters,
        lambda s: completion(s.pair, s.test, seed=s.seed),
    ),
    "kl": (_has_bars, lambda s: kl_bars(_kl_of(s, 2000))),
    "activations": (_has_square_code, lambda s: activations({type(s.pair).__name__: s.pair}, s.test)),
    "denoised": (
        lambda s: s.encodes and s.test.is_image and capability(s.pair, "corrupt") is not None,
        lambda s: denoised(s.pair, s.test, seed=s.seed),
    ),
    "sparsity": (lambda s: s.encodes and capability(s.pair, "rho") is not None, _sparsity),
    "posterior": (
        lambda s: s.is_exact_in_z,
        lambda s: posterior_1d(s.pair, data=s.train.x if s.info.is_per_data_point else None),
    ),
    "two_kls": (lambda s: s.is_exact_in_z and two_kls_of(s.pair) is not None, lambda s: two_kls_of(s.pair)),
    "evidence": (lambda s: s.is_exact, _evidence),
    "shared": (lambda s: s.shares_posterior, lambda s: shared(s.pair, s.train, seed=s.seed)),
    "odds": (lambda s: s.has_odds, lambda s: odds(s.pair, s.train, seed=s.seed)),
    "responsibilities": (lambda s: s.has_responsibilities, lambda s: responsibilities(s.pair, s.test)),
    "regression": (_has_line, lambda s: regression(s.pair, s.train)),
    "animation": (
        lambda s: s.has_rows and not s.info.conditional,
        lambda s: sequence_animation(s.pair, s.test, seed=s.seed),
    ),
}
"""By name: whether the figure applies, and the function that draws it; that function does not return None then."""


def draw(pair: Pair, datasets: dict[str, Dataset], history: list[dict], folder: Path, seed: int = 0) -> list[Path]:
    """Draw and save every figure that applies to a fitted pair; return the paths.

    A figure that fails is left out, and named in a warning of one line.

    :param datasets: "train", the data that the pair was fitted to, and "test"
    :param history: a dictionary for every epoch, as `learning_curve` takes them
    :param folder: is made if it does not exist
    """
    folder = Path(folder)
    make_folder(folder)
    test, paths = datasets["test"], []
    subject = Subject(pair, datasets["train"], test, history, seed)
    for name, (applies, function) in FIGURES.items():
        try:
            drawing = function(subject) if applies(subject) else None
            if isinstance(drawing, list):
                paths.append(save_frames(drawing, folder / f"{name}.gif"))
            elif drawing is not None:
                paths.append(save(drawing, folder / f"{name}.png"))
        except Exception as error:  # whatever the code of a model can raise
            first = (str(error).splitlines() or [""])[0]
            warnings.warn(f"figure {name} is left out: {type(error).__name__}: {first}", stacklevel=2)
    return paths
