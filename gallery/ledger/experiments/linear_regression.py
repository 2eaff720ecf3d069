"""A line by squared error and by KL: coefficients, standard deviations, and how often intervals contain the truth.

Least squares and MAP give a point. Beside the point, least squares has the standard deviation of its sampling
distribution. The KL to a family of distributions gives a distribution: by mean field or with a full covariance matrix,
which contains the posterior; NUTS draws from the posterior. The noise is known in all of them.

All but NUTS are closed forms here, the optima that a fit converges to: the mean-field guide of least KL(q || p) has the
posterior's means and the variances 1 / P_jj, for the posterior's precision P (Bishop, Pattern Recognition and Machine
Learning, 2006, section 10.1.2). With the correlation r of intercept and slope its standard deviations are too small by
the factor sqrt(1 - r^2), its KL is -log(1 - r^2) / 2, and one draw of log q - log p has the standard deviation |r|.
"""

import json
import math
from pathlib import Path
from statistics import NormalDist
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

import data
from gallery.catalogue.recipes import RECIPES
from gallery.figures import regression, save
from gallery.figures.intervals import intervals
from gallery.models import MODELS
from gallery.models.linear_regression import LinearRegression
from inference import SVI, Settings, nuts
from inference.files import write_atomically
from inference.pairs.streams import seeded

__all__ = ["coverage", "estimates", "expected_coverage", "gap_of_mean_field", "mean_field", "reproduce"]

SETS, DRAWS = 200, 200  # data sets; draws of each of two chains of NUTS, which takes half an hour for all sets
LEVEL = 0.9
WIDTH = NormalDist().inv_cdf((1 + LEVEL) / 2)  # standard deviations on either side of a normal's mean
LINES = ("linear_regression", "linear_regression:mean_field", "linear_regression:map")  # recipes with a picture
COUNTS = (16, 100, 1000, 10_000)  # draws of the guide
TRUTH = torch.tensor([data.synthetic.LINE_INTERCEPT, data.synthetic.LINE_SLOPE], dtype=torch.float64)


def mean_field(posterior: MultivariateNormal) -> MultivariateNormal:
    """Return the distribution with independent coordinates of least KL to a normal posterior."""
    return MultivariateNormal(posterior.mean, posterior.precision_matrix.diagonal().reciprocal().diag())


def estimates(x: Tensor, given: Tensor, noise: float = data.synthetic.LINE_SIGMA) -> dict[str, dict[str, Tensor]]:
    """Compute intercept and slope by each closed form, (2,), with standard deviations where the method has them.

    :param x: (n, 1) float64
    :param given: (n, 1)
    :param noise: standard deviation of x, known
    :return: {method: {"mean", "sd"}}
    """
    pair = LinearRegression(noise=noise).double()
    C, posterior = pair.design(given), pair.posterior(x, given)
    assert isinstance(posterior, MultivariateNormal)
    of_squares = noise * torch.linalg.inv(C.T @ C).diagonal().sqrt()
    return {
        "least squares": {"mean": pair.least_squares(x, given), "sd": of_squares},
        "MAP": {"mean": posterior.mean},
        "mean field": {"mean": posterior.mean, "sd": mean_field(posterior).stddev},
        "full covariance": {"mean": posterior.mean, "sd": posterior.stddev},
    }


def by_nuts(x: Tensor, given: Tensor, seed: int, draws: int = DRAWS) -> dict[str, Tensor]:
    """Return mean, sd and the LEVEL interval ("low", "high") of the draws of NUTS, each (2,)."""
    w = nuts(LinearRegression().double(), x, given, draws, draws // 2, seed=seed)["draws"]["w"].reshape(-1, 2)
    low, high = w.quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2]).to(w), dim=0)
    return {"mean": w.mean(0), "sd": w.std(0), "low": low, "high": high}


def simulated(number: int) -> tuple[Tensor, Tensor]:
    """Draw x and covariates, (200, 1) each in float64, as the data set `line` was drawn."""
    with seeded(number, "line"):
        c = 5 * torch.rand(200, 1, dtype=torch.float64)
        mean = TRUTH[0] + TRUTH[1] * c
        return mean + data.synthetic.LINE_SIGMA * torch.randn_like(mean), c


def coverage(sets: int = SETS, sets_of_nuts: int = SETS, draws: int = DRAWS) -> dict[str, dict[str, Any]]:
    """Count in how many simulated data sets the LEVEL interval of a method contains the true intercept and slope.

    :return: {method: {"covered": fractions of intercept and slope, "n": number of data sets}}
    """
    inside: dict[str, list[Tensor]] = {}
    for number in range(sets):
        x, given = simulated(number)
        for name, of in estimates(x, given).items():
            if "sd" in of:
                inside.setdefault(name, []).append((of["mean"] - TRUTH).abs() <= WIDTH * of["sd"])
        if number < sets_of_nuts:
            of = by_nuts(x, given, number, draws)
            inside.setdefault("NUTS", []).append((of["low"] <= TRUTH) & (of["high"] >= TRUTH))
    return {
        name: {"covered": torch.stack(each).double().mean(0).tolist(), "n": len(each)} for name, each in inside.items()
    }


def expected_coverage(correlation: float) -> float:
    """Return the coverage of mean-field intervals at a correlation of intercept and slope, for a flat prior."""
    return math.erf(WIDTH * math.sqrt((1 - correlation**2) / 2))


def gap_of_mean_field(posterior: MultivariateNormal, n: int, seed: int = 0) -> dict[str, Any]:
    """Compute the gap log p(x) - ELBO of the best mean-field guide, exactly and from draws, nats per data point.

    :param posterior: of two coordinates
    :param n: number of data points
    :return: "correlation" of the posterior; "exact"; "estimates", each with "draws", its "value", and the exact
        standard error of such an estimate as "mc_se"
    """
    q = mean_field(posterior)
    covariance = posterior.covariance_matrix
    r = (covariance[0, 1] / (covariance[0, 0] * covariance[1, 1]).sqrt()).item()
    exact = -math.log1p(-(r**2)) / 2
    torch.testing.assert_close(kl_divergence(q, posterior).item(), exact)
    with seeded(seed, "gap"):
        w = q.sample(torch.Size([max(COUNTS)]))
    ratios = q.log_prob(w) - posterior.log_prob(w)
    points = [{"draws": k, "value": ratios[:k].mean().item() / n, "mc_se": abs(r) / math.sqrt(k) / n} for k in COUNTS]
    return {"correlation": r, "exact": exact / n, "estimates": points}


def _line(name: str, seed: int = 0) -> Figure:
    """Fit a recipe, and draw its lines with the band of new data."""
    train, recipe = data.load("line"), RECIPES[name]
    with seeded(seed, "experiment"):
        pair = MODELS[name]()
        for _ in SVI(pair, train.x, train.given, Settings(**recipe.settings, seed=seed)):
            pass
    return regression(pair, train)


def reproduce(
    folder: Path, fitted: Path, sets: int = SETS, sets_of_nuts: int = SETS, draws: int = DRAWS
) -> dict[str, Any]:
    """Write squares_and_kl.json, its figure and those of three recipes, and return the content of the file.

    :param fitted: not used
    """
    line = data.load("line", dtype=torch.float64)
    assert line.covariates is not None
    found = estimates(line.x, line.covariates) | {"NUTS": by_nuts(line.x, line.covariates, 0, draws)}
    posterior = LinearRegression().double().posterior(line.x, line.covariates)
    assert isinstance(posterior, MultivariateNormal)
    of_sets = coverage(sets, sets_of_nuts, draws)
    gap = gap_of_mean_field(posterior, len(line)) | {"unit": "nats per data point"}
    result: dict[str, Any] = {
        "data": "line",
        "n": len(line),
        "truth": TRUTH.tolist(),
        "level": LEVEL,
        "methods": {
            name: {key: of[key].tolist() for key in ("mean", "sd") if key in of} | of_sets.get(name, {})
            for name, of in found.items()
        },
        "gap": gap,
        "expected_coverage": {"mean field": expected_coverage(gap["correlation"])},
    }
    save(intervals(result), folder / "squares_and_kl.png")
    for name in LINES:
        save(_line(name), folder / f"{name.replace(':', '_').replace('linear_regression', 'regression')}.png")
    write_atomically(folder / "squares_and_kl.json", (json.dumps(result, indent=2) + "\n").encode())
    return result
