"""The training loop on the page about inference fits."""

import torch

import data
from gallery.models.factor_analysis import FactorAnalysis
from gallery.report.site.svi_example import fit


def test_the_loop_of_the_page_fits():
    """The loss of the last epoch is below that of the first by more than four standard errors."""
    x = data.load("factor_analysis").x
    losses = torch.tensor(fit(FactorAnalysis(), x, epochs=8, lr=1e-2)).reshape(8, -1)
    fallen = losses[0] - losses[-1]
    assert fallen.mean() > 4 * fallen.std() / len(fallen) ** 0.5
