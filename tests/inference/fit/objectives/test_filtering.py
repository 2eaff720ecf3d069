"""FIVO, the bound of a particle filter: unbiased, IWAE without resampling, and one line where there are no steps."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn

from data.synthetic import NILE_FLOW
from gallery.models._kalman import posterior_chain
from gallery.models.eight_schools import EightSchools
from gallery.models.factor_analysis import FactorAnalysis
from gallery.models.hmm import HMM
from gallery.models.state_space import LocalLevel, StateSpace
from gallery.models.vrnn import VRNN
from gallery.models.vrnn_vectorised import VectorisedVRNN
from inference import SVI, InferenceError, Settings, eval_mode, iwae, log_evidence, log_weights
from inference.evaluation.particle_filter import fivo
from inference.fit.objectives.filtering import ParticleFilter, steps_of
from inference.pairs.run import importance_traces


class SampledHMM(HMM):
    """The states are drawn, by a guide that moves to each with the same probability at each step."""

    def model(self, x, total=None):
        poutine.infer_config(super().model, lambda site: {"enumerate": None})(x, total)

    def guide(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            for t in range(1, x.shape[1] + 1):
                pyro.sample(f"y_{t}", dist.Categorical(logits=x.new_zeros(len(x), len(self.theta["initial"]))))


class Bootstrap(LocalLevel):
    """The proposal is the prior of the next level; of the first, Normal(1000, 200^2)."""

    def guide(self, x, total=None):
        scale = (self.theta["log_Q"] / 2).exp()
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z_1", dist.Normal(x.new_full((len(x), 1), 1000.0), 200.0).to_event(1))
            for t in range(2, x.shape[1] + 1):
                z = pyro.sample(f"z_{t}", dist.Normal(z, scale).to_event(1))


def nile(pair, years=100):
    """A local level model with the published variances, in float64, and the Nile."""
    pair = pair.double()
    with torch.no_grad():
        for of in (pair.theta, pair.phi):
            of["log_Q"].fill_(math.log(1469.1))
            of["log_R"].fill_(math.log(15099.0))
    return pair, torch.tensor(NILE_FLOW[:years]).unsqueeze(0)


def chain():
    """A small state space model in float64, whose guide is not exact, and sequences with missing steps."""
    pair, x = StateSpace(2).double(), torch.randn(6, 5, dtype=torch.float64)
    x[torch.rand(x.shape) < 0.2] = torch.nan
    return pair, 2 * x


def both(pair, x, k):
    """Return FIVO-k, IWAE-k and log p(x), with the same noise up to the first time that particles are resampled."""
    with eval_mode(pair):
        bound = fivo(pair, x, k=k)[0]
    with eval_mode(pair):
        return bound, iwae(log_weights(pair, x, k=k)), log_evidence(pair, x)


def is_unbiased(bound, exact):
    ratio = (bound - exact).exp()
    return abs(ratio.mean() - 1) < 4 * ratio.std() / len(ratio) ** 0.5


def test_the_estimate_is_unbiased_with_discrete_states():
    pair = SampledHMM(3).double()
    bound, unfiltered, exact = both(pair, torch.randn(1, 6, dtype=torch.float64).expand(4000, -1), 8)
    assert (bound != unfiltered).float().mean() > 0.5  # particles were resampled
    assert is_unbiased(bound, exact)


def test_the_estimate_is_unbiased_on_the_nile_and_far_tighter_than_iwae():
    pair, x = nile(Bootstrap(), 40)
    bound, unfiltered, exact = both(pair, x.expand(150, -1), 32)
    difference = bound - unfiltered
    assert is_unbiased(bound, exact)
    assert difference.mean() > 1 + 4 * difference.std() / 150**0.5  # nats


@pytest.mark.parametrize("particles", [1, 3])
def test_one_particle_is_the_elbo_and_without_resampling_it_is_iwae(particles, monkeypatch):
    pair, x = chain()
    if particles > 1:
        monkeypatch.setattr(ParticleFilter, "threshold", 0.0)
    found = []
    for name in (f"fivo:{particles}", f"iwae:{particles}" if particles > 1 else "trace"):
        torch.manual_seed(1)
        svi = SVI(pair, x, settings=Settings(objective=name, particles=2 if particles > 1 else 1))
        loss = svi.loss(torch.tensor([4, 0, 3]))
        found.append([loss, *torch.autograd.grad(loss, svi.parameters)])
    for of_fivo, other in zip(*found, strict=True):
        torch.testing.assert_close(of_fivo, other, rtol=1e-8, atol=1e-8)


def test_the_gradient_is_that_of_the_bound_for_the_ancestors_drawn():
    """With the same noise the ancestors are the same in a neighbourhood of almost all weights."""
    pair, x = chain()
    svi = SVI(pair, x, settings=Settings(objective="fivo:4"))

    def loss():
        torch.manual_seed(1)
        return svi.loss(torch.arange(len(x)))

    torch.manual_seed(1)
    assert not torch.isclose(loss(), SVI(pair, x, settings=Settings(objective="iwae:4")).loss(torch.arange(len(x))))
    gradients = torch.autograd.grad(loss(), svi.parameters)
    for p, gradient in zip(svi.parameters, gradients, strict=True):
        direction, sides = torch.randn_like(p), []
        for step in (1e-6, -2e-6):
            with torch.no_grad():
                p += step * direction
            sides.append(loss().item())
        with torch.no_grad():
            p += 1e-6 * direction
        assert (gradient * direction).sum().item() == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-4, abs=1e-5)


def test_the_posterior_has_no_variance_without_resampling_and_with_the_twist_at_each_step():
    """The weight of a whole path is p(x). That of a step is p(x_t:T | z_{t-1}) / p(x_t+1:T | z_t), and varies."""
    pair, x = chain()
    pair.phi.load_state_dict(pair.theta.state_dict())
    rows = x.expand(500, *x.shape).flatten(0, 1)
    _, unfiltered, exact = both(pair, x, 500)
    torch.testing.assert_close(unfiltered, exact, rtol=1e-8, atol=1e-8)
    with eval_mode(pair):
        traces = importance_traces(pair, (rows,))
        of = pair.matrices(pair.theta)
        inverse = torch.cholesky_inverse(of.Q_tril)
        log_w = ParticleFilter(500)._log_weights(traces, steps_of(*traces), 1.0)[:, :, 0]  # (T, N, n)
        twist = [torch.zeros(500, len(x)).double()]  # log p(x_t+1:T | z_t) but for a constant, for each t
        for t, (_, b, V) in enumerate(posterior_chain(x, of)[1:], start=2):
            precision, z = torch.linalg.inv(V), traces[1].nodes[f"z_{t - 1}"]["value"].reshape(500, len(x), 2)
            m = (precision @ b[..., None])[..., 0]
            z_next = z @ of.A.T
            # of the integral over z_t of Normal(z_t; A z, Q) exp(m' z_t - z_t' J z_t / 2), J = V^-1 - Q^-1
            linear = z_next @ inverse + m
            twist.append(
                0.5 * ((linear[..., None, :] @ V @ linear[..., None])[..., 0, 0] - (z_next @ inverse * z_next).sum(-1))
            )
        twist.append(torch.zeros(500, len(x)).double())
        twisted = log_w + torch.stack(twist[1:]) - torch.stack(twist[:-1])
    assert (log_w.std(1)[:, 0] > 0.01).all()
    torch.testing.assert_close(twisted, twisted[:, :1].expand_as(twisted), rtol=1e-8, atol=1e-8)


def test_resampling_with_the_posterior_as_the_proposal_adds_variance_and_no_bias(monkeypatch):
    pair, x = nile(LocalLevel(), 12)
    monkeypatch.setattr(ParticleFilter, "threshold", 1.0)  # after each step
    bound, unfiltered, exact = both(pair, x.expand(1000, -1), 8)
    torch.testing.assert_close(unfiltered, exact, rtol=1e-8, atol=1e-8)
    assert is_unbiased(bound, exact)
    assert bound.std() > 1e-3


def test_the_bound_is_sharp_where_the_past_does_not_depend_on_the_next_observation(monkeypatch):
    """Maddison et al., proposition 1: with p(z_<t | x_<=t) = p(z_<t | x_<t), and p(z_t | z_<t, x) as the guide."""
    monkeypatch.setattr(ParticleFilter, "threshold", 1.1)  # after each step, also with equal weights
    pair, x = chain()
    with torch.no_grad():
        pair.theta["A"].zero_()
    pair.phi.load_state_dict(pair.theta.state_dict())
    bound, _, exact = both(pair, x, 3)
    torch.testing.assert_close(bound, exact, rtol=1e-8, atol=1e-8)


def test_the_sites_of_a_step():
    pair = VRNN(data_dim=8, steps=4, latent_dim=2, state_dim=4, hidden=(5,))
    with eval_mode(pair):
        steps = steps_of(*importance_traces(pair, (torch.ones(2, 8),)))
    assert [(name, t) for name, t in steps.items() if name[:2] in ("z_", "x_")] == [
        (f"{site}_{t + 1}", t) for t in range(4) for site in ("z", "x")
    ]


class Increments(nn.Module):
    """A random walk by its increments: the level, on which x depends, is hidden in model and guide."""

    def model(self, x, total=None):
        level = x.new_zeros(len(x))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            for t in range(x.shape[1]):
                level = level + pyro.sample(f"z_{t + 1}", dist.Normal(torch.zeros_like(level), 1.0))
                pyro.sample(f"x_{t + 1}", dist.Normal(level, 1.0), obs=x[:, t])

    def guide(self, x, total=None):
        level = x.new_zeros(len(x))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            for t in range(x.shape[1]):
                level = level + pyro.sample(f"z_{t + 1}", dist.Normal((x[:, t] - level) / 3, 1.0))

    def log_evidence(self, x):
        t = torch.arange(1.0, x.shape[1] + 1).to(x)
        covariance = torch.minimum(t, t[:, None]) + torch.eye(len(t)).to(x)
        return dist.MultivariateNormal(torch.zeros_like(t), covariance).log_prob(x)


def test_hidden_states_are_those_of_the_ancestors(monkeypatch):
    """Of the whole past: with the last draw alone from the ancestor the estimate of p(x) would be biased."""
    monkeypatch.setattr(ParticleFilter, "threshold", 1.0)  # after each step
    bound, _, exact = both(Increments(), torch.randn(1, 6, dtype=torch.float64).cumsum(1).expand(4000, -1), 8)
    assert is_unbiased(bound, exact)


class Backwards(StateSpace):
    """The guide draws the last step first."""

    def guide(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            for t in range(x.shape[1], 0, -1):
                pyro.sample(f"z_{t}", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1))


@pytest.mark.parametrize(
    ("pair", "args", "words"),
    [
        (FactorAnalysis(), (torch.zeros(4, 3),), r"no latent \(z\) follows an observation"),
        (HMM(), (torch.zeros(4, 3),), "y_1, y_2, y_3 is summed out"),
        (EightSchools(), (torch.zeros(4, 1), torch.ones(4, 1)), "mu, tau is a latent of all data"),
        (Backwards(), (torch.zeros(4, 3),), "the guide draws z_3, z_2, z_1 in this order, and the model in another"),
    ],
)
def test_a_pair_without_steps_is_refused_in_one_line(pair, args, words):
    with eval_mode(pair), pytest.raises(InferenceError, match=words) as raised:
        fivo(pair, *args, k=2)
    assert "\n" not in str(raised.value)
    with pytest.raises(InferenceError, match=words if "summed" not in words else "HMM sums out"):
        SVI(pair, *args, settings=Settings(objective="fivo:2"))


def test_no_particle_and_draws_without_a_gradient_are_refused():
    pair, x = chain()
    with eval_mode(pair), pytest.raises(InferenceError, match="is 0; expected an integer from 1 on"):
        fivo(pair, x, k=0)
    with pytest.raises(InferenceError, match="draws of y_1, y_2, y_3 are not reparametrised"):
        SVI(SampledHMM(), torch.zeros(4, 3), settings=Settings(objective="fivo:2"))


def test_the_vectorised_pair_has_one_step_in_training_and_all_in_evaluation():
    pair, x = VectorisedVRNN(data_dim=6, steps=3, latent_dim=2, state_dim=4, hidden=(5,)), torch.ones(3, 6)
    with pytest.raises(InferenceError, match="follows an observation"):
        SVI(pair, x, settings=Settings(objective="fivo:2"))
    with eval_mode(pair):
        assert fivo(pair, x, k=2).shape == (1, 3)


def test_parts_of_the_data_have_the_rows_of_the_whole():
    pair, x = chain()
    with eval_mode(pair):
        assert fivo(pair, x, k=4, filters=3, at_a_time=24).shape == (3, 6)
