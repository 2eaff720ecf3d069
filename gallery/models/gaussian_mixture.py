"""Gaussian mixture: the smallest model with a discrete latent variable, summed out exactly.

    y ~ Categorical(weights)           the component, weights = softmax(logits)
    x ~ Normal(mean_y, scale_y)        x in R^data_dim, diagonal covariance, scale = softplus(pre_scale)

y is marked for enumeration and the guide has nothing to say, so the ELBO is the evidence,

    log p(x) = logsumexp_y [log p(y) + log p(x | y)],

without noise. The same sum gives the posterior p(y | x), a datum's responsibilities, and with them EM in closed
steps (Dempster, Laird and Rubin, Maximum likelihood from incomplete data via the EM algorithm, 1977).

The components have no names: any permutation of them is the same model. There are local optima, and which is reached
depends on the start, for EM as for SVI. And the likelihood has no maximum at all, for a component may shrink onto one
datum: the M step keeps its scales above 1e-3.

    Bishop, Pattern Recognition and Machine Learning, 2006, section 9.2.
"""

import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["GaussianMixture"]


class GaussianMixture(nn.Module):
    """x: (n, data_dim). The component is summed out: objective "enum".

    :param data_dim: length of x
    :param components: number of components
    """

    def __init__(self, data_dim: int = 2, components: int = 3):
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

    def likelihood(self, y: Tensor) -> dist.Distribution:
        """p(x | y), batch shape that of y."""
        return dist.Normal(self.theta["mean"][y], F.softplus(self.theta["pre_scale"])[y]).to_event(1)

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("theta", self.theta)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            y = pyro.sample("y", dist.Categorical(logits=self.theta["logits"]), infer={"enumerate": "parallel"})
            pyro.sample("x", self.likelihood(y), obs=x)  # y (n,), enumerated (components, 1); x (n, data_dim)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        """Nothing is left to infer."""

    def log_joint(self, x: Tensor) -> Tensor:
        """log p(x, y) of every y, (n, components) in nats."""
        every = torch.arange(len(self.theta["logits"]), device=x.device)
        return self.theta["logits"].log_softmax(0) + self.likelihood(every).log_prob(x.unsqueeze(1))

    def log_evidence(self, x: Tensor) -> Tensor:
        """log p(x), (n,) in nats."""
        return self.log_joint(x).logsumexp(1)

    def posterior(self, x: Tensor) -> dist.Distribution:
        """p(y | x), the responsibilities, batch shape (n,)."""
        return dist.Categorical(logits=self.log_joint(x))

    def e_step(self, x: Tensor) -> dict[str, Tensor]:
        """Expected sufficient statistics per datum under p(y | x): y, and x and its square where y holds."""
        r = self.posterior(x).probs.T / len(x)  # (components, n)
        return {"y": r.sum(1), "x": r @ x, "xx": r @ x.square()}

    def m_step(self, statistics: dict[str, Tensor]) -> None:
        """Sets weights, means and scales to the maximisers of the expected log joint density."""
        y = statistics["y"].clamp(min=torch.finfo(statistics["y"].dtype).tiny)  # a component may have died
        mean = statistics["x"] / y.unsqueeze(1)
        scale = (statistics["xx"] / y.unsqueeze(1) - mean.square()).clamp(min=1e-6).sqrt()
        with torch.no_grad():
            self.theta["logits"].copy_(y.log())
            self.theta["mean"].copy_(mean)
            self.theta["pre_scale"].copy_(scale + (-(-scale).expm1()).log())  # softplus(pre_scale) = scale
