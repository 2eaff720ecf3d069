"""A partly observed class y, a style z ~ Normal(0, I), x ~ p(x | decoder(z, y)). A missing y is summed out."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gallery.catalogue.plain._heads import log_p, normal
from inference import Pair

__all__ = ["loss"]


def loss(pair: Pair, x: Tensor, given: Tensor) -> Tensor:
    """Estimate -ELBO of x, (n, data_dim), given labels, (n,), -1 if missing, in nats per data point.

    One sample of z is drawn per x and y, also where y is known. Pyro's enumeration does so too, so the noise is equal.
    """
    every = torch.eye(pair.classes).to(x).unsqueeze(1)  # (classes, 1, classes): all y, one-hot
    relu, hidden, head = pair.encoder.rest
    mu, sigma = normal(head, hidden(relu(pair.encoder.of_x(x) + pair.encoder.of_y(every))))
    z = mu + sigma * torch.randn_like(mu)  # (classes, n, latent_dim)
    kl = ((mu.square() + sigma.square() - 1) / 2 - sigma.log()).sum(-1)  # KL(q(z | x, y) || p(z)), (classes, n)
    hidden, head = pair.decoder
    error = kl - log_p(head, hidden(torch.cat([z, every.expand(-1, len(x), -1)], dim=-1)), x)
    log_q = pair.classifier(x).log_softmax(-1).T  # (classes, n)
    unlabelled = (log_q.exp() * (error + log_q + math.log(pair.classes))).sum(0)
    label = F.one_hot(given.clamp(min=0), pair.classes).T  # (classes, n)
    labelled = (label * (error - pair.alpha * log_q)).sum(0)
    return torch.where(given == pair.missing, unlabelled, labelled).mean()
