"""Eight schools: a hierarchy, whose latent effects share a mean and a spread that are latent too.

    mu ~ Normal(0, mu_scale)             the mean effect of all schools
    tau ~ HalfCauchy(tau_scale)          the standard deviation of the effects between schools
    eta_i ~ Normal(0, 1)                 for each school
    theta_i = mu + tau eta_i             its effect
    x_i ~ Normal(theta_i, c_i)           the effect as estimated, whose standard error c_i is known, passed as `given`

mu and tau stand outside the plate, since all schools share them, and eta inside. The data are those of Rubin (1981):
coaching for a test in eight schools. Each estimate is shrunk towards the mean of all, the more so the smaller tau is;
at tau = 0 all effects are equal, and for a large tau each school is left alone. The data decide between the two, by
p(tau | x).

The priors, mu_scale = tau_scale = 5, are those of Stan's and ArviZ's examples. Given tau all is normal, so evidence and
posterior are integrals over tau alone, and computed by quadrature (`HierarchyPosterior` in `_quadrature.py`).

The guide is a normal over (mu, log tau) with a full covariance, times the exact p(eta | mu, tau, x). So it falls short
of the evidence only by what mu and log tau lack of a normal. In `MeanField` all latents are independent. `Centred`
draws theta ~ Normal(mu, tau) itself. It is the same model in other coordinates: where tau is small all theta must be
near mu (a funnel), which neither an independent normal nor NUTS with one step size follows.

    >>> import torch
    >>> pair, x, given = EightSchools(), torch.tensor([[28.0], [8.0]]), torch.tensor([[15.0], [10.0]])
    >>> pair.posterior(x, given).mean.round(decimals=1)  # mu, tau, theta_1, theta_2: shrunk from 28 and 8
    tensor([3.1000, 7.2000, 7.8000, 4.6000])

    Rubin, Estimation in parallel randomized experiments, 1981.
    Gelman, Carlin, Stern, Dunson, Vehtari and Rubin, Bayesian Data Analysis, 2013, section 5.5.
    Papaspiliopoulos, Roberts and Sköld, A general framework for the parametrization of hierarchical models, 2007.
"""

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from gallery.models._quadrature import HierarchyPosterior

__all__ = ["Centred", "EightSchools", "MeanField"]


class EightSchools(nn.Module):
    """x: (n, 1); given: (n, 1); mu: (); tau: (); eta: (n,). The guide of eta is exact, given mu and tau.

    :param mu_scale: standard deviation of the prior of mu
    :param tau_scale: median of the prior of tau
    :raises ValueError: if mu_scale or tau_scale is not positive
    """

    given_dim = 1

    def __init__(self, mu_scale: float = 5.0, tau_scale: float = 5.0) -> None:
        super().__init__()
        for name, value in {"mu_scale": mu_scale, "tau_scale": tau_scale}.items():
            if not value > 0:
                raise ValueError(f"{name} must be positive, not {value}.")
        self.mu_scale, self.tau_scale = mu_scale, tau_scale
        self.q = nn.ParameterDict(self.parameters_of_q())

    def parameters_of_q(self) -> dict[str, Tensor]:
        """Return the initial parameters of the guide: location, log scale and slope of (mu, log tau)."""
        return {"m": torch.tensor([0.0, 1.0]), "log_s": torch.tensor([0.0, -1.0]), "a": torch.zeros(())}

    def effects(self, x: Tensor, mu: Tensor, tau: Tensor) -> Tensor:
        """Draw the effects inside the plate: theta, (n,)."""
        eta = pyro.sample("eta", dist.Normal(x.new_zeros(len(x)), x.new_ones(())))
        return pyro.deterministic("theta", mu + tau * eta, event_dim=0)

    def model(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        mu = pyro.sample("mu", dist.Normal(x.new_zeros(()), x.new_full((), self.mu_scale)))  # with particles (., 1)
        tau = pyro.sample("tau", dist.HalfCauchy(x.new_full((), self.tau_scale)))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            theta = self.effects(x, mu, tau)
            pyro.sample("x", dist.Normal(theta.unsqueeze(-1), given).to_event(1), obs=x)  # (n, 1)

    def guide(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        pyro.module("q", self.q)
        m, s = self.q["m"], self.q["log_s"].exp()
        mu = pyro.sample("mu", dist.Normal(m[0], s[0]))
        tau = pyro.sample("tau", dist.LogNormal(m[1] + self.q["a"] * (mu - m[0]) / s[0], s[1]))
        c = given.squeeze(-1)
        width = (tau.square() + c.square()).sqrt()
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("eta", dist.Normal(tau * (x.squeeze(-1) - mu) / width.square(), c / width))

    def posterior(self, x: Tensor, given: Tensor) -> HierarchyPosterior:
        """Return p(mu, tau, theta | x), event shape (2 + n,), by quadrature over tau."""
        return HierarchyPosterior(x.squeeze(-1), given.squeeze(-1), self.mu_scale, self.tau_scale)

    def coordinates(self, latents: dict[str, Tensor]) -> Tensor:
        """Return mu, tau and theta, (..., 2 + n), the event of `posterior`, of draws of the latents."""
        mu, tau = latents["mu"].unsqueeze(-1), latents["tau"].unsqueeze(-1)
        theta = latents["theta"] if "theta" in latents else mu + tau * latents["eta"]
        return torch.cat([mu, tau, theta], -1)

    def log_evidence(self, x: Tensor, given: Tensor) -> Tensor:
        """Compute log p(x_1, ..., x_n) in nats, one number: the schools are dependent through mu and tau."""
        return self.posterior(x, given).log_evidence


class MeanField(EightSchools):
    """x: (n, 1), all data; given: (n, 1). In the guide mu, log tau and every eta are independent and normal.

    mu: (); tau: (); eta: (n,), with a mean and a scale for each data point.

    :param total: number of data points
    """

    site = "eta"

    def __init__(self, total: int = 8, mu_scale: float = 5.0, tau_scale: float = 5.0) -> None:
        self.total = total
        super().__init__(mu_scale, tau_scale)

    def parameters_of_q(self) -> dict[str, Tensor]:
        shared, zeros = super().parameters_of_q(), torch.zeros(self.total)
        return {"m": shared["m"], "log_s": shared["log_s"], "loc": zeros, "log_t": zeros.clone()}

    def guide(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        pyro.module("q", self.q)
        m, s = self.q["m"], self.q["log_s"].exp()
        pyro.sample("mu", dist.Normal(m[0], s[0]))
        pyro.sample("tau", dist.LogNormal(m[1], s[1]))
        with pyro.plate("data", total or len(x), subsample_size=len(x)) as rows:
            pyro.sample(self.site, dist.Normal(self.q["loc"][rows], self.q["log_t"][rows].exp()))


class Centred(MeanField):
    """x: (n, 1), all data; given: (n, 1). The same model, whose latents are the effects: a funnel.

    mu: (); tau: (); theta: (n,), Normal(mu, tau). In the guide mu, log tau and every theta are independent and normal.
    """

    site = "theta"

    def effects(self, x: Tensor, mu: Tensor, tau: Tensor) -> Tensor:
        return pyro.sample("theta", dist.Normal(mu, tau))
