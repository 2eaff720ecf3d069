"""Network blocks that several models share. A head ends a network and returns a distribution."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import pyro.distributions as dist
import torch
import torch.nn.functional as F
from pyro.distributions.transforms import ConditionalAffineAutoregressive
from pyro.nn import ConditionalAutoRegressiveNN
from torch import Tensor, nn

from gallery.models._distributions import MAX_LOGIT, ContinuousBernoulli

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "CholeskyHead",
    "Dropout",
    "GaussianHead",
    "Likelihood",
    "PairEncoder",
    "PixelHead",
    "autoregressive_layers",
    "masked",
    "mlp",
    "reverse",
    "steps_within",
]

Likelihood = Literal["bernoulli", "continuous_bernoulli", "gaussian"]
Activation = Literal["relu", "tanh"]
ACTIVATIONS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


class Dropout(nn.Dropout):
    """`nn.Dropout` of h, of any shape, whose mask compares uniform numbers: faster on a CPU than a Bernoulli mask.

    :param p: probability of dropping a unit in training mode
    :raises ValueError: unless p is at least 0 and below 1
    """

    def __init__(self, p: float) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"dropout must be between 0 and 1, and below 1, not {p}.")
        super().__init__(p)

    def forward(self, h: Tensor) -> Tensor:
        if not self.training:
            return h
        kept = torch.rand(h.shape, dtype=torch.float32, device=h.device) >= self.p
        return torch.where(kept, h / (1 - self.p), 0.0)


def mlp(sizes: Sequence[int], activation: type[nn.Module] = nn.ReLU, dropout: float = 0.0) -> nn.Sequential:
    """Build fully connected layers of the given sizes, each followed by the activation and, if positive, dropout.

    :param sizes: widths, from the input to the last hidden layer
    :param activation: class of the activation
    :param dropout: probability of dropping a unit in training mode
    """
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), activation()]
        if dropout:
            layers.append(Dropout(dropout))
    return nn.Sequential(*layers)


def autoregressive_layers(
    count: int, dim: int, context_dim: int, hidden: int, activation: type[nn.Module] = nn.ReLU
) -> nn.ModuleList:
    """Build the layers of an inverse autoregressive flow of a vector of length dim, given a context.

    Each layer maps u to sigma u + m, where sigma_i and m_i are functions of the context and of the coordinates of u
    before i. The order of the coordinates is reversed from layer to layer. Each layer starts as the identity.

    :param count: number of layers
    :param dim: length of the vector
    :param context_dim: length of the context
    :param hidden: width of the one hidden layer of each network
    :param activation: class of the activation
    :raises ValueError: if there are no layers, or dim is 1, where a layer has no coordinate to condition on, or more
        than the hidden units
    """
    if not 2 <= dim <= hidden:
        raise ValueError(
            f"an autoregressive network with {hidden} hidden units takes 2 to {hidden} coordinates, not {dim}."
        )
    if count < 1:
        raise ValueError(f"a flow has one layer or more, not {count}.")
    layers, order = nn.ModuleList(), list(range(dim))
    for i in range(count):
        permutation = torch.LongTensor(order[::-1] if i % 2 else order)
        net = ConditionalAutoRegressiveNN(
            dim, context_dim, [hidden], permutation=permutation, nonlinearity=activation()
        )
        for parameter in net.layers[-1].parameters():
            nn.init.zeros_(parameter)
        layers.append(ConditionalAffineAutoregressive(net))
    return layers


def masked(fn: dist.TorchDistribution, within: Tensor) -> dist.TorchDistribution:
    """Mask the coordinates of what a head returns where a step is not in the sequence: the batch shape stays.

    :param fn: batch shape (..., n) or (..., n, T), with an event (dim,) of independent coordinates
    :param within: booleans of the batch shape
    """
    return fn.base_dist.mask(within.unsqueeze(-1)).to_event(1)


def steps_within(x: Tensor, step_dim: int) -> Tensor:
    """Return which steps are in the sequence, (n, T) booleans: those up to its last entry that is not NaN.

    :param x: (n, T step_dim), NaN where an entry is missing and after the end of a sequence
    :raises ValueError: if x has no whole number of steps
    """
    if x.shape[1] % step_dim:
        raise ValueError(f"x has {x.shape[1]} entries, not steps of {step_dim}. Choose a step_dim that divides them.")
    observed = ~x.isnan().unflatten(1, (-1, step_dim)).all(2)
    return observed.flip(1).cumsum(1).flip(1) > 0


def reverse(sequences: Tensor, within: Tensor) -> Tensor:
    """Reverse the steps of each sequence from its first to its last; steps after its end stay where they are.

    :param sequences: (n, T, d)
    :param within: whether a step is in the sequence, (n, T) booleans, true up to its end
    """
    t, lengths = torch.arange(within.shape[1], device=within.device), within.sum(1, keepdim=True)
    source = (lengths - 1 - t).clamp(min=0).where(within, t)
    return sequences.gather(1, source.unsqueeze(-1).expand_as(sequences))


class GaussianHead(nn.Module):
    """h -> Normal(A h + a, softplus(B h + b)), diagonal: (..., in_dim) to a distribution over (..., dim).

    :param in_dim: length of h
    :param dim: length of the variable
    """

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, 2 * dim)

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        loc, pre_scale = self.linear(h).chunk(2, dim=-1)
        return dist.Normal(loc, F.softplus(pre_scale)).to_event(1)


class CholeskyHead(nn.Module):
    """h -> Normal(m, L L'), L = diag(s) (I + A): (..., in_dim) to a distribution over (..., dim).

    m and s are those of a GaussianHead. A is strictly lower triangular, and its entries are linear in h. They start at
    0, where the distribution is the diagonal one.

    :param in_dim: length of h
    :param dim: length of the variable
    """

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.dim, self.diagonal, self.below = dim, GaussianHead(in_dim, dim), nn.Linear(in_dim, dim * dim)
        for parameter in self.below.parameters():
            nn.init.zeros_(parameter)

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        diagonal = self.diagonal(h).base_dist
        A = self.below(h).unflatten(-1, (self.dim, self.dim)).tril(-1)
        L = diagonal.scale.unsqueeze(-1) * (A + torch.eye(self.dim, dtype=h.dtype, device=h.device))
        return dist.MultivariateNormal(diagonal.loc, scale_tril=L)


class PairEncoder(nn.Module):
    """(x, y) -> q(z | x, y), diagonal normal: (n, data_dim) and (..., n or 1, y_dim) to one over (..., n, latent_dim).

    The first layer on [x, y] is written as a sum, W x + V y + b. Where y is enumerated, W x is computed once, and not
    once for each y.

    :param data_dim: length of x
    :param y_dim: length of y, one-hot
    :param hidden: widths of the hidden layers
    :param latent_dim: length of z
    """

    def __init__(self, data_dim: int, y_dim: int, hidden: Sequence[int], latent_dim: int) -> None:
        super().__init__()
        self.of_x, self.of_y = nn.Linear(data_dim, hidden[0]), nn.Linear(y_dim, hidden[0], bias=False)
        self.rest = nn.Sequential(nn.ReLU(), mlp(hidden), GaussianHead(hidden[-1], latent_dim))

    def forward(self, x: Tensor, y: Tensor) -> dist.TorchDistribution:
        return self.rest(self.of_x(x) + self.of_y(y))


class PixelHead(nn.Module):
    """h -> p(x | h), independent over pixels: (..., in_dim) to a distribution over (..., data_dim).

    :param in_dim: length of h
    :param data_dim: number of pixels
    :param likelihood: ``bernoulli`` for pixels in {0, 1}; ``continuous_bernoulli`` for pixels in [0, 1], with logits
        clamped to `MAX_LOGIT` and -`MAX_LOGIT`; ``gaussian`` for real values
    :param scale: standard deviation of the Gaussian; if None, one for all pixels is learned
    :param bounded: apply a sigmoid to the mean of the Gaussian, for pixels in [0, 1]
    :raises ValueError: if the likelihood is unknown or the scale is not positive
    """

    pre_scale: Tensor

    def __init__(
        self, in_dim: int, data_dim: int, likelihood: Likelihood, scale: float | None = None, bounded: bool = False
    ) -> None:
        super().__init__()
        if likelihood not in ("bernoulli", "continuous_bernoulli", "gaussian"):
            raise ValueError(f"likelihood must be bernoulli, continuous_bernoulli or gaussian, not {likelihood!r}.")
        if scale is not None and not scale > 0:
            raise ValueError(f"scale, the standard deviation of a Gaussian likelihood, must be positive, not {scale}.")
        self.likelihood, self.bounded = likelihood, bounded
        self.linear = nn.Linear(in_dim, data_dim)
        if likelihood == "gaussian":
            pre_scale = torch.tensor(1.0 if scale is None else scale).expm1().log()  # softplus(pre_scale) = scale
            if scale is None:
                self.pre_scale = nn.Parameter(pre_scale)
            else:
                self.register_buffer("pre_scale", pre_scale)

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        eta = self.linear(h)
        if self.likelihood == "bernoulli":
            return dist.Bernoulli(logits=eta).to_event(1)
        if self.likelihood == "continuous_bernoulli":
            return ContinuousBernoulli(logits=eta.clamp(-MAX_LOGIT, MAX_LOGIT)).to_event(1)
        mean = eta.sigmoid() if self.bounded else eta
        return dist.Normal(mean, F.softplus(self.pre_scale).expand_as(eta)).to_event(1)
