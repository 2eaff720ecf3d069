"""The pictures of a comparison: what an estimate above the exact evidence is, and whose gradients are shown."""

import math
from itertools import pairwise

import pytest

from gallery.figures.comparison import bound, variance


def result_of(joint=False, evidence=-4.0):
    """Return the content of compare.json of one fit, whose line ends above the evidence, and its dot below."""
    curve = [{"seconds": float(t), "elbo": elbo, "evidence": evidence} for t, elbo in enumerate((-9, -5, -3.9), 1)]
    elbo = {"value": -4.1, "mc_se": 0.03} | ({} if joint else {"se": 0.2})
    row = {"label": "trace", "seconds": 3.0, "curve": curve, "elbo": elbo}
    if evidence is not None:
        row["evidence"] = {"value": evidence}
    return {"model": "m", "data": "d", "split": "test", "judge_draws": 64, "rows": [row]}


@pytest.mark.parametrize(
    ("chosen", "line"),
    [
        ({}, "1 draw per data point, so it can lie above log p(x)"),
        ({"joint": True}, "8 joint draws, so it can lie above log p(x)"),
        ({"evidence": None}, "1 draw per data point"),
    ],
)
def test_the_draws_behind_lines_and_dots_are_stated(chosen, line):
    ax = bound(result_of(**chosen)).axes[0]
    title = ax.get_title(loc="left").splitlines()
    assert title[1] == f"line: {line}; dot: 64 draws, ± 2 Monte Carlo standard errors"


def test_the_dot_and_the_number_are_the_final_evaluation():
    ax = bound(result_of()).axes[0]
    ((dot, _caps, bars),) = ax.containers
    assert dot.get_xydata().tolist() == [[3.0, -4.1]]
    assert [end for _, end in bars[0].get_segments()[0]] == pytest.approx([-4.16, -4.04])
    assert "trace −4.1000" in {text.get_text() for text in ax.texts}


@pytest.mark.parametrize("far", [10.0, 1e7])
def test_variances_name_the_parts_there_are_and_their_ticks_do_not_overlap(far):
    noise = [{"model": {"variance": value, "snr": 1 / value}} for value in (1e-3, 1e-3 * far)]
    rows = [{"label": str(i), "at": "trace", "noise": of} for i, of in enumerate(noise)]
    fig = variance({"model": "lda", "rows": rows})
    left, right = fig.axes
    assert (right.get_title("left"), right.get_title("right")) == ("model", "")
    fig.draw_without_rendering()
    low, high = left.get_xlim()
    shown = [it for it, at in zip(left.get_xticklabels(), left.get_xticks(), strict=True) if low <= at <= high]
    boxes = [label.get_window_extent() for label in shown]
    assert len(boxes) > 1
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))


@pytest.mark.parametrize(
    ("of_curve", "of_row"), [(0.0, 0.0), (0.0018098541408979258, math.nextafter(0.0018098541408979258, 1)), (2.0, 2.0)]
)
def test_a_fit_of_one_step_has_an_axis(of_curve, of_row):
    """The clock may not have moved, or two times differ by their last digit and their logarithms do not."""
    result = result_of(evidence=None)
    row = result["rows"][0]
    result["rows"] = [row | {"seconds": of_row, "curve": [p | {"seconds": of_curve} for p in row["curve"][:2]]}]
    figure = bound(result)
    figure.draw_without_rendering()
    low, high = figure.axes[0].get_xlim()
    assert 0 < 1.009 * low < high
