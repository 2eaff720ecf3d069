"""Effects that share a mean and a spread: a slider for the spread, and how far it shrinks every estimate."""

from data import Dataset
from gallery.models.eight_schools import EightSchools
from gallery.report.explorers.fragment import fragment, legend, readings, rounded, slider, table

__all__ = ["hierarchy"]

LETTERS = "ABCDEFGHIJ"
REACH, STEPS = 30, 120  # the largest spread, and positions of the slider


def hierarchy(pair: EightSchools, train: Dataset) -> str | None:
    """Return the explorer of a normal hierarchy; None for more than ten data points.

    :param train: estimates, with their standard errors as covariates
    """
    if len(train) > len(LETTERS):
        return None
    assert train.covariates is not None
    data = {
        "x": rounded(train.x[:, 0], 6),
        "c": rounded(train.covariates[:, 0], 6),
        "mu_scale": pair.mu_scale,
        "tau_scale": pair.tau_scale,
        "reach": REACH,
        "steps": STEPS,
    }
    names = LETTERS[: len(train)]
    marks = [("guide", "given this spread: mean and 90 %"), ("interval grey", "estimate ± 1.645 standard errors")]
    marks += [("dot k2", "averaged over the posterior of the spread: mean"), ("prior", "mean of all schools, μ")]
    numbers = [("tau", "spread τ", "points"), ("density", "p(τ | x)", "per point"), ("mu", "E[μ | τ, x]", "points")]
    numbers += [("log_x", "log p(x | τ)", "nats"), ("log_evidence", "log p(x), exact", "nats")]
    header = ["school", "estimate", "weight of the estimate", "mean given τ", "90 % given τ", "mean over all τ"]
    rows = [[it, f"x-{it}", f"share-{it}", f"effect-{it}", f"low-{it} high-{it}", f"mean-{it}"] for it in names]
    body = f"""{legend(*marks)}
{slider("tau", "spread between schools τ", 0, STEPS, STEPS // 8)}
<div class="stage">
<svg data-part="paths" role="img"></svg>
<svg data-part="picture" role="img"></svg>
</div>
{readings(*numbers)}
<output data-part="status"></output>
{table("Numbers of every school", header, rows)}"""
    caption = (
        "First chart: the posterior mean of each effect if the spread were τ, and below it the exact posterior of "
        "τ. At τ = 0 all schools have one effect, at a large τ each has its own estimate. Second chart: estimates, "
        f"and effects at the chosen τ. The priors are μ ~ Normal(0, {pair.mu_scale:g}²) and τ ~ "
        f"HalfCauchy({pair.tau_scale:g}); the mean over all τ is a sum over a grid of log τ."
    )
    hint = "Try: set τ to 0, then to 30. Which school moves most, and where is the posterior of τ?"
    return fragment("hierarchy", caption, body, data, hint, ("plot",))
