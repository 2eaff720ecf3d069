"""ProdLDA: topics as a product of experts, with an encoder in place of coordinate ascent.

    z ~ Normal(0, s^2 I)             the code, z in R^topics
    theta = softmax(z)               the shares of the topics in a document
    x ~ Words(softmax(theta' B))     the counts of its words, B in R^(topics x data_dim)

In `lda` a document mixes the distributions of its topics: p(w | theta) = sum_k theta_k beta_kw. Here it mixes their
logarithms, so that p(w | theta) is proportional to prod_k softmax(B_k)_w^theta_k: a product of experts, in which a
topic can veto a word. The rows of B are not normalised.

The prior has the variances of the Laplace approximation to theta ~ Dirichlet(alpha, ..., alpha) in z = log theta with
the sum of z fixed at 0: s^2 = (1 - 1 / topics) / alpha (MacKay, Choice of basis for Laplace approximation, 1998; Hennig
et al., Kernel topic models, 2012). Its covariances, -1 / (topics alpha), are left out as published, so differences of
log theta have 1 - 1 / topics times the variance of the approximation. The prior is normal, and so is the guide
q(z | x) = Normal(mu(x), diag sigma(x)^2): its draws are reparametrised, and its KL has a closed form.

In training mode: each hidden unit of the encoder and each share is dropped with probability `dropout`, and the logits
of words and the outputs of the encoder are normalised by the mean and variance of the minibatch.
In evaluation mode: nothing is dropped, and they are normalised by running means and variances.
The normalisation has no scale or shift to learn: the codes are kept apart from the prior, where without it
all of them may collapse early in a fit.

    >>> import torch
    >>> pair = ProdLDA(data_dim=6, topics=3, alpha=0.5)
    >>> round(pair.scale**2, 4)  # (1 - 1/3) / 0.5
    1.3333
    >>> pair.eval().topics().sum(1).detach().round(decimals=4)
    tensor([1., 1., 1.])

    Srivastava and Sutton, Autoencoding variational inference for topic models, 2017.
"""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch.nn.functional as F
from torch import Tensor, nn

from gallery.models._nn import Dropout, mlp
from gallery.models._words import Words

__all__ = ["ProdLDA"]

ONE_DOCUMENT = "ProdLDA normalises over a minibatch of 2 documents or more, and this one has 1. Use larger batches."


class ProdLDA(nn.Module):
    """x: (n, data_dim), counts of words; z: (n, topics).

    :param data_dim: number of words of the vocabulary
    :param topics: number of topics
    :param alpha: concentration of the Dirichlet that the prior of theta is near to
    :param hidden: widths of the encoder's hidden layers
    :param dropout: probability of dropping a hidden unit, or a share, in training mode; below 1
    :param length: number of words of a document that is drawn
    :raises ValueError: if a number is not positive, there are fewer than two topics, or a minibatch of training has
        fewer than two documents
    """

    capabilities: tuple[str, ...] = ("topics",)

    def __init__(
        self,
        data_dim: int = 25,
        topics: int = 10,
        alpha: float = 0.5,
        hidden: Sequence[int] = (100, 100),
        dropout: float = 0.0,
        length: int = 100,
    ) -> None:
        super().__init__()
        if not (alpha > 0 and length > 0):
            raise ValueError(f"alpha and length must be positive, not {alpha} and {length}.")
        if topics < 2:
            raise ValueError(f"topics must be at least 2, not {topics}.")
        self.n_topics, self.length = topics, length
        self.scale = ((1 - 1 / topics) / alpha) ** 0.5
        self.encoder = nn.Sequential(
            mlp((data_dim, *hidden), nn.Softplus, dropout),
            nn.Linear(hidden[-1], 2 * topics),
            nn.BatchNorm1d(2 * topics, affine=False),
        )
        self.decoder = nn.Sequential(
            nn.Softmax(-1),
            Dropout(dropout),
            nn.Linear(topics, data_dim, bias=False),
            nn.BatchNorm1d(data_dim, affine=False),
            nn.Softmax(-1),
        )

    def topics(self) -> Tensor:
        """Return the probabilities of words where theta has one topic."""
        *_, linear, normalise, softmax = self.decoder
        return softmax(normalise(linear.weight.T))

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("decoder", self.decoder)
        zero = x.new_zeros(len(x), self.n_topics)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(zero, self.scale).to_event(1))
            pyro.sample("x", Words(self.decoder(z), self.length), obs=x)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        if self.training and len(x) < 2:
            raise ValueError(ONE_DOCUMENT)
        pyro.module("encoder", self.encoder)
        mean, pre_scale = self.encoder(x).chunk(2, -1)
        q = dist.Normal(mean, F.softplus(pre_scale)).to_event(1)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", q)
