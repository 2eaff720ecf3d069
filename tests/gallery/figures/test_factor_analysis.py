"""Figures of linear regression and factor analysis."""

import numpy as np
import pytest
import torch
from figure_cases import fitted

import data
from gallery.figures import (
    fa_data,
    fa_experiment_1,
    fa_experiment_2,
    fa_fixed_variance,
    fa_one_axis,
    regression,
    save,
)


def test_ellipses_of_the_exact_posterior_are_at_one_and_two_standard_deviations():
    pair, splits, _ = fitted("linear_regression", "line")
    train = splits["train"]
    right = regression(pair, train).axes[1]
    exact = pair.posterior(train.x, train.covariates)
    for line, sd in zip(right.lines[:2], (1, 2), strict=True):
        away = torch.tensor(line.get_xydata(), dtype=torch.float32) - exact.mean
        distance = torch.linalg.solve_triangular(exact.scale_tril, away.T, upper=False).norm(dim=0)
        np.testing.assert_allclose(distance, sd, rtol=1e-2)


@pytest.mark.integration
def test_the_tutorials_figures_of_factor_analysis(tmp_path):
    splits = {split: data.load("factor_analysis", split).x for split in ("train", "test")}
    step = np.arange(1, 1001)
    evidence = -4 - 4 * np.exp(-step / 50)
    curve = {"step": step.tolist(), "elbo": (evidence - 20 / step).tolist(), "evidence": evidence.tolist()}
    fig = fa_data(splits["train"])
    assert all(ax.get_xlim() == ax.get_ylim() == (-7, 7) for ax in fig.axes)
    save(fig, tmp_path / "data.png")

    fig = fa_experiment_1(curve, splits["test"], {n: torch.randn(1000, 3) for n in (5, 100, 800)}, truth=-3.97)
    save(fig, tmp_path / "one.png")
    curve_axes, *planes = fig.axes
    assert len(planes) == 9  # three projections at each of three steps
    assert [ax.get_title(loc="left") for ax in planes[::3]] == [f"after {n} steps" for n in (5, 100, 800)]
    assert [(ax.get_xlabel(), ax.get_ylabel()) for ax in planes[:3]] == [("x₁", "x₂"), ("x₁", "x₃"), ("x₂", "x₃")]
    assert [text.get_text() for text in curve_axes.texts] == ["5 steps", "100 steps", "800 steps"]

    phases = [(0, 250, "guide"), (250, 500, "model"), (500, 750, "guide"), (750, 1000, "model")]
    for more in ({}, {"gap": (20 / step).tolist()}):
        fig = fa_experiment_2({**curve, **more}, phases, truth=-3.97, em=[-8.0, -5.0, -4.0] if more else None)
        assert fig.axes[0].get_ylim() == (-8.0, -3.8)
        assert len(fig.axes[0].patches) == 2
        assert len(fig.axes) == 2 + bool(more)
        save(fig, tmp_path / "two.png")
    fig = fa_one_axis(curve, curve, phases, truth=-3.97)
    assert len(fig.axes) == 1
    assert len(fig.axes[0].patches) == 2
    assert len({text.get_text().split(" −")[0] for text in fig.axes[0].texts}) == 3


def test_the_cost_of_a_fixed_variance_has_every_seed_and_the_median():
    points = [{"variance": v, "elbo": [-5.0, -4.0 - v, -4.5], "evidence": [-4.0, -4.1, -4.2]} for v in (0.1, 1.0)]
    (ax,) = fa_fixed_variance(points, -3.9).axes
    assert ax.get_xscale() == "log"
    evidence, elbo = (line.get_ydata() for line in ax.lines if line.get_linestyle() == "-")
    np.testing.assert_allclose(evidence, [-4.1, -4.1])
    np.testing.assert_allclose(elbo, [-4.5, -5.0])
    assert sum(line.get_marker() == "o" for line in ax.lines) == 6
