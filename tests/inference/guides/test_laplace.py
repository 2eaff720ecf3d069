"""Laplace's approximation: exact where the posterior is normal, and the mode and curvature where it is not."""

import pytest
import torch
from free_guides import factor_analysis, fit, guide_of, line
from known import close
from pyro.infer import autoguide

import data
from gallery.models.exponential_gaussian import ExponentialGaussian
from gallery.models.loaded_die import LoadedDie
from inference import FittedRows, InferenceError, eval_mode, finish, log_weights, param_scope, with_guide
from inference.guides.laplace import laplace


def test_laplace_is_that_of_pyros_autoguide():
    dataset = data.load("loaded_die").to(dtype=torch.float64)
    pair = finish(with_guide(LoadedDie().double(), "laplace", dataset.x), dataset.x)
    theirs = autoguide.AutoLaplaceApproximation(pair.model)
    with param_scope():
        theirs(dataset.x)
        theirs.loc.data = pair.free_guide.q["p"]["loc"].data.clone()  # the mode
        normal = theirs.laplace_approximation(dataset.x)
    mine = guide_of(pair, dataset.x).base_dist
    L = normal.scale.unsqueeze(-1) * normal.scale_tril
    close(mine.covariance_matrix, L @ L.T)


@pytest.mark.parametrize("epochs", [1, 30])
def test_laplace_is_exact_where_the_posterior_is_normal(epochs):
    """Wherever the fit of the mode ended, as Newton's method takes it from there."""
    pair, x, given = line()
    fitted = finish(fit(with_guide(pair, "laplace", x, given), x, given, epochs=epochs), x, given)
    q, p = guide_of(fitted, x, given), pair.posterior(x, given)
    close(q.mean, p.mean, 1e-6)
    close(q.covariance_matrix, p.covariance_matrix, 1e-6)
    pair, x = factor_analysis()
    fitted = finish(fit(with_guide(pair, "laplace", x), x, epochs=epochs), x)
    with FittedRows(), eval_mode(fitted):
        close(log_weights(fitted, x, k=3), pair.log_evidence(x).expand(3, -1), 1e-6)
    assert finish(fitted, x) is fitted


def test_laplace_on_the_half_line_has_the_mode_and_the_curvature_of_log_z():
    """log p(x, u) = u - z - (x - z)^2 / 2 + const at z = exp(u): z^2 + (1 - x) z = 1, H = z + z (2 z - x)."""
    x = torch.linspace(-3, 4, 8, dtype=torch.float64).unsqueeze(-1)
    fitted = finish(with_guide(ExponentialGaussian().double(), "laplace", x), x)
    z = ((x - 1) + ((x - 1).square() + 4).sqrt()) / 2
    H = z + z * (2 * z - x)
    q = guide_of(fitted, x)
    close(q.base_dist.loc, z.squeeze(-1).log())
    close(q.base_dist.scale, H.squeeze(-1).rsqrt())


def test_newton_leaves_saddles_and_refuses_what_has_no_curvature():
    start = torch.tensor([[0.1, 2.0], [-0.1, 2.0]], dtype=torch.float64)
    m, L = laplace(lambda u: -(u[:, 0].square() - 1).square() - u[:, 1].square() / 2, start)
    close(m, torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64))
    close(L, torch.diag(torch.tensor([8**-0.5, 1.0], dtype=torch.float64)).expand(2, -1, -1))
    with pytest.raises(InferenceError, match="1 of 2 densities are not curved"):
        laplace(lambda u: -u.square() @ u.new_ones(2) + torch.tensor([0, 1]) * u[:, 1].square(), start)
