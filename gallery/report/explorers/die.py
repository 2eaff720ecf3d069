"""A die: counts of its faces that are dragged, the exact Dirichlet posterior with intervals, and the evidence."""

from data import Dataset
from data.synthetic import TRUTH
from gallery.models.loaded_die import LoadedDie
from gallery.report.explorers.fragment import buttons, fragment, legend, readings, rounded, table

__all__ = ["die"]

FEW, LEVEL = 20, 0.9  # throws at first; mass of an interval


def die(pair: LoadedDie, train: Dataset) -> str:
    """Return the explorer of a die with a Dirichlet prior.

    :param pair: on the CPU and in float64, like the data
    :param train: throws, one-hot; the page starts with the first of them
    """
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
    share = f"{100 * LEVEL:g} %"
    header = ["face", "throws", "posterior mean", f"{share} interval"]
    rows = [[f"{k}", f"count-{k}", f"mean-{k}", f"low-{k} high-{k}"] for k in range(1, faces + 1)]
    marks = [("box k0", "throws"), ("interval grey", f"prior: mean and {share}")]
    marks += [("interval truth", f"exact posterior: mean and {share}")]
    marks += [] if truth is None else [("diamond", "truth behind the data")]
    choose = [("few", f"First {FEW} throws"), ("all", f"All {len(train)} throws"), ("none", "No throws")]
    numbers = [("log_evidence", "log p(x), exact", "nats"), ("fair", "log p(x) of a fair die", "nats")]
    numbers += [("factor", "in favour of a loaded die", "nats")]
    body = f"""{legend(*marks)}
<div class="stage">
<svg data-part="counts" role="group" aria-label="Throws of each face, to be dragged"></svg>
<svg data-part="picture" role="img"></svg>
</div>
{buttons(*choose)}
{readings(*numbers)}
<output data-part="status"></output>
{table("Numbers of every face", header, rows)}"""
    caption = (
        "First chart: how often each face was thrown. Second chart: the probability of each face under the prior "
        "and under the exact posterior, Dirichlet(concentration + counts), whose marginals are beta distributions. "
        "log p(x) is the evidence of the throws in their order; its difference from that of a fair die is the log "
        "Bayes factor."
    )
    hint = "Try: drag the bar of a face up. How many throws until its interval leaves the mean of the prior?"
    return fragment("die", caption, body, data, hint, ("plot", "special"))
