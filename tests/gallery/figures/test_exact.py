"""Figures of scalar models hold the exact densities and evidence."""

import numpy as np
import torch
from figure_cases import ROWS, ExactGuide, fitted

from gallery.figures import (
    amortisation,
    evidence_curve,
    posterior_1d,
    save,
)
from gallery.figures.style import number


def test_posterior_1d_draws_densities_and_numbers():
    fig = posterior_1d(ExactGuide(), xs=(1.5, 0.0, -2.0))
    assert len(fig.axes) == 3
    for ax, x in zip(fig.axes, (1.5, 0.0, -2.0), strict=True):
        prior, exact, guide = ax.lines
        z, p = exact.get_data()
        assert abs(np.trapezoid(p, z) - 1) < 0.01
        np.testing.assert_allclose(guide.get_ydata(), p, rtol=1e-4, atol=1e-6)
        assert prior.get_ydata()[z < 0].max() == 0
        evidence = ExactGuide().log_evidence(torch.tensor([[x]])).item()
        assert f"log p(x) = {number(evidence, '.4f')}" in ax.get_title(loc="left")
        assert "gap 0.0000 ± 0.0000 nats" in ax.get_title(loc="left")


def test_posterior_1d_per_datum_takes_the_nearest_data():
    pair, splits, _ = fitted("exponential_gaussian:per_datum", "exponential_gaussian", total=ROWS)
    x = splits["train"].x
    row = (x[:, 0] - 1.5).abs().argmin()
    (ax,) = posterior_1d(pair, (1.5,), x).axes
    z, q = ax.lines[2].get_data()
    family = pair.family(*pair.eta.weight[row].detach().unsqueeze(-1))
    z = torch.tensor(z, dtype=torch.float32)
    expected = family.log_prob(z[z >= 0]).exp()
    np.testing.assert_allclose(q[z >= 0], expected, rtol=1e-4)


def test_evidence_curve_of_the_exact_guide_lies_on_the_evidence():
    top, bottom = evidence_curve(ExactGuide(), particles=10).axes
    np.testing.assert_allclose(top.lines[1].get_ydata(), top.lines[0].get_ydata(), atol=1e-6)
    assert abs(bottom.lines[0].get_ydata()).max() < 1e-8
    assert top.get_xlim() == (-2, 6)


def test_amortisation_draws_the_mean_gap_of_every_bin(tmp_path):
    x, gap = torch.tensor([[3.0], [1.0], [2.0], [0.0]]), torch.tensor([0.3, -1e-6, 0.1, 0.0])
    fig = amortisation(x, {"one": gap, "other": 0 * gap}, bins=2)
    one, other = (container.lines[0] for container in fig.axes[0].containers)
    np.testing.assert_allclose(np.array(one.get_data(), float), [[0.5, 2.5], [-5e-7, 0.2]], rtol=1e-6)
    assert not np.array(other.get_ydata(), float).any()
    assert "one: mean 1.0e−01 nats" in [text.get_text() for text in fig.legends[0].get_texts()]
    save(fig, tmp_path / "amortisation.png")
