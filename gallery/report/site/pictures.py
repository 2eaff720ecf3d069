"""The pictures of a fitted pair on the site: captions, sizes, and copies beside the pages.

Only pictures with a name that the gallery draws are copied, decoded and encoded anew, and only files that Pillow reads
as images; links are not followed.
"""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageSequence

import data
from inference.files import is_regular, make_folder, write_atomically

__all__ = ["CAPTIONS", "READINGS", "Picture", "copy_pictures", "has_classes", "known_pictures", "rank", "refusal"]

MOST_PIXELS = 50_000_000  # of all frames of a picture; a larger one is left out
LARGEST = 120_000  # bytes; a larger picture has 256 colours, and is scaled down
WIDTH = 1100  # width in pixels of a picture that was scaled down
WIDE = 760  # pixels: in half of a page, the labels of a wider picture would be illegible

CAPTIONS = {
    "components": "Images drawn from each component of the prior, one component a row",
    "denoised": "Images, the same images corrupted at several levels, and the reconstruction from each",
    "regression": "Regression lines drawn from the guide, and the least squares line",
    "regression_mean_field": "The same with independent intercept and slope under the guide",
    "regression_map": "The MAP line, beside the least squares line",
    "squares_and_kl": "Intercept and slope by five methods, and how often their intervals contain the truth",
    "experiment_1": "ELBO and evidence over 1000 steps, with draws from the model after three of them",
    "one_axis": "Evidence of test data: guide and model fitted together, and in turn",
    "posterior": "Prior, exact posterior and fitted guide of z at two values of x",
    "funnel": "The exact posterior of the spread and of one effect, in two coordinates: the distance of the effect "
    "from the mean, and the same in units of the spread",
    "completion": "Images shown up to a row, and draws of the later rows",
    "answers": "The probability of a right answer to each item, and the abilities of three persons",
    "smoothed": "Sequences of test data, and what the latents given x say of each step, with its 95 % band",
    "paths": "Sequences drawn from the fitted model, and sequences of the data",
    "rolls": "A sequence of the test data, its reconstruction, and a draw from the fitted model: steps from left to "
    "right, the notes or other entries of a step from bottom to top",
    "topics": "Topics: the probabilities of words on their grid, or the ten most probable words of each",
    "gibbs": "The same documents by variational inference and by Gibbs sampling: perplexity of half of the words of "
    "held-out documents, by how topics and shares are inferred",
    "samples": "Draws from the fitted model: z from its prior, x from p(x | z)",
    "sample": "Draws from the fitted model: z from its prior, x from p(x | z)",
    "manifold": "The decoder's mean over a grid of codes, at equal steps of the prior's probability",
    "originals": "Images of the training data, before any fit",
    "reconstructions": "Images of the test data, and their reconstructions",
    "activations": "Ten images of the test data, and the activations of the code for each",
    "two_kls": "The nearest normal distributions to a bimodal posterior, in both directions of the KL",
    "latent": "Codes of test data: their means under the guide, in a plane if they have more coordinates",
    "evidence": "ELBO and exact log evidence as x varies",
    "three_views": "The same draws three times: parameter of the likelihood, its mean, a sample",
    "kl": "KL from the prior of each latent dimension, in nats",
    "sparsity": "The penalty over the mean activation of a unit, with the units of a code where one was fitted",
    "contraction": "Squared norm of the Jacobian of the code along training",
    "learning_curve": "Learning curve: the metrics after every epoch. log p(x) bounds the mean of the ELBO of the same "
    "data: noise, and training on other data, may take a curve above it",
    "animation": "Images appearing row by row",
    "amortisation": "The two parts of the gap log p(x) - ELBO: the cost of the family, and of one network for all x",
    "posterior_exponential": "Prior, exact posterior and an exponential guide at two values of x",
    "posterior_gamma": "Prior, exact posterior and a gamma guide at two values of x",
    "posterior_log_normal": "Prior, exact posterior and a log-normal guide at two values of x",
    "posterior_per_datum": "Prior, exact posterior and a guide with parameters per data point, at two values of x",
    "widths": "Error on training and test images by the width of the code",
    "bits": "Error of images decoded from rounded codes, by the bits per code",
    "conditionals": "A table, a linear map and a network for p(x | y), by the number of bits of y",
    "labels_grow": "Error on test images by the number of labels",
    "calibration": "How often a classifier is right, by how sure it is",
    "margins": "Two digits in a plane: a hyperplane with its margin, a kernel, a network",
    "information": "Information of the code about its image, by the weight of the KL and by the decoder's context",
    "plane": "A plane of codes, classified by a support vector machine and by the guide",
    "collapse": "Units that live by the noise of the decoder, beside the eigenvalues of the data",
    "rate_distortion": "Distortion against rate, one point per weight of the KL",
    "fixed_variance": "ELBO and exact evidence by the fixed variance of a guide",
    "prior_samples": "log p(x) from draws of the prior, by the number of factors",
    "data": "The training data, over each pair of coordinates",
    "experiment_2": "Evidence and ELBO as guide and model are trained in turn",
    "bound": "The ELBO of every inference algorithm against seconds",
    "variance": "The variance of the gradient for every objective",
    "error": "Error of the posterior mean against gradient evaluations, both logarithmic",
}
"""The caption of a picture by the name of its file, in the order of display."""

READINGS = {
    "components": "A good row has one kind of digit; a row of several kinds is a component that mixes them.",
    "denoised": "Compare each restored image with the first row: at the level of training it is close.",
    "posterior": "Where the guide covers the exact posterior, the bound is tight.",
    "posterior_exponential": "The density of an exponential guide only falls: it cannot follow a posterior with a "
    "mode above 0.",
    "posterior_gamma": "A gamma guide can have a mode above 0, but is 0 at z = 0 then, where the posterior is not.",
    "posterior_log_normal": "The density of a log-normal guide is 0 at z = 0, that of the posterior is not: a gap is "
    "left at both x.",
    "posterior_per_datum": "Each x has parameters of a family that contains the posterior: the guide covers it.",
    "evidence": "The gap is the KL from the guide to the exact posterior at that x: where it is 0, they are equal.",
    "funnel": "A small spread pinches the density in the first coordinates: no one step size suits a sampler there, "
    "and no normal is close. In the second it does not.",
    "completion": "Every completion starts from the same rows: where they differ, the model is uncertain.",
    "answers": "A steep curve separates persons; where all curves are near 1, the answers say little of z.",
    "smoothed": "A step on the curve is explained by its neighbours; the band is wider where there is no measurement.",
    "paths": "Draws should move as the data do: as far from one step to the next, and no further.",
    "rolls": "The reconstruction has what the code carries; a draw should move as the sequence does.",
    "topics": "A good topic has words that occur together; two topics of the same words are one that was split.",
    "gibbs": "Each interval of a difference contains 0: both ways predict alike, within a quarter of a percent.",
    "samples": "The closer the draws are to the data, the better the model; a single draw proves nothing.",
    "sample": "The closer the draws are to the data, the better the model; a single draw proves nothing.",
    "manifold": "Neighbours in the grid are neighbours in the code: shapes change gradually.",
    "reconstructions": "What is lost from the first image to the second is what the code does not carry.",
    "activations": "A square of full ink is an active unit: compare how many there are, and whether digits share them.",
    "kl": "A bar at 0 is a dimension that the code does not use; the sum of all bars is the KL in the ELBO.",
    "contraction": "At the same error the code with the penalty is less steep.",
    "originals": "Draws from a good model could be taken for more of them.",
    "two_kls": "One direction of the KL chooses a mode, the other covers both.",
    "latent": "What lies together has similar codes.",
    "regression": "The band contains new data; the ellipses show whether the guide has the posterior's correlation.",
    "regression_mean_field": "The ellipses of the guide have no tilt: it lacks the correlation, and its intervals are "
    "too short.",
    "regression_map": "The guide is a point next to least squares: its band is that of the noise alone.",
    "squares_and_kl": "Mean field has the right line and intervals that are too short.",
    "one_axis": "Both lines start at the same weights: fitting in turn leaves the model still for half of the steps.",
    "sparsity": "The penalty is 0 where the mean activation is the target, and infinite at 0 and 1.",
    "calibration": "Dots under the diagonal are predictions that are surer than they are right.",
    "information": "At the cap a code identifies its image; at 0 it is independent of it.",
    "margins": "The circled images alone decide where the hyperplane lies.",
    "three_views": "Only the last row looks like data: the mean has no pixel noise, and the parameter is no mean.",
    "learning_curve": "A curve that still rises has not converged; a gap between training and test is overfitting.",
    "animation": "Each row is drawn given all the rows above it.",
    "amortisation": "The distance between the two curves is the price of one network for every x.",
    "widths": "Training error falls with every unit; the test error shows when that stops being useful.",
    "bits": "The error rises when codes are rounded: that is how many bits the code really carries.",
    "conditionals": "A table needs a number for every combination; a network shares them.",
    "labels_grow": "The first labels matter most: the curve is steep at the left.",
    "plane": "Coloured regions are the classes that the code separates.",
    "collapse": "The line is known before any fit, with a step at each eigenvalue; fits leave it by one unit at most.",
    "rate_distortion": "Down is a better reconstruction, to the right a more expensive code: no point is best in both.",
    "prior_samples": "With more factors, draws from the prior rarely meet the data: the estimate degrades.",
    "fixed_variance": "The model adapts to the guide: with too large a variance the evidence falls with the ELBO.",
    "data": "The clouds are elongated: that direction is what the factors explain.",
    "experiment_1": "The ELBO rises to the evidence and meets it: the guide has reached the posterior.",
    "experiment_2": "Training the guide closes the gap; training the model moves the evidence.",
    "bound": "The higher a curve ends the better is the fit; the further to the left it rises, the faster.",
    "variance": "The gradient of a good objective has a small variance, and a large signal-to-noise ratio.",
    "error": "The lower a curve at the same number of evaluations, the more efficient the method.",
}
"""How to read a picture, in one sentence, by the name of its file."""

OF_CLASSES = {
    "latent": (
        f"{CAPTIONS['latent']}. A colour is a class",
        "What lies together has similar codes; colours that lie apart are classes that the code separates.",
    )
}
"""Caption and reading of a picture where the data have classes, which it then shows."""


@dataclass(frozen=True)
class Picture:
    """A picture on a page.

    :param src: its path relative to the pages; for an animation, that of its last frame
    :param alt: the text alternative
    :param moving: the path of the animation; None for a still picture
    :param reading: how to read it, in one sentence; empty if the gallery has none
    """

    src: str
    caption: str
    alt: str
    width: int
    height: int
    moving: str | None = None
    reading: str = ""

    @property
    def is_wide(self) -> bool:
        """Whether it takes the width of a page."""
        return self.width > WIDE


def has_classes(name: str) -> bool:
    """Return whether data of the catalogue have classes.

    >>> has_classes("digits:grey"), has_classes("factor_analysis")
    (True, False)

    :param name: as of `data.load`
    """
    return name.partition(":")[0] in {known.name for known in data.describe() if known.has_classes}


def known_pictures(folder: Path) -> list[Path]:
    """Return the pictures of a folder that have a caption, in the order of display; none if there is no folder."""
    paths = [path for path in folder.glob("*") if path.suffix in (".png", ".gif") and path.stem in CAPTIONS]
    return sorted(paths, key=rank)


def rank(path: Path) -> int:
    """Return the place of a picture in the order of display, from 0."""
    return list(CAPTIONS).index(path.stem)


def _copy(path: Path, target: Path, width: int | None = None) -> tuple[int, int] | None:
    """Decode a picture and encode it anew, scaled down if its file is large or `width` is set.

    Nothing but pixels and the durations of frames is kept: no text, no other data of the file.

    :return: (width, height); None if the file is damaged, too large, a link, or no picture
    """
    if refusal(path) is not None:
        return None
    make_folder(target.parent)
    content = io.BytesIO()
    try:
        with Image.open(path, formats=("PNG", "GIF")) as image:
            frames = getattr(image, "n_frames", 1)
            if target.suffix == ".gif":
                first, *others = [_pixels(frame) for frame in ImageSequence.Iterator(image)]
                durations = [frame.info.get("duration", 100) for frame in ImageSequence.Iterator(image)]
                first.save(content, "gif", save_all=True, append_images=others, duration=durations, loop=0)
                size = first.size
            else:
                image.seek(frames - 1)  # the last frame of an animation
                image.load()
                large = width is not None or path.suffix != target.suffix or path.stat().st_size > LARGEST
                copied = image.convert("RGB") if large else _pixels(image)
                if large:
                    copied.thumbnail((width or WIDTH, 10 * WIDTH))
                    copied = copied.quantize(256, Image.Quantize.MAXCOVERAGE)
                    copied.info = {}
                copied.save(content, "png", optimize=large)
                size = copied.size
    except (OSError, SyntaxError, ValueError, EOFError):  # what Pillow raises
        return None
    write_atomically(target, content.getvalue())
    return size


def _pixels(image: Image.Image) -> Image.Image:
    """Return a copy of a frame without the information that Pillow would write besides the pixels."""
    copied = image.copy()
    copied.info = {}
    return copied


def refusal(path: Path) -> str | None:
    """Return why a picture is left out: it is a link or has too many pixels; None otherwise."""
    if not is_regular(path) or path.parent.is_symlink():
        return f"{path} is left out: it is no file but a link or a folder."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about large pictures
            with Image.open(path, formats=("PNG", "GIF")) as image:
                pixels = image.size[0] * image.size[1] * getattr(image, "n_frames", 1)
    except Image.DecompressionBombError:
        pixels = 2 * MOST_PIXELS
    except (OSError, SyntaxError, ValueError, EOFError):
        pixels = 0  # no picture
    return (
        f"{path} is left out: it has more than {MOST_PIXELS // 10**6} million pixels." if pixels > MOST_PIXELS else None
    )


def copy_pictures(
    folder: Path,
    site: Path,
    where: str,
    of: str,
    more: dict[str, str] | None = None,
    report: Callable[[str], None] = lambda line: None,
    classes: bool = False,
) -> list[Picture]:
    """Copy the pictures of a folder to `site/pictures/where`. Other files are skipped.

    :param of: the subject of the pictures, for their text alternatives
    :param more: further text alternatives by the name of the picture
    :param report: called with one line for each picture that is a link or has too many pixels
    :param classes: whether the data have classes
    :return: the pictures in the order of display; empty if there is no folder
    """
    pictures = []
    for path in known_pictures(folder):
        src, moving = f"pictures/{where}/{path.stem}.png", None
        if (line := refusal(path)) is not None:
            report(line)
        if (size := _copy(path, site / src)) is None:
            continue
        if path.suffix == ".gif":
            moving = f"pictures/{where}/{path.name}"
            _copy(path, site / moving)
        caption, reading = CAPTIONS[path.stem], READINGS[path.stem]
        if classes:
            caption, reading = OF_CLASSES.get(path.stem, (caption, reading))
        alt = ". ".join(filter(None, (caption, of, (more or {}).get(path.stem, ""))))
        pictures.append(Picture(src, caption, alt, *size, moving, reading))
    return pictures
