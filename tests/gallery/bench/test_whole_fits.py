"""Whole fits in processes of their own, and the scripts that they are timed beside."""

import json
import math

import pytest

from gallery.bench import whole_fits as module
from gallery.bench.script import write_losses
from gallery.bench.whole_fits import FITS, fits_table, time_fits
from gallery.errors import RunError
from gallery.runs.specification import Run


def test_a_script_of_stock_pyro_makes_the_steps_of_the_fit(tmp_path):
    write_losses("pyro", "factor_analysis", None, 1, tmp_path / "losses.json")
    losses = json.loads((tmp_path / "losses.json").read_text())
    run = Run.of("factor_analysis", settings={"epochs": 1})
    assert len(losses) == math.ceil(len(run.datasets()["train"].x) / run.settings.batch_size)
    assert all(math.isfinite(loss) for loss in losses)


def test_the_table_has_a_row_for_each_fit_and_a_dash_for_what_is_not_installed():
    table = fits_table({title: {"cold": 12.3, "warm": 4.56, "pyro": 78.9} for title in FITS})
    assert table.splitlines()[2:] == [f"| {title} | 12.3 | 4.56 | 78.9 | - |" for title in FITS]


@pytest.mark.slow
def test_processes_are_timed_from_start_to_end(monkeypatch):
    monkeypatch.setattr(module, "FITS", {"short": {"model": "exponential_gaussian", "epochs": "1"}})
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    (seconds,) = time_fits(rounds=1).values()
    spread = seconds.pop("spread")
    assert seconds.keys() == spread.keys() == {"cold", "warm", "pyro"}
    assert all(0 < spread[name][0] <= value <= spread[name][1] for name, value in seconds.items())
    monkeypatch.setattr(module, "FITS", {"wrong": {"model": "no_such_model"}})
    with pytest.raises(RunError, match="no_such_model"):
        time_fits(rounds=1)
