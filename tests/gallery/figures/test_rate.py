"""Bars of the KL per coordinate, and distortion against rate."""

from figure_cases import SMALL, fitted
from matplotlib.colors import to_hex

from gallery.figures import (
    kl_bars,
    rate_distortion,
    save,
)
from gallery.figures.style import BLUE, GREY
from inference.evaluation.metrics import kl_per_latent


def test_kl_bars_are_sorted_and_the_inactive_are_grey(tmp_path):
    fig = kl_bars({"z": [0.5, 0.0, 2.0, 0.0099, 0.0101]})
    save(fig, tmp_path / "kl.png")
    (ax,) = fig.axes
    assert [bar.get_height() for bar in ax.patches] == [2.0, 0.5, 0.0101, 0.0099, 0.0]
    assert [to_hex(bar.get_facecolor()).upper() for bar in ax.patches] == [BLUE] * 3 + [GREY] * 2
    assert [t.get_text() for t in ax.get_xticklabels()] == ["2", "0", "4", "3", "1"]
    assert "2.52 nats in all, 3 of 5 above 0.01" in ax.get_title(loc="left")
    steps = kl_bars({"z_1": [0.1, 0.2], "z_2": [0.3, 0.0]}).axes[0]
    assert [t.get_text() for t in steps.get_xticklabels()] == ["z_2[0]", "z_1[1]", "z_1[0]", "z_2[1]"]
    assert not kl_bars({"z": [0.1] * 100}).axes[0].get_xticklabels()
    assert kl_bars({"z": [0.1, 0.2]}) is None


def test_kl_bars_of_latents_of_one_coordinate_stand_in_their_order():
    ax = kl_bars({"z_1": [0.1], "z_2": [0.3], "z_3": [0.2]}).axes[0]
    assert [bar.get_height() for bar in ax.patches] == [0.1, 0.3, 0.2]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["z_1", "z_2", "z_3"]
    many = kl_bars({f"z_{t}": [0.1] for t in range(1, 101)}).axes[0]
    assert many.get_xlabel() == "latents z_1 to z_100, in their order"


def test_kl_bars_of_a_pair_are_those_of_its_evaluation():
    pair, splits, _ = fitted("vae", "digits:static", **SMALL, latent_dim=4)
    kl = kl_per_latent(pair, splits["test"].x)
    assert [bar.get_height() for bar in kl_bars(kl).axes[0].patches] == sorted(kl["z"], reverse=True)


def test_rate_and_distortion_with_the_line_of_equal_elbo(tmp_path):
    points = [
        {"beta": beta, "kl": rate, "reconstruction": -distortion}
        for beta, rate, distortion in ((4.0, 11.0, 98.0), (0.5, 32.0, 63.0), (1.0, 24.5, 71.0))
    ]
    fig = rate_distortion(points)
    save(fig, tmp_path / "rate.png")
    (ax,) = fig.axes
    curve, line = ax.lines
    assert curve.get_xydata().tolist() == [[32, 63], [24.5, 71], [11, 98]]  # in the order of beta
    assert [(t.get_text(), t.xy) for t in ax.texts] == [
        ("β = 0.5", (32, 63)),
        ("β = 1", (24.5, 71)),
        ("β = 4", (11, 98)),
    ]
    assert (line.get_xy1(), line.get_slope()) == ((24.5, 71), -1)
    assert "95.50" in ax.get_legend().get_texts()[0].get_text()
    assert len(rate_distortion(points[:2]).axes[0].lines) == 1
