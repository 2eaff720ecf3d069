"""Networks in a page: their weights rounded to few bits, each row with its scale.

The rounded pair (`quantised`) is what a page contains and computes with. Every number beside it is computed from that
pair, and the page states how far it is from the fitted one.
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from gallery.models._distributions import MAX_LOGIT, ContinuousBernoulli
from gallery.models._nn import GaussianHead, PixelHead
from gallery.report.explorers.fragment import packed
from inference import Pair

__all__ = ["MEANS", "Network", "bits_of", "pack", "quantised"]

BITS = 16, 12, 8, 6  # of a weight
LIMIT = 1_350_000  # characters of weights in a page, 6 bits each

MEANS: dict[str, Callable[[Tensor], Tensor]] = {  # E[x] from the last outputs
    "identity": lambda eta: eta,
    "sigmoid": torch.sigmoid,
    "continuous_bernoulli": lambda eta: ContinuousBernoulli(logits=eta.clamp(-MAX_LOGIT, MAX_LOGIT)).mean,
}
ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.LeakyReLU: "leaky_relu",
}


@dataclass(frozen=True, eq=False)
class Network:
    """Affine layers, each followed by an activation function or by None.

    :param layers: from the input to the output
    :param activations: names of functions of torch.nn.functional, one after each layer
    """

    layers: list[nn.Linear]
    activations: list[str | None]

    @classmethod
    def of(cls, module: nn.Module | None) -> "Network | None":
        """Return the layers of a module; a head that ends it is read as its affine layer.

        :return: None if it is no chain of affine layers and activation functions
        """
        if type(module) is not nn.Sequential:
            return None
        layers: list[nn.Linear] = []
        activations: list[str | None] = []
        for step in _flat(module):
            if type(step) is nn.Linear and step.bias is not None:
                layers.append(step)
                activations.append(None)
            elif type(step) in ACTIVATIONS and layers and activations[-1] is None:
                if isinstance(step, nn.LeakyReLU) and step.negative_slope != 0.01:
                    return None
                activations[-1] = ACTIVATIONS[type(step)]
            elif not isinstance(step, nn.Dropout):
                return None
        return cls(layers, activations) if layers else None

    @property
    def logits(self) -> "Network":
        """The network without a sigmoid at its end, which is left to `mean`."""
        if self.activations[-1] != "sigmoid":
            return self
        return replace(self, activations=[*self.activations[:-1], None])

    @property
    def weights(self) -> int:
        """The number of weights, without biases."""
        return sum(layer.weight.numel() for layer in self.layers)

    def outputs(self, h: Tensor) -> Tensor:
        """Return the last outputs, (..., units), for the input of the network."""
        for layer, activation in zip(self.layers, self.activations, strict=True):
            h = layer(h)
            if activation is not None:
                h = getattr(nn.functional, activation)(h)
        return h

    def mean(self, h: Tensor, x: Tensor) -> str | None:
        """Return the key of MEANS that maps the outputs at h to x, the mean image of the model; None if none does."""
        eta = self.outputs(h)
        return next((m for m, of in MEANS.items() if x.shape == eta.shape and torch.allclose(of(eta), x)), None)

    def pack(self, bits: int, first: int = 0) -> list[dict[str, Any]]:
        """Encode the layers from number `first` on for a page."""
        return [
            {**pack(layer.weight, layer.bias, bits), "activation": activation}
            for layer, activation in list(zip(self.layers, self.activations, strict=True))[first:]
        ]


def _flat(module: nn.Module) -> Iterable[nn.Module]:
    """Yield the modules of a chain in their order."""
    if type(module) is nn.Sequential:
        for child in module:
            yield from _flat(child)
    elif type(module) in (GaussianHead, PixelHead):
        yield cast(nn.Module, module.linear)
    else:
        yield module


def bits_of(weights: int, others: float = 0) -> int | None:
    """Return the most bits with which this number of weights fits into a page; None if the fewest are too many.

    :param others: characters of the page that pictures take
    """
    return next((bits for bits in BITS if weights * bits / 6 <= LIMIT - others), None)


def _levels(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return (levels, scale of each row). The error of levels * scale is at most half a scale."""
    most = 2 ** (bits - 1) - 1
    scale = (weight.abs().amax(1, keepdim=True) / most).clamp(min=torch.finfo(torch.float32).tiny).float().double()
    return (weight / scale).round().clamp(-most, most), scale


def pack(weight: Tensor, bias: Tensor, bits: int) -> dict[str, Any]:
    """Encode an affine map: the levels row by row as a stream of bits, scales of the rows and biases as float32.

    :param weight: (rows, columns)
    :param bias: (rows,)
    """
    levels, scale = _levels(weight.detach().double(), bits)
    words = levels.flatten().numpy().astype(np.int64) + 2 ** (bits - 1)
    stream = (words[:, None] >> np.arange(bits)) & 1  # from the lowest bit of each
    stream = np.packbits(stream.astype(np.uint8), bitorder="little")
    shape = {"columns": weight.shape[1], "bits": bits}
    return {"packed": packed(stream, np.uint8), "scale": packed(scale), "bias": packed(bias.detach()), **shape}


def quantised(pair: Pair, bits: int) -> Pair:
    """Return a copy of the pair with the weights that a page contains: matrices as levels, vectors as float32.

    :param bits: of a weight
    """
    copied: Pair = copy.deepcopy(pair)
    with torch.no_grad():
        for parameter in copied.parameters():
            if parameter.dim() == 2:
                levels, scale = _levels(parameter, bits)
                parameter.copy_(levels * scale)
            else:
                parameter.copy_(parameter.float())
    return copied
