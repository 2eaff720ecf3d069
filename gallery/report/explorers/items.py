"""Items whose difficulty and slope are moved, and what right, wrong and missing answers say about an ability."""

from collections import Counter

from data import Dataset
from gallery.models.item_response import ItemResponse
from gallery.report.explorers.fragment import buttons, fragment, legend, options, readings, rounded, slider
from inference.pairs.capabilities import exact

__all__ = ["items"]

MOST, COLOURS = 8, 5  # items; colours of style.css
STEEPEST, FURTHEST = 4.0, 4.0  # slope of an item on the page, and distance of its difficulty from 0


def items(pair: ItemResponse, train: Dataset) -> str | None:
    """Return the explorer of an item response model; None without its exact posterior, for more than eight items,
    and for items that are steeper or further from 0 than the page shows.

    :param pair: the page starts with its items
    :param train: the page has how often each pattern of answers occurs
    """
    if exact(pair, "posterior") is None or train.x.shape[1] > MOST:
        return None
    n, number = train.x.shape
    a, b = (pair.theta[name].detach().expand(number) for name in "ab")
    if a.min() < 0 or a.max() > STEEPEST or b.abs().max() > FURTHEST:
        return None
    patterns = Counter("".join("-" if v != v else str(int(v)) for v in row) for row in train.x.tolist())
    data = {
        "a": rounded(a, 9),
        "b": rounded(b, 9),
        "shared": pair.theta["a"].ndim == 0,
        "steepest": STEEPEST,
        "patterns": sorted(patterns.items()),
    }
    names = [f"item {j + 1}" for j in range(number)]
    marks = [(f"dot k{j % COLOURS}", name) for j, name in enumerate(names)]
    marks += [("prior", "prior of z"), ("truth", "exact posterior p(z | x)")]
    toggles = [(f"answer-{j}", name) for j, name in enumerate(names)]
    presets = [("right", "All right"), ("wrong", "All wrong"), ("missing", "No answer"), ("again", "Items as at first")]
    numbers = [("mean", "E[z | x]", ""), ("sd", "sd of z given x", ""), ("log_x", "log p(x) of these answers", "nats")]
    numbers += [("expected", f"persons with them, of {n:,}: expected", ""), ("observed", "observed", "")]
    numbers += [("log_all", "log p(x), all persons", "nats per data point")]
    body = f"""{legend(*marks)}
<div class="stage">
<svg data-part="curves" role="group"></svg>
<svg data-part="picture" role="img"></svg>
</div>
<div class="controls">
<label>item <select data-part="item">{options(names)}</select></label>
{slider("slope", "its slope a" if not data["shared"] else "slope a of all items", 0, 100, 50)}
</div>
<p class="head">A person's answers, changed by a click:</p>
{buttons(*toggles)}
{buttons(*presets)}
{readings(*numbers)}
<output data-part="status"></output>"""
    caption = (
        "First chart: the probability of a right answer to each item by the ability z. The dot is at the difficulty b, "
        "where it is one half, and is dragged; the slope there is a / 4. Second chart: prior and exact posterior of "
        "the ability of a person with the answers below, by a sum over 201 nodes; a missing answer says nothing. The "
        "items are those after 60 steps of EM on the data, or those of the run."
    )
    hint = (
        "Try: give all answers right, then make an item harder: how far does the posterior move? Then leave out one "
        "answer after the other."
    )
    return fragment("items", caption, body, data, hint, ("plot",))
