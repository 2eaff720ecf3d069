"""Which epochs are evaluated, and a history with epochs that are not."""

from itertools import pairwise

import pytest
from tiny_runs import history, tiny

from gallery.figures import learning_curve
from gallery.ledger.fields import field_value
from gallery.ledger.reproduce import entry
from gallery.runs import resume, start
from gallery.runs.monitoring import ALWAYS, GROWTH, SHORT_EPOCH, is_evaluated


def test_long_epochs_are_all_evaluated():
    assert all(is_evaluated(epoch, 40, SHORT_EPOCH) for epoch in range(1, 41))


@pytest.mark.parametrize("epochs", [1, 2, 11, 12, 200, 800])
def test_short_epochs_are_evaluated_at_growing_distances(epochs):
    evaluated = [epoch for epoch in range(1, epochs + 1) if is_evaluated(epoch, epochs, 30)]
    assert evaluated[:ALWAYS] == list(range(1, min(epochs, ALWAYS) + 1))
    assert evaluated[-1] == epochs
    distances = [b - a for a, b in pairwise(evaluated[:-1])]
    assert distances == sorted(distances)
    assert all(b <= GROWTH * a + 1 for a, b in pairwise(evaluated[ALWAYS:]))


def test_a_run_states_which_epochs_were_not_evaluated(tmp_path, after):
    run = tiny("factor_analysis", "factor_analysis", {}, epochs=14, batch_size=500)
    start(run, tmp_path / "run")
    lines = history(tmp_path / "run")
    assert [line["epoch"] for line in lines] == list(range(1, 15))
    assert [line["epoch"] for line in lines if "test" not in line] == [12]
    assert [line["epoch"] for line in lines if line.get("evaluated") is False] == [12]
    assert learning_curve(lines).axes

    ledger = entry(tmp_path / "run")
    assert field_value(ledger, "ELBO, epoch 11") == round(lines[10]["test"]["elbo"], 4)
    assert field_value(ledger, "ELBO, epoch 12") is None
    assert field_value(ledger, "ELBO, epoch 14") == round(lines[13]["test"]["elbo"], 4)
    assert field_value(ledger, "ELBO, last five epochs") is None
    assert field_value(ledger, "ELBO, best epoch") == max(v for v in ledger["curve"]["elbo"] if v is not None)

    def stop(svi):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(run, tmp_path / "stopped", listener=after(27, stop))
    resume(tmp_path / "stopped")
    assert history(tmp_path / "stopped") == lines


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_number_that_is_not_finite_is_left_out_of_the_history(tmp_path, monkeypatch, value):
    monkeypatch.setattr("gallery.runs.monitoring.monitor_elbo", lambda *args: {"elbo": value, "evidence": -4.0})
    start(tiny("factor_analysis", "factor_analysis", {}, epochs=2, batch_size=500), tmp_path / "run")
    lines = history(tmp_path / "run")
    assert [line["test"] for line in lines] == [{"evidence": -4.0}] * 2
    assert learning_curve(lines).axes
    assert field_value(entry(tmp_path / "run"), "ELBO, epoch 1") is None
