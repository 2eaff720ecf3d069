"""Eight schools: posterior and evidence by quadrature, the guides against them, and NUTS."""

import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch.special import ndtr

import data
from gallery.catalogue.recipes import RECIPES
from gallery.models import MODELS
from gallery.models.eight_schools import Centred, EightSchools, MeanField
from inference import SVI, FittedRows, Settings, nuts
from inference.evaluation.log_weights import log_weights
from inference.evaluation.metrics import collapsed, kl_per_latent
from inference.fit.nuts import summary
from inference.pairs.run import eval_mode

THETA = [6.2119, 4.9402, 3.9270, 4.7571, 3.6155, 4.0426, 6.2967, 4.8543]
DRAWS = 1000


pytestmark = pytest.mark.usefixtures("double")


def schools():
    dataset = data.load("eight_schools", dtype=torch.float64)
    return dataset.x, dataset.given


def test_moments_are_those_of_one_dimensional_quadrature_elsewhere():
    """Computed with other code for the same priors, mu ~ Normal(0, 5) and tau ~ HalfCauchy(5)."""
    p = EightSchools().posterior(*schools())
    torch.testing.assert_close(p.mean, torch.tensor([4.3968, 3.5977, *THETA]), atol=5.1e-5, rtol=0)
    second = p.variance + p.mean.square()
    assert second[:2].tolist() == pytest.approx([30.339, 23.31], abs=5.1e-3)


@pytest.mark.parametrize("keywords", [{}, {"mu_scale": 2.0, "tau_scale": 0.7}, {"mu_scale": 40.0}])
def test_evidence_is_the_integral_in_two_dimensions(keywords):
    """Over mu and log tau, with theta alone integrated out, in 1/100 of its steps and another order."""
    pair, (x, given) = EightSchools(**keywords), schools()
    mu = torch.linspace(-9, 9, 1201) * pair.mu_scale
    u = torch.linspace(-30, 9, 1001)
    tau = pair.tau_scale * u.exp()
    scale = (tau.square() + given.square()).sqrt()  # (8, tau)
    log_mass = dist.HalfCauchy(pair.tau_scale).log_prob(tau) + tau.log() + (u[1] - u[0]).log()
    log_mass = log_mass + dist.Normal(0.0, pair.mu_scale).log_prob(mu)[:, None] + (mu[1] - mu[0]).log()
    for x_i, scale_i in zip(x[:, 0], scale, strict=True):
        log_mass = log_mass + dist.Normal(mu[:, None], scale_i).log_prob(x_i)
    p = pair.posterior(x, given)
    assert pair.log_evidence(x, given).item() == pytest.approx(log_mass.flatten().logsumexp(0).item(), abs=1e-8)
    mass = log_mass.flatten().softmax(0).reshape(log_mass.shape)
    expected = [(mass.sum(1) @ mu).item(), (mass.sum(0) @ tau).item()]
    assert p.mean[:2].tolist() == pytest.approx(expected, abs=1e-7)


def test_bayes_rule_holds_at_any_point():
    pair, (x, given) = EightSchools(), schools()
    value = torch.rand(3, 10) + 0.1
    mu, tau, theta = value[:, :1], value[:, 1:2], value[:, 2:]
    prior = dist.Normal(0.0, 5.0).log_prob(mu) + dist.HalfCauchy(5.0).log_prob(tau)
    effects = dist.Normal(mu, tau).log_prob(theta) + dist.Normal(theta, given[:, 0]).log_prob(x[:, 0])
    p = pair.posterior(x, given)
    torch.testing.assert_close(p.log_prob(value), prior[:, 0] + effects.sum(1) - p.log_evidence, rtol=0, atol=1e-8)


def test_no_school_and_one_school():
    x, given = schools()
    pair = EightSchools()
    assert pair.log_evidence(x[:0], given[:0]).item() == pytest.approx(0, abs=1e-12)
    tau = 5 * torch.linspace(-30, 30, 4001).exp()
    scale = (25 + tau.square() + given[0].square()).sqrt()  # mu integrates out of one school too
    density = (dist.HalfCauchy(5.0).log_prob(tau) + dist.Normal(0.0, scale).log_prob(x[0])).exp() * tau * 60 / 4000
    assert pair.log_evidence(x[:1], given[:1]).exp().item() == pytest.approx(density.sum().item(), rel=1e-10)


def test_draws_of_the_posterior_have_its_moments_and_median_of_tau():
    p = EightSchools().posterior(*schools())
    value = p.sample((4000,))
    assert ((value.mean(0) - p.mean).abs() < 4 * p.stddev / len(value) ** 0.5).all()
    share = p.probs[p.tau < 2].sum()
    assert abs((value[:, 1] < 2).double().mean() - share) < 4 * (share * (1 - share) / len(value)) ** 0.5


def test_both_coordinates_are_one_model():
    """log p(x, theta) = log p(x, eta) - n log tau: the volume of the change of coordinates."""
    (x, given), mu, tau = schools(), torch.tensor(3.0), torch.tensor(2.0)
    eta = torch.randn(8)
    shared = {"mu": mu, "tau": tau}
    of_eta, of_theta = (
        log_joint(pair, x, given, shared | local)
        for pair, local in ((MeanField(), {"eta": eta}), (Centred(), {"theta": mu + tau * eta}))
    )
    torch.testing.assert_close(of_theta, of_eta - 8 * tau.log(), rtol=0, atol=1e-10)


def log_joint(pair, x, given, values):
    from pyro import poutine

    return poutine.trace(poutine.condition(pair.model, values)).get_trace(x, given).log_prob_sum()


def test_the_guide_of_the_effects_is_their_posterior():
    """p(x, eta | mu, tau) / q(eta | mu, tau) is p(x | mu, tau) at any draw of eta."""
    pair, (x, given) = EightSchools(), schools()
    for mu, tau in (torch.tensor([3.0, 0.1]), torch.tensor([-2.0, 30.0])):
        held = {"mu": mu, "tau": tau}
        guide = poutine.trace(poutine.condition(pair.guide, held)).get_trace(x, given)
        eta = guide.nodes["eta"]
        joint = log_joint(pair, x, given, held | {"eta": eta["value"].detach()})
        prior = dist.Normal(0.0, 5.0).log_prob(mu) + dist.HalfCauchy(5.0).log_prob(tau)
        ratio = joint - prior - eta["fn"].log_prob(eta["value"]).sum()
        marginal = dist.Normal(mu, (tau**2 + given**2).sqrt()).log_prob(x).sum()
        torch.testing.assert_close(ratio, marginal, rtol=0, atol=1e-10)


@pytest.mark.slow
def test_gaps_are_positive_and_the_coordinates_decide():
    """Independent normals lose more in theta than in eta, and the loss is in tau.

    KL(q || p) of all latents is at least that of tau alone, which quadrature gives. With theta the guide of log tau is
    so narrow that this part is larger than the whole gap with eta.
    """
    (x, given), gaps, of_tau = schools(), {}, {}
    p = EightSchools().posterior(x, given)
    log_p = p.probs.log() - (p.tau[1] / p.tau[0]).log().log()  # density of log tau at the nodes
    for name in ("eight_schools", "eight_schools:mean_field", "eight_schools:centred"):
        torch.manual_seed(0)
        pair = MODELS[name]()
        for _ in SVI(pair, x, given, Settings(**RECIPES[name].settings)):
            pass
        with eval_mode(pair, 0), FittedRows(0):
            log_r = pair.log_evidence(x, given) - log_weights(pair, x, given, DRAWS).squeeze(1)
        gaps[name] = log_r.mean().item(), log_r.std().item() / DRAWS**0.5
        spread = pair.q["log_s"][1].exp().hypot(pair.q["a"] if "a" in pair.q else torch.zeros(()))
        log_q = dist.Normal(pair.q["m"][1], spread).log_prob(p.tau.log()).detach()
        of_tau[name] = (log_q.exp() * (log_q - log_p)).sum().item() * (p.tau[1] / p.tau[0]).log().item()
        assert gaps[name][0] > of_tau[name] - 4 * gaps[name][1]
    (own, error), (eta, of_eta), (theta, of_theta) = gaps.values()
    assert 0 < own < eta - 4 * (error + of_eta)
    assert eta + 4 * of_eta < of_tau["eight_schools:centred"] < theta + 4 * of_theta


def test_effects_that_are_nearly_equal_are_no_posterior_collapse():
    """At a small draw of tau the posterior of eta is its prior, whatever the data."""
    (x, given), pair = schools(), EightSchools()
    with torch.no_grad():
        pair.q["m"][1] = -6.0
    assert collapsed(pair, x, given) == []
    assert max(kl_per_latent(pair, x, given)["eta"]) < 1e-3


def compare(result, p):
    """Differences of the means of mu, tau and theta from the exact ones, in Monte Carlo standard errors, (10,)."""
    draws = result["draws"]
    mu, tau = draws["mu"].unsqueeze(-1), draws["tau"].unsqueeze(-1)
    theta = draws["theta"] if "theta" in draws else mu + tau * draws["eta"]
    values = torch.cat([mu, tau, theta], -1)
    of = summary(values)
    return (of["mean"] - p.mean) / of["mcse"]


@pytest.mark.slow
def test_nuts_is_right_in_the_coordinates_of_eta():
    """In those of theta the number of divergences depends on the seed and is no criterion; their cause has a test."""
    (x, given), p = schools(), EightSchools().posterior(*schools())
    assert compare(nuts(MeanField(), x, given, draws=500, warmup=300), p).abs().max() < 4


def test_one_step_size_serves_all_tau_in_the_coordinates_of_eta_and_none_in_those_of_theta():
    """A leapfrog step is stable below 2 / sqrt(h), h the largest curvature of log p: 1 / tau^2 + 1 / c_i^2 in theta_i,
    without a bound at small tau, and 1 + tau^2 / c_i^2 in eta_i. Between the 1 % and the 99 % quantile of tau the
    stable step varies by a factor of less than 3 in eta, and of more than 30 in theta."""
    (x, given), mu = schools(), torch.tensor(4.0)
    p = EightSchools().posterior(x, given)
    ends = [p.tau[p.probs.cumsum(0) > level][0] for level in (0.01, 0.99)]
    steps = {"eta": [], "theta": []}
    for tau in ends:
        for name, pair in (("eta", MeanField()), ("theta", Centred())):

            def joint(value, name=name, pair=pair, tau=tau):
                return log_joint(pair, x, given, {"mu": mu, "tau": tau, name: value})

            curvature = -torch.autograd.functional.hessian(joint, torch.randn(8))
            c = given[:, 0]
            exact = 1 + (tau / c).square() if name == "eta" else tau**-2 + c**-2
            torch.testing.assert_close(curvature, exact.diag(), rtol=1e-8, atol=1e-8)
            steps[name].append(2 / exact.max().sqrt().item())
    assert steps["eta"][0] < 3 * steps["eta"][1]
    assert steps["theta"][1] > 30 * steps["theta"][0]


def test_the_posterior_shrinks_each_estimate_between_the_pooled_and_its_own():
    x, given = schools()
    p = EightSchools().posterior(x, given)
    known = p.given_tau(torch.tensor([0.5, 3.0, 20.0]))
    low, high = torch.minimum(x[:, 0], known.mean[:, None]), torch.maximum(x[:, 0], known.mean[:, None])
    assert ((known.effect > low) & (known.effect < high)).all()
    assert ndtr((known.effect[0, 0] - 28) / known.effect_sd[0, 0]) < 0.01


@pytest.mark.parametrize("keywords", [{"mu_scale": 0.0}, {"tau_scale": -1.0}])
def test_scales_are_positive(keywords):
    with pytest.raises(ValueError, match=r"must be positive"):
        EightSchools(**keywords)


def test_the_posterior_is_supported_where_the_spread_is_positive():
    p = EightSchools().posterior(*schools())
    z = p.sample((4,))
    assert p.support.check(z).all()
    assert not p.support.check(-z.abs()).any()
