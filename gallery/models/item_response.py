"""Item response: the ability of a person, measured by answers to items of unequal difficulty.

    z_i ~ Normal(0, 1)                            the ability of each person i
    x_ij ~ Bernoulli(sigmoid(a_j (z_i - b_j)))    1 for a right answer, 0 for a wrong one, to each item j

b_j is the difficulty of an item: the ability at which half of the answers are right. a_j is its discrimination, the
slope there: how well it separates persons on both sides. Both are parameters, so this is the two-parameter logistic
model. In `Rasch` all items share one a, and the number of right answers says all about z. In `Bayesian` a and b are
latents that all persons share, a pair for each item, in a plate "items" beside the plate of the persons.

The posterior of z has no closed form, but one coordinate: evidence, moments and EM are sums over a grid. In the M step
each item is a logistic regression on the nodes, for which Newton's method needs a few steps.

The guide is normal. Each answer multiplies N(z; 0, 1) by exp(w z - t z^2 / 2), with a w and a t > 0 for a right and a
wrong answer to each item, so that an answer that is missing (NaN) multiplies by nothing. The posterior is a product of
such a kind, of sigmoids: log-concave and slightly skewed. On the five items of LSAT-6 the gap is 0.0006 nats a person.

    >>> import torch
    >>> pair, x = ItemResponse(data_dim=3), torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, torch.nan]])
    >>> pair.posterior(x).mean.detach().round(decimals=2) + 0.0  # all right; one right and one wrong
    tensor([0.9200, 0.0000])
    >>> before = pair.log_evidence(x).sum()
    >>> pair.m_step(pair.e_step(x))
    >>> bool(pair.log_evidence(x).sum() > before)
    True

    Rasch, Probabilistic models for some intelligence and attainment tests, 1960.
    Birnbaum, Some latent trait models and their use in inferring an examinee's ability, 1968.
    Bock and Aitkin, Marginal maximum likelihood estimation of item parameters: application of an EM algorithm, 1981.
    Mislevy, Bayes modal estimation in item response models, 1986 (priors of a and b).
    Wu, Davis, Domingue, Piech and Goodman, Variational item response theory, 2020 (a guide as a product over answers).
"""

import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gallery.models._quadrature import ScalarPosterior

__all__ = ["Bayesian", "ItemResponse", "Rasch"]

NEWTON_STEPS, HALVINGS = 6, 8


class ItemResponse(nn.Module):
    """x: (n, data_dim) in {0, 1}, NaN where missing; z: (n,). All a start as 1, all b as 0.

    :param data_dim: number of items
    """

    capabilities: tuple[str, ...] = ("missing_values",)
    missing_values = True
    common_slope = False

    def __init__(self, data_dim: int = 5) -> None:
        super().__init__()
        self.data_dim = data_dim
        slopes = torch.ones(() if self.common_slope else data_dim)
        self.theta = nn.ParameterDict({"a": slopes, "b": torch.zeros(data_dim)})
        wrong_right = torch.tensor([[-0.5], [0.5]]).expand(2, data_dim)  # log sigmoid(z) = -log 2 + z/2 - z^2/8 + ...
        self.phi = nn.ParameterDict({"w": wrong_right.clone(), "log_t": torch.full((2, data_dim), 0.25).log()})

    def answers(self, z: Tensor, a: Tensor, b: Tensor, x: Tensor) -> dist.TorchDistribution:
        """Return p(x | z), event shape (data_dim,), with the entries that are missing masked."""
        return dist.Bernoulli(logits=a * (z.unsqueeze(-1) - b)).mask(~x.isnan()).to_event(1)

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("theta", self.theta)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), x.new_ones(())))
            pyro.sample("x", self.answers(z, self.theta["a"], self.theta["b"], x), obs=x.nan_to_num())

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("phi", self.phi)
        t, right = self.phi["log_t"].exp(), x.nan_to_num()
        wrong = (~x.isnan()).to(x) - right
        precision = 1 + wrong @ t[0] + right @ t[1]
        mean = (wrong @ self.phi["w"][0] + right @ self.phi["w"][1]) / precision
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Normal(mean, precision.rsqrt()))

    def posterior(self, x: Tensor) -> ScalarPosterior:
        """Return p(z | x), batch shape (n,), by quadrature."""
        a, b, right = self.theta["a"].double(), self.theta["b"].double(), x.nan_to_num().double()
        observed = (~x.isnan()).double()

        def log_likelihood(z: Tensor) -> Tensor:  # log sigmoid(l) = l + log sigmoid(-l)
            logits = a * (z.unsqueeze(-1) - b)
            return (right * logits + observed * F.logsigmoid(-logits)).sum(-1)

        def at_nodes(z: Tensor) -> Tensor:
            logits = a * (z.unsqueeze(-1) - b)
            return logits @ right.T + F.logsigmoid(-logits) @ observed.T

        return ScalarPosterior(log_likelihood, at_nodes, x)

    def log_evidence(self, x: Tensor) -> Tensor:
        """Compute log p(x), (n,) in nats, by quadrature."""
        return self.posterior(x).log_evidence

    def e_step(self, x: Tensor) -> dict[str, Tensor]:
        """Return the expected numbers of right answers and of answers at each node, (data_dim, nodes), over n."""
        p = self.posterior(x)  # its probs are (nodes, n)
        right, observed = x.nan_to_num().double(), (~x.isnan()).double()
        return {"right": (p.probs @ right).T / len(x), "answers": (p.probs @ observed).T / len(x), "z": p.nodes}

    def m_step(self, statistics: dict[str, Tensor]) -> None:
        """Ascend the expected log-likelihood by Newton's method, with the best of each step and its halves."""
        right, answers, z = (statistics[name] for name in ("right", "answers", "z"))
        a = self.theta["a"].double().expand(len(right))
        c = -a * self.theta["b"].double()
        lengths = torch.cat([z.new_zeros(1), 0.5 ** torch.arange(HALVINGS).to(z)])

        def over_items(value: Tensor) -> Tensor:  # (..., items): their sum where they share a slope
            return value.sum(-1, keepdim=True).expand(value.shape) if self.common_slope else value

        for _ in range(NEWTON_STEPS):
            p = (a.unsqueeze(-1) * z + c.unsqueeze(-1)).sigmoid()  # (items, nodes)
            error, weight = right - answers * p, answers * p * (1 - p)
            least, H = torch.finfo(z.dtype).tiny, [(weight * z**k).sum(-1) for k in range(3)]
            on_c = H[1] / H[0].clamp(min=least)
            gradient = over_items((error * z).sum(-1) - on_c * error.sum(-1))
            of_a = gradient / over_items(H[2] - on_c * H[1]).clamp(min=least)
            of_c = (error.sum(-1) / H[0].clamp(min=least)) - on_c * of_a
            tried = torch.stack([a + lengths.unsqueeze(-1) * of_a, c + lengths.unsqueeze(-1) * of_c])
            logits = tried[0].unsqueeze(-1) * z + tried[1].unsqueeze(-1)  # (lengths, items, nodes)
            best = over_items((right * logits - answers * F.softplus(logits)).sum(-1)).argmax(0)
            a, c = tried[:, best, torch.arange(len(a), device=a.device)]
        with torch.no_grad():
            self.theta["a"].copy_(a[0] if self.common_slope else a)
            self.theta["b"].copy_(-c / a)


class Rasch(ItemResponse):
    """x: (n, data_dim) in {0, 1}, NaN where missing; z: (n,). All items have one slope a, which is learnt.

    That is Rasch's model, in which the slope is 1, for abilities z ~ Normal(0, a).

    :param data_dim: number of items
    """

    common_slope = True


class Bayesian(ItemResponse):
    """x: (n, data_dim) in {0, 1}, NaN where missing. Slope and difficulty of each item are latent too.

    a: (data_dim,), LogNormal(0, 1/2), between 0.38 and 2.7 with probability 0.95; b: (data_dim,), Normal(0, 2), both in
    the plate "items"; z: (n,). In the guide log a and b are normal and dependent, the items independent.

    :param data_dim: number of items
    """

    log_evidence = posterior = e_step = m_step = None  # type: ignore[assignment]  # no closed form with a and b latent

    def __init__(self, data_dim: int = 5) -> None:
        super().__init__(data_dim)
        del self.theta
        start = {"m": torch.zeros(2, data_dim), "log_s": torch.full((2, data_dim), -2.0)}
        self.q = nn.ParameterDict(start | {"b_on_a": torch.zeros(data_dim)})

    def model(self, x: Tensor, total: int | None = None) -> None:
        with pyro.plate("items", self.data_dim):
            a = pyro.sample("a", dist.LogNormal(x.new_zeros(()), x.new_full((), 0.5)))  # with particles (., data_dim)
            b = pyro.sample("b", dist.Normal(x.new_zeros(()), x.new_full((), 2.0)))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), x.new_ones(())))
            pyro.sample("x", self.answers(z, a.unsqueeze(-2), b.unsqueeze(-2), x), obs=x.nan_to_num())

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("q", self.q)
        m, s = self.q["m"], self.q["log_s"].exp()
        with pyro.plate("items", self.data_dim):
            a = pyro.sample("a", dist.LogNormal(m[0], s[0]))
            pyro.sample("b", dist.Normal(m[1] + self.q["b_on_a"] * (a.log() - m[0]), s[1]))
        super().guide(x, total)
