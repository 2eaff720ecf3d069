"""Semi-amortised guides: refinement raises the bound of a bad network and does not lower that of a good one."""

import math

import torch
from free_guides import factor_analysis, fit

import data
from gallery.models.exponential_gaussian import LogNormal
from inference import evaluate, finish, with_guide


def bad_network(n=50):
    """A factor analysis, its guide with a mean of 0 whatever x, and data."""
    pair, x = factor_analysis(n)
    with torch.no_grad():
        pair.phi["V"].zero_()
    return pair, x


def test_refinement_raises_the_bound_of_a_bad_network_on_any_data_and_does_not_harm_a_perfect_one():
    pair, x = bad_network()
    semi = with_guide(pair, "semi:20", x)
    new = x.flip(1)
    assert evaluate(semi, new)["elbo"] == evaluate(pair, new)["elbo"]  # not yet finished
    before, after = (evaluate(p, new, particles=100) for p in (pair, finish(semi, x)))
    error = math.hypot(before["elbo"]["mc_se"], after["elbo"]["mc_se"])
    assert after["elbo"]["value"] > before["elbo"]["value"] + 4 * error
    assert after["elbo"]["value"] < after["evidence"]["value"] + 4 * error
    posterior = pair.posterior(torch.eye(3, dtype=torch.float64))
    with torch.no_grad():
        pair.phi["V"].copy_(posterior.mean.T)
        pair.phi["L"].copy_(posterior.scale_tril[0])
    after = evaluate(finish(with_guide(pair, "semi_amortised", x), x), x, particles=100)
    assert after["elbo"]["value"] > after["evidence"]["value"] - 4 * after["elbo"]["mc_se"] - 1e-8


def test_refinement_does_not_lower_the_bound_of_a_good_network():
    x = data.load("exponential_gaussian").to(dtype=torch.float64).x[:200]
    own = fit(LogNormal().double(), x, only=None, epochs=20, batch_size=20, lr=1e-2)
    before, after = (evaluate(p, x, particles=200) for p in (own, finish(with_guide(own, "semi:5", x), x)))
    error = math.hypot(before["elbo"]["mc_se"], after["elbo"]["mc_se"])
    assert after["elbo"]["value"] > before["elbo"]["value"] - 4 * error


def test_a_semi_amortised_pair_is_fitted_as_the_network_alone():
    pair, x = bad_network()
    fitted = []
    for name in ("own", "semi:3"):
        torch.manual_seed(1)
        fitted.append(fit(with_guide(pair, name, x), x, only=None, epochs=3).state_dict())
    assert all(torch.equal(a, b) for a, b in zip(fitted[0].values(), fitted[1].values(), strict=True))
