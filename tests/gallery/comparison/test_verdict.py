"""The sentence that ends a comparison, on results made by hand."""

import json

import pytest

from gallery.comparison.verdict import verdict
from gallery.ledger.tables import LEDGER

STORED = sorted((LEDGER / "lessons").rglob("compare.json"))


def row(name, elbo, passes, seed=0, mc_se=0.1):
    bound = {} if elbo is None else {"elbo": {"value": elbo, "mc_se": mc_se}}
    status = "failed" if elbo is None else "finished"
    label = {"name": name, "label": name, "guide": "own", "seed": seed}
    return label | {"status": status, "passes": passes} | bound


def test_a_bound_that_is_clearly_the_highest_is_taken():
    rows = [row("trace", -5.0, 100), row("iwae:5", -3.0, 500)]
    assert verdict({"seeds": 1, "rows": rows}) == (
        "Take iwae:5: its ELBO is the highest, by 2 nats per data point (standard error 0.1) over trace, "
        "for 5 times the passes of that."
    )


def test_of_a_tie_the_cheapest_is_taken():
    rows = [row("trace", -3.2, 100), row("iwae:5", -3.0, 500)]
    assert verdict({"seeds": 1, "rows": rows}).startswith(
        "Take trace: within 2 standard errors its ELBO is as high as that of iwae:5, for 0.2 times the passes"
    )
    assert verdict({"seeds": 1, "rows": [r | {"passes": 9} for r in rows]}).endswith(
        "for as many passes as the cheapest of them."
    )


def test_the_spread_of_seeds_makes_a_tie():
    rows = [row("a", v, 1, s, 0.0) for s, v in enumerate((-4.0, -2.0))] + [row("b", -2.5, 9, s, 0.0) for s in (0, 1)]
    assert verdict({"seeds": 2, "rows": rows}).startswith("Take a:")  # -3 +- 1 against -2.5


def test_a_fit_with_a_failed_seed_is_not_compared():
    rows = [row("a", -3.0, 1, 0), row("a", -3.0, 1, 1), row("b", -1.0, 1, 0), row("b", None, 0, 1)]
    assert verdict({"seeds": 2, "rows": rows}) == (
        "Only a has a bound for every seed: there is nothing to choose between. "
        "Not compared, for want of a bound for every seed: b."
    )
    assert verdict({"seeds": 1, "rows": [row("b", None, 0)]}) == ""


def test_the_fit_whose_importance_weighted_bound_is_the_highest_is_named_if_it_is_another():
    def rows(of_trace, of_iwae):
        bounds = {"trace": of_trace, "iwae:5": of_iwae}
        return [row(name, elbo, 1) | {"iwae": {"value": iwae, "mc_se": 0.1}} for name, (elbo, iwae) in bounds.items()]

    result = {"seeds": 1, "judge_draws": 64, "rows": rows((-3.0, -2.5), (-5.0, -1.5))}
    assert verdict(result).endswith(" For log p(x) take iwae:5: its IWAE-64 is 1 nats higher.")
    for same in (rows((-3.0, -1.6), (-5.0, -1.5)), rows((-3.0, -1.0), (-5.0, -1.5))):
        assert "log p(x)" not in verdict(result | {"rows": same})


def test_modes_that_the_chosen_guide_leaves_out_are_named():
    def rows(*covered):
        found = [{"posterior": {"modes": {"modes": 2.0, "covered": of}}} for of in covered]
        return [row(name, elbo, 1) | of for name, elbo, of in zip(("a", "b"), (-3.0, -5.0), found, strict=True)]

    both = verdict({"seeds": 1, "rows": rows(1.0, 2.0)})
    assert both.endswith(" Where the posterior has several modes, a covers 1 of 2; b covers 2.")
    assert verdict({"seeds": 1, "rows": rows(1.0, 1.0)}).endswith("a covers 1 of 2.")
    assert "covers" not in verdict({"seeds": 1, "rows": rows(2.0, 1.0)})


def test_errors_of_posterior_means_stand_beside_those_of_samplers():
    fit = row("trace", -3.0, 1) | {"posterior": {"largest_error": 0.19}}
    sampler = {"name": "pathfinder", "label": "pathfinder", "guide": "", "seed": 0, "status": "finished"}
    sampler |= {"largest_error": 0.08}
    sentence = " Largest error of a posterior mean, in sds of the posterior: pathfinder 0.08, trace 0.19."
    assert verdict({"seeds": 1, "rows": [fit, sampler]}) == sentence.strip()
    others = [fit, row("iwae:5", -1.0, 5), sampler]
    assert verdict({"seeds": 1, "rows": others}).startswith("Take iwae:5")
    assert verdict({"seeds": 1, "rows": others}).endswith(sentence)
    assert verdict({"seeds": 1, "rows": [fit]}) == ""


@pytest.mark.parametrize("file", STORED, ids=lambda file: "-".join(file.parts[-3:-1]))
def test_the_stored_verdict_of_a_lesson_is_that_of_its_rows(file):
    result = json.loads(file.read_text())
    assert result["verdict"] == verdict(result) != ""
