"""A uniform component y, z ~ Normal(A y + a, softplus(B y + b)), x ~ Bernoulli(decoder(z)). y is summed out."""

import math

import torch
from torch import Tensor

from gallery.catalogue.plain._heads import log_p, normal
from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Estimate -ELBO of x, (n, data_dim), with one sample of z per x and y, in nats per data point."""
    every = torch.eye(pair.components).to(x).unsqueeze(1)  # (components, 1, components): all y, one-hot
    relu, hidden, head = pair.encoder.rest
    mu, sigma = normal(head, hidden(relu(pair.encoder.of_x(x) + pair.encoder.of_y(every))))
    loc, scale = normal(pair.prior, every)
    z = mu + sigma * torch.randn_like(mu)  # (components, n, latent_dim)
    ratio = (sigma / scale).square()
    kl = (ratio + ((mu - loc) / scale).square() - 1 - ratio.log()).sum(-1) / 2  # KL(q(z | x, y) || p(z | y))
    hidden, head = pair.decoder
    error = kl - log_p(head, hidden(z), x)  # (components, n)
    log_q = pair.classifier(x).log_softmax(-1).T
    return (log_q.exp() * (error + log_q + math.log(pair.components))).sum(0).mean()
