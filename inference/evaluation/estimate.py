"""A number with its errors: how it is computed, stored and printed.

Two errors are kept apart:

    se       standard error over data: how the mean would vary between data sets of n data points
    mc_se    Monte Carlo standard error: how the estimate would vary between draws at these data points

An estimate is a dictionary, so it goes to JSON as it is, and an entry read from JSON is ``Estimate(entry)``.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["NATS", "Estimate", "Moments", "two_digits"]

NATS = "nats per data point"
ERRORS = {"se": "standard error over data", "mc_se": "Monte Carlo"}


def two_digits(error: float) -> str:
    """Return an error with two significant digits, and with an exponent below 0.00001 alone.

    >>> [two_digits(error) for error in (112.3, 0.1, 0.000091, 0.0000019)]
    ['110', '0.1', '0.000091', '1.9e-06']
    """
    text = f"{error:.2g}"
    return text if error < 1e-5 else np.format_float_positional(float(text), trim="-")


@dataclass(frozen=True)
class Moments:
    """The mean over draws of a quantity of each data point, (m,), and the variance of that mean, (m,).

    m is the number of data points, or 1 where a latent is global and a draw is for all data points together.
    """

    mean: Tensor
    variance: Tensor

    @classmethod
    def of_draws(cls, values: Tensor) -> "Moments":
        """Compute the moments of k draws, (k, m), in float64; the variance is nan at k = 1."""
        values = values.double()
        return cls(values.mean(0), values.var(0) / len(values) if len(values) > 1 else values[0] * math.nan)

    @classmethod
    def concatenate(cls, parts: list["Moments"]) -> "Moments":
        """Join the moments of several parts of the data."""
        return cls(torch.cat([part.mean for part in parts]), torch.cat([part.variance for part in parts]))


class Estimate(dict[str, Any]):
    """A number with its errors: a dictionary of "value", "se", "mc_se", "n", "unit" and details such as "particles".

    An error that is unknown has no key. A number that is undefined has its reason under "undefined" in place of
    "value".

    >>> bound = Estimate.of_draws(torch.tensor([[-1.0, -2.0], [-2.0, -3.0]]), n=2, particles=2)
    >>> print(bound)
    -2.0000 nats per data point (standard error over data 0.5, Monte Carlo 0.35, n 2)
    >>> bound["value"], bound["particles"]
    (-2.0, 2)
    >>> print(Estimate.of_fraction(0.9, n=100))
    0.9000 fraction (standard error over data 0.03, n 100)
    """

    @classmethod
    def of_mean(cls, values: Tensor, unit: str, **details: Any) -> "Estimate":
        """Estimate a mean from one value of each data point, (n,); "se" is known for n > 1."""
        n = len(values)
        error = {"se": values.std().item() / math.sqrt(n)} if n > 1 else {}
        return cls(value=values.mean().item(), **error, n=n, unit=unit, **details)

    @classmethod
    def of_draws(cls, values: Tensor, n: int, mc_variance: Tensor | None = None, **details: Any) -> "Estimate":
        """Estimate a mean per data point, in nats, from k draws, (k, m).

        :param values: m = n values of each draw, or m = 1 for all n data points together
        :param n: number of data points
        :param mc_variance: (m,) variance of the mean over draws; the sample variance / k if not given
        """
        moments = Moments.of_draws(values)
        return cls.of_moments(moments if mc_variance is None else Moments(moments.mean, mc_variance), n, **details)

    @classmethod
    def of_moments(cls, moments: Moments, n: int, **details: Any) -> "Estimate":
        """Estimate a mean per data point, in nats, from the moments of draws.

        "se" is known where m > 1: a global latent makes the data points dependent. "mc_se" is known where all variances
        are.
        """
        errors = {}
        if len(moments.mean) > 1 and moments.mean.isfinite().all():  # a bound of minus infinity has no errors
            errors["se"] = moments.mean.std().item() / math.sqrt(n)
        if not moments.variance.isnan().any():
            errors["mc_se"] = moments.variance.sum().sqrt().item() / n
        return cls(value=moments.mean.sum().item() / n, **errors, n=n, unit=NATS, **details)

    @classmethod
    def of_fraction(cls, fraction: float, n: int, **details: Any) -> "Estimate":
        """Estimate a probability from the fraction of n data points, with its binomial standard error."""
        error = math.sqrt(fraction * (1 - fraction) / n)
        return cls(value=fraction, se=error, n=n, unit="fraction", **details)

    @classmethod
    def of_median(cls, values: Tensor, unit: str, **details: Any) -> "Estimate":
        """Estimate a median from one value of each data point, (n,), the lower of the two middle ones if n is even.

        "se" is half the distance of the order statistics sqrt(n) / 2 below and above the median, where both are finite.
        """
        n, values = len(values), values.sort().values
        low, high = (values[round((n - 1) / 2 + side * math.sqrt(n) / 2)].item() for side in (-1, 1))
        error = {"se": (high - low) / 2} if n > 1 and math.isfinite(low) and math.isfinite(high) else {}
        return cls(value=values[(n - 1) // 2].item(), **error, n=n, unit=unit, **details)

    @classmethod
    def of_gap(cls, evidence: "Estimate", bound: "Estimate") -> "Estimate":
        """Estimate the gap between the exact evidence and a bound at the same data points, with the bound's "mc_se"."""
        kept = {key: bound[key] for key in ("mc_se", "n", "unit") if key in bound}
        return cls(value=evidence["value"] - bound["value"], **kept)

    @classmethod
    def of_undefined(cls, reason: str, **details: Any) -> "Estimate":
        """State why a number is undefined."""
        return cls(undefined=reason, **details)

    def error(self, kind: str) -> str:
        """Return the error "se" or "mc_se" in two digits; empty if it is unknown."""
        return two_digits(self[kind]) if kind in self else ""

    def __str__(self) -> str:
        if "value" not in self:
            return f"undefined, {self['undefined']}" if "undefined" in self else repr(self)
        about = [f"{name} {self.error(kind)}" for kind, name in ERRORS.items() if kind in self]
        about += [f"n {self['n']}"] if "n" in self else []
        number = f"{self['value']:.4f} {self.get('unit', '')}".rstrip()
        return f"{number} ({', '.join(about)})" if about else number
