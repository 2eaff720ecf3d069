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

LEVEL = 2047  # of 12 bits, -2047 to 2047


MEANS: dict[str, Callable[[Tensor], Tensor]] = {  # of x, from the last outputs
    "identity": lambda eta: eta,
    "sigmoid": torch.sigmoid,
    "continuous_bernoulli": lambda eta: ContinuousBernoulli(logits=MAX_LOGIT * (eta / MAX_LOGIT).tanh()).mean,
}


@dataclass(frozen=True, eq=False)
class Network:
    """Affine layers, and one activation between them."""

    layers: list[nn.Linear]
    activation: str

    @classmethod
    def of(cls, decoder: nn.Module | None) -> "Network | None":
        """None unless it is a chain of affine layers and one activation; a sigmoid or a `PixelHead` at its end is left
        to `mean`."""
        if type(decoder) is not nn.Sequential:
            return None
        steps = [m for m in decoder.modules() if not isinstance(m, nn.Sequential | PixelHead | nn.Dropout)]
        if steps and isinstance(steps[-1], nn.Sigmoid):
            steps.pop()
        affine, between = steps[::2], {type(m) for m in steps[1::2]} or {nn.ReLU}
        if len(steps) % 2 == 0 or not all(isinstance(m, nn.Linear) and m.bias is not None for m in affine):
            return None
        if between not in ({nn.ReLU}, {nn.Tanh}):
            return None
        return cls(affine, between.pop().__name__.lower())

    def outputs(self, h: Tensor) -> Tensor:
        """The last outputs, (..., pixels), for what the decoder reads."""
        first, *others = self.layers
        h = first(h)
        for layer in others:
            h = layer(getattr(torch, self.activation)(h))
        return h

    def mean(self, h: Tensor, x: Tensor) -> str | None:
        """Which of MEANS turns the outputs into x, the mean image of the model at h; None if none does."""
        eta = self.outputs(h)
        return next((m for m, of in MEANS.items() if x.shape == eta.shape and torch.allclose(of(eta), x)), None)


def _levels(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(levels, scale of each row): weight is about levels * scale, off by half a scale at most."""
    scale = (weight.abs().amax(1, keepdim=True) / LEVEL).clamp(min=torch.finfo(torch.float32).tiny).float().double()
    return (weight / scale).round().clamp(-LEVEL, LEVEL), scale


def pack(layer: nn.Linear) -> dict[str, str]:
    """Weights of 12 bits row by row, the scales of the rows and the biases as float32; in base64."""
    levels, scale = _levels(layer.weight.detach())
    words = (levels.flatten().numpy() + 2048).astype(np.uint16)
    a, b = np.append(words, np.zeros(len(words) % 2, np.uint16)).reshape(-1, 2).T
    three = np.stack([a & 255, a >> 8 | (b & 15) << 4, b >> 4], 1)
    bias = layer.bias.detach()
    return {"packed": packed(three, np.uint8), "scale": packed(scale), "bias": packed(bias)}


def as_packed(network: Network) -> Network:
    """The network as a page has it: all layers but the first rounded."""
    copied = copy.deepcopy(network)
    with torch.no_grad():
        for layer in copied.layers[1:]:
            levels, scale = _levels(layer.weight)
            layer.weight.copy_(levels * scale)
            layer.bias.copy_(layer.bias.float())
    return copied
