"""Rows of a seed share weights, the order of the data, and noise."""

import warnings

import pytest
import torch
from comparisons import compared, comparing

from gallery.comparison import Row
from gallery.comparison.follow import passes_per_step
from gallery.comparison.process import run_row
from gallery.comparison.rows import refusal
from gallery.errors import RunError
from gallery.figures.comparison import variance

pytestmark = pytest.mark.integration


def first_steps(comparison, name, count=3):
    train = comparison.run.datasets()["train"]
    svi = comparison.svi(Row(name, "own", 1), train)
    return [svi.rows(i).tolist() for i in range(40)], [svi.train_step().item() for _ in range(count)]


def test_rows_of_a_seed_share_weights_order_and_noise():
    names = ("trace", "score", "graph", "iwae:1", "dreg:1", "renyi:0.5:1")
    comparison = comparing("factor_analysis", names, seeds=2)
    order, losses = first_steps(comparison, "trace")
    assert [len(set(rows)) for rows in order[:5]] == [32] * 5
    for name in names[1:]:
        others, their_losses = first_steps(comparison, name)
        assert others == order
        assert their_losses[0] == pytest.approx(losses[0], rel=1e-12)  # one draw: all of these are the ELBO
        if name in ("graph", "iwae:1", "renyi:0.5:1"):  # and these have its gradient, so the same weights afterwards
            assert their_losses == pytest.approx(losses, rel=1e-9)


@pytest.mark.parametrize("guide", ["diagonal", "normal"])
def test_other_guides_start_beside_the_same_model(guide):
    comparison = comparing("factor_analysis", guides=("own", guide))
    train = comparison.run.datasets()["train"]
    own, other = (comparison.pair(Row("trace", name, 3), train).state_dict() for name in ("own", guide))
    for name in ("theta.W", "theta.pre_sigma"):
        assert torch.equal(own[name], other[name])
    assert own.keys() != other.keys()


def test_noise_is_measured_at_one_place_with_one_stream(tmp_path):
    result, _ = compared(comparing("factor_analysis", ("trace", "score")), tmp_path)
    reparametrised, score = (row["noise"] for row in result["rows"])
    assert {row["at"] for row in result["rows"]} == {"trace"}
    assert score["model"]["variance"] == pytest.approx(reparametrised["model"]["variance"], rel=1e-9)  # the same draws
    assert score["guide"]["variance"] != reparametrised["guide"]["variance"]
    assert variance(result).axes[0].get_yticklabels()[1].get_text() == "score"


def test_variants_as_objectives_are_evaluated_as_their_exact_parent(tmp_path):
    keywords = {"hidden": (8,), "latent_dim": 2, "components": 3}
    comparison = comparing("gmvae", ("enum", "relaxed", "categorical_kl", "invariant"), "digits:threshold", keywords)
    result, _ = compared(comparison, tmp_path)
    assert [row["status"] for row in result["rows"]] == ["finished"] * 4
    exact, *others = result["rows"]
    assert [row["curve"][0]["elbo"] for row in others] == [exact["curve"][0]["elbo"]] * 3  # weights and noise
    assert len({row["elbo"]["value"] for row in result["rows"]}) == 4
    assert [exact["passes"] / row["passes"] for row in others] == [3, 3, 1]  # every component is decoded, or one
    with pytest.raises(RunError, match="lacks, so it is a guide and no objective"):
        compared(comparing("factor_analysis", ("diagonal",)), tmp_path / "guide")


@pytest.mark.parametrize(("name", "draws"), [("trace", 1), ("score", 1), ("iwae:5", 5), ("wake-sleep:4", 4)])
def test_work_is_rows_times_draws(name, draws):
    comparison = comparing("factor_analysis", (name,), settings={"particles": 2})
    svi = comparison.svi(comparison.rows[0], comparison.run.datasets()["train"])
    assert passes_per_step(svi) == 32 * draws * 2


def test_processes_give_what_one_gives(tmp_path):
    comparison = comparing("factor_analysis", samplers=("em",))
    one, _ = compared(comparison, tmp_path / "one")
    two, _ = compared(comparison, tmp_path / "two", jobs=2)
    for a, b in zip(one["rows"], two["rows"], strict=True):
        assert a["curve"][-1].keys() == b["curve"][-1].keys()
        assert a["evidence"] == b["evidence"]
        assert a.get("elbo") == b.get("elbo")


def test_a_first_step_that_fails_is_a_reason_of_whole_sentences(monkeypatch):
    def fails(*_):
        raise RuntimeError("t() expects a tensor with <= 2 dimensions, but self is 4D\nat::t")

    monkeypatch.setattr("inference.fit.loss.MinibatchLoss.__call__", fails)
    comparison = comparing("linear_regression", objectives=("iwae:2",))
    error, _ = refusal(comparison, Row("trace", "own", 0), comparison.run.datasets()["train"])
    assert str(error) == (
        "the first step fails with RuntimeError: t() expects a tensor with <= 2 dimensions, but self is 4D. "
        "Particles of a global latent come as a new dimension on the left: broadcast over it."
    )


def test_a_row_keeps_each_warning_once(tmp_path):
    def work():
        warnings.simplefilter("always")
        for text in ("one", "two", "one"):
            warnings.warn(text, stacklevel=1)
        return {}

    def fails():
        work()
        raise ValueError

    for run in (work, fails):
        assert run_row(run, tmp_path / "row.json", {"products": "auto"})["warnings"] == ["one", "two"]
