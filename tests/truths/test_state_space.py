"""The linear Gaussian state space model: filter, smoother and EM against the joint normal of all steps."""

import numpy as np
import pytest
import torch
from cases import local_level
from torch.distributions import MultivariateNormal, kl_divergence

import data
from data.synthetic import NILE_FLOW, STATE_A, STATE_NOISE, STATE_START
from gallery.models._kalman import filter_forward, posterior_chain, smooth
from gallery.models.state_space import LocalLevel, StateSpace, inverse_softplus, pre_tril
from inference import SVI, Settings, em, encode, eval_mode, log_weights, sample
from inference.pairs.run import importance_traces

STEPS, LATENT = 5, 2


@pytest.fixture
def known():
    """A pair in float64, sequences with missing steps, and the joint normal of z and x by powers of A."""
    pair = StateSpace(LATENT).double()
    with torch.no_grad():
        for value in pair.theta.values():
            value += 0.3 * torch.randn_like(value)
    x = torch.randn(12, STEPS, dtype=torch.float64)
    x[torch.rand(x.shape) < 0.3] = torch.nan
    x[0], x[1] = torch.randn(STEPS), torch.nan  # all steps, and none
    m, P_tril, A, Q_tril, c, r = (value.detach() for value in pair.matrices(pair.theta))
    power = [torch.linalg.matrix_power(A, k) for k in range(STEPS)]
    noise = torch.zeros(STEPS * LATENT, STEPS * LATENT, dtype=torch.float64)  # z = start + noise @ e
    for t in range(STEPS):
        for s in range(t + 1):
            noise[2 * t : 2 * t + 2, 2 * s : 2 * s + 2] = power[t - s] @ (Q_tril if s else P_tril)
    C = torch.kron(torch.eye(STEPS, dtype=torch.float64), c.unsqueeze(0))
    return pair, x, torch.cat([p @ m for p in power]), noise @ noise.T, C, r


def conditionals(known):
    """Yield log p of the observed steps, and mean and covariance of z given them, of each sequence."""
    _, x, mean, covariance, C, r = known
    for row in x:
        o = ~row.isnan()
        error, z_x = row[o] - C[o] @ mean, covariance @ C[o].T
        of_x = C[o] @ z_x + r.square() * torch.eye(int(o.sum()), dtype=torch.float64)
        log_density = MultivariateNormal(C[o] @ mean, of_x).log_prob(row[o]) if o.any() else torch.zeros(()).double()
        gain = torch.linalg.solve(of_x, z_x.T).T
        yield log_density, mean + gain @ error, covariance - gain @ z_x.T


def test_filter_and_smoother_are_conditionals_of_the_joint_normal(known):
    pair, x, *_ = known
    evidence, posterior = pair.log_evidence(x), pair.posterior(x)
    of = pair.matrices(pair.theta)
    means, covariances, crosses = smooth(x, of)
    for i, (log_density, mean, covariance) in enumerate(conditionals(known)):
        torch.testing.assert_close(evidence[i], log_density, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(posterior.mean[i], mean, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(posterior.covariance_matrix[i], covariance, rtol=1e-8, atol=1e-8)
        blocks = covariance.view(STEPS, LATENT, STEPS, LATENT)
        for t in range(STEPS):
            torch.testing.assert_close(covariances[i, t], blocks[t, :, t], rtol=1e-8, atol=1e-8)
            expected = blocks[t, :, t - 1] if t else torch.zeros_like(crosses[i, 0])
            torch.testing.assert_close(crosses[i, t], expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(means.flatten(1), posterior.mean, rtol=1e-8, atol=1e-8)
    for t in range(1, STEPS + 1):  # the last state of each beginning of a sequence is filtered
        _, filtered, spread = filter_forward(x, of)
        last = smooth(x[:, :t], of)
        torch.testing.assert_close(filtered[:, t - 1], last[0][:, -1], rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(spread[:, t - 1], last[1][:, -1], rtol=1e-8, atol=1e-8)


def test_the_guide_with_the_parameters_of_the_model_is_the_posterior_of_every_pattern(known):
    pair, x, *_ = known
    before = log_weights(pair, x, k=3)
    assert (before.std(0)[1:] > 1e-3).all()  # other parameters: another distribution
    pair.phi.load_state_dict(pair.theta.state_dict())
    exact = pair.log_evidence(x).detach()
    torch.testing.assert_close(log_weights(pair, x, k=3), exact.expand(3, -1), rtol=1e-8, atol=1e-8)
    for objective in ("trace", "iwae:3"):  # for any draw: its loss is the evidence, and an ELBO has no noise
        loss = SVI(pair, x, settings=Settings(objective=objective)).loss(torch.arange(len(x)))
        torch.testing.assert_close(loss, -exact.sum(), rtol=1e-8, atol=1e-8)
    svi = SVI(pair, x, settings=Settings(objective="stl"))
    gradients = torch.autograd.grad(svi.loss(torch.arange(len(x))), list(pair.phi.values()), allow_unused=True)
    assert max(g.abs().max() for g in gradients) < 1e-8


def test_the_gap_of_the_guide_is_the_kl_of_two_joint_normals(known):
    pair, x, *_ = known
    other = StateSpace(LATENT).double()
    other.theta.load_state_dict(pair.phi.state_dict())
    gap = kl_divergence(other.posterior(x), pair.posterior(x))
    weights = log_weights(pair, x, k=4000)
    error = weights.std(0) / len(weights) ** 0.5
    assert ((pair.log_evidence(x) - gap - weights.mean(0)).abs() < 4 * error).all()
    with eval_mode(pair):
        nodes = importance_traces(pair, (x,))[1].nodes
    for t, (F, b, V) in enumerate(posterior_chain(x, pair.matrices(pair.phi)), start=1):
        z = nodes[f"z_{t - 1}"]["value"] if t > 1 else torch.zeros(len(x), LATENT).double()
        torch.testing.assert_close(nodes[f"z_{t}"]["fn"].mean, (F @ z.unsqueeze(-1)).squeeze(-1) + b)
        torch.testing.assert_close(nodes[f"z_{t}"]["fn"].covariance_matrix, V)


@pytest.mark.parametrize("objective", ["trace", "analytic", "iwae:3", "stl"])
def test_the_gradient_is_finite_where_steps_are_missing(known, objective):
    pair, x, *_ = known
    svi = SVI(pair, x, settings=Settings(objective=objective))
    for gradient in torch.autograd.grad(svi.loss(torch.arange(len(x))), svi.parameters):
        assert gradient.isfinite().all()
        assert gradient.any()


def test_codes_are_smoothed_means_and_draws_have_all_steps(known):
    pair, x, *_ = known
    pair.phi.load_state_dict(pair.theta.state_dict())
    drawn = sample(pair, x, 20_000)
    covariance, mean, C, r = known[3], known[2], known[4], known[5]
    assert drawn["x"].isfinite().all()
    variance = (C @ covariance @ C.T).diagonal() + r.square()
    off = drawn["x"].mean(0) - C @ mean
    assert (off.abs() < 4 * (variance / 20_000).sqrt()).all()
    squares = (drawn["x"] - C @ mean).square()
    assert ((squares.mean(0) - variance).abs() < 4 * squares.std(0) / 20_000**0.5).all()
    first = encode(pair, x)["z_1"]
    torch.testing.assert_close(first, smooth(x, pair.matrices(pair.theta))[0][:, 0], rtol=1e-8, atol=1e-8)


def test_em_never_falls_and_ends_where_the_gradient_is_zero():
    x = sample(local_level(0.5, 0.5, 1.0), torch.zeros(200, 4).double(), 200)["x"]
    x[torch.rand(x.shape) < 0.1] = torch.nan
    pair = local_level(1.0, 1.0, 1.0)
    evidence = list(em(pair, x, 600))
    assert min(np.diff(evidence)) > -1e-12
    pair.log_evidence(x).mean().backward()
    assert all(p.grad.abs().max() < 1e-5 for p in pair.theta.values())


def test_em_of_sequences_of_one_step_is_a_normal():
    x, pair = torch.randn(30, 1, dtype=torch.float64), StateSpace(1).double()
    evidence = list(em(pair, x, 100))
    best = torch.distributions.Normal(x.mean(), x.std(unbiased=False)).log_prob(x).mean()
    assert min(np.diff(evidence)) > -1e-12
    assert evidence[-1] == pytest.approx(best.item(), abs=1e-8)


def test_the_nile_has_the_published_likelihood():
    """Of the local level model of Durbin and Koopman, in the tests of Siphon.jl, from the R package KFAS."""
    x, pair = torch.tensor(NILE_FLOW).unsqueeze(0), local_level(1469.1, 15099.0, 1e7)
    assert torch.equal(data.load("nile").x, x.float())
    assert pair.log_evidence(x).item() == pytest.approx(-641.5856, abs=5e-5)
    assert pair.posterior(x).mean[0, -1].item() == pytest.approx(798.37, abs=5e-3)
    assert min(np.diff(list(em(pair, x, 10)))) > -1e-9
    with torch.no_grad():
        single = local_level(1469.1, 15099.0, 1e7).float()
        assert abs(single.log_evidence(x.float()).item() + 641.5856) < 0.01


def test_missing_years_are_left_out_of_the_nile():
    """A row with missing years has the density of its other years, which is that of the joint normal."""
    pair, x = local_level(1469.1, 15099.0, 1e7), torch.tensor(NILE_FLOW).unsqueeze(0)
    x[0, 20:40], x[0, 60:80] = torch.nan, torch.nan
    o, t = ~x[0].isnan(), torch.arange(100)
    covariance = 1e7 + 1469.1 * torch.minimum(t, t[:, None]).double() + 15099.0 * torch.eye(100).double()
    joint = MultivariateNormal(torch.zeros(60).double(), covariance[o][:, o])
    torch.testing.assert_close(pair.log_evidence(x)[0], joint.log_prob(x[0, o]), rtol=1e-8, atol=1e-8)


def test_the_synthetic_set_has_the_stated_evidence():
    pair, r = StateSpace(2).double(), torch.tensor(STATE_NOISE[1]).double()
    square = {"pre_P": torch.eye(2).double(), "pre_Q": STATE_NOISE[0] ** 2 * torch.eye(2).double()}
    plain = {"m": torch.from_numpy(STATE_START), "A": torch.from_numpy(STATE_A), "c": torch.tensor([1.0, 0.0])}
    with torch.no_grad():
        for name, value in (plain | {"pre_r": inverse_softplus(r)}).items():
            pair.theta[name].copy_(value)
        for name, value in square.items():
            pair.theta[name].copy_(pre_tril(value))
    for split, evidence in (("train", -12.0452), ("test", -11.8515)):
        found = pair.log_evidence(data.load("state_space", split, dtype=torch.float64).x)
        assert abs(found.mean().item() - evidence) < 5e-5
        assert abs(found.mean().item() - expected_evidence(pair)) < 4 * found.std().item() / len(found) ** 0.5


def expected_evidence(pair):
    """E log p(x) under the model: minus the entropy of its x."""
    variances, x = [], torch.zeros(1, 10, dtype=torch.float64)
    _, P_tril, A, Q_tril, c, r = pair.matrices(pair.theta)
    covariance = P_tril @ P_tril.T
    for _ in x.unbind(1):
        variance = c @ covariance @ c + r.square()
        variances.append(variance)
        covariance = covariance - (covariance @ c).outer(covariance @ c) / variance
        covariance = A @ covariance @ A.T + Q_tril @ Q_tril.T
    return -0.5 * (torch.stack(variances).log() + np.log(2 * np.pi) + 1).sum().item()


def test_no_state_is_refused():
    with pytest.raises(ValueError, match="latent_dim must be at least 1"):
        StateSpace(latent_dim=0)


def newton(pair, x, steps):
    """Maximise the log evidence of a local level model in log Q and log R; return its value."""
    of = list(pair.theta.values())
    for _ in range(steps):
        gradient = torch.autograd.grad(pair.log_evidence(x).sum(), of, create_graph=True)
        rows = [torch.stack(torch.autograd.grad(g, of, retain_graph=True)) for g in gradient]
        with torch.no_grad():
            for p, change in zip(of, torch.linalg.solve(torch.stack(rows), torch.stack(gradient)), strict=True):
                p -= change
    return pair.log_evidence(x).item()


def test_the_local_level_of_the_nile_has_the_published_maximum_likelihood():
    """Published for a first level of infinite variance P, whose log likelihood is the limit with log(2 pi P) / 2 more.

    With P = 1e7 the maximum is where EM stays. Both differ by the score of the log density of the first level, of order
    1 / P, times the covariance of the estimates: by 1.2 in R, whose standard error is 3146.
    """
    x, pair = torch.tensor(NILE_FLOW).unsqueeze(0), LocalLevel().double()
    start = list(em(pair, x, 8))
    assert min(np.diff(start)) > 0
    value = newton(pair, x, 5)
    assert value == pytest.approx(-641.5856, abs=5e-5)
    best = {name: p.exp().item() for name, p in pair.theta.items()}
    list(em(pair, x, 1))
    for name, p in pair.theta.items():
        assert p.exp().item() == pytest.approx(best[name], rel=1e-8)
    assert best["log_Q"] == pytest.approx(1469.178, abs=1)
    assert best["log_R"] == pytest.approx(15098.53, abs=2)
    pair.first_variance = 1e11
    value = newton(pair, x, 3)
    assert value + np.log(2 * np.pi * 1e11) / 2 == pytest.approx(-632.5456, abs=5e-5)
    assert pair.theta["log_Q"].exp().item() == pytest.approx(1469.178, abs=2e-3)
    assert pair.theta["log_R"].exp().item() == pytest.approx(15098.53, abs=2e-2)
    assert pair.posterior(x).mean[0, -1].item() == pytest.approx(798.37, abs=5e-3)


def test_em_of_a_local_level_far_from_zero_loses_no_digits():
    """float32 has 1e-3 between numbers at 1e4, so squares of noise of size 1 are known to a few thousandths."""
    x = 1e4 + torch.randn(4, 12, dtype=torch.float64).cumsum(1) + torch.randn(4, 12, dtype=torch.float64)
    found = []
    for rows in (x.float(), x.float().double(), torch.full((4, 12), 1e3)):
        pair = LocalLevel().to(rows.dtype)
        assert np.isfinite(list(em(pair, rows, 30))).all()
        found.append(torch.stack([pair.theta[name].double() for name in ("log_Q", "log_R")]))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-2)
    assert (found[2] < -5).all()  # of constants: both variances go to 0


def test_a_local_level_is_the_state_space_model_with_fixed_matrices():
    x, pair = torch.tensor(NILE_FLOW[:20]).unsqueeze(0), LocalLevel().double()
    x[0, 5:9] = torch.nan
    with torch.no_grad():
        for of in (pair.theta, pair.phi):
            for name, variance in (("log_Q", 1469.1), ("log_R", 15099.0)):
                of[name].fill_(np.log(variance))
    general = local_level(1469.1, 15099.0, 1e7)
    exact = general.log_evidence(x)
    torch.testing.assert_close(pair.log_evidence(x), exact, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(log_weights(pair, x, k=3), exact.expand(3, -1), rtol=1e-8, atol=1e-8)
    gradients = torch.autograd.grad(
        SVI(pair, x, settings=Settings(objective="stl")).loss(torch.arange(1)), list(pair.phi.values())
    )
    assert max(g.abs() for g in gradients) < 1e-6
