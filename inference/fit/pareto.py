"""Fit the tail of importance weights by a generalised Pareto distribution: its shape k-hat, and smoothed weights.

Vehtari, Simpson, Gelman, Yao and Gabry, Pareto smoothed importance sampling, 2024.
Zhang and Stephens, A new and efficient estimation method for the generalized Pareto distribution, 2009.
"""

import math

import torch
from pyro.ops.stats import fit_generalized_pareto
from torch import Tensor

from inference.errors import InferenceError

__all__ = ["pareto_k", "pareto_smooth"]


def _size(draws: int) -> int:
    """Return the number of weights in the tail."""
    if draws < 25:
        raise InferenceError(f"k-hat needs at least 25 draws; got {draws}.")
    return math.ceil(min(draws / 5, 3 * math.sqrt(draws)))


def _fit(tail: Tensor, rounding: float) -> tuple[float, float]:
    """Return (k-hat, scale) of the excess of the largest weights over the first of `tail`; nan for no scale.

    :param tail: (size + 1,) log-weights in increasing order, the last 0
    :param rounding: of equal log-weights
    """
    if tail[0] > -rounding:
        return -math.inf, math.nan
    excess = tail[1:].exp() - tail[0].exp()
    if excess[int((len(tail) - 1) / 4 - 0.5)] < 1e-300:  # the fit divides by this quartile
        return math.inf, math.nan
    return fit_generalized_pareto(excess)


def _rounding(log_w: Tensor) -> float:
    return 8 * math.sqrt(torch.finfo(log_w.dtype).eps)


def pareto_k(log_w: Tensor) -> Tensor:
    """Estimate k-hat of each data point, (n,), from (k, n) log-weights: the shape of the Pareto tail of its weights.

    Moments of the weights of order above 1 / k-hat do not exist. The mean of k weights is unreliable where k-hat is
    above min(1 - 1 / log10 k, 0.7); at k-hat >= 1 the weights have no finite mean. The tail consists of the largest
    min(k / 5, 3 sqrt(k)) weights. A prior worth 10 further weights draws the estimate towards 1/2.

    Each data point has a separate estimate. The product of the weights of n data points has a tail that grows heavier
    with n for the same guide.

    k-hat is -inf where the largest weights are all equal, as under the exact posterior: there is no tail. It is inf
    where most of the largest weights underflow beside the largest one.

    Vehtari, Simpson, Gelman, Yao and Gabry, Pareto smoothed importance sampling, 2024.

    >>> pareto_k(torch.zeros(100, 2))
    tensor([-inf, -inf], dtype=torch.float64)

    :param log_w: (k, n) log-weights in nats, as from `log_weights`
    :return: float64, without a unit
    :raises InferenceError: if k < 25
    """
    largest = log_w.detach().cpu().double().sort(0).values[-_size(len(log_w)) - 1 :]  # (size + 1, n)
    k_hat = [_fit(tail, _rounding(log_w))[0] for tail in (largest - largest[-1]).unbind(1)]
    return torch.tensor(k_hat, dtype=torch.float64)


def pareto_smooth(log_w: Tensor) -> tuple[Tensor, float]:
    """Replace the largest weights by quantiles of the Pareto distribution that fits them.

    That lowers the variance of a weighted mean at the price of a small bias. The order of the weights stays, and none
    is above the largest of them. They are left as they are where k-hat is infinite.

    Vehtari, Simpson, Gelman, Yao and Gabry, Pareto smoothed importance sampling, 2024.

    >>> smooth, k_hat = pareto_smooth(-2 * torch.linspace(0.01, 1, 100).log())  # 1 / u^2
    >>> smooth.shape, k_hat > 0.7
    (torch.Size([100]), True)

    :param log_w: (k,) log-weights in nats
    :return: (their logs after smoothing, k-hat)
    :raises InferenceError: if k < 25
    """
    size = _size(len(log_w))
    values, order = log_w.detach().double().sort()
    largest = values[-1]
    tail = (values[-size - 1 :] - largest).cpu()
    k, scale = _fit(tail, _rounding(log_w))
    if math.isfinite(k):
        p = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        quantiles = tail[0].exp() + scale * torch.expm1(-k * torch.log1p(-p)) / k
        values[-size:] = quantiles.log().clamp(max=0.0).to(values) + largest
    return torch.empty_like(values).scatter(0, order, values).to(log_w), k
