"""The VAE with a full covariance in its guide: its KL by three formulas, and a guide that is the posterior."""

import numpy as np
import torch
from cases import arguments, build
from known import close, simulated
from torch import nn, tensor
from torch.distributions import MultivariateNormal, kl_divergence

from gallery.catalogue.entries import entry
from gallery.models._nn import CholeskyHead
from gallery.models.factor_analysis import FactorAnalysis
from inference import SVI, Settings, gap
from inference.pairs.run import importance_traces


def test_the_kl_to_the_prior_is_that_of_the_slides_and_the_objective_has_it():
    """(tr Sigma + mu' mu - k - log det Sigma) / 2, torch's kl_divergence, and the loss without its log-likelihood."""
    pair, (x,) = build("vae:full_covariance").double().eval(), arguments("vae", torch.float64)
    torch.manual_seed(0)
    nn.init.normal_(pair.encoder[1].below.weight)
    model, guide = importance_traces(pair, (x,))
    q, p = guide.nodes["z"]["fn"], model.nodes["z"]["fn"]
    sigma, mu = q.covariance_matrix, q.mean
    assert (sigma - torch.diag_embed(sigma.diagonal(dim1=1, dim2=2))).abs().amax(dim=(1, 2)).min() > 0
    trace = sigma.diagonal(dim1=1, dim2=2).sum(1)
    exact = (trace + mu.square().sum(1) - mu.shape[1] - torch.logdet(sigma)) / 2
    close(kl_divergence(q, p), exact)
    close(kl_divergence(q, MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())), exact)
    svi = SVI(pair, x, settings=Settings(objective="analytic", batch_size=len(x), precision="float64"))
    pair.eval()  # without dropout
    torch.manual_seed(0)
    loss = svi.loss(torch.arange(len(x)))
    torch.manual_seed(0)
    model, guide = importance_traces(pair, (x,))
    model.compute_log_prob()
    close(loss, exact.sum() - model.nodes["x"]["log_prob_sum"])


def test_the_kl_of_two_normals_is_the_formula_of_the_slides():
    """By Gauss-Hermite quadrature of log q - log p, a quadratic form; as the page of the VAE prints it."""
    assert any("Sigma_1^{-1} \\Sigma_0" in latex for latex, _ in entry("vae").bound)
    torch.manual_seed(0)
    mu, roots = torch.randn(2, 2).double(), (torch.randn(2, 2, 2).double() + 2 * torch.eye(2).double()).tril()
    sigma = roots @ roots.mT
    q, p = (MultivariateNormal(mu[i], sigma[i]) for i in (0, 1))
    points, weights = (torch.from_numpy(it) for it in np.polynomial.hermite_e.hermegauss(4))
    z = mu[0] + torch.cartesian_prod(points, points) @ torch.linalg.cholesky(sigma[0]).T
    weight = torch.cartesian_prod(weights, weights).prod(1) / (2 * torch.pi)
    inverse, apart = torch.linalg.inv(sigma[1]), mu[1] - mu[0]
    formula = torch.trace(inverse @ sigma[0]) + apart @ inverse @ apart - 2 + sigma.logdet().diff()
    close((weight * (q.log_prob(z) - p.log_prob(z))).sum(), formula.squeeze() / 2)
    close(kl_divergence(q, p), formula.squeeze() / 2)


def test_a_full_normal_has_the_diagonal_one_as_a_case():
    """It starts there, and its correlations are those of I + A."""
    head, h = CholeskyHead(3, 2).double(), torch.randn(5, 3, dtype=torch.float64)
    diagonal = head.diagonal(h)
    close(head(h).mean, diagonal.mean)
    close(head(h).covariance_matrix, diagonal.variance.diag_embed())
    with torch.no_grad():
        head.below.bias.copy_(tensor([9.0, 9.0, 0.5, 9.0], dtype=torch.float64))  # A_21 is below the diagonal
    q = head(h)
    close(q.covariance_matrix[:, 0, 1] / q.covariance_matrix[:, 0, 0].sqrt(), 0.5 * diagonal.stddev[:, 1])
    close(q.variance, diagonal.variance * tensor([1.0, 1.25], dtype=torch.float64))


class Amortised(FactorAnalysis):
    """Factor analysis with the head of the VAE as its guide."""

    def __init__(self):
        super().__init__()
        self.phi = CholeskyHead(3, 2)

    def guide(self, x, total=None):
        import pyro

        pyro.module("phi", self.phi)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", self.phi(x))


def test_on_factor_analysis_the_guide_holds_the_posterior_and_has_no_gap():
    exact, x, _ = simulated(30)
    pair = Amortised().double()
    S, V = exact.posterior(torch.eye(3, dtype=torch.float64)).covariance_matrix[0], exact.phi["V"]
    L = torch.linalg.cholesky(S)
    with torch.no_grad():
        pair.theta.load_state_dict(exact.theta.state_dict())
        pair.phi.diagonal.linear.weight.zero_()[:2] = V
        pair.phi.diagonal.linear.bias.copy_(torch.cat([torch.zeros(2).double(), L.diagonal().expm1().log()]))
        pair.phi.below.bias[2] = L[1, 0] / L[1, 1]
    mean = gap(pair, x, draws=2, steps=1)["mean"]
    assert abs(mean["gap"]["value"]) < 1e-8
    assert "diagonal_gap" not in mean
