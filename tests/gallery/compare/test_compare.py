"""Comparisons: rows against models whose answers are known, what rows share, and what happens when one goes wrong.

Bars are 4 standard errors of the same draws, which one comparison in 16,000 exceeds by chance, unless a bound is named.
"""

import json
import math
from itertools import product

import pytest
import torch

import data
from gallery.catalogue.lessons import LESSONS
from gallery.cli.main import main
from gallery.compare import Comparison, Row, compare, tables, usual, work
from gallery.compare import follow as followed
from gallery.compare.report import groups, number
from gallery.errors import RunError
from gallery.figures.comparison import bound, variance
from gallery.ledger.tables import LEDGER
from gallery.runs.specification import Run
from inference import sample
from inference.errors import InferenceError
from inference.evaluation.ais import gradients
from inference.fit.checkpoint import load_tensors

OBJECTIVES = ("trace", "analytic", "enum", "score", "graph", "iwae:5", "dreg:5", "renyi:0.5:5", "wake-sleep:5")
GUIDES = {  # to compare beside the model's own
    "exponential_gaussian": ("gamma", "normal"),
    "linear_regression": ("mean_field", "multivariate", "laplace"),
    "loaded_die": ("softmax",),
    "gaussian_mixture": (),
    "factor_analysis": ("diagonal", "normal"),
}
SAMPLERS = {"linear_regression": ("nuts",), "gaussian_mixture": ("em",), "factor_analysis": ("em",)}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Few points of a curve, few gradients; and in a folder of its own."""
    monkeypatch.setattr(followed, "POINTS", 3)
    monkeypatch.setattr(work, "MINIBATCHES", 2)
    monkeypatch.setattr(work, "REPEATS", 2)


def comparing(model, objectives=("trace",), data=None, keywords=None, judge_draws=8, seeds=1, settings=None, **more):
    settings = {"epochs": 1, "precision": "float64"} | (settings or {})
    return Comparison(
        Run.of(model, None, data, keywords, settings), objectives, judge_draws=judge_draws, seeds=seeds, **more
    )


def compared(comparison, folder, **more):
    """compare.json's content, and the lines that were said."""
    said = []
    return compare(comparison, folder, **{"jobs": 1, "say": said.append} | more), said


# Against the truth


@pytest.mark.parametrize("model", GUIDES)
def test_rows_are_within_their_errors_of_the_evidence_or_below(model, tmp_path):
    settings = {"epochs": 2, "batch_size": 200}  # all of those with a global latent, whose weights are of all together
    samplers = SAMPLERS.get(model, ())
    result, _ = compared(comparing(model, OBJECTIVES, samplers=samplers, nuts_draws=100, settings=settings), tmp_path)
    rows = result["rows"]
    if GUIDES[model]:
        rows += compared(comparing(model, guides=GUIDES[model], settings=settings), tmp_path / "guides")[0]["rows"]
    assert [row["reason"] for row in rows if row["status"] == "failed"] == []
    for row in rows:
        if row["name"] == "nuts":
            assert row["largest_z"] < 4
        elif row["name"] == "em":  # its evidence never falls
            curve = [point["train evidence"] for point in row["curve"]]
            assert curve == sorted(curve)
        else:
            evidence, elbo, iwae = (row[name]["value"] for name in ("evidence", "elbo", "iwae"))
            assert row["gap"]["value"] > -4 * row["gap"]["mc_se"] - 1e-8, row["label"]
            # where the error of joint weights is not known, Markov's: their mean is 16,000 times its expectation in at
            # most one of 16,000 cases
            error = 4 * row["iwae"]["mc_se"] if "mc_se" in row["iwae"] else math.log(16_000) / row["iwae"]["n"]
            assert evidence - iwae > -error - 1e-8, row["label"]
            assert iwae >= elbo - 1e-9  # of the same draws, by Jensen's inequality
        if row["label"] in ("enum", "trace, laplace"):  # nothing is left to infer; the posterior is a normal
            assert abs(row["gap"]["value"]) < 1e-8
    assert {row["name"] for row in rows} >= {"enum" if model == "gaussian_mixture" else "score", *samplers}


def test_nuts_samples_the_latents_of_a_few_data_at_fitted_weights(tmp_path):
    result, _ = compared(comparing("factor_analysis", samplers=("nuts",), nuts_draws=4), tmp_path)
    chains = result["rows"][1]
    assert (chains["at"], chains["n"]) == ("trace", 10)
    assert chains["passes"] == 10 * chains["gradients"]
    assert chains["ess_per_gradient"] == chains["ess"] / chains["gradients"]
    assert chains["largest_z"] > 0
    weights, _ = load_tensors(Row("trace", "own", 0).file(tmp_path, ".safetensors"))
    start = comparing("factor_analysis").pair(Row("trace", "own", 0), data.load("factor_analysis")).state_dict()
    assert not torch.equal(weights["theta.W"], start["theta.W"])


def test_annealing_holds_the_evidence_of_what_was_fitted_from_both_sides(tmp_path):
    """Of simulated data, whose exact evidence lies between the sides but for their noise: that of their difference over
    data has the noise of both."""
    comparison = comparing("factor_analysis", ("trace", "score"), samplers=("ais:60", "em"))
    result, said = compared(comparison, tmp_path)
    (sides,) = (row for row in result["rows"] if row["label"] == "ais:60")
    low, exact, high = (sides[name]["value"] for name in ("lower", "evidence", "upper"))
    assert low < exact + 4 * sides["width"]["se"]
    assert high > exact - 4 * sides["width"]["se"]
    assert high - low < 1  # and tells something: prior and posterior are nats apart
    assert (sides["at"], sides["n"], sides["lower"]["steps"]) == ("trace", 100, 60)
    assert sides["gradients"] == 2 * gradients(16, 60, 10)
    assert sides["passes"] == 100 * sides["gradients"]
    assert all({"se", "mc_se"} <= sides[name].keys() for name in ("lower", "upper"))
    weights, _ = load_tensors(Row("trace", "own", 0).file(tmp_path, ".safetensors"))
    pair = comparison.run.build()
    pair.load_state_dict(weights)
    x = sample(pair, data.load("factor_analysis").x.double(), 100)["x"]
    with torch.no_grad():
        assert exact == pytest.approx(pair.log_evidence(x).mean().item(), abs=1e-9)  # of the fitted model
    table = next(part for part in tables(result) if not isinstance(part, str) and part.columns[0].header == "evidence")
    cells = {column.header: next(iter(column.cells)) for column in table.columns}
    assert float(cells["log p(x) from below"]) == pytest.approx(low, rel=1e-4)
    assert float(cells["from above"]) == pytest.approx(high, rel=1e-4)
    assert "weights of trace" in table.caption.plain
    assert {label for label, _ in groups(result["rows"])} == {"trace", "score", "em"}  # of other data: no rival of fits
    assert [line for line in said if "ais:60 seed 0: from below" in line]


def test_a_point_has_no_bound_and_comes_last(tmp_path):
    result, _ = compared(comparing("linear_regression", guides=("delta", "own")), tmp_path)
    assert [label for label, _ in groups(result["rows"])] == ["trace", "trace, delta"]
    point = result["rows"][0]
    assert "elbo" not in point
    assert "is a point" in point["undefined"]["elbo"]
    exact = result["rows"][1]["evidence"]["value"]
    level = [line.get_ydata() for line in bound(result).axes[0].lines if len(set(line.get_ydata())) == 1]
    assert [y[0] for y in level] == pytest.approx([exact])  # one line, for there is nothing to be fitted in the model


# What rows share


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


def test_relaxed_estimators_are_judged_as_their_exact_parent(tmp_path):
    keywords = {"hidden": (8,), "latent_dim": 2, "components": 3}
    comparison = comparing("gmvae", ("enum", "relaxed", "categorical_kl"), "digits:threshold", keywords)
    result, _ = compared(comparison, tmp_path)
    assert [row["status"] for row in result["rows"]] == ["finished"] * 3
    exact, *relaxed = result["rows"]
    assert [row["curve"][0]["elbo"] for row in relaxed] == [exact["curve"][0]["elbo"]] * 2  # weights and noise
    assert len({row["elbo"]["value"] for row in result["rows"]}) == 3
    assert [exact["passes"] / row["passes"] for row in relaxed] == [3, 3]  # every component is decoded
    with pytest.raises(RunError, match="weights of its own: it is a guide"):
        compared(comparing("factor_analysis", ("diagonal",)), tmp_path / "guide")


@pytest.mark.parametrize(("name", "draws"), [("trace", 1), ("score", 1), ("iwae:5", 5), ("wake-sleep:4", 4)])
def test_work_is_rows_times_draws(name, draws):
    comparison = comparing("factor_analysis", (name,), settings={"particles": 2})
    svi = comparison.svi(comparison.rows[0], comparison.run.datasets()["train"])
    assert followed.passes_per_step(svi) == 32 * draws * 2


def test_processes_give_what_one_gives(tmp_path):
    comparison = comparing("factor_analysis", samplers=("em",))
    one, _ = compared(comparison, tmp_path / "one")
    two, _ = compared(comparison, tmp_path / "two", jobs=2)
    for a, b in zip(one["rows"], two["rows"], strict=True):
        assert a["curve"][-1].keys() == b["curve"][-1].keys()
        assert a["evidence"] == b["evidence"]
        assert a.get("elbo") == b.get("elbo")


# When something goes wrong


def test_an_interrupted_comparison_goes_on_with_the_rows_that_are_left(tmp_path):
    comparison = comparing("factor_analysis", ("trace", "score"), seeds=2)

    def stop(line):
        if line.startswith("fit 2/4"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compared(comparison, tmp_path, say=stop)
    assert not (tmp_path / "compare.json").exists()
    rows = tmp_path / "rows"
    before = {path: path.stat().st_mtime_ns for path in rows.glob("*.json")}
    assert {path.stem for path in before} == {"trace-own-0", "trace-own-1"}
    result, said = compared(comparison, tmp_path)
    assert said[0] == "fit: 2 of 4 rows are there already"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(result["rows"]) == 4
    again, said = compared(comparison, tmp_path)
    assert said == [f"{work}: 4 of 4 rows are there already" for work in ("fit", "noise")]
    assert again == result
    with pytest.raises(RunError, match="another epochs: remove the folder"):
        compared(comparing("factor_analysis", ("trace", "score"), settings={"epochs": 2}), tmp_path)


def test_a_row_that_fails_does_not_stop_the_others(tmp_path, monkeypatch):
    follow = work.follow

    def fails(svi, *args):
        if svi.settings.objective == "score":
            raise InferenceError("the loss is not finite\nat step 7")
        return follow(svi, *args)

    comparison = comparing("factor_analysis", ("score", "trace", "enum"), samplers=("em",))
    monkeypatch.setattr(work, "follow", fails)
    result, said = compared(comparison, tmp_path)
    assert [row["status"] for row in result["rows"]] == ["failed", "finished", "finished"]
    assert "failed, InferenceError: the loss is not finite at step 7" in said[1]  # after what is refused
    assert list(result["refused"]) == ["enum"]
    told = [part for part in tables(result) if isinstance(part, str)]
    assert told == [
        "failed: score, seed 0: InferenceError: the loss is not finite at step 7",
        "refused: enum: FactorAnalysis has no discrete latent to enumerate: --objective trace.",
    ]
    assert bound(result).axes[0].get_ylabel() == "ELBO of test data, nats per data point"
    monkeypatch.setattr(work, "follow", follow)
    result, said = compared(comparison, tmp_path)
    assert said[1] == "fit: 2 of 3 rows are there already"
    assert [row["status"] for row in result["rows"]] == ["finished"] * 3
    monkeypatch.setattr(work, "follow", fails)
    with pytest.raises(RunError, match=r"no row could be finished\. score: InferenceError"):
        compared(comparing("factor_analysis", ("score",)), tmp_path / "alone")


def test_what_is_damaged_is_not_taken_for_a_row(tmp_path):
    comparison = comparing("factor_analysis")
    compared(comparison, tmp_path)
    (tmp_path / "rows" / "trace-own-0.json").write_text('{"asked": 3')
    with pytest.raises(RunError, match=r"trace-own-0\.json is damaged: remove it"):
        compared(comparison, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "compare needs a model"),
        ("--lesson sore", "it is one of score, enumeration"),
        ("factor_analysis --objectives elbo", "no objective 'elbo'"),
        ("factor_analysis --objectives iwae:0", "at least 1: iwae:0 has 0"),
        ("factor_analysis --objectives renyi:1:5", "is the ELBO: use trace"),
        ("factor_analysis --guides mean_field", "no guide 'mean_field'"),
        ("factor_analysis --samplers hmc", "no sampler 'hmc': it is one of nuts, em"),
        ("factor_analysis --samplers ais:0", "STEPS is a whole number from 1 on"),
        ("factor_analysis --samplers nuts:5", "no sampler 'nuts:5': it is one of nuts, em, ais"),
        ("factor_analysis --objectives none --samplers ais", "weights, to be fitted first"),
        ("linear_regression --objectives none --samplers ais", "w of LinearRegression is global"),
        ("gaussian_mixture --objectives none --samplers ais", "no continuous latent"),
        ("gmvae --data digits:threshold --objectives none --samplers ais", "discrete parent that is summed out"),
        ("factor_analysis --seeds 0", "--seeds is at least 1, not 0"),
        ("factor_analysis --judge-draws 1", "--judge-draws is at least 2, not 1"),
        ("factor_analysis --jobs 0", "--jobs is at least 1, not 0"),
        ("factor_analysis --objectives none", "there is nothing to compare"),
        ("factor_analysis --objectives none --samplers nuts", "weights, to be fitted first"),
        ("factor_analysis --objectives enum", "no discrete latent to enumerate"),
        ("gaussian_mixture --objectives iwae:5", "sums out y"),
        ("gaussian_mixture --objectives none --samplers nuts", "no continuous latent"),
        ("gmvae --data digits:threshold --objectives none --samplers nuts", "discrete parent that is summed out"),
        ("linear_regression --objectives none --samplers nuts --batch-size 20", "no minibatch"),
        ("linear_regression --objectives iwae:5 --batch-size 20", "Use --batch-size 200"),
        ("linear_regression --objectives none --samplers em", "no closed E and M steps"),
        ("exponential_gaussian:normal --objectives trace", "KL(guide || prior) is infinite"),
    ],
)
def test_what_is_refused(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# The command, and the lessons


def test_the_command_prints_a_table_and_leaves_three_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = "--samplers nuts --seeds 1 --epochs 1 --judge-draws 8 --nuts-draws 20 --jobs 1"
    assert main(["compare", "linear_regression", *flags.split()]) == 0
    out = capsys.readouterr().out
    folder = tmp_path / "runs" / "compare-linear_regression-line"
    assert {path.name for path in folder.iterdir()} == {"rows", "compare.json", "bound.png", "variance.png"}
    result = json.loads((folder / "compare.json").read_text())
    assert result["objectives"] == list(usual(comparing("linear_regression").run)) == ["trace", "analytic", "score"]
    assert result["split"] == "train"  # one posterior, of these data
    assert result["command"].split()[:3] == ["gallery", "compare", "linear_regression"]
    for words in ("ELBO", "log p(x)", "gap", "R-hat", "200 train data of line", "8 draws of the guide", "seed 0"):
        assert words in out


@pytest.mark.parametrize("name", LESSONS)
def test_lessons_were_run_as_they_are_printed(name):
    lesson = LESSONS[name]
    assert lesson.text.strip()
    for model, arguments in lesson.commands.items():
        folder = LEDGER / "lessons" / name / model
        result = json.loads((folder / "compare.json").read_text())
        assert result["command"] == f"gallery compare {model} {arguments}"
        assert {row["status"] for row in result["rows"]} == {"finished"}
        assert result["refused"] == {}
        assert {path.name for path in folder.iterdir()} == {"compare.json", "bound.png", "variance.png"}


def lesson(name, model, path):
    """{label: numbers by seed} of a lesson as it was run, at a path of its rows."""
    result = json.loads((LEDGER / "lessons" / name / model / "compare.json").read_text())
    found = {}
    for row in result["rows"]:
        found.setdefault(row["label"], []).append(number(row, path))
    return {label: torch.tensor(values, dtype=torch.float64) for label, values in found.items() if None not in values}


def test_what_the_lessons_say_is_in_their_rows():
    fa, mixture, vae = ("score", "factor_analysis"), ("enumeration", "gmvae"), ("iwae", "vae")
    variances, of_model = (lesson(*fa, f"noise/{part}/variance") for part in ("guide", "model"))
    assert (variances["score"] > 10 * variances["trace"]).all()
    assert torch.equal(of_model["score"], of_model["trace"])
    assert (lesson(*fa, "elbo/value")["score"] < lesson(*fa, "elbo/value")["trace"]).all()
    assert (lesson(*fa, "gap/value")["score"] > lesson(*fa, "gap/value")["trace"]).all()

    passes, seconds, elbo = (lesson(*mixture, path) for path in ("passes", "seconds", "elbo/value"))
    variances = lesson(*mixture, "noise/guide/variance")
    for relaxed, exact in product(("relaxed", "categorical_kl"), ("enum", "enum_analytic")):
        assert (10 * passes[relaxed] == passes[exact]).all()
        assert (10 * seconds[relaxed] > seconds[exact]).all()
        assert (elbo[relaxed] < elbo[exact]).all()
        assert (variances[relaxed] > 3 * variances[exact]).all()

    elbo, iwae = (lesson(*vae, f"{name}/value") for name in ("elbo", "iwae"))
    of_guide, of_model = (lesson(*vae, f"noise/{part}/snr") for part in ("guide", "model"))
    assert (iwae["trace"] < iwae["iwae:5"]).all()
    assert (iwae["iwae:5"] < iwae["iwae:50"]).all()
    assert (of_guide["trace"] > of_guide["iwae:5"]).all()
    assert (of_guide["iwae:5"] > of_guide["iwae:50"]).all()
    assert (of_model["trace"] < of_model["iwae:5"]).all()
    assert (of_model["iwae:5"] < of_model["iwae:50"]).all()
    assert (of_guide["dreg:5"] > of_guide["dreg:50"]).all()
    for k in ("5", "50"):
        assert (of_guide[f"dreg:{k}"] > of_guide["trace"]).all()
        assert (of_guide[f"dreg:{k}"] > 2 * of_guide[f"iwae:{k}"]).all()
        assert (iwae[f"dreg:{k}"] > iwae[f"iwae:{k}"]).all()
    assert all((elbo[f"{name}:50"] < elbo["trace"]).all() for name in ("iwae", "dreg"))
    errors = lesson(*vae, "iwae/mc_se")
    gained = (iwae["dreg:50"] - iwae["dreg:5"]) / (errors["dreg:50"] ** 2 + errors["dreg:5"] ** 2).sqrt()
    assert (gained > 1).tolist().count(True) == 1

    em = ("em", "factor_analysis")
    evidence, gap, seconds = (lesson(*em, path) for path in ("evidence/value", "gap/value", "seconds"))
    for name in ("trace", "analytic"):
        away = evidence["em"] - evidence[name]
        assert (away > 0).all()
        assert (4 * gap[name] < away)[away > 0.01].all()
        assert evidence[name].max() - evidence[name].min() > 10 * (evidence["em"].max() - evidence["em"].min())
        assert (10 * seconds["em"] < seconds[name]).all()

    gap = lesson("families", "exponential_gaussian", "gap/value")
    assert (10 * gap["trace"] < gap["trace, gamma"]).all()
    assert (gap["trace, gamma"] < gap["trace, normal"]).all()
    gap, error = (lesson("families", "linear_regression", f"gap/{name}") for name in ("value", "mc_se"))
    assert (gap["trace, normal"] > 6 * error["trace, normal"]).all()
    assert all((gap[full] < 4 * error[full]).all() for full in ("trace", "trace, multivariate"))
    assert all((lesson("families", model, "largest_z")["nuts"] < 3).all() for model in LESSONS["families"].commands)
