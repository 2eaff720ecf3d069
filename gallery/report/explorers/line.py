"""A line through points that are dragged: the exact posterior band, and the best mean-field guide beside it."""

from data import Dataset
from gallery.models.linear_regression import LinearRegression
from gallery.report.explorers.fragment import buttons, fragment, legend, readings, rounded
from inference.pairs.capabilities import exact

__all__ = ["line"]

FEW = 8  # points at first


def line(pair: LinearRegression, train: Dataset) -> str | None:
    """Return the explorer of a regression with known noise; None for several covariates, or without its posterior.

    :param train: the page starts with its first rows
    """
    if pair.given_dim != 1 or exact(pair, "posterior") is None:
        return None
    assert train.covariates is not None
    c, x = train.covariates[:, 0], train.x[:, 0]
    data = {
        "points": [list(point) for point in zip(rounded(c[:FEW], 2), rounded(x[:FEW], 2), strict=True)],
        "noise": pair.noise,
        "prior_scale": pair.prior_scale,
        "edges": [round(1.15 * c.abs().max().item(), 1), round(1.35 * x.abs().max().item(), 1)],
    }
    marks = [("dot k0", "data, to be dragged"), ("truth", "exact posterior of the line: mean and 90 %")]
    marks += [("guide", "best mean-field guide: 90 %"), ("prior", "least squares")]
    choose = [
        ("few", f"{FEW} points"),
        ("two", "2 points"),
        ("none", "No points"),
        ("shift", "Shift to mean covariate 0"),
    ]
    choose += [("add", "Add a point"), ("remove", "Remove a point")]
    numbers = [("log_evidence", "log p(x), exact", "nats"), ("elbo", "ELBO of the best mean-field guide", "nats")]
    numbers += [("gap", "gap, exact", "nats"), ("intercept", "intercept w₀", ""), ("slope", "slope w₁", "")]
    body = f"""{legend(*marks)}
<div class="stage">
<svg data-part="points" role="group" aria-label="Data points, to be dragged, with the posterior of the line"></svg>
<svg data-part="picture" role="img"></svg>
</div>
{buttons(*choose)}
{readings(*numbers)}
<output data-part="status"></output>"""
    caption = (
        f"First chart: the line under w ~ Normal(0, {pair.prior_scale:g}²) and noise {pair.noise:g}, with the band "
        "that holds it with probability 90 % at each covariate. Second chart: intercept and slope, with the "
        "contours that hold 90 % of the posterior and of the best guide whose intercept and slope are independent. "
        "Its variances are too small, and its ELBO falls short of log p(x) by the gap. A point is removed by the "
        "Delete key or a double click."
    )
    hint = "Try: drag all points to the right, then to both sides of 0, and see when the guide pays for its shape."
    return fragment("line", caption, body, data, hint, ("plot",))
