"""NUTS on posteriors that are known, and models that are refused."""

import pytest
import torch
from cases import arguments, build
from pyro.ops.stats import split_gelman_rubin

import data
from gallery.models.exponential_gaussian import ExponentialGaussian
from gallery.models.linear_regression import LinearRegression
from inference import InferenceError, nuts
from inference.fit.nuts import rank_r_hat, summary


def exponential_gaussian():
    return ExponentialGaussian().double(), torch.tensor([[-1.0], [0.5], [3.0]], dtype=torch.float64)


def test_nuts_on_linear_regression_is_the_conjugate_posterior():
    dataset = data.load("line").to(dtype=torch.float64)
    pair = LinearRegression().double()
    result = nuts(pair, dataset.x, dataset.given, draws=150, warmup=100)
    p, w = pair.posterior(dataset.x, dataset.given), result["summary"]["w"]
    assert result["draws"]["w"].shape == (2, 150, 2)
    assert result["divergences"] == 0
    assert result["gradients"] > 500
    assert (result["gradients_at"].diff(dim=1) > 0).all()
    assert result["gradients_at"][:, -1].sum() == result["gradients"]
    assert ((w["mean"] - p.mean).abs() < 4 * w["mcse"]).all()
    squares = (result["draws"]["w"] - p.mean).square()  # the variance is the mean of these
    error = squares.flatten(0, 1).std(0) / w["ess"].sqrt()
    assert ((squares.mean((0, 1)) - p.variance).abs() < 4 * error).all()


@pytest.mark.integration
def test_nuts_on_local_latents():
    pair, x = exponential_gaussian()
    result = nuts(pair, x, draws=250, warmup=100, chains=1)
    z, p = result["summary"]["z"], pair.posterior(x)
    assert result["draws"]["z"].min() > 0
    assert ((z["mean"] - p.mean).abs() < 4 * z["mcse"]).all()


@pytest.mark.parametrize("draws", [4, 5, 101, 500])
def test_r_hat_is_that_of_arviz(draws):
    arviz = pytest.importorskip("arviz", reason="pip install '.[arviz]'")
    value = torch.randn(4, draws, 3, dtype=torch.float64)
    value[0] += 0.3  # another location
    value[1, :, 1] *= 4  # another scale
    value[:, :, 2] = value[:, :, 2].round()  # ties
    expected = torch.tensor([float(arviz.rhat(value[:, :, i].numpy())) for i in range(3)], dtype=torch.float64)
    assert torch.allclose(rank_r_hat(value), expected, rtol=0, atol=1e-6)


CHAINS = {
    "heavy tails": lambda: torch.distributions.StudentT(torch.tensor(1.0).double()).sample((4, 200)),
    "a drift within chains": lambda: torch.randn(4, 200).double() + torch.linspace(-2, 2, 200),
    "one chain apart in its tail alone": lambda: torch.stack(
        [torch.randn(200), torch.randn(200), torch.randn(200), torch.randn(200).clamp(max=0.5)]
    ).double(),
    "counts": lambda: torch.poisson(torch.full((3, 150), 2.0).double()),
}


@pytest.mark.parametrize("kind", CHAINS)
def test_r_hat_of_other_chains_is_that_of_arviz(kind):
    arviz = pytest.importorskip("arviz", reason="pip install '.[arviz]'")
    value = CHAINS[kind]()
    assert rank_r_hat(value).item() == pytest.approx(float(arviz.rhat(value.numpy())), abs=1e-6)


def test_one_chain_of_another_scale_is_seen_by_the_folded_r_hat_alone():
    value = torch.randn(4, 2000, dtype=torch.float64) * torch.tensor([[1.0], [1.0], [1.0], [4.0]])
    assert split_gelman_rubin(value) < 1.01
    assert rank_r_hat(value) > 1.1


@pytest.mark.parametrize("amplitude", [0.3, 0.1])
def test_draws_that_alternate_have_the_largest_effective_sample_size_and_a_finite_error(amplitude):
    """Vehtari et al. (2021) bound it by N log10 N, since the sum of autocorrelations of such draws is near -1 / 2."""
    value = torch.tensor([1.0, -1.0]).repeat(25).expand(2, 50) + amplitude * torch.randn(2, 50)
    result = summary(value.double())
    assert result["ess"].item() == pytest.approx(200)
    assert result["mcse"].item() == pytest.approx(result["sd"].item() / 200**0.5)


def test_constant_coordinates_are_left_out_of_the_diagnostics():
    value = torch.randn(2, 100, 2, 2, dtype=torch.float64)
    value[..., 0, 1] = 0.0  # as above the diagonal of a Cholesky factor
    result = summary(value)
    assert result["constant"].tolist() == [[False, True], [False, False]]
    assert result["mcse"][0, 1] == 0
    for key in ("r_hat", "ess"):
        assert torch.equal(result[key].isnan(), result["constant"])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("gaussian_mixture", "no continuous"),
        ("gmvae", "enumerated parent"),
        ("autoencoder", "flat"),
        ("ss_vae", "cannot enumerate"),
    ],
)
def test_nuts_refuses(model, message):
    with pytest.raises(InferenceError, match=message) as refused:
        nuts(build(model), *arguments(model))
    assert "Use objective" not in str(refused.value)  # no setting of a sampler, and given beside it in a comparison
    with pytest.raises(InferenceError, match="; expected an integer from 4 on"):
        nuts(build("vae"), *arguments("vae"), draws=0)
