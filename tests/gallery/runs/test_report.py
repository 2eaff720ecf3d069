"""The report of a fit: for each kind of pair the right split, bound and verdict; and the summary of its latents."""

import json
import math
import re

import pytest
import torch
from tiny_runs import tiny

from data.synthetic import LINE_INTERCEPT, LINE_SLOPE
from gallery.models import MODELS
from gallery.runs.report import gap_verdict, metrics_table, report_table, weights_verdict
from gallery.runs.specification import Run
from gallery.runs.summary import summarise
from gallery.runs.table import Table
from gallery.runs.training import start


def bound(value, mc_se=0.001, **more):
    return {"value": value, "se": 0.03, "mc_se": mc_se, "n": 1000, "unit": "nats per data point"} | more


LOCAL = {"evidence": bound(-1.0), "elbo": bound(-1.2), "reconstruction": bound(-0.7), "kl": bound(0.5)}
DELTA = {"reconstruction": bound(-3.0), "undefined": {"elbo": "a point (Delta)", "iwae": "a point (Delta)"}}
JOINT = {"elbo": {"value": -1.3, "mc_se": 0.01, "n": 200}, "undefined": {"se": "a latent is global"}}


def lines_of(test, train=None):
    return report_table({"test": test, "train": train or test}, "m", "d")


def test_a_local_latent_has_its_gap_on_test_data():
    lines = lines_of(LOCAL, {"elbo": bound(-1.1)})
    assert lines[0].startswith("m on d, 1,000 test rows")
    assert "gap 0.2000 +- 0.001: the guide is not the posterior" in lines[2]
    assert lines[3].split() == ["=", "reconstruction", "-0.7000", "-", "KL", "0.5000"]
    assert lines[4].split()[:4] == ["ELBO,", "training", "data", "-1.1000"]


@pytest.mark.parametrize(
    ("test", "train", "words"),
    [
        (DELTA, DELTA, ["test rows", "no ELBO, IWAE: a point (Delta)"]),
        (JOINT, JOINT, ["200 training rows", "all data share a latent"]),
        ({"evidence": bound(-1.0), "undefined": {"elbo": "none for these"}}, LOCAL, ["1,000 training rows", "gap"]),
        (
            LOCAL | {"active_units": 0, "kl_per_latent": {"z": [0.0]}},
            LOCAL,
            ["no coordinate of z varies with x: the posterior has collapsed, or the fit is short"],
        ),
        (
            LOCAL | {"active_units": 0, "kl_per_latent": {"p": [0.29]}},
            LOCAL,
            ["no mean of p has a variance above 0.01 over x", "a prior of variance 1; its largest KL is 0.29 nats"],
        ),
        (LOCAL | {"scale": "log density"}, LOCAL, ["rows    log density in nats per data point, higher is better"]),
        (LOCAL | {"factors": bound(-0.01)}, LOCAL, ["= reconstruction", "-0.7000  -  KL 0.5000  +  factors -0.0100\n"]),
        ({"elbo": bound(-3.0), "iwae": bound(-2.0, k=16)}, LOCAL, ["1.0000 nats above the ELBO: the gap"]),
        (JOINT, JOINT | {"iwae": {"value": -1.2, "k": 16, "n": 200}}, ["without an error: too few effective draws"]),
        (LOCAL | {"accuracy": {"value": 0.5, "n": 10}}, LOCAL, ["class by Bayes' rule: 50.0 % are right"]),
    ],
)
def test_every_kind_of_pair_has_its_split_and_verdict(test, train, words):
    text = "\n".join(lines_of(test, train))
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    ("gap", "error", "n", "words"),
    [
        (0.0, 0.0, 1, "the ELBO is log p(x)"),
        (0.00005, 0.00001, 1, "has reached"),
        (0.001, 0.001, 1, "has reached"),
        (0.004, 0.001, 1, "close to"),
        (0.02, 0.001, 1, "is not"),
        (0.0004, 0.00001, 200, "is not"),
        (0.5, None, 1, "of one draw"),
        (-0.5, 0.001, 1, "so check both"),
        (-0.003, 0.001, 1, "has reached"),
        (0.17, 0.09, 1, "not distinguishable"),
        (0.00001, 0.0001, 200, "not distinguishable"),
    ],
)
def test_the_verdict_on_a_gap(gap, error, n, words):
    exact = {"value": -1.0, "n": n}
    assert words in gap_verdict(exact, {"value": -1.0 - gap, "mc_se": error}, joint=n > 1)


@pytest.mark.parametrize(
    ("above", "words"), [(0.0, "fine ("), (0.02, "fine for most"), (0.3, "unreliable for part"), (0.9, "not to be")]
)
def test_the_verdict_on_importance_weights(above, words):
    assert words in weights_verdict({"k_hat_above": {"value": above, "n": 50}})
    assert weights_verdict({"k_hat": {"undefined": "a latent is global"}}) == ""


def test_collapsed_and_undecided_components():
    number = {"value": 0.1}
    clusters = {"accuracy": number, "nmi": number, "entropy_of_q": {"value": 0.0}, "shares": [{"value": 1.0}, number]}
    assert "collapsed" in "\n".join(metrics_table({"clustering": clusters}, "m", "d", "test"))
    clusters |= {"entropy_of_q": {"value": 0.69}, "shares": [{"value": 0.5}] * 2}
    assert "undecided" in "\n".join(metrics_table({"clustering": clusters}, "m", "d", "test"))


def test_a_table_has_a_frame_and_a_page():
    table = Table([{"a": "<b>", "b": 1.5}, {"a": "c"}], "things")
    assert str(table).splitlines() == ["things", "  a      b", "  <b>  1.5", "  c"]
    assert "&lt;b&gt;" in table._repr_html_()
    pandas = pytest.importorskip("pandas")
    assert isinstance(table.frame(), pandas.DataFrame)
    assert "more rows" in repr(Table([{"a": i} for i in range(100)]))


def test_the_summary_of_a_line_is_its_posterior_beside_the_truth():
    run = Run.of("linear_regression")
    splits, pair = run.datasets(), run.build()
    posterior = pair.posterior(splits["train"].x, splits["train"].given)
    with torch.no_grad():
        scale = posterior.scale_tril
        pair.q["m"].copy_(posterior.mean)
        pair.q["log_s"].copy_(scale.diagonal().log())
        pair.q["A"].copy_((scale / scale.diagonal().unsqueeze(1)).tril(-1))
    rows = summarise(pair, splits)
    assert [row["truth"] for row in rows] == [LINE_INTERCEPT, LINE_SLOPE]
    sd = posterior.variance.sqrt()
    for row, mean, spread in zip(rows, posterior.mean, sd, strict=True):
        assert abs(row["mean"] - mean.item()) < 4 * spread.item() / 4000**0.5
        assert row["95 %"] - row["mean"] == pytest.approx(1.645 * spread.item(), rel=0.1)


def test_the_summary_of_a_hierarchy_has_the_effects_in_the_symbols_of_the_model():
    """At mu = 0 and tau = e the effect of a school is normal, with the mean tau^2 x / (tau^2 + c^2)."""
    run, each = Run.of("eight_schools"), range(8)
    splits, pair = run.datasets(), run.build()
    with torch.no_grad():
        pair.q["log_s"].fill_(-12)
    rows = {row["latent"]: row for row in summarise(pair, splits)}
    assert list(rows) == ["mu", "tau", *(f"eta[{i}]" for i in each), *(f"theta[{i}]" for i in each)]
    x, c = splits["train"].x[:, 0].tolist(), splits["train"].given[:, 0].tolist()
    for i in each:
        share = math.exp(2) / (math.exp(2) + c[i] ** 2)
        assert abs(rows[f"theta[{i}]"]["mean"] - share * x[i]) < 4 * (share * c[i] ** 2 / 4000) ** 0.5 + 1e-3
    centred = Run.of("eight_schools:centred")
    shown = [row["latent"] for row in summarise(centred.build(), centred.datasets())]
    assert shown == ["mu", "tau", *(f"theta[{i}]" for i in each)]


def test_the_summary_of_many_rows_names_the_latents_of_data_points_that_it_leaves_out():
    run = Run.of("item_response:bayesian")
    table = summarise(run.build(), run.datasets())
    assert not [row for row in table if row["latent"].startswith("z")]
    assert "left out, as values of single data points: z\n" in repr(table)


@pytest.mark.parametrize("name", ["hmm", "exponential_gaussian:per_datum", "factor_analysis", "loaded_die"])
def test_latents_of_each_kind_have_a_summary(name):
    run = Run.of(name)
    rows = summarise(run.build(), run.datasets())
    assert len(rows) == {"hmm": 30, "exponential_gaussian:per_datum": 1, "factor_analysis": 2, "loaded_die": 6}[name]
    shares = [row["mean"] for row in rows if re.match(r"y_1 =|p\[", row["latent"])]
    assert not shares or sum(shares) == pytest.approx(1.0)
    assert name in MODELS


def test_a_run_with_the_former_setting_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("gallery.figures.draw", lambda *_, **__: [])
    start(tiny("factor_analysis", "factor_analysis", {}), tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    content = json.loads(file.read_text())
    del content["settings"]["engine"]
    for former, engine in ((None, "auto"), (True, "compiled"), (False, "pyro")):
        content["settings"]["compile"] = former
        file.write_text(json.dumps(content))
        assert Run.from_json(file)[0].settings.engine == engine
    file.write_text(json.dumps(content | {"settings": content["settings"] | {"compile": "often"}}))
    with pytest.raises(ValueError, match="compile is unknown"):
        Run.from_json(file)
