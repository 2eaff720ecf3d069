"""The deep Markov model: bounds of padded sequences, the chain against its own steps, and the linear case."""

import pyro
import pytest
import torch
from cases import N, build
from pyro.poutine.util import site_is_subsample
from torch.distributions import Normal

import data
from gallery.ledger.sequence_metrics import elbo_per_step
from gallery.models._distributions import NormalChain
from gallery.models.deep_markov import DeepMarkov
from inference import SVI, Settings, check_fit, eval_mode, sample
from inference.pairs.run import importance_traces

STEPS, WIDTH = 4, 2
LENGTHS = torch.arange(N) % STEPS + 1


@pytest.fixture
def pair():
    torch.manual_seed(1)
    return build("deep_markov").double()


@pytest.fixture
def x():
    return (torch.rand(N, STEPS * WIDTH, dtype=torch.float64) > 0.5).double()


def cut(x, lengths):
    return x.masked_fill(torch.arange(x.shape[1]) >= WIDTH * lengths.unsqueeze(1), torch.nan)


def weights(pair, x):
    """log p(x, z) - log q(z | x) of each row, for the same noise at each step."""
    with eval_mode(pair, seed=None):
        torch.manual_seed(2)
        traces = importance_traces(pair, (x,))
        for trace in traces:
            trace.compute_log_prob(lambda _, site: not site_is_subsample(site))
        model, guide = (sum(s["log_prob"] for s in of.nodes.values() if "log_prob" in s) for of in traces)
    return model - guide


def test_each_sequence_among_others_has_the_weight_and_gradient_that_it_has_alone(pair, x):
    together = weights(pair, cut(x, LENGTHS))
    for length in range(1, STEPS + 1):
        alone = weights(pair, x[:, : WIDTH * length])
        torch.testing.assert_close(together[length == LENGTHS], alone[length == LENGTHS], rtol=0, atol=1e-8)
    found = []
    for rows in (cut(x, torch.tensor([3]).expand(N)), x[:, : 3 * WIDTH]):
        fit = SVI(pair, rows, settings=Settings())
        torch.manual_seed(2)
        found.append(torch.autograd.grad(fit.loss(torch.arange(N)), list(pair.parameters())))
    for padded, alone in zip(*found, strict=True):
        torch.testing.assert_close(padded, alone, rtol=0, atol=1e-8)


def test_a_missing_entry_is_summed_out(pair, x):
    """With the path held, p of the others is the sum of p over the two values of an entry that is missing."""
    gaps = x.clone()
    gaps[:, 3] = torch.nan
    check_fit(pair, gaps)
    guide, log_p = pyro.poutine.trace(pair.guide).get_trace(gaps), []
    for rows in (gaps, x.index_fill(1, torch.tensor(3), 0.0), x.index_fill(1, torch.tensor(3), 1.0)):
        site = pyro.poutine.trace(pyro.poutine.replay(pair.model, guide)).get_trace(rows).nodes["x"]
        log_p.append(site["fn"].log_prob(site["value"]))
    torch.testing.assert_close(log_p[0], torch.logaddexp(log_p[1], log_p[2]), rtol=0, atol=1e-8)


def test_a_chain_is_scored_as_it_is_drawn(pair):
    z_0 = pair.transition.z_0
    chain = NormalChain(lambda z, t: pair.transition(z), z_0, torch.ones(N, STEPS).bool())
    path, before, log_prob = chain.rsample(), z_0.expand(N, -1), torch.zeros(N, dtype=torch.float64)
    for z in path.unbind(1):
        log_prob = log_prob + Normal(*pair.transition(before)).log_prob(z).sum(1)
        before = z
    torch.testing.assert_close(chain.log_prob(path), log_prob, rtol=0, atol=1e-8)
    wide = chain.expand([3, N])
    torch.testing.assert_close(wide.log_prob(path.expand(3, -1, -1, -1)), log_prob.expand(3, -1), rtol=0, atol=1e-8)
    assert wide.rsample().shape == (3, N, STEPS, len(z_0))


def test_a_linear_chain_has_the_moments_of_its_recursion():
    """z_t = A z_{t-1} + e has the mean A^t z_0 and the covariance of the recursion: 20,000 draws, 4 standard errors."""
    n, A = 20_000, torch.tensor([[0.9, -0.3], [0.2, 0.8]], dtype=torch.float64)
    z_0 = torch.tensor([1.0, -1.0], dtype=torch.float64)
    chain = NormalChain(lambda z, t: (z @ A.T, torch.full_like(z, 0.5)), z_0, torch.ones(n, 3).bool())
    draws, mean, covariance = chain.rsample(), z_0, torch.zeros(2, 2, dtype=torch.float64)
    torch.testing.assert_close(chain.mean[0, 2], torch.linalg.matrix_power(A, 3) @ z_0)
    for t in range(3):
        mean, covariance = A @ mean, A @ covariance @ A.T + 0.25 * torch.eye(2)
        off = draws[:, t] - mean
        assert (off.mean(0).abs() < 4 * off.std(0) / n**0.5).all()
        products = off.unsqueeze(2) * off.unsqueeze(1)
        assert ((products.mean(0) - covariance).abs() < 4 * products.std(0) / n**0.5).all()


def test_a_fit_raises_the_bound_and_whole_sequences_are_drawn(pair, x):
    pair, rows = pair.float(), cut(x, LENGTHS).float()
    before = weights(pair, rows).mean()
    for _ in SVI(pair, rows, settings=Settings(epochs=200, lr=1e-2)):
        pass
    assert weights(pair, rows).mean() > before + 1
    assert sample(pair, rows, 5)["x"].shape == (5, STEPS * WIDTH)
    assert sample(pair, rows, 5)["x"].isfinite().all()


def test_the_bound_per_step_is_the_total_over_the_steps(pair, x):
    rows = cut(x, LENGTHS)
    found = elbo_per_step(pair, data.Dataset("mine", "test", rows, (STEPS, WIDTH)))["elbo_per_step"]
    assert (found["n"], found["unit"], found["draws"]) == (N, "nats per step", 16)
    fit, totals = SVI(pair, rows, settings=Settings()), []
    for seed in range(200):
        torch.manual_seed(seed)
        totals.append(-fit.loss(torch.arange(N)).detach())
    totals = torch.stack(totals)
    mean, error = totals.mean() / LENGTHS.sum(), totals.std() / LENGTHS.sum()
    assert abs(found["value"] - mean) < 4 * error * (1 / 16 + 1 / 200) ** 0.5


def test_hyper_parameters_and_data_that_do_not_fit_are_refused(pair, x):
    with pytest.raises(ValueError, match="step_dim must be at least 1"):
        DeepMarkov(step_dim=0)
    with pytest.raises(ValueError, match="7 entries, not steps of 2"):
        pair.model(x[:, :7])
