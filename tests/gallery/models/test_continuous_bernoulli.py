"""The density of grey pixels: it integrates to 1 at any logit, and is that of the published values."""

import pytest
import torch
from torch import Tensor
from torch.distributions import ContinuousBernoulli as Torch

from gallery.models._distributions import MAX_LOGIT, ContinuousBernoulli
from gallery.models._nn import PixelHead

LOGITS = [-40.0, -25.0, -16.0, -MAX_LOGIT, -15.9, -8.0, -3.0, 0.0, 0.2, MAX_LOGIT, 20.0]


def integral(density: torch.distributions.Distribution, dtype: torch.dtype) -> float:
    """The integral over [0, 1] by the midpoint rule in 10^6 intervals that are narrow near 0 and 1."""
    near_0 = torch.logspace(-9, -0.30103, 500_001, dtype=torch.float64)
    edges = torch.cat([near_0, 1 - near_0.flip(0)[1:]])
    middle = (edges[1:] + edges[:-1]) / 2
    return (density.log_prob(middle.to(dtype)).double().exp() * edges.diff()).sum().item()


@pytest.mark.parametrize("logit", LOGITS)
def test_the_density_integrates_to_1_at_any_logit(logit):
    density = ContinuousBernoulli(logits=torch.tensor(logit, dtype=torch.float64), validate_args=False)
    at_the_end = density.log_prob(torch.tensor(float(logit > 0), dtype=torch.float64)).exp().item()
    assert integral(density, torch.float64) == pytest.approx(1, abs=1e-9 * at_the_end + 1e-6)


def test_torch_given_a_logit_in_float32_falls_short_of_1_and_given_a_probability_does_not():
    logit = torch.tensor(-40.0)
    assert integral(Torch(logits=logit), torch.float32) == pytest.approx(0.3986, abs=1e-4)
    assert integral(Torch(probs=logit.sigmoid()), torch.float32) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("logit", "nats"), [(-40.0, 0.92), (-100.0, 1.836)])
def test_the_limit_on_the_logit_decides_the_density_of_a_black_pixel(logit, nats):
    """It grows with the logarithm of the logit, as gallery/catalogue/sources.md says."""
    at = ContinuousBernoulli(logits=torch.tensor([logit, -MAX_LOGIT], dtype=torch.float64), validate_args=False)
    one, bound = at.log_prob(torch.zeros(2, dtype=torch.float64))
    assert (one - bound).item() == pytest.approx(nats, abs=0.005)


def grey_pixels() -> Tensor:
    return torch.linspace(0, 1, 256).clamp(max=1 - 2**-9)


@pytest.mark.parametrize("logit", [logit for logit in LOGITS if logit < 1])  # a probability near 1 has few digits
def test_a_clamped_logit_is_the_published_arithmetic(logit):
    """Published values come from torch's density in float32, given the probability."""
    head = PixelHead(1, 256, "continuous_bernoulli")
    with torch.no_grad():
        head.linear.weight.zero_()
        head.linear.bias.fill_(logit)
    ours = head(torch.zeros(1, 1)).log_prob(grey_pixels()).item()
    theirs = Torch(probs=torch.full((256,), logit).sigmoid()).log_prob(grey_pixels()).sum().item()
    rounding = 256 * torch.finfo(torch.float32).eps * 2 * MAX_LOGIT  # of two terms of up to MAX_LOGIT
    assert ours == pytest.approx(theirs, abs=rounding)
