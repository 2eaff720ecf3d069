"""Checks of lesson 8: losses of codes, the best linear autoencoder, a small VAE, bits."""

import math
from collections.abc import Callable
from typing import Any

import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

import data
from gallery.course.compare import WrongError, expect, expect_contract
from inference.pairs.run import param_scope

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4", "exercise_5"]

X = torch.tensor([[0.0, 0.5, 1.0], [0.2, 0.9, 0.4]], dtype=torch.float64)
MEAN = torch.tensor([[0.1, 0.4, 0.7], [0.3, 0.6, 0.5]], dtype=torch.float64)


def exercise_1(loss_of_a_code: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    """The loss of a code."""
    for sigma in (0.5**0.5, 0.3):
        exact = -Normal(MEAN, sigma).log_prob(X).sum(1)
        hint = "one number per image: sum over pixels, divide by 2 sigma^2, and add the constant D times"
        expect(loss_of_a_code(X, MEAN, sigma), exact, f"the loss at sigma = {sigma:.3g}, image", "-log p(x | z)", hint)


def exercise_2(linear_error: Callable[[Tensor, int], Tensor]) -> None:
    """The error of the best linear autoencoder."""
    x = data.load("digits:grey").x[:200, 10:40].double() + 0.1
    centred = x - x.mean(0)
    U, s, V = torch.linalg.svd(centred, full_matrices=False)
    for k in (1, 5):
        exact = (centred - (U[:, :k] * s[:k]) @ V[:k]).square().sum(1).mean()
        hint = "centre the data, divide the covariance by n, and leave out the k largest eigenvalues"
        expect(linear_error(x, k), exact, f"the error with {k} numbers per image", "by projection", hint)


def exercise_3(kl: Callable[[Tensor, Tensor], Tensor]) -> None:
    """The KL of a normal code."""
    scale = torch.tensor([[0.5, 1.0, 2.0], [0.1, 0.9, 1.1]], dtype=torch.float64)
    exact = kl_divergence(Normal(MEAN, scale), Normal(0.0, 1.0)).sum(1)
    expect(kl(MEAN, scale), exact, "the KL of data point", "in closed form", "log of the variance is 2 log scale")
    zero = torch.zeros(2, 3, dtype=torch.float64)
    expect(kl(zero, zero + 1), [0.0, 0.0], "the KL of the prior itself", "equal distributions", "is there a - 1?")


def exercise_4(SmallVAE: Callable[[], Any]) -> None:
    """A VAE as a pair."""
    pair, x = SmallVAE(), data.load("digits:threshold").x[:6]
    with param_scope(), torch.no_grad():
        guide = poutine.trace(pair.guide).get_trace(x)
        if "z" not in guide.nodes:
            raise WrongError("the guide has no site 'z', expected one sample statement for each latent of the model")
        guide.compute_log_prob()
        site = guide.nodes["z"]
        mean, log_scale = pair.encoder(x).chunk(2, -1)
        exact = Normal(mean, log_scale.exp()).log_prob(site["value"]).sum(1)
        hint = "the first half of the encoder's output is the mean, the exponential of the second the scale"
        expect(site["log_prob"], exact, "log q(z | x) of data point", "the encoder's normal", hint)
        model = poutine.trace(poutine.replay(pair.model, guide)).get_trace(x)
        model.compute_log_prob()
        exact = Normal(0.0, 1.0).log_prob(site["value"]).sum(1)
        expect(model.nodes["z"]["log_prob"], exact, "log p(z) of data point", "a standard normal", "is it to_event(1)?")
        exact = Bernoulli(logits=pair.decoder(site["value"])).log_prob(x).sum(1)
        hint = "the decoder returns logits, not probabilities"
        expect(model.nodes["x"]["log_prob"], exact, "log p(x | z) of data point", "a Bernoulli for each pixel", hint)
    expect_contract(SmallVAE, (x,))


def exercise_5(bits_per_pixel: Callable[[float, int], float]) -> None:
    """Bits per pixel."""
    hint = "a bit is log 2 nats, and the bound is of all pixels together"
    for elbo, pixels in ((-18.0, 64), (-80.0, 784)):
        exact = -elbo / pixels / math.log(2)
        what = f"bits per pixel at an ELBO of {elbo:g} nats and {pixels} pixels"
        expect(bits_per_pixel(elbo, pixels), exact, what, "1 bit is log 2 nats", hint)
