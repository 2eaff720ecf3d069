"""Modes of exact posteriors and the mass of a guide there: masses to 1e-8, shares of draws within 4 standard errors."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.special import ndtr

from gallery.models.exponential_gaussian import ExponentialGaussian
from gallery.models.gaussian_mixture import GaussianMixture
from gallery.models.loaded_die import LoadedDie
from gallery.models.squared_gaussian import SquaredGaussian
from inference.evaluation.modes import LEAST, mode_coverage, mode_masses
from inference.evaluation.reference import against_posterior

DRAWS = 2000


def column(*values):
    return torch.tensor(values, dtype=torch.float64).unsqueeze(1)


def test_each_sign_has_half_of_the_mass_where_the_density_has_a_minimum_between():
    """d/dz log p(x, z) is 0 at z = 0 and at z^2 = x - t^2 / (2 s^2): two maxima where x > 1/8."""
    x = column(-1.0, 0.1, 0.15, 0.5, 4.0, 9.0)
    p = SquaredGaussian().posterior(x)
    z = p.sample((DRAWS,))
    masses, shares = mode_masses(p, z, z)
    assert (masses > 0.01).sum(0).tolist() == [1, 1, 2, 2, 2, 2]
    torch.testing.assert_close(masses[:2, -2:], torch.full((2, 2), 0.5, dtype=torch.float64), rtol=0, atol=1e-8)
    torch.testing.assert_close(masses.sum(0), torch.ones(6, dtype=torch.float64), rtol=0, atol=1e-12)
    assert ((shares[0, -2:] - 0.5).abs() < 4 * 0.5 / DRAWS**0.5).all()


@pytest.mark.parametrize(("mean", "sd", "covered"), [(2.0, 0.3, 1), (2.0, 2.0, 2), (0.0, 2.0, 2)])
def test_the_overlap_of_a_normal_is_that_of_its_masses_on_both_sides(mean, sd, covered):
    x = column(-1.0, 4.0)
    p, guide = SquaredGaussian().posterior(x), torch.distributions.Normal(mean, sd)
    result = mode_coverage(p, p.sample((DRAWS,)), guide.sample((DRAWS, 2)).double())
    assert (result["n"], result["modes"], result["covered"]) == (1, 2, covered)
    below = ndtr(torch.tensor(-mean / sd)).item()
    exact, error = 0.5 + min(below, 1 - below), (below * (1 - below) / DRAWS) ** 0.5
    assert abs(result["overlap"] - exact) < 4 * error + 1e-8


def test_one_mode_or_several_numbers_have_no_coverage():
    z = ExponentialGaussian().posterior(column(-2.0, 3.0)).sample((DRAWS,))
    assert mode_coverage(ExponentialGaussian().posterior(column(-2.0, 3.0)), z, z) == {}
    throws = torch.nn.functional.one_hot(torch.arange(6)).float()
    p = LoadedDie(6).posterior(throws)
    assert mode_coverage(p, p.sample((4,)), p.sample((4,))) == {}


class Labelled(GaussianMixture):
    """A guide that draws the component, with the same probabilities at every x."""

    q = torch.tensor([0.7, 0.3 - 1e-6, 1e-6], dtype=torch.float64)

    def guide(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("y", dist.Categorical(logits=self.q.log().expand(len(x), 3)), infer={"enumerate": "parallel"})


def test_the_modes_of_a_discrete_latent_are_its_values():
    pair = Labelled(data_dim=1).double()
    with torch.no_grad():
        pair.theta["mean"].copy_(column(-1.0, 0.0, 1.0))
    x = column(-1.0, 0.2, 1.5)
    p = pair.posterior(x).probs
    result = against_posterior(pair, x)
    kl, overlap = (p * (p / pair.q).log()).sum(1), torch.minimum(p, pair.q).sum(1)
    close = partial(pytest.approx, abs=1e-8)
    assert result["forward_kl"]["value"] == close(kl.mean().item())
    assert result["eubo"]["value"] == close((pair.log_evidence(x) + kl).mean().item())
    assert result["forward_ess"] == close((1 / (p.square() / pair.q).sum(1)).min().item())
    assert result["total_variation"] == close((1 - overlap).max().item())
    assert result["modes"] == close({"n": 3, "modes": 3, "covered": 2, "overlap": overlap.mean().item()})
    assert not {"largest_error", "draws"} & result.keys()  # labels have no mean, and none is drawn


@pytest.mark.parametrize("least", [-100.0, -720.0, -800.0])  # exp of the others is no normal number in float64
def test_the_effective_share_of_draws_at_a_posterior_on_one_value(least):
    pair = Labelled(data_dim=1).double()
    pair.q = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    logits = torch.tensor([0.0, least, least], dtype=torch.float64)
    pair.posterior = lambda x: dist.Categorical(logits=logits.expand(len(x), 3))
    assert against_posterior(pair, column(0.0, 1.0))["forward_ess"] == pytest.approx(0.5, abs=1e-8)


def test_a_latent_that_is_summed_out_has_the_exact_posterior():
    """Message passing gives what the model states, and a statement that is wrong is found out."""
    pair, x = GaussianMixture(data_dim=2).double(), torch.randn(5, 2, dtype=torch.float64)
    result = against_posterior(pair, x)
    modes = (pair.posterior(x).probs >= LEAST).sum(1)
    several = modes[modes > 1].double().mean().item()
    assert result["eubo"]["value"] == pytest.approx(pair.log_evidence(x).mean().item(), abs=1e-8)
    assert [result["total_variation"], result["forward_kl"]["value"]] == pytest.approx([0, 0], abs=1e-8)
    assert (result["modes"]["modes"], result["modes"]["overlap"]) == pytest.approx((several, 1), abs=1e-8)
    pair.posterior = lambda x: dist.Categorical(torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64).expand(len(x), 3))
    assert against_posterior(pair, x)["total_variation"] > 0.1


def test_a_guide_without_mass_where_the_posterior_has_some_has_no_bound_from_above():
    pair = Labelled(data_dim=1).double()
    pair.q = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    result = against_posterior(pair, column(0.0, 1.0))
    assert "gives no mass" in result["eubo"]["undefined"]
    assert result["total_variation"] > 0
