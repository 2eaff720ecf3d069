"""Pixel laws: from stored pixels to the values a likelihood scores.

A picture is stored with `levels` grey levels, 0 .. levels - 1, and which likelihood fits depends on what is
made of them. A name says it after the colon:

    grey         pixel / (levels - 1), in [0, 1]
    dequantized  (pixel + U) / levels, U ~ Uniform(0, 1) drawn once, in [0, 1)
    threshold    pixel >= levels / 2, in {0, 1}
    static       Bernoulli(grey), sampled once
    dynamic      Bernoulli(grey), sampled afresh at each batch of training pixels; held-out pixels as `static`
    real         the values as they are: for a user's file that holds no pixels

Pixels stored as floats in [0, 1] have levels None: they are grey already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import constraints

from data.dataset import DataError

__all__ = ["LAWS", "PIXEL_LAWS", "Law"]

BELOW_ONE = 1 - 2**-24  # the largest float32 below 1: for the largest U, (255 + U) / 256 rounds to 1

Noise = Callable[[], Tensor]  # uniforms in [0, 1) shaped like the pixels, drawn only where a law needs them


class Law(NamedTuple):
    """`once` makes x of all pixels (n, d) when a set is loaded. A law that has `afresh` keeps training pixels
    grey, and applies it to each of their minibatches. `support` is that of the values scored."""

    once: Callable[[Tensor, int | None, Noise], Tensor]
    support: constraints.Constraint
    afresh: Callable[[Tensor], Tensor] | None = None


def grey(pixels: Tensor, levels: int | None, noise: Noise) -> Tensor:
    return pixels.float() if levels is None else pixels.float() / (levels - 1)


def dequantized(pixels: Tensor, levels: int | None, noise: Noise) -> Tensor:
    if levels is None:
        raise DataError(
            "law 'dequantized' spreads integer pixels over the width of a level, and float pixels have no "
            "known levels: store them as integers 0..255, or use law 'grey'"
        )
    return ((pixels + noise()) / levels).clamp_(max=BELOW_ONE)


def threshold(pixels: Tensor, levels: int | None, noise: Noise) -> Tensor:
    return (pixels >= (0.5 if levels is None else levels / 2)).float()


def static(pixels: Tensor, levels: int | None, noise: Noise) -> Tensor:
    return (noise() < grey(pixels, levels, noise)).float()


def real(pixels: Tensor, levels: int | None, noise: Noise) -> Tensor:
    return pixels.float()


LAWS = {
    "grey": Law(grey, constraints.unit_interval),
    "dequantized": Law(dequantized, constraints.unit_interval),
    "threshold": Law(threshold, constraints.boolean),
    "static": Law(static, constraints.boolean),
    "dynamic": Law(static, constraints.boolean, afresh=torch.bernoulli),
    "real": Law(real, constraints.real),
}
PIXEL_LAWS = tuple(law for law in LAWS if law != "real")
