"""The steps of a fit of factor analysis: draws from the model after each step, over data, and its evidence.

A run stores its last weights only, and this fit takes seconds. So it is repeated with the settings and the seed of the
run, and the parameters are kept at some steps. The caption states how far the last ones are from those of the run.
Evidence and gap are exact. The page draws x = W z + sigma e with the same noise z, e at all steps.
"""

import copy
import itertools

import numpy as np
import torch

from data import Dataset
from gallery.figures.style import number
from gallery.ledger.experiments.factor_analysis import exact_gap, true_evidence
from gallery.models.factor_analysis import FactorAnalysis
from gallery.report.explorers.fragment import fragment, packed, rounded
from gallery.runs.prepare import noise_of
from gallery.runs.specification import Run
from inference import SVI

__all__ = ["refit", "training"]

KEPT, SHOWN = 60, 200  # steps, approximately; data points, and draws from the model


def training(run: Run, fitted: FactorAnalysis) -> str | None:
    """Return the explorer of a run of factor analysis; None for scalar data, which have no pair of coordinates."""
    splits = run.datasets()
    test = splits["test"].to("cpu", torch.float64)
    if test.x.shape[1] < 2:
        return None
    kept = refit(run, splits["train"])
    last = kept[max(kept)].state_dict()
    off = max((last[name] - value.cpu()).abs().max().item() for name, value in fitted.state_dict().items())
    with torch.no_grad():
        evidence = torch.stack([pair.log_evidence(test.x).mean() for pair in kept.values()])
        W = torch.stack([pair.theta["W"] for pair in kept.values()])
        sigma = torch.stack([pair.sigma for pair in kept.values()])
    gap = torch.tensor([exact_gap(pair, test.x) for pair in kept.values()])
    noise = torch.randn(SHOWN, sum(W.shape[1:]), generator=torch.Generator().manual_seed(0))
    truth = true_evidence(test.x) if run.data == "factor_analysis" else None
    views = list(itertools.combinations(range(min(3, W.shape[1])), 2))
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
        "gap": rounded(gap, 6),
        "truth": truth,
    }
    pictures = "".join(
        f'<svg class="view" data-part="view-{k}" viewBox="0 0 150 150" role="img"></svg>' for k in range(len(views))
    )
    body = f"""<div class="parts">{pictures}</div>
<svg data-part="curve" viewBox="0 0 360 130" role="img"></svg>
<label>step <input type="range" data-part="step" min="0" max="{len(kept) - 1}" value="{len(kept) - 1}" step="1"></label>
<output data-part="status"></output>"""
    caption = (
        f"{SHOWN} {test.split} data points (blue), {SHOWN} draws from the model (orange) and its ellipse of two "
        "standard deviations; below, log p(x) and the ELBO over the steps of the fit. Both are exact, means over "
        f"{len(test)} {test.split} data points in nats. "
    )
    caption += "" if truth is None else f"The true model has {number(truth, '.4f')}. "
    caption += f"The fit is repeated from seed {run.settings.seed} to keep the steps; its last parameters are "
    caption += "those of the run, to the bit." if not off else f"within {off:.1g} of those of the run."
    return fragment("training", caption, body, data)


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
