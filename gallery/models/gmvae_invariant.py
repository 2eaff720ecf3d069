"""GMVAE with an invariant classifier: components that become the digits, though no label enters the fit.

The bound of gmvae.py does not say which images belong together: components that mix two digits, such as 4 and 9, have
nearly the bound of components that are digits (`gmvae:cosine` beside `gmvae:invariant` in RESULTS.md). What it lacks is
that a digit stays the same digit where it is slanted, stretched or moved a little. In training mode the factor
`invariance` of the guide adds that, as a penalty beside -ELBO:

    weight * [CE(q(y | x), q(y | x')) + 0.1 H(q(y | x)) + 0.4 KL(q(y) || Uniform)],    x' = view(x)

x' is a random affine view of the image, and CE the cross-entropy: an image and its view should have the same component.
Its gradient passes through the view alone; q(y | x) is held fixed as the target. The cross-entropy of one component for
all images is 0 too. So the entropy H is there to make the component of each image certain, and the KL to make the
components equally large, where q(y) is the mean of q(y | x) over the minibatch. Each term is at least 0: the objective
is still a lower bound.

In evaluation mode: the pair is gmvae.py itself.

    >>> import torch
    >>> pair = Invariant(data_dim=16, components=3, latent_dim=2, hidden=(8,))
    >>> pair.view(torch.ones(5, 16)).shape
    torch.Size([5, 16])

    Krause, Perona and Gomes, Discriminative clustering by regularized information maximization, 2010.
    Hu, Miyato, Tokui, Matsumoto and Sugiyama, Learning discrete representations via information maximizing
    self-augmented training, 2017 (the weights 0.1 and 0.4).
"""

import math
from typing import Any

import pyro
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from gallery.models.gmvae import GMVAE

__all__ = ["Invariant"]

SPREAD = ((0.1, 0.4, 0.15), (0.2, 0.1, 0.15))  # largest change of the map: to x of x, y and 1; to y of x, y and 1
ENTROPY, BALANCE = 0.1, 0.4  # weights beside the cross-entropy


class Invariant(GMVAE):
    """x: (n, data_dim), images of one channel in {0, 1}. An image and its affine views should have one component.

    y and z: as GMVAE.

    :param weight: weight of the penalty, in nats per data point
    :param rows: rows of an image; None if it is square
    :raises ValueError: if weight is negative or not finite, or the pixels do not fill the rows
    """

    spread: Tensor

    def __init__(
        self, data_dim: int = 784, *args: Any, weight: float = 100.0, rows: int | None = None, **kwargs: Any
    ) -> None:
        if not 0 <= weight < math.inf:
            raise ValueError(f"weight, of the penalty, must be finite and not negative, not {weight}.")
        if rows is None and math.isqrt(data_dim) ** 2 != data_dim:
            raise ValueError(f"an image of {data_dim} pixels is not square: set rows, its number of rows.")
        rows = math.isqrt(data_dim) if rows is None else rows
        if rows < 1 or data_dim % rows:
            raise ValueError(f"rows must divide data_dim: {data_dim} pixels do not fill {rows} rows.")
        super().__init__(data_dim, *args, **kwargs)
        self.weight, self.rows = weight, rows
        self.register_buffer("spread", torch.tensor(SPREAD), persistent=False)

    def view(self, x: Tensor) -> Tensor:
        """Return every image slanted, stretched and moved at random, (n, data_dim), in [0, 1]; outside it is 0.

        :param x: (n, data_dim)
        """
        images = x.reshape(len(x), 1, self.rows, -1)
        u = torch.rand(len(x), 2, 3, dtype=x.dtype, device=x.device)
        maps = torch.eye(2, 3, dtype=x.dtype, device=x.device) + self.spread * (2 * u - 1)  # in half widths and heights
        grid = affine_grid(maps, list(images.shape), align_corners=False)
        return grid_sample(images, grid, align_corners=False).view_as(x)

    def penalty(self, x: Tensor, logits: Tensor) -> Tensor:
        """Compute the penalty of each image, (n,), in nats, not negative.

        :param logits: of q(y | x), (n, components)
        """
        log_q = logits.log_softmax(-1)
        q, log_view = log_q.exp(), self.classifier(self.view(x)).log_softmax(-1)
        mean = q.mean(0).clamp(min=torch.finfo(q.dtype).tiny)
        imbalance = math.log(self.components) + (mean * mean.log()).sum()
        invariance = -(q.detach() * log_view).sum(-1)  # the target is held fixed
        entropy = -(q * log_q).sum(-1)
        return invariance + ENTROPY * entropy + BALANCE * imbalance

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("classifier", self.classifier)
        pyro.module("encoder", self.encoder)
        logits = self.classifier(x)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", self.encoder(x, self.component(logits)))
            if self.training:  # a factor of a guide enters the ELBO with a minus
                pyro.factor("invariance", self.weight * self.penalty(x, logits), has_rsample=True)
