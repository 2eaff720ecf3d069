"""Variational recurrent network: an image generated row by row.

    h_t = LSTM(h_{t-1}, [x_{t-1}, z_{t-1}])              the state, two layers; x_0 = z_0 = 0; t = 1, ..., steps
    z_t ~ Normal(mu, diag sigma^2) of prior(h_t)         z_t in R^latent_dim
    x_t ~ Bernoulli(decoder(h_t, z_t))                   a row of data_dim / steps pixels

The guide filters: q(z_t | h_t, x_t), where h_t depends on x_1:t-1 and z_1:t-1. Its draw z_t = mu + sigma * eps is
reparametrised, so that the gradient passes through z_t into all earlier rows.

The sites are z_1, x_1, z_2, x_2, ..., in the order of the generative process. Each draw enters the next state, so the
model can be run forward, and an image can be completed by conditioning on its first rows. Each state, what the LSTM
remembers, is computed from the draws before it, in model and guide: a site h_t without density.

A sequence may be shorter than the others: its rows after the end are NaN, and x_t and z_t are masked there, in model
and guide. A row inside a sequence cannot be missing, since the next state depends on it.

Three models are registered over these networks: `vrnn:steps` is this definition; `vrnn` is the same pair, vectorised
over rows for training (vrnn_vectorised.py); `vrnn:smoothing` is `vrnn` with a guide that also depends on later rows
(vrnn_smoothing.py).

    >>> import torch
    >>> from pyro import poutine
    >>> pair, x = VRNN(data_dim=6, steps=3, latent_dim=2, state_dim=4, hidden=(8,)), torch.ones(5, 6)
    >>> [name for name in poutine.trace(pair.model).get_trace(x).nodes if name[:2] in ("z_", "x_")]
    ['z_1', 'x_1', 'z_2', 'x_2', 'z_3', 'x_3']

    Chung et al., A recurrent latent variable model for sequential data, 2015.
    Yang Zhi-Han, Training latent variable models with auto-encoding variational Bayes: a tutorial, 2022.
"""

from collections.abc import Callable, Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from gallery.models._nn import GaussianHead, PixelHead, masked, mlp

__all__ = ["VRNN", "Memory", "joined", "parted"]

Memory = list[tuple[Tensor, Tensor] | None]
"""(h, c) of each layer of the LSTM, each (n, state_dim); None before the first row."""


class VRNN(nn.Module):
    """x: (n, data_dim), in {0, 1}. The definition, with a site per row: slower to train than the vectorised pair.

    z_t: (n, latent_dim); h_t: (n, state_dim); x_t: (n, data_dim / steps).

    :param data_dim: number of pixels
    :param steps: number of rows, of the longest sequence
    :param latent_dim: length of each z_t
    :param state_dim: length of h_t, in each layer
    :param hidden: widths of the hidden layers of prior, decoder and guide
    :raises ValueError: if data_dim is not a multiple of steps
    """

    capabilities: tuple[str, ...] = ("step_dim",)

    def __init__(
        self,
        data_dim: int = 784,
        steps: int = 28,
        latent_dim: int = 2,
        state_dim: int = 256,
        hidden: Sequence[int] = (500, 500),
    ) -> None:
        super().__init__()
        if steps < 1 or data_dim % steps:
            raise ValueError(f"{data_dim} pixels do not make {steps} rows of equal length: choose other steps.")
        self.steps, self.latent_dim, self.state_dim, self.row_dim = steps, latent_dim, state_dim, data_dim // steps
        self.step_dim, last = self.row_dim, hidden[-1]
        self.recurrence = nn.ModuleList(
            [nn.LSTMCell(self.row_dim + latent_dim, state_dim), nn.LSTMCell(state_dim, state_dim)]
        )
        self.prior = nn.Sequential(mlp((state_dim, *hidden)), GaussianHead(last, latent_dim))
        self.decoder = nn.Sequential(mlp((state_dim + latent_dim, *hidden)), PixelHead(last, self.row_dim, "bernoulli"))
        self.encoder = nn.Sequential(mlp((state_dim + self.row_dim, *hidden)), GaussianHead(last, latent_dim))

    def model(self, x: Tensor, total: int | None = None) -> None:
        self.register_generative()
        rows, within, (x_t, z_t, memory) = self.rows(x), self.within(x), self.start(x)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            for t in range(1, rows.shape[1] + 1):
                _, memory = self.advance(x_t, z_t, memory)
                h, memory = parted(pyro.deterministic(f"h_{t}", joined(memory), event_dim=2))  # h: (n, state_dim)
                z_t = pyro.sample(f"z_{t}", masked(self.prior(h), within[:, t - 1]))  # (n, latent_dim)
                p = masked(self.decoder(torch.cat([h, z_t], dim=-1)), within[:, t - 1])
                x_t = pyro.sample(f"x_{t}", p, obs=rows[:, t - 1])

    def guide(self, x: Tensor, total: int | None = None) -> None:
        within = self.within(x)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            self.infer(x, lambda t, q: pyro.sample(f"z_{t}", masked(q, within[:, t - 1])), _state)

    def infer(
        self,
        x: Tensor,
        draw: Callable[[int, dist.TorchDistribution], Tensor],
        state: Callable[[int, Tensor], Tensor] | None = None,
    ) -> list[tuple[Tensor, Tensor, dist.TorchDistribution]]:
        """Run the guide through the rows, with z_t = draw(t, q(z_t | h_t, x)).

        :param x: (n, data_dim)
        :param draw: a sample site here, a plain reparametrised draw in the vectorised pair
        :param state: the site of h_t here, none in the vectorised pair
        :return: (h_t, z_t, q) of each row
        """
        pyro.module("encoder", self.encoder)
        rows, (x_t, z_t, memory) = self.rows(x), self.start(x)
        future = self.future(rows, self.within(x)).unbind(1)
        steps = []
        for t in range(1, rows.shape[1] + 1):
            h, memory = self.advance(x_t, z_t, memory)
            if state is not None:
                h, memory = parted(state(t, joined(memory)))
            x_t = rows[:, t - 1]
            q = self.encoder(torch.cat([h + future[t - 1], x_t], dim=-1))
            z_t = draw(t, q)
            steps.append((h, z_t, q))
        return steps

    def future(self, rows: Tensor, within: Tensor) -> Tensor:
        """Return a summary of rows t, ..., T, added to h_t in the guide. Zero: this guide filters.

        :param within: whether a row is in the sequence, (n, steps)
        """
        return rows.new_zeros(*rows.shape[:2], 1)

    def rows(self, x: Tensor) -> Tensor:
        """Split images into rows: (n, data_dim) to (n, steps, row_dim), or fewer steps, with zeros in place of NaN.

        :raises ValueError: if x has more pixels, or no whole number of rows
        """
        if x.shape[1] % self.row_dim or not 0 < x.shape[1] <= self.steps * self.row_dim:
            raise ValueError(f"x has {x.shape[1]} pixels, not {self.steps} x {self.row_dim}.")
        return x.nan_to_num().reshape(len(x), -1, self.row_dim)

    def within(self, x: Tensor) -> Tensor:
        """Return which rows are in the sequence, (n, steps) booleans: those after its end are NaN."""
        return ~x[:, :: self.row_dim].isnan()

    def start(self, x: Tensor) -> tuple[Tensor, Tensor, Memory]:
        """Return x_0, z_0 and the empty memory of the LSTM."""
        return x.new_zeros(len(x), self.row_dim), x.new_zeros(len(x), self.latent_dim), [None, None]

    def advance(self, x: Tensor, z: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Compute h_t, (n, state_dim), and the new memory, from x_{t-1}, z_{t-1} and the memory."""
        h, after = torch.cat([x, z], dim=-1), []
        for cell, before in zip(self.recurrence, memory, strict=True):
            after.append(cell(h, before))
            h = after[-1][0]
        return h, after

    def register_generative(self) -> None:
        """Register the networks of the model with Pyro."""
        pyro.module("recurrence", self.recurrence)
        pyro.module("prior", self.prior)
        pyro.module("decoder", self.decoder)


def joined(memory: Memory) -> Tensor:
    """Return h and c of each layer in one tensor, (n, 2 layers, state_dim)."""
    return torch.stack([part for layer in memory if layer is not None for part in layer]).movedim(0, 1)


def parted(state: Tensor) -> tuple[Tensor, Memory]:
    """Return h of the last layer, (n, state_dim), and the memory."""
    parts = state.unbind(1)
    return parts[-2], list(zip(parts[::2], parts[1::2], strict=True))


def _state(t: int, value: Tensor) -> Tensor:
    """Return the state of a row in the guide, and make it a site that a trace shows and no bound counts."""
    return pyro.sample(f"h_{t}", dist.Delta(value, event_dim=2).mask(False), infer={"is_auxiliary": True})
