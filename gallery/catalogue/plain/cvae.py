"""z ~ Normal(A y + a, softplus(B y + b)) given a class y, x ~ p(x | decoder(z, y)); the guide depends on y too."""

import torch
import torch.nn.functional as F
from torch import Tensor

from gallery.catalogue.plain._heads import log_p, normal
from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor) -> Tensor:
    """Estimate -ELBO of x, (n, data_dim), given classes, (n,), with one sample of z each, in nats per data point."""
    y = F.one_hot(given, pair.classes).to(x)
    hidden, head = pair.encoder
    mu, sigma = normal(head, hidden(torch.cat([x, y], dim=-1)))
    loc, scale = normal(pair.conditional_prior, y)
    eps = torch.randn_like(mu)
    z = mu + sigma * eps  # (n, latent_dim)
    log_ratio = ((((z - loc) / scale).square() - eps.square()) / 2 + (scale / sigma).log()).sum(-1)  # log q - log p
    hidden, head = pair.decoder
    return (log_ratio - log_p(head, hidden(torch.cat([z, y], dim=-1)), x)).mean()
