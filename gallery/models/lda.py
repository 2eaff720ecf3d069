"""Latent Dirichlet allocation: documents as mixtures of topics, each topic a distribution over words.

    theta ~ Dirichlet(alpha, ..., alpha)      the shares of the topics in a document, theta in the simplex
    z_n ~ Categorical(theta)                  the topic of each word of it
    w_n ~ Categorical(beta_{z_n})             the word, beta_k the probabilities of the words of topic k

Given theta the words are independent, so z is summed out exactly: p(w_n | theta) = (theta' beta)_{w_n}. A document is
the counts x of its words, and log p(x | theta) = sum_v x_v log (theta' beta)_v. That of the words in their order is
meant, without the multinomial coefficient, so that the perplexity is exp(-log p(x) / number of words).

beta is a parameter, softmax(logits). In `Smoothed` it is a latent that all documents share, beta_k ~ Dirichlet(eta),
so that a word that no document of the training data has in a topic keeps a probability there.

The guide q(theta | x) = Dirichlet(gamma) has no network. gamma is where `sweeps` steps of coordinate ascent lead from
a flat start: each gives every word its probabilities over topics, and adds up what each topic has received,

    gamma_k = alpha + sum_v x_v phi_vk,    phi_vk proportional to exp(E[log theta_k]) beta_kv.

Each step raises the bound of q(theta) q(z) (`coordinate_bound`). The ELBO of the pair is at least as large, since z is
summed out of it. Hence a new document needs no training, and its bound has the topics alone as parameters.

    >>> import torch
    >>> pair, x = LDA(data_dim=4, topics=2), torch.tensor([[3.0, 1.0, 0.0, 0.0]])
    >>> gamma = pair.ascend(x, pair.topics())
    >>> round(gamma.sum().item(), 4)  # two times alpha = 0.5, and four words
    5.0

    Blei, Ng and Jordan, Latent Dirichlet allocation, 2003.
    Griffiths and Steyvers, Finding scientific topics, 2004 (the bars of the data set `topics`).
    Hoffman, Blei, Wang and Paisley, Stochastic variational inference, 2013.
"""

import pyro
import torch
from torch import Tensor, nn

from gallery.models._words import Dirichlet, Words

__all__ = ["LDA", "Smoothed", "ascent_step", "coordinate_bound"]

START = 1000.0
"""Number of words that a topic of `Smoothed` has seen before a fit. With few, draws of the topics are so uneven that a
fit may end with two topics merged."""


class LDA(nn.Module):
    """x: (n, data_dim), counts of words; theta: (n, topics).

    :param data_dim: number of words of the vocabulary
    :param topics: number of topics
    :param alpha: concentration of the prior of theta, the same for each topic
    :param sweeps: number of steps of coordinate ascent in the guide
    :param length: number of words of a document that is drawn
    :raises ValueError: if a number is not positive, or there are fewer than two topics
    """

    capabilities: tuple[str, ...] = ("topics",)

    def __init__(
        self,
        data_dim: int = 25,
        topics: int = 10,
        alpha: float = 0.5,
        sweeps: int = 20,
        length: int = 100,
    ) -> None:
        super().__init__()
        if not (alpha > 0 and sweeps > 0 and length > 0):
            raise ValueError(f"alpha, sweeps and length must be positive, not {alpha}, {sweeps} and {length}.")
        if topics < 2:
            raise ValueError(f"topics must be at least 2, not {topics}.")
        self.alpha, self.sweeps, self.length = alpha, sweeps, length
        self.shape = topics, data_dim
        self.beta = nn.ParameterDict({"logits": torch.randn(self.shape)})  # apart, or some stay unused

    def topics(self) -> Tensor:
        """Return the probabilities of words, (topics, data_dim)."""
        return self.beta["logits"].softmax(-1)

    def document(self, x: Tensor, beta: Tensor) -> None:
        """Sample theta and x, inside the plate."""
        alpha = x.new_full((len(x), self.shape[0]), self.alpha)
        theta = pyro.sample("theta", Dirichlet(alpha))
        pyro.sample("x", Words(theta @ beta, self.length), obs=x)

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("beta", self.beta)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            self.document(x, self.topics())

    def guide(self, x: Tensor, total: int | None = None) -> None:
        """Fit q to each document by coordinate ascent."""
        gamma = self.ascend(x, self.topics())
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("theta", Dirichlet(gamma))

    def ascend(self, x: Tensor, beta: Tensor) -> Tensor:
        """Return gamma, (n, topics), after `sweeps` steps from a flat start.

        :param beta: (topics, data_dim), or exp(E[log beta]) where it is latent
        """
        share = x.sum(1, keepdim=True) / len(beta)
        gamma = (self.alpha + share).expand(-1, len(beta))
        for _ in range(self.sweeps):
            gamma = ascent_step(gamma, x, beta, self.alpha)
        return gamma


class Smoothed(LDA):
    """x: (n, data_dim), counts of words. The topics are latent: beta_k ~ Dirichlet(eta), in the plate "topics".

    beta: (topics, data_dim); theta: (n, topics). The guide of beta_k is Dirichlet(lambda_k), where lambda is
    eta plus expected counts of the words in topic k; that of theta has exp(E[log beta]) in place of beta.

    :param eta: concentration of the prior of beta, the same for each word
    """

    def __init__(
        self,
        data_dim: int = 25,
        topics: int = 10,
        alpha: float = 0.5,
        eta: float = 0.1,
        sweeps: int = 20,
        length: int = 100,
    ) -> None:
        super().__init__(data_dim, topics, alpha, sweeps, length)
        if not eta > 0:
            raise ValueError(f"eta must be positive, not {eta}.")
        self.eta = eta
        total = torch.full((topics, 1), START).log()
        self.q = nn.ParameterDict({"logits": self.beta["logits"].data, "log_total": total})
        del self.beta  # a latent here

    @property
    def concentration(self) -> Tensor:
        """lambda = eta + expected counts of words, (topics, data_dim)."""
        log_counts = self.q["log_total"] + self.q["logits"].log_softmax(-1)
        return self.eta + log_counts.exp()

    def topics(self) -> Tensor:
        """Return the means of the probabilities of words under the guide, (topics, data_dim)."""
        return self.concentration / self.concentration.sum(-1, keepdim=True)

    def model(self, x: Tensor, total: int | None = None) -> None:
        with pyro.plate("topics", self.shape[0]):
            eta = x.new_full(self.shape, self.eta)
            beta = pyro.sample("beta", Dirichlet(eta))  # with particles (., topics, data_dim)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            self.document(x, beta)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("q", self.q)
        concentration = self.concentration
        with pyro.plate("topics", self.shape[0]):
            pyro.sample("beta", Dirichlet(concentration))
        whole = concentration.sum(-1, keepdim=True)
        log_beta = concentration.digamma() - whole.digamma()
        largest = log_beta.amax(0)  # a factor of a word cancels in gamma
        gamma = self.ascend(x, (log_beta - largest).exp())
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("theta", Dirichlet(gamma))


def ascent_step(gamma: Tensor, x: Tensor, beta: Tensor, alpha: float) -> Tensor:
    """Return gamma, (n, topics), after q(z), and then q(theta), is set to its best value given the other."""
    weight = gamma.digamma().exp()  # of each topic: the sum of gamma cancels
    words = (weight @ beta).clamp(min=torch.finfo(x.dtype).eps ** 4)  # a count over it is finite
    return alpha + weight * ((x / words) @ beta.T)


def coordinate_bound(gamma: Tensor, x: Tensor, beta: Tensor, alpha: float) -> Tensor:
    """Compute the bound on log p(x) of q(theta) q(z) with the best q(z), (n,) in nats.

    :param gamma: (n, topics)
    :param x: (n, data_dim)
    :param beta: (topics, data_dim)
    """
    q, p = Dirichlet(gamma), Dirichlet(torch.full_like(gamma, alpha))
    log_theta = gamma.digamma() - gamma.sum(1, keepdim=True).digamma()
    words = (log_theta.exp() @ beta).clamp(min=torch.finfo(x.dtype).tiny)
    return (x * words.log()).sum(1) - torch.distributions.kl_divergence(q, p)
