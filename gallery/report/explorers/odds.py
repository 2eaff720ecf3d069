"""Answers of 0 and 1: a slider for their number, the exact posterior of a logistic regression, and Laplace's normal."""

from data import Dataset
from gallery.models.logistic_regression import LogisticRegression
from gallery.report.explorers.fragment import fragment, legend, readings, rounded, slider
from inference.pairs.capabilities import exact

__all__ = ["odds"]

MOST, FEW = 40, 12  # answers on the page, and at first


def odds(pair: LogisticRegression, train: Dataset) -> str | None:
    """Return the explorer of a logistic regression on one covariate; None without its exact posterior.

    :param train: the page has its first rows
    """
    if exact(pair, "posterior") is None:
        return None
    assert train.covariates is not None
    data = {
        "x": rounded(train.x[:MOST, 0], 0),
        "c": rounded(train.covariates[:MOST, 0], 6),
        "prior_scale": pair.prior_scale,
    }
    marks = [
        ("dot k0", "answers"),
        ("truth", "exact posterior"),
        ("guide", "Laplace's normal, and the curve at its mean"),
    ]
    numbers = [("log_evidence", "log p(x), exact", "nats"), ("laplace", "log p(x) by Laplace", "nats")]
    numbers += [("intercept", "E[w₀ | x]", ""), ("slope", "E[w₁ | x]", ""), ("mode", "w₁ at the mode", "")]
    body = f"""{legend(*marks)}
{slider("n", "answers n", 0, len(train.x[:MOST]), min(FEW, len(train)))}
<div class="stage">
<svg data-part="points" role="img"></svg>
<svg data-part="picture" role="img"></svg>
</div>
{readings(*numbers)}
<output data-part="status"></output>"""
    caption = (
        "First chart: the first n answers, and the probability of a 1, averaged over the posterior and at its mode. "
        "Second chart: where the density of intercept and slope is a tenth of its maximum, exactly and for the "
        f"normal with the mode and the curvature there (Laplace). The prior is w ~ Normal(0, {pair.prior_scale:g}²); "
        "evidence and means are sums over a grid."
    )
    hint = "Try: go from 0 answers to 40, one by one. When does the posterior become nearly normal?"
    return fragment("odds", caption, body, data, hint, ("plot",))
