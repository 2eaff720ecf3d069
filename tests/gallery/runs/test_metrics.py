"""The table of metrics: a metric that fails costs itself alone, and so does a figure."""

import json
from dataclasses import replace

import pytest
import torch

import data
import gallery.figures
import gallery.runs.metrics
from gallery import figures
from gallery.ledger import extra_metrics
from gallery.models import MODELS
from gallery.runs import training
from gallery.runs.metrics import METRICS, Subject, compute, evaluate_split, monitor_clustering
from gallery.runs.specification import Run

SMALL = {"data_dim": 64, "hidden": (8,), "latent_dim": 2, "components": 3, "classes": 10}
OF = {"ss_vae": ("components",), "gmvae": ("classes",), "sparse_autoencoder": ("hidden", "components", "classes")}


@pytest.fixture(scope="module")
def digits():
    return {name: data.load("digits:threshold", name).head(40) for name in ("train", "test")}


def build(name):
    torch.manual_seed(0)
    kept = {key: value for key, value in SMALL.items() if key not in OF[name]}
    return MODELS[name](**kept)


def failing(*_):
    raise ZeroDivisionError("nothing to divide\nby zero")


def fail(table, name):
    """The table with a failing function in the row of that name."""
    return tuple(replace(row, function=failing) if row.name == name else row for row in table)


REASON = {"undefined": "ZeroDivisionError: nothing to divide"}
KEYS = {"accuracy": {"accuracy", "wrong_label_cost"}, "k_hat": {"k_hat", "k_hat_above"}}


@pytest.mark.parametrize("model", OF)
@pytest.mark.parametrize("name", [row.name for row in METRICS])
def test_a_metric_that_fails_costs_itself_alone(model, name, digits, monkeypatch):
    pair, test = build(model), digits["test"]
    whole = evaluate_split(pair, test, particles=2)
    (row,) = (row for row in METRICS if row.name == name)
    if not row.applies(Subject(pair, test)):
        assert name not in whole
        return
    monkeypatch.setattr(gallery.runs.metrics, "METRICS", fail(METRICS, name))
    with pytest.warns(UserWarning, match=f"metric {name} is undefined: ZeroDivisionError: nothing to divide[.]$"):
        metrics = evaluate_split(pair, test, particles=2)
    assert metrics.pop(name) == REASON
    others = [row for row in METRICS if row.name != name]
    expected = compute(tuple(others), Subject(pair, test, particles=2))
    assert json.dumps(metrics) == json.dumps({key: value for key, value in expected.items() if key != name})


def test_a_condition_that_fails_costs_its_metric_alone(digits, monkeypatch):
    rows = (replace(METRICS[0], applies=failing), METRICS[-1])
    with pytest.warns(UserWarning, match="metric bounds is undefined"):
        metrics = compute(rows, Subject(build("gmvae"), digits["test"]))
    assert metrics.keys() == {"bounds", "k_hat", "k_hat_above"}
    assert metrics["bounds"] == REASON


@pytest.mark.parametrize("name", ["probe", "pixel_probe", "mutual_information", "reconstruction_error", "mean_image"])
def test_a_metric_of_the_ledger_that_fails_costs_itself_alone(name, digits, monkeypatch):
    pair = build("gmvae")
    whole = extra_metrics.ledger_metrics(pair, digits["train"], digits["test"])
    monkeypatch.setattr(extra_metrics, "LEDGER_METRICS", fail(extra_metrics.LEDGER_METRICS, name))
    with pytest.warns(UserWarning, match=f"metric {name} is undefined"):
        assert extra_metrics.ledger_metrics(pair, digits["train"], digits["test"]) == whole | {name: REASON}


def test_the_history_has_components_only_where_there_are_any(digits, monkeypatch):
    assert monitor_clustering(build("gmvae"), digits["test"]).keys() == {"entropy", "accuracy"}
    assert monitor_clustering(build("ss_vae"), digits["test"]) == {}
    assert monitor_clustering(build("gmvae"), replace(digits["test"], labels=None, classes=None)) == {}
    monkeypatch.setattr(gallery.runs.metrics, "METRICS", fail(METRICS, "clustering"))
    with pytest.warns(UserWarning, match="metric clustering is undefined"):
        assert monitor_clustering(build("gmvae"), digits["test"]) == {}


@pytest.mark.parametrize("name", ["samples", "latent", "sparsity"])
@pytest.mark.integration
def test_a_figure_that_fails_costs_itself_alone(name, digits, tmp_path, monkeypatch):
    pair = build("sparse_autoencoder" if name == "sparsity" else "gmvae")
    whole = figures.draw(pair, digits, [], tmp_path / "whole")
    monkeypatch.setitem(figures.FIGURES, name, (figures.FIGURES[name][0], failing))
    with pytest.warns(UserWarning, match=f"figure {name} is left out: ZeroDivisionError: nothing to divide$"):
        paths = figures.draw(pair, digits, [], tmp_path / "others")
    assert [path.name for path in paths] == [path.name for path in whole if path.stem != name]
    assert name in {path.stem for path in whole}
    assert all(path.exists() for path in paths)


def test_a_run_has_its_metrics_where_a_figure_and_a_metric_fail(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery.runs.metrics, "METRICS", fail(METRICS, "k_hat"))
    monkeypatch.setattr(figures, "FIGURES", {name: (row[0], failing) for name, row in figures.FIGURES.items()})
    run = Run.of("vae", data_name="digits:threshold", keywords={"hidden": (8,)}, settings={"epochs": 1})
    with pytest.warns(UserWarning, match="nothing to divide") as caught:
        training.start(run, tmp_path / "run")
    messages = [str(warning.message) for warning in caught]
    assert any(message.startswith("metric k_hat is undefined") for message in messages)
    assert any(message.startswith("figure samples is left out") for message in messages)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["test"]["k_hat"] == REASON
    assert "elbo" in metrics["test"]
    assert metrics["is_bound"]
