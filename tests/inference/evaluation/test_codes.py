"""Mutual information and Jacobian of codes: closed forms, quadrature and theorems."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import scipy.integrate
import torch
from cases import arguments, build
from discrete_cases import perturbed
from torch.autograd.functional import jacobian
from torch.distributions import kl_divergence
from torch.multiprocessing.reductions import StorageWeakRef

from gallery.models.contractive_autoencoder import ContractiveAutoencoder, Deep
from gallery.models.factor_analysis import FactorAnalysis
from gallery.models.vae import VAE
from inference import InferenceError, encode, evaluate, sample
from inference.evaluation import jacobian as jacobian_module
from inference.evaluation import mutual_information as codes_module
from inference.evaluation.jacobian import jacobian_norm, mean_jacobian_norm
from inference.evaluation.mutual_information import _density_of_all, mutual_information


def close(a, b, tolerance=1e-8):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


# Mutual information


def linear(shrink=1.0):
    """Factor analysis with about a nat of information on z, and as its guide the exact posterior, or a worse one: the
    posterior's mean and scale times `shrink`."""
    pair = FactorAnalysis().double()
    with torch.no_grad():
        pair.theta["W"].copy_(torch.tensor([[0.8, 0.0], [0.3, 0.6], [-0.4, 0.5]]))
        pair.theta["pre_sigma"].copy_(torch.full((3,), 0.7).expm1().log())
        unit = pair.posterior(torch.eye(3, dtype=torch.float64))
        pair.phi["V"].copy_(shrink * unit.mean.T)
        pair.phi["L"].copy_(shrink * torch.linalg.cholesky(unit.covariance_matrix[0]))
    return pair


def closed_form(pair):
    """I(x; z) and its two terms where x is drawn from the model: q(z) is then Normal(0, V (W W' + Phi) V' + L L')."""
    with torch.no_grad():
        W, V, L = pair.theta["W"], pair.phi["V"], pair.scale_tril()
        of_x = W @ W.T + pair.sigma.square().diag()
        zero, eye = torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
        all_codes = V @ of_x @ V.T + L @ L.T
        marginal = kl_divergence(dist.MultivariateNormal(zero, all_codes), dist.MultivariateNormal(zero, eye)).item()
        information = 0.5 * (all_codes.logdet() - (L @ L.T).logdet()).item()
    return {"mutual_information": information, "kl": information + marginal, "marginal_kl": marginal}


@pytest.mark.parametrize("shrink", [1.0, 0.6])
def test_information_of_a_linear_guide_is_that_in_closed_form(shrink):
    """The bias of n data, (exp(2 I) - 1) / 2n, is less than a tenth of a standard error."""
    pair = linear(shrink)
    expected = closed_form(pair)
    x = sample(pair, torch.zeros(1, 3, dtype=torch.float64), 2000, seed=0)["x"]
    found = mutual_information(pair, x, seed=1)  # of seed 0 the guide's noise would be the one that made x
    assert (math.exp(2 * expected["mutual_information"]) - 1) / 4000 < 0.1 * found["mutual_information"]["se"]
    if shrink == 1:  # the exact posteriors of all data together are the prior
        assert expected["marginal_kl"] == pytest.approx(0, abs=1e-12)
        eye = torch.eye(2, dtype=torch.float64)
        W = pair.theta["W"].detach() / pair.sigma.detach().unsqueeze(1)
        assert expected["mutual_information"] == pytest.approx(0.5 * (eye + W.T @ W).logdet().item())
        del expected["marginal_kl"]  # the standard error of the estimate is of second order there
    for name, value in expected.items():
        assert abs(found[name]["value"] - value) < 4 * found[name]["se"]
        assert found[name]["n"] == 2000


def test_information_on_three_data_is_that_by_quadrature():
    """Each datum a thousand times: the aggregate posterior is that of the three."""
    pair = FactorAnalysis(1, 1).double()
    with torch.no_grad():
        pair.phi["V"].fill_(1.0)
        pair.phi["L"].fill_(0.8)
    x = torch.tensor([[-1.0], [0.5], [2.0]], dtype=torch.float64)

    def density(z):
        return np.exp(-0.5 * ((z - np.array([-1.0, 0.5, 2.0])) / 0.8) ** 2).mean() / (0.8 * math.sqrt(2 * math.pi))

    entropy = scipy.integrate.quad(lambda z: -density(z) * math.log(density(z)), -8, 9)[0]
    exact = entropy - 0.5 * math.log(2 * math.pi * math.e * 0.8**2)
    found = mutual_information(pair, x.repeat(1000, 1), n=3000)["mutual_information"]
    assert 0.1 < exact < math.log(3) - 0.1
    assert abs(found["value"] - exact) < 4 * found["se"]
    assert found["cap"] == math.log(3000)


def test_a_guide_that_is_the_prior_has_no_information_and_one_of_distinct_codes_has_ln_n():
    pair, x = linear(), torch.randn(50, 3, dtype=torch.float64)
    with torch.no_grad():
        pair.phi["V"].zero_()
        pair.phi["L"].copy_(torch.eye(2))
    for found in mutual_information(pair, x).values():
        assert (found["value"], found["se"]) == pytest.approx((0, 0), abs=1e-10)
    with torch.no_grad():
        pair.phi["V"].normal_(0, 1e3)
        pair.phi["L"].copy_(1e-3 * torch.eye(2))
    found = mutual_information(pair, x)["mutual_information"]
    assert found["value"] == pytest.approx(math.log(50), abs=1e-10)
    assert found["value"] <= found["cap"] + 1e-12


def small_vae():
    return perturbed(VAE(data_dim=6, latent_dim=2, hidden=(5,)))


def test_information_lies_between_its_ends_and_is_the_difference_of_its_terms():
    for n in (2, 20, 300):
        pair, x = small_vae(), torch.randn(n, 6, dtype=torch.float64).sign().clamp(min=0)
        found = mutual_information(pair, x, seed=n)
        mi, kl, marginal = (found[name]["value"] for name in ("mutual_information", "kl", "marginal_kl"))
        assert mi == pytest.approx(kl - marginal, abs=1e-10)
        assert -4 * found["mutual_information"]["se"] < mi <= math.log(n) + 1e-12
        assert found["mutual_information"]["cap"] == math.log(n)
    exact = evaluate(pair, x)["kl_per_latent"]
    assert abs(kl - sum(exact["z"])) < 4 * found["kl"]["se"]


def test_information_is_the_same_in_parts_and_is_of_the_first_data(monkeypatch):
    pair, x = small_vae(), torch.rand(30, 6, dtype=torch.float64).round()
    whole = mutual_information(pair, x, n=20)
    assert whole == mutual_information(pair, x[:20])
    monkeypatch.setattr("inference.evaluation.mutual_information.MAX_ELEMENTS", 7 * 20 * 2)
    for name, found in mutual_information(pair, x, n=20).items():
        assert found == pytest.approx(whole[name], abs=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_densities_of_all_pairs_by_products_are_those_of_the_guide(scale):
    loc, q_scale = 3 * torch.randn(7, 4), scale * torch.rand(7, 4).add(0.1)
    q = dist.Normal(loc, q_scale).to_event(1)
    z = q.sample()
    log_density, elements = _density_of_all(q, 7)
    exact = dist.Normal(loc.double(), q_scale.double()).to_event(1).log_prob(z.double().unsqueeze(1))
    cancelled = 1e-15 * (z.double() / q_scale.double()).square().sum()  # the squares of which it is a difference
    torch.testing.assert_close(log_density(z), exact, rtol=1e-10, atol=max(1e-8, cancelled.item()))
    assert elements == 7
    other = dist.Laplace(loc, q_scale).to_event(1)
    torch.testing.assert_close(_density_of_all(other, 7)[0](z), other.log_prob(z.unsqueeze(1)).double())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("linear_regression", "global"),
        ("loaded_die", "global"),
        ("gmvae", "y is summed out"),
        ("gaussian_mixture", "y is summed out"),
        ("vrnn:steps", "z_1, z_2, z_3"),
        ("autoencoder", "point"),
        ("autoencoder:map", "point"),
        ("cvae", "prior of z is not the same"),
    ],
)
def test_information_is_refused_where_it_is_not_defined(name, words):
    with pytest.raises(InferenceError, match=words):
        mutual_information(build(name), *arguments(name))


@pytest.mark.parametrize("name", ["cvae:standard", "factor_analysis", "exponential_gaussian:per_datum", "vae"])
def test_information_is_defined_for_one_continuous_latent(name):
    x, *given = arguments(name)
    found = mutual_information(build(name), x, *given)
    assert found["mutual_information"]["value"] <= found["mutual_information"]["cap"] + 1e-6
    with pytest.raises(InferenceError, match="at least two"):
        mutual_information(build(name), x, *given, n=1)


def test_one_block_of_densities_is_in_memory_at_a_time(monkeypatch):
    """Of n x n densities: at n = 60,000 all of them take 29 GB."""
    blocks, most = [], []

    def watched(q, n):
        log_density, elements = _density_of_all(q, n)

        def of_part(z):
            most.append(sum(not block.expired() for block in blocks))
            blocks.append(StorageWeakRef((found := log_density(z)).untyped_storage()))
            return found

        return of_part, elements

    monkeypatch.setattr(codes_module, "_density_of_all", watched)
    monkeypatch.setattr(codes_module, "MAX_ELEMENTS", 40)
    pair = linear()
    mutual_information(pair, sample(pair, torch.zeros(1, 3).double(), 20)["x"])
    assert len(blocks) == 20
    assert max(most) <= 1


# Jacobian


def test_jacobian_of_a_contractive_code_is_the_closed_form(monkeypatch):
    pair, x = ContractiveAutoencoder(data_dim=7, latent_dim=5).double(), torch.rand(12, 7, dtype=torch.float64)
    closed = pair.penalty(x, pair.encoder(x)).detach()
    close(jacobian_norm(pair, x), closed)
    assert mean_jacobian_norm(pair, x)["value"] == pytest.approx(closed.mean().item(), rel=1e-10)
    assert mean_jacobian_norm(pair, x)["se"] == pytest.approx(closed.std().item() / math.sqrt(12), rel=1e-10)
    monkeypatch.setattr(jacobian_module, "MAX_ROWS", 5)
    close(jacobian_norm(pair, x), closed)
    deep = Deep(data_dim=7, latent_dim=5, hidden=(6, 4)).double()
    close(jacobian_norm(deep, x), deep.penalty(x, deep.encoder(x)).detach())


def test_jacobian_of_the_mean_of_a_guide():
    linear_pair, x = linear(), torch.randn(9, 3, dtype=torch.float64)
    close(jacobian_norm(linear_pair, x), linear_pair.phi["V"].detach().square().sum().expand(9))
    pair = VAE(data_dim=6, latent_dim=2, hidden=(5,), dropout=0.5).double()
    x = torch.rand(9, 6, dtype=torch.float64).round()
    found = jacobian_norm(pair, x)
    assert pair.training
    assert all(parameter.grad is None for parameter in pair.parameters())
    pair.eval()
    close(found, torch.stack([jacobian(lambda row: pair.encoder(row).mean, row).square().sum() for row in x]))


@pytest.mark.parametrize("name", ["cvae", "denoising_autoencoder", "k_sparse_autoencoder", "gmvae", "vrnn:steps"])
def test_jacobian_by_differences_of_codes(name):
    pair, (x, *given) = perturbed(build(name)), arguments(name, torch.float64)
    x = 0.05 + 0.4 * x if name.endswith("autoencoder") else x  # away from 0, 1/2 and 1, where the mean of a clamp bends
    step, columns = 1e-5, []
    for direction in torch.eye(x.shape[1], dtype=x.dtype):
        ends = []
        for sign in (1, -1):
            with pyro.validation_enabled(False):  # x is off the support of a Bernoulli
                codes = encode(pair, x + sign * step * direction, *given)
            ends.append(torch.cat([code.nan_to_num() for name, code in codes.items() if name != "y"], dim=1))
        columns.append((ends[0] - ends[1]) / (2 * step))
    close(jacobian_norm(pair, x, *given), torch.stack(columns).square().sum((0, 2)), 1e-6)


def test_a_code_that_does_not_read_x_does_not_move_and_one_that_is_global_is_refused():
    name = "exponential_gaussian:per_datum"
    assert jacobian_norm(build(name), *arguments(name)).eq(0).all()
    for name in ("linear_regression", "gaussian_mixture"):
        with pytest.raises(InferenceError, match="needs a continuous code"):
            jacobian_norm(build(name), *arguments(name))
