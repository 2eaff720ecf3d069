"""Distributions of documents as counts of words.

- `Words`: the likelihood, a multinomial of the words in their order.
- `Dirichlet`: with draws that are never 0.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor

__all__ = ["Dirichlet", "Words"]


class Dirichlet(dist.Dirichlet):
    """A Dirichlet whose draws are normalised gamma variables, kept above the least normal number.

    Torch's draws underflow to 0 where a concentration is small, at 0.1 one number in 6,000 in float32. The density of a
    concentration below 1 is infinite there.
    """

    def rsample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        shape, tiny = self._extended_shape(torch.Size(sample_shape)), torch.finfo(self.concentration.dtype).tiny
        gamma = torch._standard_gamma(self.concentration.expand(shape)).clamp(min=tiny)
        return (gamma / gamma.sum(-1, keepdim=True)).clamp(min=tiny)


class Words(dist.TorchDistribution):
    """The words of a document, drawn independently: log p(x) = sum_v x_v log probs_v, for counts x.

    It is the probability of the words in their order, given how many there are: that of the counts without the
    multinomial coefficient, which no latent enters. So exp(-log p(x) / number of words) is the perplexity. A count of
    any number of words is scored; `length` is the number of those that are drawn.

    >>> words = Words(torch.tensor([0.5, 0.25, 0.25]), length=4)
    >>> words.log_prob(torch.tensor([1.0, 1.0, 0.0])).exp(), words.mean
    (tensor(0.1250), tensor([2., 1., 1.]))

    :param probs: (..., V), the probability of each word of the vocabulary; their sum is 1, up to rounding
    :param length: number of words of a document that is drawn
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"probs": constraints.independent(constraints.nonnegative, 1)}
    support = constraints.independent(constraints.nonnegative_integer, 1)

    def __init__(self, probs: Tensor, length: int, validate_args: bool | None = None) -> None:
        self.probs, self.length = probs, length
        super().__init__(probs.shape[:-1], probs.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "Words":
        new = Words(self.probs.expand(*batch_shape, -1), self.length, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return (value * self.probs.clamp(min=torch.finfo(self.probs.dtype).tiny).log()).sum(-1)

    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            probs = self.probs.expand(shape).reshape(-1, shape[-1])
            drawn = probs.multinomial(self.length, replacement=True)  # (rows, length), indices of words
            counts = probs.new_zeros(probs.shape).scatter_add_(1, drawn, probs.new_ones(drawn.shape))
        return counts.reshape(shape)

    def word_probabilities(self) -> Tensor:
        """Return what `inference.evaluation.perplexity` scores, (..., V)."""
        return self.probs

    @property
    def mean(self) -> Tensor:
        return self.length * self.probs

    @property
    def variance(self) -> Tensor:
        return self.length * self.probs * (1 - self.probs)
