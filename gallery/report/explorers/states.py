"""A hidden Markov chain: measurements that are dragged, filtering, smoothing and the most probable path."""

import torch
import torch.nn.functional as F
from torch import Tensor

from data import Dataset
from gallery.models.hmm import HMM
from gallery.report.explorers.fragment import buttons, fragment, legend, readings, rounded, table

__all__ = ["states"]

SEQUENCES, COLOURS = 6, 5  # test sequences; colours of style.css
LONGEST = 20  # steps


def states(pair: HMM, test: Dataset) -> str | None:
    """Return the explorer of a hidden Markov model; None for a sequence of many steps.

    :param pair: with fitted parameters
    :param test: the page has sequences of several states whose filtering probabilities the later steps correct
    """
    if test.x.shape[1] > LONGEST:
        return None
    theta = {name: value.detach() for name, value in pair.theta.items()}
    edge = test.x.abs().max().item() + 0.5
    smoothed = pair.expected_counts(test.x)[2]
    visited = smoothed.amax(1).sum(1)  # states, nearly
    corrected = (smoothed - _filtered(pair, test.x)).abs().amax((1, 2))
    chosen = (visited * corrected).argsort(descending=True)[:SEQUENCES]
    data = {
        "sequences": rounded(test.x[chosen], 2),
        "initial": rounded(theta["initial"].softmax(0), 9),
        "transition": rounded(theta["transition"].softmax(1), 9),
        "mean": rounded(theta["mean"], 9),
        "scale": rounded(F.softplus(theta["pre_scale"]), 9),
        "edge": round(edge, 1),
    }
    k, steps = range(1, len(theta["mean"]) + 1), range(1, test.x.shape[1] + 1)
    marks = [(f"dot k{(i - 1) % COLOURS}", f"state {i}") for i in k] + [("chain", "most probable path")]
    numbers = [("log_evidence", "log p(x), exact", "nats"), ("path", "log p(x, path)", "nats")]
    numbers += [("share", "p(path | x)", "")]
    header = ["step", *(f"{name} {i}" for name in ("filtered", "smoothed") for i in k), "path"]
    rows = [[f"{t}", *(f"{name}-{t}-{i}" for name in ("filter", "smooth") for i in k), f"path-{t}"] for t in steps]
    body = f"""{legend(*marks)}
<div class="stage">
<svg data-part="sequence" role="group"></svg>
<div><svg data-part="filter" role="img"></svg><svg data-part="smooth" role="img"></svg></div>
</div>
{buttons(("next", "Another sequence"), ("again", "Start again"))}
{readings(*numbers)}
<output data-part="status"></output>
{table("Probabilities of every step", header, rows)}"""
    caption = (
        "First chart: the measurements x_t in the colour of their most probable state, the levels of the states "
        "with one standard deviation, and the most probable path (Viterbi). The bars: p(y_t | x_1, ..., x_t), the "
        "filtering probabilities, and p(y_t | x_1, ..., x_T), the smoothing probabilities, which know the later "
        "steps too. Parameters after 60 steps of EM on training data, or those of the run."
    )
    hint = "Try: drag one measurement to another level. Later ones correct the filtered state: compare the two rows."
    return fragment("states", caption, body, data, hint, ("plot",))


def _filtered(pair: HMM, x: Tensor) -> Tensor:
    """Compute p(y_t | x_1, ..., x_t), (n, T, states), as the last state of each beginning of the sequences."""
    return torch.stack([pair.expected_counts(x[:, :t])[2][:, -1] for t in range(1, x.shape[1] + 1)], dim=1)
