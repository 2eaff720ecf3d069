"""The common style of all figures, by matplotlib's object interface: no pyplot, no global state, no display."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from gallery.figures.cell import next_cell
from inference.files import write_atomically

__all__ = [
    "BLUE", "CLASSES", "DPI", "GAP", "GREEN", "GREY", "INK", "ORANGE", "RED", "array", "dress", "figure", "label_ends",
    "limits", "log_ticks", "number", "save", "save_frames", "scalar_limits", "show", "tile",
]  # fmt: skip

DPI = 110
# the palette of Okabe and Ito, for colour-blind readers
INK, GREY, BLUE, ORANGE, RED, GREEN = "#222222", "#8C8C8C", "#0072B2", "#E69F00", "#D55E00", "#009E73"
# Tol's muted palette, one colour per class
CLASSES = ["#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499", "#555555"]
GAP = "#BCD7EE"
INK_ON_WHITE = colormaps["gray_r"].with_extremes(bad=GAP)  # NaN: gaps between pictures, and missing pixels


def figure(width: float, height: float) -> Figure:
    """Create an empty figure of a size in inches; within `drawing_into`, return the place of the axes given there."""
    cell: Any = next_cell()
    return Figure(figsize=(width, height), layout="constrained") if cell is None else cell


def dress(ax: Axes, title: str = "", xlabel: str = "", ylabel: str = "") -> Axes:
    """Set title (at the left) and labels, remove the frame at the top and right, and return the axes."""
    ax.set_title(title, loc="left", fontsize=10, color=INK)
    ax.set_xlabel(xlabel, fontsize=9, color=INK)
    ax.set_ylabel(ylabel, fontsize=9, color=INK)
    ax.tick_params(labelsize=8, color=GREY, labelcolor=INK)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    return ax


def label_ends(ax: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
    """Write (y, text, colour) at the right of the axes, moved apart if they would overlap.

    The limits of y have to be set before.
    """
    scale = ax.yaxis.get_transform()  # of a logarithmic axis, the logarithm
    low, high = scale.transform(np.array(ax.get_ylim()))
    height = ax.bbox.height / ax.figure.dpi  # in inches; approximate, because the layout comes later
    gap = (high - low) * 13 / (72 * height)  # a line of text, in data units
    labels = sorted(labels)
    heights = np.clip(scale.transform(np.array([y for y, _, _ in labels])), low, high)
    for _ in range(100):  # push neighbours apart until none overlap
        for i in range(len(heights) - 1):
            push = max(0.0, gap - (heights[i + 1] - heights[i])) / 2
            heights[i : i + 2] += (-push, push)
    for height, (_, text, colour) in zip(scale.inverted().transform(heights), labels, strict=True):
        ax.text(1.01, height, text, color=colour, fontsize=9, va="center", transform=ax.get_yaxis_transform())


def log_ticks(ax: Axes, values: Sequence[int]) -> None:
    """Set a logarithmic x axis with ticks at these integers only."""
    ax.set_xscale("log")
    ax.set_xticks(values, [f"{value:,}" for value in values])
    ax.set_xticks([], minor=True)


def scalar_limits(values: np.ndarray, margin: float = 0.05) -> tuple[float, float]:
    """Return limits around values, of positive length also for equal values; NaN is left out."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    pad = margin * (high - low) or 1e-3 * max(1.0, abs(high))
    return low - pad, high + pad


def number(value: float, form: str) -> str:
    """Format a value with a minus sign (U+2212), and none before zero.

    :param form: a format specification, such as ".3f"
    """
    text = format(value, form).rstrip(".")
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def array(tensor: Tensor) -> np.ndarray:
    """Return the values on the host, in float64 if they are floating-point numbers."""
    tensor = tensor.detach().cpu()
    return tensor.to(torch.float64).numpy() if tensor.is_floating_point() else tensor.numpy()


def limits(x: Tensor) -> tuple[float, float]:
    """Return the values of white and black: (0, 1), or the range of the pixels if it is wider."""
    x = x.nan_to_num()  # 0 is between them
    return min(0.0, x.min().item()), max(1.0, x.max().item())


def tile(images: Tensor, shape: tuple[int, ...], columns: int, gap: int | None = None) -> np.ndarray:
    """Arrange n images, (n, ...), row by row in one picture.

    :param shape: (h, w), (1, h, w) or (3, h, w)
    :param gap: pixels between images, NaN in a grey picture; by default a fifteenth of the width
    """
    pixels = array(images).reshape(len(images), *shape)
    if len(shape) == 3:
        pixels = np.moveaxis(pixels, 1, -1) if shape[0] == 3 else pixels[:, 0]
    n, h, w = pixels.shape[:3]
    gap = max(1, w // 15) if gap is None else gap
    rows = -(-n // columns)
    blank = np.nan if pixels.ndim == 3 else 1.0
    whole = np.full((rows * (h + gap) + gap, columns * (w + gap) + gap, *pixels.shape[3:]), blank)
    for i, image in enumerate(pixels):
        top, left = gap + i // columns * (h + gap), gap + i % columns * (w + gap)
        whole[top : top + h, left : left + w] = image
    return whole[gap : len(whole) - gap, gap : whole.shape[1] - gap] if gap else whole


def show(ax: Axes, picture: np.ndarray, between: tuple[float, float], title: str, rows: Sequence[str] = ()) -> Axes:
    """Draw a picture of `tile`, and return the axes.

    :param between: the values of white and black
    :param rows: the names of its rows, at the left
    """
    low, high = between
    if picture.ndim == 3:
        picture = ((picture - low) / (high - low)).clip(0, 1)
    ax.imshow(picture, cmap=INK_ON_WHITE, vmin=low, vmax=high, interpolation="nearest")
    dress(ax, title)
    ax.spines[:].set_visible(False)
    ax.set_xticks([])
    ax.set_yticks((np.arange(len(rows)) + 0.5) * picture.shape[0] / max(1, len(rows)) - 0.5, rows)
    ax.tick_params(length=0, labelsize=9)
    return ax


def _pixels(figure: Figure) -> Image.Image:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    with Image.open(drawn) as image:
        return image.convert("RGB")


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG atomically, without date and version, and return its path."""
    colours, buffer = _pixels(figure), io.BytesIO()
    greys = colours.convert("L")
    grey = np.array_equal(np.asarray(colours), np.asarray(greys.convert("RGB")))  # a third of the bytes
    (greys if grey else colours).save(buffer, format="png", optimize=True)
    write_atomically(path, buffer.getvalue())
    return path


def save_frames(figures: Sequence[Figure], path: Path, seconds: float = 0.12, pause: float = 2.0) -> Path:
    """Write an endless GIF of figures of equal size atomically, and return its path.

    :param seconds: duration of each figure
    :param pause: duration of the last one in seconds
    """
    first, *others = (_pixels(figure) for figure in figures)
    milliseconds = [round(1000 * s) for s in (*[seconds] * len(others), pause)]
    buffer = io.BytesIO()
    first.save(buffer, format="gif", save_all=True, append_images=others, duration=milliseconds, loop=0)
    write_atomically(path, buffer.getvalue())
    return path
