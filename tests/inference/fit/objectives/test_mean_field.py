"""Free bits, and closed forms of the KL beside enumerated sites."""

import pyro.distributions as dist
import pytest
import torch
from cases import arguments, build
from fits import fit_with, loss_and_gradient
from known import Below, close
from pyro import poutine
from torch.distributions import kl_divergence

from inference import SVI, InferenceError, Settings
from inference.pairs.sites import latent_sites


def with_noise(seed, pair, name, x, **settings):
    """The loss of an objective in nats per data point, its noise drawn from the seed."""
    svi = SVI(pair, x, settings=Settings(objective=name, precision="float64", **settings))
    torch.manual_seed(seed)
    return svi.loss(torch.arange(len(x))) / len(x)


@pytest.mark.parametrize("nats", [0.0, 0.2, 100.0])
@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_free_bits_charge_every_dimension_a_minimum(nats, beta):
    pair, (x,) = build("vae").double(), arguments("vae", torch.float64)
    free = with_noise(1, pair, f"free-bits:{nats}", x, beta=beta)
    whole = with_noise(1, pair, "analytic", x, beta=beta)
    torch.manual_seed(1)
    of = pair.encoder(x)
    kl = kl_divergence(of.base_dist, dist.Normal(0, 1)).mean(0)  # (latent_dim,)
    assert kl.min() < 0.2 < kl.max()
    expected = whole + beta * (kl.clamp(min=nats) - kl).sum()
    close(free, expected)
    gradients = (torch.autograd.grad(loss, list(pair.parameters()), retain_graph=True) for loss in (free, expected))
    for a, b in zip(*gradients, strict=True):
        close(a, b)


def test_free_bits_of_a_global_latent_are_of_all_data_together():
    pair, args = (
        build("linear_regression:mean_field").double(),
        arguments("linear_regression:mean_field", torch.float64),
    )
    losses = []
    for name in ("free-bits:50", "analytic"):
        svi = SVI(pair, *args, settings=Settings(objective=name, precision="float64", batch_size=len(args[0])))
        torch.manual_seed(1)
        losses.append(svi.loss(torch.arange(len(args[0]))))
    q, p = (poutine.trace(run).get_trace(*args) for run in (pair.guide, pair.model))
    ((name, site),) = latent_sites(q).items()
    close(losses[0] - losses[1], 50 - kl_divergence(site["fn"], p.nodes[name]["fn"]))


def test_free_bits_of_a_guide_that_couples_dimensions_are_of_all_together():
    pair, (x,) = build("factor_analysis").double(), arguments("factor_analysis", torch.float64)
    q, p = (poutine.trace(run).get_trace(x).nodes["z"]["fn"] for run in (pair.guide, pair.model))
    kl = kl_divergence(q, p).mean()
    close(with_noise(1, pair, "free-bits:50", x) - with_noise(1, pair, "analytic", x), 50 - kl)


def test_a_kl_below_a_sum_of_the_model_stays_sampled():
    pair, x = Below().double(), torch.randn(12, 1, dtype=torch.float64)
    (loss, gradient), (other, other_gradient) = (
        loss_and_gradient(fit_with(pair, name, x, objective=name)) for name in ("enum", "enum_analytic")
    )
    close(loss, other)
    close(gradient, other_gradient)
    with pytest.raises(InferenceError, match="prior of z depends on y, which the model sums out"):
        SVI(pair, x, settings=Settings(objective="enum", beta=0.5))
