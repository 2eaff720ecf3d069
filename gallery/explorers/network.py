"""A decoder in a page: its weights rounded to 12 bits, two in three bytes."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..models._nn import PixelHead
from .fragment import packed

LEVEL = 2047  # of 12 bits, -2047 to 2047


@dataclass(frozen=True, eq=False)
class Network:
    """Affine layers, one activation between them, and what turns the last outputs into the mean of x."""

    layers: list[nn.Linear]
    activation: str
    mean: str

    @classmethod
    def of(cls, decoder: nn.Module | None) -> "Network | None":
        """None unless it is a chain of affine layers and one activation that ends in a `PixelHead`."""
        if type(decoder) is not nn.Sequential or not isinstance(decoder[-1], PixelHead):
            return None
        steps = [m for m in decoder.modules() if not isinstance(m, nn.Sequential | PixelHead | nn.Dropout)]
        between = {type(m) for m in steps[1::2]} or {nn.ReLU}
        if not all(isinstance(m, nn.Linear) for m in steps[::2]) or between not in ({nn.ReLU}, {nn.Tanh}):
            return None
        head = decoder[-1]
        gaussian = "sigmoid" if head.bounded else "identity"
        mean = {"bernoulli": "sigmoid", "gaussian": gaussian}.get(head.likelihood, head.likelihood)
        return cls(steps[::2], between.pop().__name__.lower(), mean)


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


def as_packed(decoder: nn.Sequential) -> nn.Sequential:
    """The decoder as a page has it: all layers but the first rounded."""
    copied = copy.deepcopy(decoder).eval()
    with torch.no_grad():
        for layer in Network.of(copied).layers[1:]:
            levels, scale = _levels(layer.weight)
            layer.weight.copy_(levels * scale)
            layer.bias.copy_(layer.bias.float())
    return copied
