"""A mixture of normals in the plane: means that are dragged, responsibilities, and EM step by step."""

import torch.nn.functional as F

from data import Dataset
from gallery.models.gaussian_mixture import GaussianMixture
from gallery.report.explorers.fragment import buttons, fragment, legend, readings, rounded, slider

__all__ = ["mixture"]

SHOWN, COLOURS = 200, 5  # data points; colours of style.css


def mixture(pair: GaussianMixture, train: Dataset) -> str | None:
    """Return the explorer of a mixture of normals; None unless x has two coordinates.

    :param pair: the page starts with its parameters
    :param train: the first rows are on the page
    """
    if train.x.shape[1:] != (2,):
        return None
    theta = pair.theta
    x = train.x[:SHOWN]
    data = {
        "x": rounded(x, 3),
        "weights": rounded(theta["logits"].detach().softmax(0), 9),
        "mean": rounded(theta["mean"].detach(), 9),
        "scale": rounded(F.softplus(theta["pre_scale"].detach()), 9),
        "edge": [[round(end.item(), 1) for end in (x[:, i].min() - 1, x[:, i].max() + 1)] for i in (0, 1)],
    }
    components = range(1, len(theta["logits"]) + 1)
    marks = [(f"dot k{(k - 1) % COLOURS}", f"component {k}") for k in components]
    choose = [("step", "EM step"), ("play", "20 EM steps"), ("again", "Start again")]
    numbers = [("log_evidence", "log p(x), mean", "nats per data point"), ("steps", "EM steps", "")]
    numbers += [(f"weight-{k}", f"weight {k}", "") for k in components]
    shares = "".join(
        f'<span class="k{(k - 1) % COLOURS}"><b data-number="responsibility-{k}"></b></span> ' for k in components
    )
    body = f"""{legend(*marks)}
<div class="stage">
<svg data-part="picture" role="group"></svg>
<svg data-part="history" role="img"></svg>
</div>
{buttons(*choose)}
{readings(*numbers)}
{slider("point", "data point, in the ring", 1, len(x), 1)}
<p class="shares">Its responsibilities p(y | x): {shares}</p>
<output data-part="status"></output>"""
    caption = (
        f"{len(x)} data points in the colours of their responsibilities p(y | x), and each component with its ellipses "
        "of one and two standard deviations. An EM step computes the responsibilities (E), then sets weights, means "
        "and scales to the averages that they weight (M). The mean of log p(x) never falls from one step to the next."
    )
    hint = "Try: drag two means onto the same cloud, then press EM step until log p(x) no longer rises."
    return fragment("mixture", caption, body, data, hint, ("plot",))
