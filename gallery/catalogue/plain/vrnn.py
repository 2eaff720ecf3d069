"""Rows of an image: h_t from an LSTM over x_{t-1} and z_{t-1}, z_t given h_t, x_t given both; a filtering guide."""

import torch
from torch import Tensor

from gallery.catalogue.plain._heads import log_p, normal
from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Estimate -ELBO of x, (n, data_dim), NaN after its end, with one sample of z_t per row, in nats per data point.

    The KL of z_t, given the rows and samples before it, is in closed form.
    """
    (first, second), (hidden, head) = pair.recurrence, pair.decoder
    x_t, z_t = x.new_zeros(len(x), pair.row_dim), x.new_zeros(len(x), pair.latent_dim)
    a = b = None  # LSTM states of the two layers
    total = x.new_zeros(len(x))
    for row in x.reshape(len(x), pair.steps, -1).unbind(1):
        within = ~row[:, 0].isnan()
        a = first(torch.cat([x_t, z_t], dim=-1), a)
        b = second(a[0], b)
        h, x_t = b[0], row.nan_to_num()
        mu, sigma = normal(pair.encoder[1], pair.encoder[0](torch.cat([h, x_t], dim=-1)))  # q(z_t | h_t, x_t)
        loc, scale = normal(pair.prior[1], pair.prior[0](h))  # p(z_t | h_t)
        z_t = mu + sigma * torch.randn_like(mu)  # the gradient is propagated through z_t to all earlier steps
        kl = ((((mu - loc) / scale).square() + (sigma / scale).square() - 1) / 2 + (scale / sigma).log()).sum(-1)
        total = total + (kl - log_p(head, hidden(torch.cat([h, z_t], dim=-1)), x_t)) * within
    return total.mean()
