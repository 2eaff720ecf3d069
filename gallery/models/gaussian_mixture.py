"""Gaussian mixture: the smallest model with a discrete latent variable, summed out exactly.

    y ~ Categorical(weights)           the component, weights = softmax(logits)
    x ~ Normal(mean_y, scale_y)        x in R^data_dim, diagonal covariance, scale = softplus(pre_scale)

y is marked for enumeration and the guide is empty, so the ELBO is the evidence,

    log p(x) = logsumexp_y [log p(y) + log p(x | y)],

without Monte Carlo noise. The same sum gives the posterior p(y | x), the responsibilities of a data point. With them
both steps of EM have a closed form (Dempster, Laird and Rubin, Maximum likelihood from incomplete data via the EM
algorithm, 1977).

The components are exchangeable: any permutation of them is the same model. EM and SVI both end in local optima, which
depend on the start. The likelihood is unbounded, because a component may shrink onto one data point. To prevent this,
the M step keeps the scales above 1e-3.

    >>> import torch
    >>> pair, x = GaussianMixture(data_dim=2, components=3), torch.randn(50, 2)
    >>> before = pair.log_evidence(x).sum()
    >>> pair.m_step(pair.e_step(x))
    >>> bool(pair.log_evidence(x).sum() > before)
    True

    Bishop, Pattern Recognition and Machine Learning, 2006, section 9.2.
"""

import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["GaussianMixture"]


class GaussianMixture(nn.Module):
    """x: (n, data_dim); y: (n,). The component is summed out: objective "enum".

    :param data_dim: length of x
    :param components: number of components
    :raises ValueError: if components is below 1
    """

    def __init__(self, data_dim: int = 2, components: int = 3) -> None:
        super().__init__()
        if components < 1:
            raise ValueError(f"components must be at least 1, not {components}.")
        self.theta = nn.ParameterDict(
            {
                "logits": torch.zeros(components),
                "mean": torch.randn(components, data_dim),
                "pre_scale": torch.ones(components, data_dim),
            }
        )

    def likelihood(self, y: Tensor) -> dist.TorchDistribution:
        """Return p(x | y), with the batch shape of y."""
        return dist.Normal(self.theta["mean"][y], F.softplus(self.theta["pre_scale"])[y]).to_event(1)

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("theta", self.theta)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            y = pyro.sample("y", dist.Categorical(logits=self.theta["logits"]), infer={"enumerate": "parallel"})
            pyro.sample("x", self.likelihood(y), obs=x)  # y (n,), enumerated (components, 1); x (n, data_dim)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        """Empty: y is summed out in the model."""

    def log_joint(self, x: Tensor) -> Tensor:
        """Compute log p(x, y) at every y, (n, components) in nats."""
        every = torch.arange(len(self.theta["logits"]), device=x.device)
        return self.theta["logits"].log_softmax(0) + self.likelihood(every).log_prob(x.unsqueeze(1))

    def log_evidence(self, x: Tensor) -> Tensor:
        """Compute log p(x), (n,) in nats."""
        return self.log_joint(x).logsumexp(1)

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        """Return p(y | x), the responsibilities, batch shape (n,)."""
        return dist.Categorical(logits=self.log_joint(x))

    def e_step(self, x: Tensor) -> dict[str, Tensor]:
        """Return the expected sufficient statistics under p(y | x), averaged over data points.

        :return: y, (components,); x and xx, its square, weighted by responsibility, each (components, data_dim)
        """
        r = self.posterior(x).probs.T / len(x)  # (components, n)
        return {"y": r.sum(1), "x": r @ x, "xx": r @ x.square()}

    def m_step(self, statistics: dict[str, Tensor]) -> None:
        """Set weights, means and scales to the maximisers of the expected log joint density."""
        y = statistics["y"].clamp(min=torch.finfo(statistics["y"].dtype).tiny)  # a component may have no data left
        mean = statistics["x"] / y.unsqueeze(1)
        scale = (statistics["xx"] / y.unsqueeze(1) - mean.square()).clamp(min=1e-6).sqrt()
        with torch.no_grad():
            self.theta["logits"].copy_(y.log())
            self.theta["mean"].copy_(mean)
            self.theta["pre_scale"].copy_(scale + (-(-scale).expm1()).log())  # softplus(pre_scale) = scale
