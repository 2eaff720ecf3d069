"""z ~ Normal(A y + a, softplus(B y + b)) given a class y, x ~ p(x | decoder(z, y)); the guide depends on y too."""

import torch
import torch.nn.functional as F
from torch import Tensor

from gallery.catalogue.plain._heads import log_p, normal
from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor) -> Tensor:
    """Estimate -ELBO of x, (n, data_dim), given classes, (n,), with one sample of z each, in nats per data point.

    The KL is in closed form.
    """
    y = F.one_hot(given, pair.classes).to(x)
    hidden, head = pair.encoder
    mu, sigma = normal(head, hidden(torch.cat([x, y], dim=-1)))
    loc, scale = normal(pair.conditional_prior, y)
    z = mu + sigma * torch.randn_like(mu)  # (n, latent_dim)
    kl = ((((mu - loc) / scale).square() + (sigma / scale).square() - 1) / 2 + (scale / sigma).log()).sum(-1)
    hidden, head = pair.decoder
    return (kl - log_p(head, hidden(torch.cat([z, y], dim=-1)), x)).mean()
