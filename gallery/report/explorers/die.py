"""A die: counts of its faces that are dragged, the exact Dirichlet posterior with intervals, and the evidence."""

from data import Dataset
from data.synthetic import TRUTH
from gallery.models.loaded_die import LoadedDie
from gallery.report.explorers.fragment import buttons, fragment, legend, readings, rounded
from inference import Pair

__all__ = ["die"]

FEW, LEVEL = 20, 0.9  # throws at first; mass of an interval


def die(pair: Pair, train: Dataset) -> str | None:
    """Return the explorer of a die with a Dirichlet prior; None for another pair.

    :param pair: on the CPU and in float64, like the data
    :param train: throws, one-hot; the page starts with the first of them
    """
    if not isinstance(pair, LoadedDie):
        return None
    prior = pair.posterior(train.x[:0])
    truth = TRUTH.get(train.name, {}).get("p")
    faces = train.x.shape[1]
    data = {
        "concentration": rounded(prior.concentration, 9),
        "few": rounded(train.x[:FEW].sum(0), 0),
        "all": rounded(train.x.sum(0), 0),
        "level": LEVEL,
        "truth": None if truth is None else truth.tolist(),
    }
    header = f"<tr><th>face</th><th>throws</th><th>posterior mean</th><th>{LEVEL:.0%} interval</th></tr>"
    rows = "".join(
        f'<tr><th>{k}</th><td data-number="count-{k}"></td><td data-number="mean-{k}"></td>'
        f'<td><span data-number="low-{k}"></span> to <span data-number="high-{k}"></span></td></tr>'
        for k in range(1, faces + 1)
    )
    marks = [("box k0", "throws"), ("interval grey", f"prior: mean, {LEVEL:.0%}")]
    marks += [("interval truth", f"exact posterior: mean, {LEVEL:.0%}")]
    marks += [] if truth is None else [("diamond", "truth behind the data")]
    choose = [("few", f"First {FEW} throws"), ("all", f"All {len(train)} throws"), ("none", "No throws")]
    body = f"""{legend(*marks)}
<div class="stage">
<svg data-part="counts" role="group" aria-label="Throws of each face, to be dragged"></svg>
<svg data-part="picture" role="img"></svg>
</div>
{buttons(*choose)}
{
        readings(
            ("log_evidence", "log p(x), exact", "nats"),
            ("fair", "log p(x) of a fair die", "nats"),
            ("factor", "in favour of a loaded die", "nats"),
        )
    }
<output data-part="status"></output>
<details><summary>Numbers of every face</summary><table>{header}{rows}</table></details>"""
    caption = (
        "Left: how often each face was thrown. Right: the probability of each face under the prior and under the exact "
        "posterior, Dirichlet(concentration + counts), whose marginals are beta distributions. log p(x) is the "
        "evidence of the throws in their order; minus that of a fair die it is the log Bayes factor of the model against it."
    )
    hint = (
        "Try: drag the bar of a face up, and see how many throws it takes until its interval leaves the prior's mean."
    )
    return fragment("die", caption, body, data, hint, ("plot", "special"))
