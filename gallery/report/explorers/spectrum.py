"""The eigenvalues of data and a level of noise that is dragged: which units of a linear code live, in closed form."""

import torch

from data import Dataset
from gallery.models.ppca import PPCA
from gallery.report.explorers.fragment import buttons, fragment, legend, packed, readings, slider

__all__ = ["spectrum"]

SHOWN, EXAMPLES = 20, 12  # eigenvalues, and so units at most; images of the test data
PIXELS = 28 * 28  # of an image, at most


def spectrum(pair: PPCA, train: Dataset, test: Dataset) -> str | None:
    """Return the explorer of probabilistic PCA at its maximum of the likelihood; None for data that have none.

    :param pair: the page starts with its number of units, and with its noise where that is fixed
    :param train: eigenvalues and mean are of all its rows
    :param test: its first images are reconstructed, where they are grey and small
    """
    if train.missing:
        return None
    x, d = train.x.double(), train.x.shape[1]
    covariance = torch.cov(x.T, correction=0)
    eigenvalues, u = (of.flip(-1) for of in torch.linalg.eigh(covariance))
    shown = min(SHOWN, d - 1, int((eigenvalues > 1e-9 * eigenvalues[0]).sum()) - 1)
    if shown < 1:
        return None
    data = {
        "eigenvalues": [float(f"{value:.9g}") for value in eigenvalues[:shown].tolist()],
        "total": float(f"{covariance.trace().item():.9g}"),
        "d": d,
        "sigma": None if "log_sigma" in pair.theta else pair.fixed.item(),
    }
    units = slider("k", "units k", 1, shown, min(pair.latent_dim, shown))
    images = test.is_image and len(test.shape) == 2 and d <= PIXELS
    shots = ""
    if images:
        data |= {
            "shape": list(test.shape),
            "mean": packed(x.mean(0)),
            "u": packed(u[:, :shown].T),
            "x": packed(test.x[:EXAMPLES]),
        }
        shots = """<div class="shots">
<div class="shot"><p>test image x</p><canvas data-part="original" role="img"></canvas></div>
<div class="shot"><p>its reconstruction</p><canvas data-part="image" role="img"></canvas></div>
<div class="shot wide"><p>W: what each unit adds</p><canvas data-part="units" role="img"></canvas></div>
</div>
"""
    marks = [("box grey", "eigenvalues"), ("box k0", "above the noise: twice the KL of a unit")]
    marks += [("guide", "noise σ²"), ("truth", "log p(x) by the noise"), ("diamond", "best noise of k units")]
    numbers = [("live", "units that live", ""), ("log_p", "log p(x) = ELBO, mean", "nats")]
    numbers += [("reconstruction", "E[log p(x | z)]", "nats"), ("kl", "KL of the code", "nats")]
    numbers += [("best", "largest log p(x) of k units", "nats")]
    choose = [("snap", "Best noise of k units"), *([("example", "Next test image")] if images else [])]
    body = f"""{legend(*marks)}
{units}
<div class="stage">
<svg data-part="picture" role="group"></svg>
<svg data-part="curve" role="group"></svg>
</div>
{buttons(*choose)}
{shots}{readings(*numbers)}
<output data-part="status"></output>"""
    caption = (
        f"First chart: the {shown} largest of {d} eigenvalues λ of the covariance of the data, on a logarithmic axis, "
        "and the noise, which is dragged. Unit j of k lives where λ_j exceeds σ²; at the maximum of the likelihood its "
        "KL is ½ log(λ_j / σ²), half of its bar above the line. Second chart: log p(x) at that maximum, a mean over "
        "the training data, by the noise. The guide is the posterior, so the ELBO is the same. All numbers are in "
        "closed form."
    )
    hint = "Try: raise the noise until units die. Then find the noise of the largest log p(x): no unit is dead there."
    return fragment("spectrum", caption, body, data, hint, ("plot",))
