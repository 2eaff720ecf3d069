"""ProdLDA: the Laplace approximation of its prior, the product of its experts, and its bound below the evidence."""

import pytest
import torch
from torch.distributions import Normal

from gallery.cli.main import main
from gallery.models._words import Words
from gallery.models.prod_lda import ProdLDA
from inference import eval_mode, log_weights


@pytest.fixture
def pair():
    torch.manual_seed(0)
    made = ProdLDA(data_dim=4, topics=2, alpha=0.6, hidden=(5,)).double().eval()
    made.decoder[3].running_mean.normal_()
    made.decoder[3].running_var.uniform_(0.5, 2)
    return made


@pytest.mark.parametrize(("topics", "alpha"), [(2, 1.0), (10, 0.5), (20, 0.1)])
def test_the_variance_of_the_prior_is_that_of_the_laplace_approximation(topics, alpha):
    def log_density(z):
        return alpha * z.sum() - topics * alpha * z.logsumexp(0)

    z = torch.zeros(topics, dtype=torch.float64)
    assert torch.autograd.functional.jacobian(log_density, z).abs().max() < 1e-12
    covariance = torch.linalg.pinv(-torch.autograd.functional.hessian(log_density, z), hermitian=True)
    assert (covariance.diagonal() - ProdLDA(topics=topics, alpha=alpha).scale ** 2).abs().max() < 1e-8


def test_words_have_the_product_of_their_topics_whatever_the_normalisation(pair):
    z = torch.randn(7, 2, dtype=torch.float64)
    log_product = z.softmax(-1) @ pair.topics().log()
    assert (pair.decoder(z) - log_product.softmax(-1)).abs().max() < 1e-10
    one = pair.decoder(torch.tensor([[800.0, 0.0], [0.0, 800.0]], dtype=torch.float64))
    assert (one - pair.topics()).abs().max() < 1e-10


def test_the_bound_is_below_the_evidence_by_quadrature(pair):
    x = torch.tensor([[1.0, 2, 0, 1], [0, 0, 3, 1], [0, 0, 0, 0]], dtype=torch.float64)
    grid = torch.linspace(-12, 12, 601, dtype=torch.float64) * pair.scale / 1.5
    z, prior = torch.cartesian_prod(grid, grid), Normal(0.0, torch.tensor(pair.scale).double())
    log_p = Words(pair.decoder(z).unsqueeze(1), 1).log_prob(x) + prior.log_prob(z).sum(1, keepdim=True)
    exact = log_p.logsumexp(0) + 2 * (grid[1] - grid[0]).log()
    assert abs(exact[2]) < 1e-8  # a document without words has probability 1
    with eval_mode(pair, 1):
        log_w = log_weights(pair, x, k=4000)
    error = log_w.std(0) / len(log_w) ** 0.5
    assert (log_w.mean(0) < exact + 4 * error).all()
    drawn = Words(pair.decoder(pair.scale * torch.randn(40_000, 2).double()).unsqueeze(1), 1).log_prob(x).exp()
    spread = drawn.std(0) / len(drawn) ** 0.5
    assert ((drawn.mean(0) - exact.exp()).abs() <= 4 * spread + 1e-12).all()


@pytest.mark.parametrize("keywords", [{"topics": 1}, {"alpha": 0.0}, {"length": 0}])
def test_sizes_that_mean_nothing_are_refused(keywords):
    with pytest.raises(ValueError, match=next(iter(keywords))):
        ProdLDA(**keywords)


def test_a_minibatch_of_one_document_is_refused_in_training(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "prod_lda", "--data", "topics", "--batch-size", "1", "--epochs", "1", "--run", "run"]) == 2
    assert "normalises over a minibatch of 2 documents or more, and this one has 1" in capsys.readouterr().err
    assert not (tmp_path / "run" / "run.json").exists()


def test_all_units_dropped_are_refused():
    with pytest.raises(ValueError, match="dropout must be between 0 and 1, and below 1, not 1"):
        ProdLDA(dropout=1.0)
