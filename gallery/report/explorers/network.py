"""A decoder in a page: its weights rounded to 12 bits, two in three bytes."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gallery.models._distributions import MAX_LOGIT, ContinuousBernoulli
from gallery.models._nn import PixelHead
from gallery.report.explorers.fragment import packed

__all__ = ["MEANS", "Network", "as_packed", "pack"]

LEVEL = 2047  # the largest level of 12 bits: -2047 to 2047

MEANS: dict[str, Callable[[Tensor], Tensor]] = {  # E[x] from the last outputs
    "identity": lambda eta: eta,
    "sigmoid": torch.sigmoid,
    "continuous_bernoulli": lambda eta: ContinuousBernoulli(logits=eta.clamp(-MAX_LOGIT, MAX_LOGIT)).mean,
}


@dataclass(frozen=True, eq=False)
class Network:
    """Affine layers with one activation function between them."""

    layers: list[nn.Linear]
    activation: str

    @classmethod
    def of(cls, decoder: nn.Module | None) -> "Network | None":
        """Return the layers of a decoder.

        A sigmoid or a `PixelHead` at its end is left to `mean`.

        :return: None if it is no chain of affine layers with one activation function
        """
        if type(decoder) is not nn.Sequential:
            return None
        steps = [m for m in decoder.modules() if not isinstance(m, nn.Sequential | PixelHead | nn.Dropout)]
        if steps and isinstance(steps[-1], nn.Sigmoid):
            steps.pop()
        affine = [m for m in steps[::2] if isinstance(m, nn.Linear) and m.bias is not None]
        between = {type(m) for m in steps[1::2]} or {nn.ReLU}
        if len(steps) % 2 == 0 or len(affine) < len(steps[::2]):
            return None
        if between not in ({nn.ReLU}, {nn.Tanh}):
            return None
        return cls(affine, between.pop().__name__.lower())

    def outputs(self, h: Tensor) -> Tensor:
        """Return the last outputs, (..., pixels), for the decoder's input."""
        first, *others = self.layers
        h = first(h)
        for layer in others:
            h = layer(getattr(torch, self.activation)(h))
        return h

    def mean(self, h: Tensor, x: Tensor) -> str | None:
        """Return the key of MEANS that maps the outputs at h to x, the mean image of the model; None if none does."""
        eta = self.outputs(h)
        return next((m for m, of in MEANS.items() if x.shape == eta.shape and torch.allclose(of(eta), x)), None)


def _levels(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return (levels, scale of each row). The error of levels * scale is at most half a scale."""
    scale = (weight.abs().amax(1, keepdim=True) / LEVEL).clamp(min=torch.finfo(torch.float32).tiny).float().double()
    return (weight / scale).round().clamp(-LEVEL, LEVEL), scale


def pack(layer: nn.Linear) -> dict[str, str]:
    """Encode a layer in base64: weights of 12 bits row by row, scales of the rows and biases as float32."""
    levels, scale = _levels(layer.weight.detach())
    words = (levels.flatten().numpy() + 2048).astype(np.uint16)
    a, b = np.append(words, np.zeros(len(words) % 2, np.uint16)).reshape(-1, 2).T
    three = np.stack([a & 255, a >> 8 | (b & 15) << 4, b >> 4], 1)
    bias = layer.bias.detach()
    return {"packed": packed(three, np.uint8), "scale": packed(scale), "bias": packed(bias)}


def as_packed(network: Network) -> Network:
    """Return the network as in a page: all layers but the first are rounded."""
    copied = copy.deepcopy(network)
    with torch.no_grad():
        for layer in copied.layers[1:]:
            levels, scale = _levels(layer.weight)
            layer.weight.copy_(levels * scale)
            layer.bias.copy_(layer.bias.float())
    return copied
