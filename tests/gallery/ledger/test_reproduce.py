"""Recipes are run into a ledger, and the tables are generated from it."""

import json
import re
from functools import partial
from importlib import import_module

import pytest

import data
from gallery.catalogue.published import NOTES
from gallery.catalogue.recipe import SAMPLED
from gallery.catalogue.recipes import RECIPES
from gallery.cli.main import main
from gallery.errors import RunError
from gallery.ledger import extra_metrics
from gallery.ledger.experiments import EXPERIMENTS
from gallery.ledger.extra_metrics import EXTRA_METRICS
from gallery.ledger.fields import LAST_EPOCHS, PATHS, displayed_fields, field_value, monte_carlo_error
from gallery.ledger.reproduce import entry, read, reproduce, shortened
from gallery.ledger.tables import LEDGER, headline, recipes_table, results_sections
from gallery.runs.specification import run_of
from inference import bdmc

pytestmark = pytest.mark.integration

HAVE_MNIST = any(row.name == "mnist" and row.available for row in data.describe())


def quick(names, tmp_path, seeds=range(1)):
    return reproduce(names, seeds, tmp_path / "runs", tmp_path / "ledger.json", quick=True, report=lambda line: None)


def test_rows_grow_by_seed_and_are_not_run_twice(tmp_path):
    ledger = quick(["gaussian_mixture", "vae:slides"], tmp_path)
    assert list(ledger) == ["gaussian_mixture", "vae:slides"]
    weights = tmp_path / "runs" / "vae-slides" / "seed-0" / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    ledger = quick(["vae:slides"], tmp_path, range(2))
    assert weights.stat().st_mtime_ns == before
    row = ledger["vae:slides"]
    assert list(row["runs"]) == ["0", "1"]
    assert row["command"] == "gallery reproduce vae:slides --quick"
    one, other = row["runs"].values()
    assert one["settings"]["seed"] == 0
    assert other["settings"]["seed"] == 1
    assert one["data"] == "digits:threshold"
    assert one["data_hash"] == other["data_hash"]
    assert one["processor"]
    assert one["steps_per_second"] > 0
    assert field_value(one, "ELBO") == one["test"]["elbo"]["value"] != field_value(other, "ELBO")
    assert field_value(one, "ELBO, epoch 3") == one["curve"]["elbo"][2]
    assert field_value(one, "ELBO, last five epochs") == pytest.approx(sum(one["curve"]["elbo"][-5:]) / 5)
    assert field_value(one, "ELBO, epoch 11") is None  # there are ten
    assert field_value(one, "squared error") != field_value(other, "squared error")
    assert field_value(one, "squared error of the mean image") == field_value(other, "squared error of the mean image")
    assert 0 < field_value(one, "10-NN on codes") <= 1
    assert 0 <= field_value(one, "k-hat above 0.7") <= 1
    assert one == shortened(entry(weights.parent) | json.loads((weights.parent / "judged.json").read_text()))


def test_a_long_curve_is_thinned():
    """A row of thousands of epochs takes no more of the ledger than one of a hundred; averages and ends are kept."""
    curve = [-1 / epoch for epoch in range(1, 3281)]
    kept = shortened({"curve": {"elbo": curve}})["curve"]["elbo"]
    known = [epoch for epoch, value in enumerate(kept, start=1) if value is not None]
    assert len(kept) == 3280
    assert known == [1, *range(33, 3270, 33), *range(3271, 3281)]
    assert kept[-1] == pytest.approx(curve[-1], rel=1e-5)
    for last in LAST_EPOCHS:
        assert field_value({"curve": {"elbo": kept}}, last) is not None
    assert shortened({"curve": {"elbo": curve[:100]}})["curve"]["elbo"].count(None) == 0


def test_every_experiment_is_found():
    """Their modules are imported when they run."""
    for recipe, modules in EXPERIMENTS.items():
        assert recipe in RECIPES
        for module in modules:
            assert callable(import_module(f"gallery.ledger.experiments.{module}").reproduce)


def test_jobs_share_the_runs(tmp_path, monkeypatch):
    """Three recipes x 5 seeds are split as evenly as can be, each run in one job; the published experiment in one."""
    names, jobs, runs = ["factor_analysis", "hmm", "squared_gaussian"], 4, []
    monkeypatch.setattr("gallery.ledger.reproduce.EXPERIMENTS", {"factor_analysis": ()})
    monkeypatch.setattr("gallery.ledger.reproduce.run_experiments", lambda *args: runs.append(("experiment", 0)))
    monkeypatch.setattr("gallery.ledger.reproduce._fit_together", lambda *args: None)
    monkeypatch.setattr(
        "gallery.ledger.reproduce.measured", lambda recipe, seed, *args: runs.append((recipe.name, seed)) or {}
    )
    counts = []
    for job in range(1, jobs + 1):
        before = len(runs)
        reproduce(names, range(5), tmp_path / "runs", tmp_path / "ledger.json", report=str, share=(job, jobs))
        counts.append(len(runs) - before)
    assert sorted(counts) == [3, 4, 4, 5]
    assert sorted(runs) == sorted([*((name, seed) for name in names for seed in range(5)), ("experiment", 0)])
    about = json.loads((tmp_path / "experiments" / "factor_analysis" / "about.json").read_text())
    assert about["command"] == "gallery reproduce factor_analysis"


@pytest.mark.parametrize("only", ["0/4", "5/4", "1", "a/b", "1/2/3", ""])
def test_a_share_that_is_none_is_refused(only, capsys):
    assert main(["reproduce", "hmm", "--only", only]) == 2
    assert "--only is I/N with 1 <= I <= N" in capsys.readouterr().err


def test_pictures_are_those_of_the_smallest_seed(tmp_path):
    for seed in (1, 0, 2):
        quick(["gaussian_mixture"], tmp_path, [seed])
    kept = list((tmp_path / "pictures" / "gaussian_mixture").glob("learning_curve.png"))
    assert kept
    for picture in kept:
        figures = [
            tmp_path / "runs" / "gaussian_mixture" / f"seed-{seed}" / "figures" / picture.name for seed in range(3)
        ]
        assert [picture.read_bytes() == figure.read_bytes() for figure in figures] == [True, False, False]


def test_a_finished_run_gets_the_extra_metrics_that_it_lacks_and_keeps_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr("gallery.ledger.extra_metrics.bdmc", partial(bdmc, chains=2, steps=20, leapfrog=2))
    first = quick(["squared_gaussian"], tmp_path)["squared_gaussian"]["runs"]["0"]
    sides = [field_value(first, f"log p(x) of simulated data, from {side}") for side in ("below", "above")]
    assert sides == [first["simulated"]["sandwich"][name]["value"] for name in ("lower", "upper")]
    assert {"se", "mc_se", "n", "unit"} <= first["simulated"]["sandwich"]["lower"].keys()
    folder = tmp_path / "runs" / "squared_gaussian" / "seed-0"
    metrics = json.loads((folder / "metrics.json").read_text())
    old = metrics | {"test": {name: value for name, value in metrics["test"].items() if not name.startswith("k_hat")}}
    del old["simulated"]  # as in a run of an older version
    (folder / "metrics.json").write_text(json.dumps(old))
    weights = (folder / "weights.safetensors").stat().st_mtime_ns
    again = quick(["squared_gaussian"], tmp_path)["squared_gaussian"]["runs"]["0"]
    assert (folder / "weights.safetensors").stat().st_mtime_ns == weights
    assert again == first
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    left = (folder / "metrics.json").stat().st_mtime_ns
    quick(["squared_gaussian"], tmp_path)
    assert (folder / "metrics.json").stat().st_mtime_ns == left  # nothing is evaluated twice


def test_rows_of_another_version_stay_in_the_ledger(tmp_path):
    rows = quick(["gaussian_mixture"], tmp_path)
    file = next(tmp_path.rglob("ledger.json"))
    file.write_text(json.dumps({"of_tomorrow": rows["gaussian_mixture"]} | rows))
    assert set(quick(["gaussian_mixture"], tmp_path)) == {"gaussian_mixture", "of_tomorrow"}


def test_recipes_list_existing_extra_metrics():
    assert {name for recipe in RECIPES.values() for name in recipe.extra_metrics} == set(EXTRA_METRICS)


def test_a_pair_that_cannot_be_fitted_has_the_reason_in_its_row(tmp_path):
    row = quick(["exponential_gaussian:normal"], tmp_path, range(3))["exponential_gaussian:normal"]
    assert row["runs"] == {}
    assert "KL(guide || prior) is infinite" in row["refused"]


def test_a_model_with_dynamic_binarisation_is_evaluated_too(tmp_path, monkeypatch):
    few = {"iwae_5000": ("test", lambda *of: {"iwae_5000": extra_metrics.iwae(*of, draws=50)["iwae_50"]})}
    monkeypatch.setattr("gallery.ledger.reproduce.EXTRA_METRICS", EXTRA_METRICS | few)
    row = quick(["vae:iwae"], tmp_path)["vae:iwae"]
    assert 0 < field_value(row["runs"]["0"], "10-NN on codes") <= 1
    assert field_value(row["runs"]["0"], "IWAE-5000") > field_value(row["runs"]["0"], "ELBO")


@pytest.mark.skipif(not HAVE_MNIST, reason="no raw MNIST files under $GALLERY_DATA")
def test_labels_are_drawn_by_the_seed():
    assert run_of(RECIPES["ss_vae"], 0).data == "mnist:threshold:100-labels"
    assert run_of(RECIPES["ss_vae"], 3).data == "mnist:threshold:100-labels-3"
    assert run_of(RECIPES["ss_vae"], 3).settings.seed == 3


def test_a_folder_with_another_run_and_a_damaged_ledger_are_refused(tmp_path):
    quick(["gaussian_mixture"], tmp_path)
    folder = tmp_path / "runs" / "gaussian_mixture" / "seed-0"
    with pytest.raises(RunError, match="holds another run than recipe gaussian_mixture"):
        reproduce(["gaussian_mixture"], range(1), tmp_path / "runs", tmp_path / "ledger.json", report=lambda line: None)
    (tmp_path / "ledger.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read as a ledger"):
        quick(["gaussian_mixture"], tmp_path)
    assert (folder / "metrics.json").exists()
    assert (tmp_path / "ledger.json").read_text() == "{"


def test_every_published_number_is_measured_or_known_not_to_be():
    """A published or re-measured number without a measured field is listed here."""
    alone = {
        "ELBO of another network",
        "IWAE-5000 of another network",
        "IWAE-5000 of another network, a reproduction",
        "ELBO of the released weights",
        "ELBO, epoch 78, printed without -ln 10",
        "IWAE-5000",
        "IWAE-5000, a reproduction",
        "log p(x) of another network",
        "error, enumerated and with an auxiliary loss, in Pyro's example",
        "accuracy by Bayes' rule, three draws",
        "cost of a wrong label, the next class alone",
    }
    for recipe in RECIPES.values():
        assert not set(recipe.published) & set(recipe.remeasured)
        for name in (*recipe.published, *recipe.remeasured):
            known = name in PATHS or name in LAST_EPOCHS or name in ("ELBO, best epoch", "error of q(y | x)")
            known = known or name.removeprefix("ELBO, epoch ").isdigit()
            assert known or name in alone or "no gradient through z" in name, name


def test_every_recipe_has_a_row_and_a_section_and_those_without_a_run_are_marked():
    ledger = read(LEDGER / "ledger.json")
    rows = {line.split("|")[1].strip(" `"): line for line in recipes_table().splitlines()[2:]}
    assert list(rows) == list(RECIPES)
    for name, line in rows.items():
        assert ("not run" in line) == (name not in ledger), name
    sections = results_sections()
    assert re.findall(r"^### `(.*)`$", sections, flags=re.MULTILINE) == list(RECIPES)
    assert sections.count("It was not run: ") == len(set(RECIPES) - set(ledger))
    assert not list(displayed_fields(RECIPES["squared_gaussian"], None))


def test_a_table_has_one_number_a_cell():
    """A measured cell has one number; equal values are printed once; a refused recipe has no table."""
    for line in results_sections().splitlines():
        if not line.startswith("| ") or line.startswith(("| quantity", "| ---")):
            continue
        name, *cells = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        median, _, _, lowest, highest, _, _ = cells
        assert name
        assert all(re.fullmatch(r"-?[\d.]+(e[+-]\d+)?|", cell) for cell in cells)
        assert bool(lowest) == bool(highest)
        assert not lowest or not lowest == median == highest
    refused = results_sections().partition("### `exponential_gaussian:normal`")[2].partition("###")[0]
    assert "KL(guide || prior) is infinite" in refused
    assert "| median" not in refused


def test_a_published_number_is_beside_the_measured_number_of_its_field():
    ledger = read(LEDGER / "ledger.json")
    for name, row in ledger.items():
        shown = headline(RECIPES[name], row)
        if shown is not None and shown.published is not None:
            assert RECIPES[name].published[shown.name] == shown.published
            assert shown.values == [field_value(entry, shown.name) for entry in row["runs"].values()]
    assert headline(RECIPES["vae:sampled"], ledger["vae:sampled"]).name == "ELBO, epoch 46"
    assert headline(RECIPES["factor_analysis"], ledger["factor_analysis"]).name == "ELBO"
    assert headline(RECIPES["exponential_gaussian:normal"], ledger["exponential_gaussian:normal"]) is None


def test_a_recipe_of_one_seed_and_one_that_compares_unlike_numbers_say_so():
    ledger, sections = read(LEDGER / "ledger.json"), results_sections().split("### ")[1:]
    about = {section.partition("`")[2].partition("`")[0]: section for section in sections}
    for name, row in ledger.items():
        assert ("One seed:" in about[name]) == (len(row["runs"]) == 1), name
    measured = [RECIPES[name] for name in ledger if name in RECIPES]
    noted = {recipe.name.removesuffix(SAMPLED) for recipe in measured if recipe.note}
    assert noted >= {name for name in NOTES if {name, name + SAMPLED} & ledger.keys()}
    assert all(recipe.note in about[recipe.name] for recipe in measured)


def test_the_spread_of_a_gap_is_beside_its_monte_carlo_error():
    """Seeds of one model differ by the noise of the evaluation too, which its error holds."""
    row = read(LEDGER / "ledger.json")["linear_regression:mean_field"]
    first = next(iter(row["runs"].values()))
    assert monte_carlo_error(first, "log p(x) - ELBO, training data") == first["train"]["elbo"]["mc_se"] > 0
    assert monte_carlo_error(first, "components in use") is None
