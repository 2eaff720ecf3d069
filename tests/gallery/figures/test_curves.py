"""Learning curves: limits, lines, labels and panels."""

import math

import numpy as np
import pytest
from figure_cases import history_of

from gallery.figures import (
    learning_curve,
    save,
)
from gallery.figures.style import label_ends


def test_early_epochs_do_not_squash_the_curve():
    ax = learning_curve(history_of([-1e6, -500.0, *np.linspace(-110, -100, 38)]), "title").axes[0]
    low, high = ax.get_ylim()
    assert -125 < low < -111
    assert -100 < high < -95
    assert "↓ below at epoch 1: training −1.0000e+06, test −1.0000e+06" in [t.get_text() for t in ax.texts]
    assert ax.get_title(loc="left") == "title"


@pytest.mark.parametrize("key", ["elbo", "reconstruction"])
@pytest.mark.parametrize("bound", [{"beta": 1.0}, {"beta": 2.0}, {"loss_is_bound": False}])
def test_the_words_below_a_curve_are_not_cut(key, bound):
    """Three splits of five digits, whatever the labels of the lines are: the longest words that there can be."""
    values = [-1871.8, *np.linspace(-110, -100, 39)]
    history = [
        {"epoch": i + 1, "loss": 1.2 - value, "validation": {key: value - 1}, "test": {key: value}, **bound}
        for i, value in enumerate(values)
    ]
    fig = learning_curve(history)
    (words,) = [text for text in fig.axes[0].texts if text.get_text().startswith("↓")]
    assert words.get_text() == "↓ below at epoch 1: training −1873.0, validation −1872.8, test −1871.8"
    fig.draw_without_rendering()
    assert words.get_window_extent().x0 > 0


def test_lines_of_a_learning_curve():
    history = history_of([-5.0, -4.0, math.nan, -3.0], validation={"elbo": -6.0}, loss_is_bound=False)
    for line in history:
        line["test"]["evidence"] = -2.5
    ax = learning_curve(history).axes[0]
    texts = " ".join(t.get_text() for t in ax.texts)
    assert "test: ELBO −3.0000" in texts
    assert "test: log p(x), exact −2.5" in texts
    assert "validation: ELBO −6" in texts
    assert "not a bound" in texts
    assert all(np.isfinite(line.get_ydata()).all() for line in ax.lines)


def test_a_loss_with_a_kl_of_weight_above_1_is_a_looser_bound():
    texts = " ".join(t.get_text() for t in learning_curve(history_of([-5.0, -4.0], beta=2.0)).axes[0].texts)
    assert "a looser bound" in texts


@pytest.mark.parametrize(
    ("history", "ylabel", "lines", "texts"),
    [
        ([{"epoch": 1, "loss": 3.0}], "ELBO", [[-3.0]], ["training: −loss −3.0000"]),
        ([{"epoch": 1, "loss": math.inf}], "ELBO", [], ["no epoch has a finite value"]),
        (
            history_of([1.0, 1.0, 1.0]),
            "ELBO",
            [[2.0] * 3, [1.0] * 3],
            ["test: ELBO 1.0000", "training: −loss 2.0000"],
        ),
        (
            [{"epoch": e, "loss": 1.0, "test": {"reconstruction": -e, "evidence": -9.0}} for e in (1, 2)],
            "log-likelihood",
            [[-1.0] * 2, [-1.0, -2.0]],  # without the evidence, because there is no bound
            ["test: log p(x | z) −2.0000", "training: −loss −1.0000"],
        ),
    ],
)
def test_odd_histories_are_drawn(history, ylabel, lines, texts, tmp_path):
    (ax,) = learning_curve(history).axes
    save(ax.figure, tmp_path / "curve.png")
    assert ax.get_ylabel() == f"{ylabel}, nats per data point"
    assert [line.get_ydata().tolist() for line in ax.lines] == lines
    assert [t.get_text() for t in ax.texts] == texts


def test_what_is_known_of_a_discrete_cause_has_panels_below(tmp_path):
    history = history_of(np.linspace(-30.0, -20.0, 30))
    for line in history:
        line["test"] |= {"entropy": 2.3 / line["epoch"], "accuracy": 1 - 0.9 / line["epoch"]}
    assert len(learning_curve(history_of([-3.0, -2.0])).axes) == 1
    bounds, entropy, accuracy = learning_curve(history, "title").axes
    save(bounds.figure, tmp_path / "panels.png")
    for ax, name in ((entropy, "entropy"), (accuracy, "accuracy")):
        (curve,) = ax.lines
        assert curve.get_xydata().tolist() == [[line["epoch"], line["test"][name]] for line in history]
        assert [t.get_text() for t in ax.texts] == [f"test: {history[-1]['test'][name]:.3f}"]
        assert ax.get_xlim() == bounds.get_xlim()
    assert [line.get_ydata()[-1] for line in bounds.lines] == [-19.0, -20.0]  # training, test
    assert (entropy.get_ylim()[0], accuracy.get_ylim()) == (0, (0, 1))
    assert bounds.get_title(loc="left") == "title"

    for line in history:
        del line["test"]["accuracy"]
    assert len(learning_curve(history).axes) == 2


def test_labels_at_the_ends_do_not_overlap():
    ax = learning_curve(history_of([0.0, 1.0])).axes[0]
    ax.set_ylim(0, 1)
    ax.texts[0].remove()
    ax.texts[0].remove()
    label_ends(ax, [(0.5, str(i), "black") for i in range(5)])
    heights = sorted(t.get_position()[1] for t in ax.texts)
    assert np.diff(heights).min() > 0.04
