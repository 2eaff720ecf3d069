"""Pixel transforms: from stored pixels to the values that a likelihood scores.

A stored pixel has one of `levels` grey levels, 0 .. levels - 1. The transform decides which likelihood fits, and is
named after the colon of a data set's name, as in "mnist:threshold":

    grey         pixel / (levels - 1), in [0, 1]
    dequantized  (pixel + U) / levels, with U ~ Uniform(0, 1) drawn once, in [0, 1)
    threshold    binarisation: 1 where pixel >= levels / 2, else 0
    static       binarisation: Bernoulli(grey), sampled once
    dynamic      binarisation: Bernoulli(grey), sampled again for each minibatch of training pixels; held-out pixels
                 are those of `static`
    real         the values unchanged: for a user's file that holds no pixels

Pixels stored as floats in [0, 1] have no levels (None), and are grey already.

    Uria, Murray and Larochelle, RNADE: The real-valued neural autoregressive density-estimator, 2013 (dequantized).
    Salakhutdinov and Murray, On the quantitative analysis of deep belief networks, 2008 (static).
    Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2016 (dynamic).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import constraints

from data.dataset import DataError

__all__ = ["PIXEL_TRANSFORMS", "TRANSFORMS", "Noise", "PixelTransform"]

BELOW_ONE = 1 - 2**-24  # the largest float32 below 1: for the largest U, (255 + U) / 256 rounds to 1

Noise = Callable[[], Tensor]
"""A function that draws uniforms in [0, 1) of the shape of the pixels. Only a transform that needs them calls it."""


class PixelTransform(NamedTuple):
    """A pixel transform and the support of its values.

    :param apply: maps stored pixels (n, d), their number of levels, the noise and a floating-point type to x (n, d) of
        that type, when a set is loaded
    :param support: support of the values that are scored
    :param per_minibatch: None, or what maps each minibatch of grey training pixels to the values that are scored;
        where it is given, the training pixels stay grey when the set is loaded
    """

    apply: Callable[[Tensor, int | None, Noise, torch.dtype], Tensor]
    support: constraints.Constraint
    per_minibatch: Callable[[Tensor], Tensor] | None = None


def grey(pixels: Tensor, levels: int | None, noise: Noise, dtype: torch.dtype = torch.float32) -> Tensor:
    """Scale pixels to [0, 1]."""
    return pixels.to(dtype) if levels is None else pixels.to(dtype) / (levels - 1)


def dequantized(pixels: Tensor, levels: int | None, noise: Noise, dtype: torch.dtype = torch.float32) -> Tensor:
    """Add uniform noise of the width of one level, and scale to [0, 1).

    :raises DataError: if the pixels are floats, which have no levels
    """
    if levels is None:
        raise DataError(
            "'dequantized' adds noise of the width of one grey level, and float pixels have no known levels. "
            "Store them as integers 0..255, or use 'grey'."
        )
    return ((pixels + noise().to(dtype)) / levels).clamp_(max=BELOW_ONE)


def threshold(pixels: Tensor, levels: int | None, noise: Noise, dtype: torch.dtype = torch.float32) -> Tensor:
    """Binarise pixels at half of the range."""
    return (pixels >= (0.5 if levels is None else levels / 2)).to(dtype)


def static(pixels: Tensor, levels: int | None, noise: Noise, dtype: torch.dtype = torch.float32) -> Tensor:
    """Binarise pixels by a draw of Bernoulli(grey), the same in every type."""
    return (noise() < grey(pixels, levels, noise)).to(dtype)


def binarised(x: Tensor) -> Tensor:
    """Draw Bernoulli(x), of the shape and type of x, from uniform numbers: faster on a CPU than `torch.bernoulli`.

    :param x: probabilities, of any shape
    """
    return (torch.rand(x.shape, dtype=torch.float32, device=x.device) < x).to(x.dtype)


def real(pixels: Tensor, levels: int | None, noise: Noise, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the values unchanged."""
    return pixels.to(dtype)


TRANSFORMS = {
    "grey": PixelTransform(grey, constraints.unit_interval),
    "dequantized": PixelTransform(dequantized, constraints.unit_interval),
    "threshold": PixelTransform(threshold, constraints.boolean),
    "static": PixelTransform(static, constraints.boolean),
    "dynamic": PixelTransform(static, constraints.boolean, per_minibatch=binarised),
    "real": PixelTransform(real, constraints.real),
}
PIXEL_TRANSFORMS = tuple(name for name in TRANSFORMS if name != "real")  # those of an image set
