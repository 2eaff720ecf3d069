"""The steps of a fit of factor analysis: draws from the model after each step, its covariance, evidence and gap.

A run stores its last weights only, and this fit takes seconds. So it is repeated with the settings and the seed of the
run, and the parameters are kept at some steps. The caption states how far the last ones are from those of the run.
Evidence and gap are exact. The page draws x = W z + sigma e with the same noise z, e at all steps.
"""

import copy
import itertools
from dataclasses import replace

import numpy as np
import torch

from data import Dataset
from data.synthetic import FA_SIGMA, FA_W
from gallery.ledger.experiments.factor_analysis import exact_gap, true_evidence
from gallery.models.factor_analysis import FactorAnalysis
from gallery.report.explorers.fragment import buttons, fragment, legend, packed, readings, rounded
from gallery.runs.prepare import noise_of
from gallery.runs.specification import Run
from inference import SVI

__all__ = ["refit", "training"]

KEPT, SHOWN = 60, 200  # steps, approximately; data points, and draws from the model
FEW_STEPS = 300  # of a fit without a run, each on all the data


def training(run: Run, fitted: FactorAnalysis | None = None) -> str | None:
    """Return the explorer of a run of factor analysis; None for scalar data, which have no pair of coordinates, and for
    data with missing values.

    :param fitted: the pair of the run; without it, a short fit from the same seed is shown
    """
    splits = run.datasets()
    test = splits["test"].to("cpu", torch.float64)
    if test.x.shape[1] < 2 or any(split.missing for split in splits.values()):
        return None
    if fitted is None:
        run = replace(run, settings=replace(run.settings, epochs=FEW_STEPS, batch_size=len(splits["train"])))
    kept = refit(run, splits["train"])
    with torch.no_grad():
        evidence = torch.stack([pair.log_evidence(test.x).mean() for pair in kept.values()])
        W = torch.stack([pair.theta["W"] for pair in kept.values()])
        sigma = torch.stack([pair.sigma for pair in kept.values()])
    gap = torch.tensor([exact_gap(pair, test.x) for pair in kept.values()])
    noise = torch.randn(SHOWN, sum(W.shape[1:]), generator=torch.Generator().manual_seed(0))
    known = run.data == "factor_analysis"
    truth = true_evidence(test.x) if known else None
    covariance = (
        torch.as_tensor(FA_W @ FA_W.T + np.diag(FA_SIGMA**2))
        if known
        else splits["train"].x.to("cpu", torch.float64).T.cov()
    )
    dims = min(3, W.shape[1])
    views = list(itertools.combinations(range(dims), 2))
    data = {
        "steps": list(kept),
        "W": packed(W),  # (kept, data_dim, latent_dim)
        "sigma": packed(sigma),  # (kept, data_dim)
        "noise": packed(noise),  # (SHOWN, latent_dim + data_dim)
        "shape": list(W.shape[1:]),
        "seen": rounded(test.x[:SHOWN]),
        "edge": round(1.15 * test.x.abs().max().item(), 3),
        "views": views,
        "evidence": rounded(evidence, 6),
        "gap": rounded(gap, 9),
        "truth": truth,
        "covariance": rounded(covariance[:dims, :dims], 6),
    }
    pictures = "".join(f'<svg data-part="view-{k}" role="img"></svg>' for k in range(len(views)))
    other = "the true covariance" if known else "the covariance of the training data"
    marks = [("dot k0", "data"), ("dot k1", "drawn from the model"), ("prior", "the model's two standard deviations")]
    marks += [("truth", "log p(x), exact"), ("guide", "ELBO"), ("k4", "gap")]
    numbers = [("log_evidence", "log p(x), exact", "nats"), ("elbo", "ELBO", "nats"), ("gap", "gap, exact", "nats")]
    numbers += [] if truth is None else [("below", "log p(x) below the true model", "nats")]
    numbers += [("off", f"largest difference of W W′ + Φ from {other}", "")]
    body = f"""<div class="bar-of-steps">
<label>step of the fit <input type="range" data-part="step" min="0" max="{len(kept) - 1}" value="{len(kept) - 1}"
 step="1"></label>{buttons(("play", "Play"))}
</div>
{legend(*marks)}
<div class="stage narrow">{pictures}</div>
{readings(*numbers)}
<div class="stage narrow">
<svg data-part="curve" role="img"></svg>
<svg data-part="gaps" role="img"></svg>
<div class="matrices">{_matrix("W W′ + Φ", "model", dims)}{_matrix(other, "other", dims)}</div>
</div>
<output data-part="status"></output>"""
    caption = (
        f"{SHOWN} {test.split} data points and as many draws from the model, with the same noise at every step, over "
        f"each pair of coordinates. log p(x), ELBO and gap are exact: means over {len(test)} {test.split} data points. "
        f"The fit of {max(kept)} steps is repeated from seed {run.settings.seed} to keep them"
    )
    if fitted is not None:
        last = kept[max(kept)].state_dict()
        off = max((last[name] - value.cpu()).abs().max().item() for name, value in fitted.state_dict().items())
        caption += "; its last parameters are " + ("those of the run, to the bit" if not off else f"within {off:.1g}")
    hint = "Try: play the fit. The guide catches up first and the gap closes; then model and bound rise together."
    return fragment("training", f"{caption}.", body, data, hint, ("plot",))


def _matrix(title: str, name: str, dims: int) -> str:
    """Return a table for a matrix, whose cells the script fills in."""
    rows = [[f'<td data-number="{name}-{i}-{j}"></td>' for j in range(dims)] for i in range(dims)]
    lines = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f"<table><caption>{title}</caption>{lines}</table>"


def refit(run: Run, train: Dataset) -> dict[int, FactorAnalysis]:
    """Repeat the fit of a run, and return copies of the pair on the CPU in float64, by number of steps.

    The numbers are 0, that of the last step, and about KEPT between them at equal ratios.
    """
    pair = run.build()
    with noise_of(run):
        svi = SVI(pair, train.x, train.given, run.settings, train.transform)
        steps = {0, *np.geomspace(1, svi.steps, KEPT).round().astype(int).tolist()}
        kept = {0: copy.deepcopy(pair).cpu().double()}
        for step, _ in svi:
            if step in steps:
                kept[step] = copy.deepcopy(pair).cpu().double()
    return kept
