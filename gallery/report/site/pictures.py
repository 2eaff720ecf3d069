"""The pictures of a fitted pair as the site hangs them: what each shows, its size, and a copy beside the pages.

Only pictures that the gallery draws are taken over, and only as the pixels that Pillow reads in them.
"""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

LARGEST = 400_000  # bytes of a picture; a larger one is made smaller
WIDTH = 1100  # pixels of one that was made smaller
THUMB = 640  # pixels of the width of a picture on a card: twice what is shown

SHOWS = {
    "components": "Images drawn from each component of the prior, one component a row",
    "denoised": "Images, the same corrupted at several levels, and what is told from each",
    "regression": "Lines drawn from the guide through the data, and the line of least squares",
    "experiment_1": "ELBO and evidence over 1000 steps, with draws of the model at three of them",
    "posterior": "Prior, exact posterior and fitted guide of z at two values of x",
    "completion": "Images shown down to a row, and draws of the rows after it",
    "samples": "Draws from the fitted model: z from its prior, x from p(x | z)",
    "sample": "Draws from the fitted model: z from its prior, x from p(x | z)",
    "manifold": "The decoder's mean over a grid of codes, at equal steps of the prior's probability",
    "reconstructions": "Images of the test data, and what is reconstructed from their codes",
    "activations": "Ten images of the test data, and the activations of the code for each",
    "two_kls": "The nearest normal to a posterior with two humps, in either direction of the KL",
    "latent": "The codes of test data in two dimensions, coloured by class",
    "evidence": "ELBO and exact log evidence as x varies",
    "three_views": "The same draws three times: parameter of the likelihood, its mean, a sample",
    "kl": "What each latent dimension says of x: its KL from the prior, in nats",
    "sparsity": "How active each unit of the code is, beside the rate that is asked for",
    "contraction": "How far the code moves when the image does",
    "learning_curve": "What was measured after every epoch",
    "animation": "Images appearing row by row",
    "amortisation": "Gap between log p(x) and ELBO over x: one network for all data, and a guide for each datum",
    "posterior_exponential": "Prior, exact posterior and an exponential guide at two values of x",
    "posterior_gamma": "Prior, exact posterior and a gamma guide at two values of x",
    "posterior_log_normal": "Prior, exact posterior and a log-normal guide at two values of x",
    "posterior_per_datum": "Prior, exact posterior and a guide with parameters for each datum, at two values of x",
    "widths": "Error on training and test images by the width of a code",
    "bits": "Error of images decoded from rounded codes by their length in bits",
    "conditionals": "A table, a linear map and a network for p(x | y), as y has more bits",
    "labels_grow": "Error on test images by the number of labels",
    "plane": "A plane of codes, parted by a support vector machine and by the guide",
    "rate_distortion": "Distortion against rate, a point for each weight of the KL",
    "prior_samples": "log p(x) from draws of the prior, by the number of factors",
    "data": "The training data, one plane for each pair of the coordinates of x",
    "experiment_2": "Evidence and ELBO as guide and model are trained in turn, a thousand steps each",
    "bound": "The bound of every way of inference against the seconds it took",
    "variance": "The variance of the gradient under every objective",
}
"""What a picture shows, by the name of its file, the most telling first."""


@dataclass(frozen=True)
class Picture:
    """A picture on a page.

    :param src: where it is, seen from the pages; of one that moves, its last image
    :param alt: what it shows, for those who do not see it
    :param moving: where it moves
    """

    src: str
    caption: str
    alt: str
    width: int
    height: int
    moving: str | None = None


def known(folder: Path) -> list[Path]:
    """The pictures of a folder that the gallery can put into words, the most telling first."""
    found = [path for path in folder.glob("*") if path.suffix in (".png", ".gif") and path.stem in SHOWS]
    return sorted(found, key=telling)


def telling(path: Path) -> int:
    """The rank of a picture: the smaller, the more it tells."""
    return list(SHOWS).index(path.stem)


def _copy(path: Path, target: Path, width: int | None = None) -> tuple[int, int] | None:
    """Writes the pixels of a picture, smaller where its file is large or `width` says so; returns their size, None if
    it is damaged or no picture."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with Image.open(path, formats=("PNG", "GIF")) as image:
            image.seek(getattr(image, "n_frames", 1) - 1)  # of one that moves, the last
            image.load()
            if width is None and path.suffix == target.suffix and path.stat().st_size <= LARGEST:
                target.write_bytes(path.read_bytes())
                return image.size
            small = image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # what Pillow raises
        return None
    small.thumbnail((width or WIDTH, 10 * WIDTH))
    small.quantize(64).save(target, optimize=True)
    return small.size


def hang(folder: Path, site: Path, where: str, of: str, more: dict[str, str] | None = None) -> list[Picture]:
    """Copies the pictures of a folder to `site/pictures/where`; files that are none are left out.

    :param of: whose they are, for their text alternatives
    :param more: what can be read off a picture, by its name
    """
    hung = []
    for path in known(folder):
        src, moving = f"pictures/{where}/{path.stem}.png", None
        if (size := _copy(path, site / src)) is None:
            continue
        if path.suffix == ".gif":
            moving = f"pictures/{where}/{path.name}"
            _copy(path, site / moving)
        alt = ". ".join(filter(None, (SHOWS[path.stem], of, (more or {}).get(path.stem, ""))))
        hung.append(Picture(src, SHOWS[path.stem], alt, *size, moving))
    return hung


def thumbnail(path: Path, site: Path, where: str) -> str:
    """A small copy for a card; returns where it is, nothing if it is no picture."""
    src = f"pictures/cards/{where}.png"
    return src if _copy(path, site / src, THUMB) else ""
