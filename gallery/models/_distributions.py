"""Distributions and transforms that a model needs and Pyro lacks.

- `ContinuousBernoulli`: pixels in [0, 1], in any precision and at any logit (vae, cvae, ss_vae, autoencoders).
- `TruncatedNormal`: the exact posterior of `exponential_gaussian`.
- `SquaredGaussianPosterior`: the exact posterior of `squared_gaussian`, by quadrature.
- `GumbelSoftmax`: the relaxed component of `gmvae_relaxed`.
- `NormalChain`: the path of states of `deep_markov`, in its prior and its guide.
- `Softmax`: the bijection from logits to probabilities of `loaded_die:softmax`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
import torch.nn.functional as F
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.distributions.relaxed_categorical import ExpRelaxedCategorical
from torch.distributions.transforms import Transform
from torch.special import erfcx, log_ndtr, ndtri

__all__ = [
    "MAX_LOGIT",
    "ContinuousBernoulli",
    "GumbelSoftmax",
    "NormalChain",
    "Softmax",
    "SquaredGaussianPosterior",
    "TruncatedNormal",
]

MAX_LOGIT = math.log(2**23 - 1)
"""Bound on the logit of a continuous Bernoulli, 15.94. The density at 0 grows with the logit without limit, so a model
of images that are mostly black needs a bound. This one is that of `torch.distributions.ContinuousBernoulli(probs=...)`
in float32, which clamps the probability 2^-23 away from 0 and 1: the density of the published values, which integrates
to 1. With `logits=...` torch clamps the probability of the normalising constant alone, so that beyond this bound the
"density" integrates to less than 1: to 0.3986 at a logit of -40."""


class ContinuousBernoulli(dist.ContinuousBernoulli):
    """A density on [0, 1]: log p(x) = l x - log((exp(l) - 1) / l) for the logit l, in any precision, at any l.

    Loaiza-Ganem and Cunningham, The continuous Bernoulli: fixing a pervasive error in VAEs, 2019.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        size = self.logits.abs().clamp(min=1e-3)  # below 1e-3 the logarithm in log_norm is 0 up to 4e-8
        log_norm = (self.logits + size) / 2 + (-(-size).expm1() / size).log()
        return self.logits * value - log_norm

    @property
    def mean(self) -> Tensor:
        """The derivative of the log-norm: 1 / (1 - exp(-l)) - 1 / l, and its series where the two nearly cancel."""
        small = self.logits.abs() < 0.1
        away = torch.where(small, 1.0, self.logits)
        series = 0.5 + self.logits / 12 - self.logits**3 / 720
        return torch.where(small, series, -1 / (-away).expm1() - 1 / away)


class TruncatedNormal(dist.TorchDistribution):
    """Normal(loc, scale) restricted to z >= 0, reparametrised. Batch shape: that of loc and scale, broadcast.

    Robert, Simulation of truncated normal variables, 1995.

    :param loc: mean before truncation
    :param scale: standard deviation before truncation
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, validate_args: bool | None = None) -> None:
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: "TruncatedNormal | None" = None) -> "TruncatedNormal":
        new, batch_shape = self._get_checked_instance(TruncatedNormal, _instance), torch.Size(batch_shape)
        new.loc, new.scale = self.loc.expand(batch_shape), self.scale.expand(batch_shape)
        super(TruncatedNormal, new).__init__(batch_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @staticmethod
    def _log_density(s: Tensor) -> Tensor:  # of a standard normal
        return -0.5 * s.square() - 0.5 * math.log(2 * math.pi)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        s = (value - self.loc) / self.scale
        return self._log_density(s) - self.scale.log() - log_ndtr(self.loc / self.scale)

    def rsample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Invert the survival function: log_ndtr(-s) = log u + log_ndtr(loc / scale) for s = (z - loc) / scale.

        The equation is solved in logarithms, because ndtri alone gives infinity far out in the tail. ndtri gives a
        start, Newton's method the root; the last Newton step, from a detached start, gives the exact gradient. In
        float32 gradients lose digits where loc / scale is below -10, as the difference of logarithms of size
        (loc / scale)^2 / 2.
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        tiny = torch.finfo(self.loc.dtype).tiny
        u = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device).clamp(min=tiny)
        log_survival = u.log() + log_ndtr(self.loc / self.scale)

        def newton(s: Tensor) -> Tensor:
            s = s.detach()
            log_hazard = self._log_density(s) - log_ndtr(-s)
            return s + (log_ndtr(-s) - log_survival) * (-log_hazard).exp()

        with torch.no_grad():
            s = torch.where(log_survival > -50, -ndtri(log_survival.exp()), (-2 * log_survival).sqrt())
            for _ in range(3):
                s = newton(s)
        return (self.loc + self.scale * newton(s)).clamp(min=0)

    def _ratio(self) -> tuple[Tensor, Tensor]:
        """Return alpha = loc / scale and density(alpha) / ndtr(alpha), in float64: moments are small differences."""
        alpha = self.loc.double() / self.scale.double()
        above, below = alpha.clamp(min=0), alpha.clamp(max=0)
        tail = math.sqrt(2 / math.pi) / erfcx(-below / math.sqrt(2))
        return alpha, torch.where(alpha < 0, tail, (self._log_density(above) - log_ndtr(above)).exp())

    @property
    def mean(self) -> Tensor:
        alpha, ratio = self._ratio()
        return (self.scale * (alpha + ratio)).to(self.loc)

    @property
    def variance(self) -> Tensor:
        alpha, ratio = self._ratio()
        return (self.scale.square() * (1 - ratio * (ratio + alpha))).to(self.loc)


class SquaredGaussianPosterior(dist.TorchDistribution):
    """p(z | x) under z ~ Normal(0, s), x ~ Normal(z^2, t), by quadrature. Batch shape (n,).

    The trapezoidal rule runs from -9 s to 9 s, in float64 for any precision of x. Its step is at most s / 4, and at
    most half of t / (18 s), the width of the narrowest mode on the grid. The error falls like
    exp(-2 (pi width / step)^2), so for |x| up to 60 s^2 only rounding remains: below 1e-9. By symmetry half the points
    suffice, z >= 0.

    Trefethen and Weideman, The exponentially convergent trapezoidal rule, 2014.

    :param x: observations, (n,)
    :param s: standard deviation of z
    :param t: standard deviation of x given z
    """

    arg_constraints = {"x": constraints.real}
    support = constraints.real

    def __init__(self, x: Tensor, s: float, t: float, validate_args: bool | None = None) -> None:
        self.x, self.s, self.t = x, s, t
        super().__init__(x.shape, validate_args=validate_args)

    def _log_joint(self, z: Tensor, x: Tensor) -> Tensor:
        exponent = (z / self.s).square() + ((x - z.square()) / self.t).square()
        return -0.5 * exponent - math.log(2 * math.pi * self.s * self.t)

    def _log_moment(self, power: int) -> Tensor:
        """Compute the log of the integral of z^power p(z, x) over z, for an even power: (n,) in float64."""
        intervals = math.ceil(max(36, 324 * self.s**2 / self.t))
        z = torch.linspace(0, 9 * self.s, intervals + 1, dtype=torch.float64, device=self.x.device)
        weight = torch.full_like(z, 18 * self.s / intervals)  # twice the step: for z and for -z
        weight[0] /= 2
        log_weight = (weight * z**power).log()
        parts = self.x.double().unsqueeze(-1).split(max(1, 2**22 // len(z)))  # bounds the memory
        return torch.cat([(self._log_joint(z, x) + log_weight).logsumexp(-1) for x in parts])

    @property
    def log_evidence(self) -> Tensor:
        """log p(x), (n,) in nats."""
        return self._log_moment(0).to(self.x)

    def log_prob(self, value: Tensor) -> Tensor:
        return self._log_joint(value, self.x) - self.log_evidence

    @property
    def mean(self) -> Tensor:
        return torch.zeros_like(self.x)

    @property
    def variance(self) -> Tensor:
        return (self._log_moment(2) - self._log_moment(0)).exp().to(self.x)

    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw a cell of a grid by its mass, a point uniformly in it, and a sign.

        A cell is 1/32 of the width of the narrowest mode, so a variance is wrong by 1e-4 of itself at most.
        """
        cells, shape = math.ceil(max(576, 5184 * self.s**2 / self.t)), torch.Size(sample_shape)
        step, drawn = 9 * self.s / cells, []
        middle = (torch.arange(cells, dtype=torch.float64, device=self.x.device) + 0.5) * step
        for x in self.x.double().unsqueeze(-1).split(max(1, 2**20 // cells)):
            mass = self._log_joint(middle, x).softmax(-1)
            drawn.append(middle[mass.multinomial(shape.numel(), replacement=True)])  # (n, draws)
        size = torch.cat(drawn).T.reshape(shape + self.x.shape)
        size = size + step * (torch.rand_like(size) - 0.5)
        return torch.where(torch.rand_like(size) < 0.5, size, -size).to(self.x)


class GumbelSoftmax(ExpRelaxedCategorical, TorchDistributionMixin):
    """Gumbel-Softmax in log space: a sample is log y for y in the simplex.

    Samples that are numerically one-hot underflow in probability space and lose their gradient; the KL is unchanged.

    Jang, Gu and Poole, Categorical reparameterization with Gumbel-Softmax, 2017.
    Maddison, Mnih and Teh, The concrete distribution, 2017.
    """


class Softmax(Transform):
    """eta in R^(k-1) -> p = softmax(eta, 0) in the simplex of k faces: a bijection, with |det J| = prod_j p_j.

    The last logit is pinned at 0, because softmax is invariant to a shift of all logits.
    """

    domain, codomain = constraints.real_vector, constraints.simplex
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 1)).softmax(-1)

    def _inverse(self, y: Tensor) -> Tensor:
        return y[..., :-1].log() - y[..., -1:].log()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return F.pad(x, (0, 1)).log_softmax(-1).sum(-1)

    def forward_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], shape[-1] + 1)

    def inverse_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], shape[-1] - 1)


class NormalChain(dist.TorchDistribution):
    """z_t ~ Normal(mu_t, diag sigma_t^2) for t = 1, ..., T, with moments that `step` computes from z_{t-1}.

    A path is drawn step by step, with the noise of a step after that of the step before. All steps are scored at once.

    >>> walk = NormalChain(lambda z, t: (z, torch.ones_like(z)), torch.zeros(2), torch.ones(5, 3).bool())
    >>> walk.batch_shape, walk.event_shape, walk.log_prob(torch.zeros(5, 3, 2)).shape
    (torch.Size([5]), torch.Size([3, 2]), torch.Size([5]))

    :param step: (z_{t-1}, t) to the mean and the standard deviation of z_t, where t is an index from 0 with z_{t-1} of
        shape (..., d), or all of them, slice(None), with (..., T, d)
    :param z_0: (d,)
    :param within: (..., T) booleans: which steps are scored. It has the batch shape
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.independent(constraints.real, 2)
    has_rsample = True

    def __init__(self, step: Callable[[Tensor, Any], tuple[Tensor, Tensor]], z_0: Tensor, within: Tensor) -> None:
        self._step, self.z_0, self._within = step, z_0, within
        super().__init__(within.shape[:-1], torch.Size([within.shape[-1], len(z_0)]))

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "NormalChain":
        return NormalChain(self._step, self.z_0, self._within.expand(*batch_shape, -1))

    def _path(self, sample_shape: Sequence[int], noise: Callable[[Tensor], Tensor]) -> Tensor:
        z, path = self.z_0.expand(*sample_shape, *self.batch_shape, -1), []
        for t in range(self.event_shape[0]):
            mean, scale = self._step(z, t)
            z = mean + scale * noise(mean)
            path.append(z)
        return torch.stack(path, -2)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._path(sample_shape, lambda mean: torch.randn(mean.shape, dtype=mean.dtype, device=mean.device))

    @property
    def mean(self) -> Tensor:
        """The path on which each z_t is the mean given z_{t-1}: the mean itself where the chain is linear."""
        return self._path((), torch.zeros_like)

    def log_prob(self, value: Tensor) -> Tensor:
        before = torch.cat([self.z_0.expand_as(value[..., :1, :]), value[..., :-1, :]], -2)
        density = dist.Normal(*self._step(before, slice(None))).log_prob(value).sum(-1)
        return density.where(self._within, 0.0).sum(-1)
