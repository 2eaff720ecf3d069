"""The networks of a recurrent pair in a page: LSTM cells, prior, decoder and filtering encoder of each step."""

from dataclasses import dataclass
from typing import Any

import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.nn.functional import softplus

from data import Dataset
from gallery.report.explorers.fragment import packed
from gallery.report.explorers.network import Network, pack
from inference import eval_mode
from inference.pairs.info import PairInfo
from inference.pairs.sites import Site, unwrap

__all__ = ["Recurrent", "recurrent_of"]


@dataclass(frozen=True, eq=False)
class Recurrent:
    """h_t from x_t-1 and z_t-1; p(z_t | h_t), p(x_t | h_t, z_t) and q(z_t | h_t, x_t) from h_t.

    :param cells: the layers of the LSTM
    :param latent_dim: length of z_t
    """

    cells: list[nn.LSTMCell]
    prior: Network
    decoder: Network
    encoder: Network
    latent_dim: int

    @property
    def weights(self) -> int:
        """The number of weights, without biases."""
        own = sum(cell.weight_ih.numel() + cell.weight_hh.numel() for cell in self.cells)
        return own + sum(network.weights for network in (self.prior, self.decoder, self.encoder))

    def states(self, rows: Tensor, z: Tensor) -> Tensor:
        """Return h_t, (n, steps, state_dim), for x_t of (n, steps, row) and z_t of (n, steps, latent_dim)."""
        read = torch.cat([rows, z], 2)
        read = torch.cat([torch.zeros_like(read[:, :1]), read[:, :-1]], 1)
        memory: list[Any] = [None] * len(self.cells)
        states = []
        for h in read.unbind(1):
            for i, cell in enumerate(self.cells):
                memory[i] = cell(h, memory[i])
                h = memory[i][0]
            states.append(h)
        return torch.stack(states, 1)

    def pack(self, bits: int, draws: int, row: int, steps: int) -> dict[str, Any]:
        """Encode the networks, and the noise of each step of a number of draws: normals for z_t, uniforms for x_t."""
        generator = torch.Generator().manual_seed(0)
        normal = torch.randn(draws, steps, self.latent_dim, generator=generator)
        uniform = torch.rand(draws, steps, row, generator=generator)
        return {
            "cells": [
                [pack(cell.weight_ih, cell.bias_ih, bits), pack(cell.weight_hh, cell.bias_hh, bits)]
                for cell in self.cells
            ],
            **{name: getattr(self, name).pack(bits) for name in ("prior", "decoder", "encoder")},
            "latent": self.latent_dim,
            "noise": packed(torch.cat([normal, uniform], 2)),
        }


def recurrent_of(info: PairInfo, test: Dataset) -> Recurrent | None:
    """Return the networks of a recurrent pair of binary rows, compared with guide and model on test images.

    :return: None for another pair
    """
    pair, steps = info.pair, len(info.data_sites)
    cells = list(getattr(pair, "recurrence", None) or [])
    networks = [Network.of(getattr(pair, name, None)) for name in ("prior", "decoder", "encoder")]
    names = list(info.guide_sites)
    if not cells or not all(type(cell) is nn.LSTMCell and cell.bias for cell in cells) or len(names) != steps:
        return None
    prior, decoder, encoder = networks
    if prior is None or decoder is None or encoder is None:
        return None
    x = test.x[:4]
    with eval_mode(pair):
        guide = poutine.trace(pair.guide).get_trace(x)
        model = poutine.trace(poutine.replay(pair.model, trace=guide)).get_trace(x)
    of_guide: dict[str, Site] = guide.nodes
    of_model: dict[str, Site] = model.nodes
    z, rows = torch.stack([of_guide[name]["value"] for name in names], 1), x.reshape(len(x), steps, -1)
    if z.dim() != 3:
        return None
    found = Recurrent(cells, prior, decoder, encoder, z.shape[2])
    with torch.no_grad():
        try:
            h = found.states(rows, z)
            out = prior.outputs(h), encoder.outputs(torch.cat([h, rows], 2)), decoder.outputs(torch.cat([h, z], 2))
        except RuntimeError:  # other lengths
            return None
        for t, name in enumerate(names):
            normals = zip(out[:2], (of_model[name], of_guide[name]), strict=True)
            if not all(_same_normal(raw[:, t], site["fn"]) for raw, site in normals):
                return None
            fn = unwrap(of_model[info.data_sites[t]]["fn"])
            logits = out[2][:, t]
            if not isinstance(fn, dist.Bernoulli) or fn.logits.shape != logits.shape:
                return None
            if not torch.allclose(fn.logits, logits):
                return None
    return found


def _same_normal(raw: Tensor, fn: Any) -> bool:
    """Return whether outputs are mean and softplus^-1 of the standard deviation of a diagonal Normal."""
    base, (loc, scale) = unwrap(fn), raw.chunk(2, dim=-1)
    if not isinstance(base, dist.Normal) or base.loc.shape != loc.shape:
        return False
    return torch.allclose(base.loc, loc) and torch.allclose(base.scale, softplus(scale))
