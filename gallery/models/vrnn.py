"""Variational recurrent network: an image told row by row.

    h_t = LSTM(h_{t-1}, [x_{t-1}, z_{t-1}])              the state, two layers; x_0 = z_0 = 0; t = 1, ..., steps
    z_t ~ Normal(mu, diag sigma^2) of prior(h_t)         z_t in R^latent_dim
    x_t ~ Bernoulli(decoder(h_t, z_t))                   a row of data_dim / steps pixels

The guide filters: q(z_t | h_t, x_t), where h_t tells of x_1:t-1 and z_1:t-1. It draws z_t = mu + sigma * eps, so that
the gradient runs back through z_t into all that came before; without it (the tutorial's code samples with no
gradient) the guide is trained on an ELBO that is not its own, and z_t ends up saying nothing.

`Steps` is written as the story is told, with sites z_1, x_1, z_2, x_2, ...: the definition. Each draw feeds the next
state, so it simulates itself, and part of an image can be completed by conditioning on its first rows.

`VRNN` is the same pair, faster to train. When the ELBO is computed all x_t are known, and z_t and h_t once the guide
has gone through the rows. In training mode the guide therefore goes alone, and hands z, as one site for all rows, and
h to the model, whose prior and decoder then see all n * steps rows in one product of matrices. h is a site without
density of its own. In evaluation mode, where draws are fed back and n is large, it is `Steps`.

`Smoothing` lets the guide look ahead: q(z_t | h_t, x_t:T). The posterior depends on the rows to come, and on the whole
memory of the LSTM, of which h_t is the part that is told.

    Chung et al., A recurrent latent variable model for sequential data, 2015.
    Krishnan, Shalit and Sontag, Structured inference networks for nonlinear state space models, 2017.
    Yang Zhi-Han, Training latent variable models with auto-encoding variational Bayes: a tutorial, 2022.
"""

from collections.abc import Callable, Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from gallery.models._nn import GaussianHead, PixelHead, mlp

__all__ = ["VRNN", "Smoothing", "Steps"]


class Steps(nn.Module):
    """x: (n, data_dim), in {0, 1}. A site for every row: slow to train, easy to read.

    :param data_dim: pixels of an image
    :param steps: number of rows
    :param latent_dim: length of each z_t
    :param state_dim: length of h_t, in each layer
    :param hidden: widths of the hidden layers of prior, decoder and guide
    """

    def __init__(
        self,
        data_dim: int = 784,
        steps: int = 28,
        latent_dim: int = 2,
        state_dim: int = 256,
        hidden: Sequence[int] = (500, 500),
    ):
        super().__init__()
        if steps < 1 or data_dim % steps:
            raise ValueError(f"{data_dim} pixels do not make {steps} rows of equal length: choose another steps.")
        self.steps, self.latent_dim, self.row_dim, last = steps, latent_dim, data_dim // steps, hidden[-1]
        self.recurrence = nn.ModuleList(
            [nn.LSTMCell(self.row_dim + latent_dim, state_dim), nn.LSTMCell(state_dim, state_dim)]
        )
        self.prior = nn.Sequential(mlp((state_dim, *hidden)), GaussianHead(last, latent_dim))
        self.decoder = nn.Sequential(mlp((state_dim + latent_dim, *hidden)), PixelHead(last, self.row_dim, "bernoulli"))
        self.encoder = nn.Sequential(mlp((state_dim + self.row_dim, *hidden)), GaussianHead(last, latent_dim))

    def rows(self, x: Tensor) -> Tensor:
        """(n, data_dim) to (n, steps, row_dim)."""
        if x.shape[1] != self.steps * self.row_dim:
            raise ValueError(f"x has sequences of {x.shape[1]} pixels, not {self.steps} rows of {self.row_dim}.")
        return x.reshape(len(x), self.steps, self.row_dim)

    def start(self, x: Tensor) -> tuple[Tensor, Tensor, list[None]]:
        """x_0, z_0 and the empty memory of the LSTM."""
        return x.new_zeros(len(x), self.row_dim), x.new_zeros(len(x), self.latent_dim), [None, None]

    def advance(self, x: Tensor, z: Tensor, memory: list) -> tuple[Tensor, list]:
        """h_t and the new memory, from x_{t-1}, z_{t-1} and the memory."""
        h, after = torch.cat([x, z], dim=-1), []
        for cell, before in zip(self.recurrence, memory, strict=True):
            after.append(cell(h, before))
            h = after[-1][0]
        return h, after

    def register_generative(self) -> None:
        for name in ("recurrence", "prior", "decoder"):
            pyro.module(name, getattr(self, name))

    def model(self, x: Tensor, total: int | None = None) -> None:
        self.register_generative()
        rows, (x_t, z_t, memory) = self.rows(x), self.start(x)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            for t in range(1, self.steps + 1):
                h, memory = self.advance(x_t, z_t, memory)  # (n, state_dim)
                z_t = pyro.sample(f"z_{t}", self.prior(h))  # (n, latent_dim)
                x_t = pyro.sample(f"x_{t}", self.decoder(torch.cat([h, z_t], dim=-1)), obs=rows[:, t - 1])

    def guide(self, x: Tensor, total: int | None = None) -> None:
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            self.infer(x, lambda t, q: pyro.sample(f"z_{t}", q))

    def infer(self, x: Tensor, draw: Callable[[int, dist.Distribution], Tensor]) -> list[tuple]:
        """Goes through the rows with z_t = draw(t, q(z_t | h_t, x)); all (h_t, z_t, q)."""
        pyro.module("encoder", self.encoder)
        rows, (x_t, z_t, memory), passed = self.rows(x), self.start(x), []
        future = self.future(rows)
        for t in range(1, self.steps + 1):
            h, memory = self.advance(x_t, z_t, memory)
            x_t = rows[:, t - 1]
            q = self.encoder(torch.cat([h + future[:, t - 1], x_t], dim=-1))
            z_t = draw(t, q)
            passed.append((h, z_t, q))
        return passed

    def future(self, rows: Tensor) -> Tensor:
        """What the guide adds to each h_t: nothing, it filters."""
        return rows.new_zeros(len(rows), self.steps, 1)


def without_density(value: Tensor) -> dist.Distribution:
    return dist.Delta(value, event_dim=2).mask(False)


class VRNN(Steps):
    """x: (n, data_dim), in {0, 1}. In training mode one site for all rows."""

    def model(self, x: Tensor, total: int | None = None) -> None:
        if not self.training:
            return super().model(x, total)
        self.register_generative()
        none = x.new_full((), torch.nan).expand(len(x), self.steps, self.recurrence[0].hidden_size)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            h = pyro.sample("h", without_density(none))  # from the guide's trace, (n, steps, state_dim)
            z = pyro.sample("z", self.prior(h).to_event(1))  # (n, steps, latent_dim)
            pyro.sample("x", self.decoder(torch.cat([h, z], dim=-1)).to_event(1), obs=self.rows(x))

    def guide(self, x: Tensor, total: int | None = None) -> None:
        if not self.training:
            return super().guide(x, total)
        h, z, q = zip(*self.infer(x, lambda t, q: q.rsample()), strict=True)
        loc, scale = (torch.stack([getattr(q_t.base_dist, name) for q_t in q], dim=1) for name in ("loc", "scale"))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("h", without_density(torch.stack(h, dim=1)))
            pyro.sample("z", dist.Normal(loc, scale).to_event(2), obs=torch.stack(z, 1), infer={"is_observed": False})


class Smoothing(VRNN):
    """x: (n, data_dim), in {0, 1}. The guide reads the rows to come as well as those that were.

    The state in the guide is h_t + C b_t, where b_t summarises x_t:T, read from the last row to row t.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        state_dim = self.recurrence[0].hidden_size
        self.backward_recurrence = nn.GRU(self.row_dim, state_dim, batch_first=True)
        self.C = nn.Linear(state_dim, state_dim, bias=False)

    def future(self, rows: Tensor) -> Tensor:
        pyro.module("backward_recurrence", self.backward_recurrence)
        pyro.module("C", self.C)
        return self.C(self.backward_recurrence(rows.flip(1))[0].flip(1))  # (n, steps, state_dim)

    def start_from(self, filtering: Steps) -> None:
        """Takes the weights of a filtering pair, with C = 0: the two guides are then the same."""
        self.load_state_dict(filtering.state_dict(), strict=False)
        nn.init.zeros_(self.C.weight)
