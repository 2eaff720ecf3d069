"""Probabilistic PCA: the closed form against scikit-learn, EM and fits, and which units die at which noise."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch.autograd.functional import hessian, jacobian
from torch.distributions import MultivariateNormal, kl_divergence

import data
from gallery.models.ppca import PPCA, maximum_likelihood, set_optimum
from inference import SVI, Settings, em

DIGITS = data.load("digits:grey").x.double()  # (1200, 64)
EIGENVALUES = torch.linalg.eigvalsh(torch.cov(DIGITS.T, correction=0)).flip(0)
UNITS = 12
SIGMAS = (0.15, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.85)


def close(a, b, tolerance=1e-8):
    torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b), rtol=tolerance, atol=tolerance)


def optimum(x, latent_dim, sigma=None):
    pair = PPCA(x.shape[1], latent_dim, sigma).double()
    set_optimum(pair, x)
    return pair


def guide_of(pair, x):
    """q(z | x) as a normal with a covariance matrix."""
    with torch.no_grad():
        mean = x @ pair.phi["V"].T + pair.phi["c"]
        return MultivariateNormal(mean, scale_tril=pair.phi["log_s"].exp().diag())


def gap(pair, x):
    with torch.no_grad():
        return kl_divergence(guide_of(pair, x), pair.posterior(x)).mean().item()


def kl_of_units(pair, x):
    """KL of each unit from the prior, averaged over x, (latent_dim,)."""
    with torch.no_grad():
        mean, log_s = x @ pair.phi["V"].T + pair.phi["c"], pair.phi["log_s"]
        return ((mean.square() + (2 * log_s).exp() - 1) / 2 - log_s).mean(0)


def evidence(pair, x):
    with torch.no_grad():
        return pair.log_evidence(x).mean().item()


# The closed form


@pytest.mark.parametrize("latent_dim", [1, 10, 40])
def test_the_closed_form_has_the_likelihood_of_scikit_learn(latent_dim):
    """scikit-learn divides the covariance by n - 1: at its scale the densities agree, and ours has the greater mean."""
    n, d = DIGITS.shape
    pair, theirs = optimum(DIGITS, latent_dim), PCA(latent_dim, svd_solver="full").fit(DIGITS.numpy())
    ours, score = evidence(pair, DIGITS), theirs.score(DIGITS.numpy())
    close(ours - score, d / 2 * (math.log(n / (n - 1)) - 1 / n))
    with torch.no_grad():
        pair.theta["W"].mul_(math.sqrt(n / (n - 1)))
        pair.theta["log_sigma"].add_(math.log(n / (n - 1)) / 2)
    for x in (DIGITS, data.load("digits:grey", "test").x.double()):
        close(evidence(pair, x), theirs.score(x.numpy()))


def test_em_never_falls_and_ends_at_the_closed_form():
    pair = PPCA().double()
    values = list(em(pair, DIGITS, 300))
    assert min(np.diff(values)) > -1e-12
    best = optimum(DIGITS, 10)
    close(values[-1], evidence(best, DIGITS))
    close(pair.sigma, best.sigma, 1e-6)
    pair.log_evidence(DIGITS).mean().backward()
    assert all(p.grad.abs().max() < 1e-5 for p in pair.theta.values())


def test_em_at_a_fixed_noise_leaves_it_and_ends_at_its_closed_form():
    x = DIGITS[:200]
    pair, best = PPCA(latent_dim=UNITS, sigma=0.5).double(), optimum(x, UNITS, 0.5)
    *_, last = em(pair, x, 2000)
    assert pair.sigma == 0.5
    assert 0 <= evidence(best, x) + 1e-12 - last < 1e-6  # the dead units shrink as one over the number of steps
    close(pair.theta["m"].detach(), x.mean(0), 1e-6)


@pytest.mark.parametrize("sigma", [None, 0.3, 0.5])
def test_the_linear_guide_is_the_posterior_and_columns_are_principal_directions(sigma):
    pair = optimum(DIGITS, UNITS, sigma)
    assert 0 <= gap(pair, DIGITS) + 1e-12 < 1e-8
    W = pair.theta["W"].detach()
    alive = W.any(0)
    directions = torch.from_numpy(PCA(UNITS, svd_solver="full").fit(DIGITS.numpy()).components_).T[:, alive]
    cosines = (W[:, alive] * directions).sum(0) / W[:, alive].norm(dim=0)
    close(cosines.abs(), torch.ones_like(cosines))
    turned = PPCA(latent_dim=UNITS, sigma=sigma).double()
    turned.load_state_dict(pair.state_dict())
    rotation = torch.linalg.qr(torch.randn(UNITS, UNITS, dtype=torch.float64))[0]
    with torch.no_grad():
        turned.theta["W"].copy_(W @ rotation)
    close(evidence(turned, DIGITS), evidence(pair, DIGITS))  # the evidence does not see a rotation, the guide does
    assert gap(turned, DIGITS) > 0.1


def test_a_likelihood_without_bound_is_refused():
    with pytest.raises(ValueError, match="64 units leave no noise in these 64 coordinates"):
        maximum_likelihood(DIGITS, 64)
    assert maximum_likelihood(DIGITS, 64, sigma=0.3)[1].any(0).sum() == (EIGENVALUES > 0.3**2).sum()
    with pytest.raises(ValueError, match="sigma must be positive, not 0"):
        PPCA(sigma=0)


@pytest.mark.parametrize(("objective", "vanishes"), [("stl", True), ("trace", False), ("analytic", False)])
def test_sticking_the_landing_alone_has_no_noise_where_the_guide_is_the_posterior(objective, vanishes):
    settings = Settings(objective=objective, batch_size=50)
    svi = SVI(optimum(DIGITS, 10), DIGITS, settings=settings, only="guide")
    gradients = torch.autograd.grad(svi.loss(svi.rows(0)), svi.parameters)  # of one draw
    assert all(g.abs().max() < 1e-8 for g in gradients) == vanishes


# Collapse


@pytest.mark.parametrize("sigma", SIGMAS)
def test_as_many_units_live_as_eigenvalues_exceed_the_noise(sigma):
    pair = optimum(DIGITS, UNITS, sigma)
    kl, living = kl_of_units(pair, DIGITS), int((EIGENVALUES[:UNITS] > pair.sigma.square()).sum())
    assert (kl[:living] > 0).all()
    assert (kl[living:] == 0).all()  # exactly
    close(kl[:living], (EIGENVALUES[:living] / pair.sigma.square()).log() / 2)
    posterior = pair.posterior(DIGITS)
    assert (posterior.mean[:, living:] == 0).all()
    close(posterior.stddev[:, living:], torch.ones(len(DIGITS), UNITS - living, dtype=torch.float64), 1e-12)


def test_the_sweep_goes_from_all_units_to_none():
    living = [int((EIGENVALUES[:UNITS] > sigma**2).sum()) for sigma in SIGMAS]
    assert living[0] == UNITS
    assert living[-1] == 0
    assert len(set(living)) >= 5


def test_no_unit_dies_where_the_noise_is_learnt():
    for latent_dim in (1, 5, 20, 40):
        assert (kl_of_units(optimum(DIGITS, latent_dim), DIGITS) > 0).all()


# No other maxima

SMALL, TWO = DIGITS[:, [18, 21, 26, 35, 44]], 2  # five pixels, two units
LEVELS, DIRECTIONS = (of.flip(-1) for of in torch.linalg.eigh(torch.cov(SMALL.T, correction=0)))
SHAPES = {"W": (5, TWO), "m": (5,), "log_sigma": (), "V": (TWO, 5), "c": (TWO,), "log_s": (TWO,)}
FREE = sum(math.prod(shape) for shape in SHAPES.values())


def parts_of(parameters):
    """The parameters of `SHAPES` that one vector holds."""
    sizes = [math.prod(shape) for shape in SHAPES.values()]
    return [part.reshape(shape) for part, shape in zip(parameters.split(sizes), SHAPES.values(), strict=True)]


def elbo(parameters):
    """The ELBO of SMALL, averaged, with all expectations in closed form."""
    W, m, log_sigma, V, c, log_s = parts_of(parameters)
    mean, S = SMALL.mean(0), torch.cov(SMALL.T, correction=0)
    left, missed = torch.eye(5, dtype=torch.float64) - W @ V, mean - m - W @ (V @ mean + c)
    error = (left @ S @ left.T).trace() + missed @ missed + (W.square() * (2 * log_s).exp()).sum()
    likelihood = -error / (2 * (2 * log_sigma).exp()) - 5 * (log_sigma + math.log(2 * math.pi) / 2)
    code = (V @ S @ V.T).trace() + (V @ mean + c).square().sum()
    return likelihood - (code + (2 * log_s).exp().sum() - TWO) / 2 + log_s.sum()


def stationary(kept, sigma=None):
    """Parameters whose units take the eigenvectors `kept`, the others dead; None where such a unit has no variance."""
    out = [i for i in range(5) if i not in kept]
    variance = LEVELS[out].mean() if sigma is None else torch.tensor(sigma**2, dtype=torch.float64)
    if (LEVELS[list(kept)] <= variance).any():
        return None
    W = torch.zeros(5, TWO, dtype=torch.float64)
    for j, i in enumerate(kept):
        W[:, j] = (LEVELS[i] - variance).sqrt() * DIRECTIONS[:, i]
    M = W.square().sum(0) + variance
    V, m = (W / M).T, SMALL.mean(0)
    return torch.cat([W.flatten(), m, variance.log().reshape(1) / 2, V.flatten(), -V @ m, (variance / M).log() / 2])


def curvature(parameters, sigma):
    """Gradient and eigenvalues of the Hessian of the ELBO, without those of a sigma that is fixed."""
    free = torch.ones(len(parameters), dtype=torch.bool)
    free[15] = sigma is None
    gradient, H = jacobian(elbo, parameters)[free], hessian(elbo, parameters)[free][:, free]
    return gradient, torch.linalg.eigvalsh(H)


def test_the_elbo_in_closed_form_is_that_of_the_pair():
    pair = PPCA(5, TWO).double()
    parameters = torch.cat([{**pair.theta, **pair.phi}[name].detach().flatten() for name in SHAPES])
    close(elbo(parameters).item(), evidence(pair, SMALL) - gap(pair, SMALL))


@pytest.mark.parametrize("sigma", [None, 0.2, 0.3, 0.4])
def test_every_other_stationary_point_is_a_saddle(sigma):
    best = TWO if sigma is None else min(TWO, int((sigma**2 < LEVELS).sum()))
    points = {kept: stationary(kept, sigma) for size in range(TWO + 1) for kept in combinations(range(5), size)}
    points = {kept: point for kept, point in points.items() if point is not None}
    assert len(points) > 2
    values = {kept: elbo(point).item() for kept, point in points.items()}
    for kept, point in points.items():
        gradient, eigenvalues = curvature(point, sigma)
        assert gradient.abs().max() < 1e-8
        if kept == tuple(range(best)):
            assert values[kept] == max(values.values())
            assert eigenvalues.max() < 0
        else:
            assert eigenvalues.max() > 1e-3, kept  # uphill


@pytest.mark.parametrize(("sigma", "living"), [(0.2, 2), (0.47, 1), (0.5, 0)])
def test_a_fit_from_any_start_kills_the_units_that_the_closed_form_kills(sigma, living):
    assert (LEVELS[:TWO] > sigma**2).sum() == living
    best = elbo(stationary(tuple(range(living)), sigma)).item()
    known = torch.full((FREE,), math.log(sigma), dtype=torch.float64)
    fixed = torch.arange(FREE) == 15
    for _ in range(2):
        free = torch.randn(FREE, dtype=torch.float64).requires_grad_()
        fit = torch.optim.LBFGS(
            [free], max_iter=1000, tolerance_grad=1e-10, tolerance_change=0, line_search_fn="strong_wolfe"
        )

        def loss(free=free, fit=fit):
            fit.zero_grad()
            value = -elbo(torch.where(fixed, known, free))
            value.backward()
            return value

        fit.step(loss)
        parameters = torch.where(fixed, known, free.detach())
        close(elbo(parameters).item(), best)
        *_, V, c, log_s = parts_of(parameters)
        kl = ((SMALL @ V.T + c).square().mean(0) + (2 * log_s).exp() - 1) / 2 - log_s
        assert sorted((kl > 1e-6).tolist()) == [False] * (TWO - living) + [True] * living
