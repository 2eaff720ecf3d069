"""The experiments against what is published and what must hold."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

import data
from gallery.figures import parted_plane
from gallery.ledger.experiments import autoencoder, information, lda, ppca, sparse_autoencoder, ss_vae, vae
from gallery.ledger.experiments.autoencoder import rounded
from gallery.ledger.experiments.conditionals import Table, all_bits, conditionals
from gallery.ledger.experiments.factor_analysis import (
    alternating,
    exact_em,
    exact_gap,
    fixed_variances,
    gradient_noises,
    noise_seeds,
    seeds,
    simultaneous,
    true_evidence,
)
from gallery.ledger.experiments.prior_samples import prior_samples
from gallery.models.factor_analysis import FactorAnalysis
from gallery.runs import training as runs
from gallery.runs.specification import Run
from inference import monitor_elbo

pytestmark = pytest.mark.integration


def test_the_true_parameters_have_the_published_evidence():
    assert true_evidence(data.load("factor_analysis", "test").x) == pytest.approx(-3.9705, abs=5e-4)
    assert true_evidence(data.load("factor_analysis").x) == pytest.approx(-3.9348, abs=5e-4)


def test_experiment_1_from_the_published_start():
    pair, curve, drawn = simultaneous(snapshots=(5, 1000), every=333)
    assert curve["step"] == [333, 666, 999, 1000]
    assert curve["evidence"][2] == pytest.approx(-4.03, abs=0.05)
    test = data.load("factor_analysis", "test").x
    exact_elbo = monitor_elbo(pair, test)["evidence"] - exact_gap(pair, test)
    assert exact_elbo < curve["evidence"][-1]
    assert drawn[1000].shape == (1000, 3)
    covariance = np.cov(drawn[1000].T)
    far = np.cov(drawn[5].T)
    truth = np.cov(test.T)
    assert np.abs(covariance - truth).max() < np.abs(far - truth).max()


def test_experiment_2_moves_what_it_should_and_nothing_else():
    _, curve, phases = alternating(steps=500, every=100)
    at = {step: i for i, step in enumerate(curve["step"])}
    assert [what for _, _, what in phases] == ["guide", "model", "guide", "model"]
    for first, last, what in phases:
        evidence, gap = (curve[name][at[first] : at[last] + 1] for name in ("evidence", "gap"))
        if what == "guide":
            assert len(set(evidence)) == 1  # to the bit
            assert gap[-1] < gap[0]
        else:
            assert evidence[-1] > evidence[0]
            assert gap[-1] > gap[0]


@pytest.mark.slow
def test_experiment_2_with_the_published_seed():
    _, curve, _ = alternating(every=1000)
    assert curve["gap"][1] < 0.02
    assert curve["gap"][3] < 0.02
    assert curve["evidence"][-1] == pytest.approx(-4.494, abs=0.05)
    assert curve["evidence"][-1] < simultaneous(every=1000)[1]["evidence"][-1]  # together is faster


@pytest.mark.slow
def test_ten_seeds_and_no_seed_beats_em():
    ends = seeds(10)
    truth = true_evidence(data.load("factor_analysis", "test").x)
    assert abs(np.median([end["test"] for end in ends]) - truth) < 0.01
    _, by_em = exact_em()
    assert max(end["train"] for end in ends) <= by_em["train"][-1] + 1e-6  # float32 against float64
    assert all(torch.tensor(by_em["train"]).diff() > -1e-12)


def test_draws_of_the_prior_give_less_than_the_evidence_and_less_the_more_factors_there_are():
    found = prior_samples(factors=(1, 4, 16), counts=(100, 10_000))
    for of in found.values():
        assert all(error < 4 * se for error, se in zip(of["error"], of["se"], strict=True))
    errors = [of["error"][-1] for of in found.values()]
    assert errors == sorted(errors, reverse=True)
    assert abs(errors[0]) < 4 * found[1]["se"][-1]
    assert all(of["error"][0] < of["error"][1] for of in found.values())


def test_a_kl_in_closed_form_has_less_noise_than_a_sampled_one():
    torch.manual_seed(0)
    noises = gradient_noises(FactorAnalysis())
    assert noises["analytic"]["variance"] < noises["trace"]["variance"]


def test_both_forms_of_the_kl_lead_from_the_published_start_near_the_published_evidence():
    found = noise_seeds(count=2)
    assert list(found) == ["in closed form", "sampled"]
    assert found["in closed form"] != found["sampled"]
    for values in found.values():
        assert len(set(values)) == 2  # the seed of the noise matters
        assert all(abs(value + 4.033) < 0.05 for value in values)


@pytest.mark.slow
def test_a_fixed_variance_costs_more_the_larger_it_is():
    small, large = fixed_variances(variances=(0.03, 1.0), count=1)
    assert small["elbo"][0] > large["elbo"][0] + 0.5
    for point in (small, large):
        assert point["elbo"][0] < point["evidence"][0]


def test_fits_of_a_linear_vae_have_the_units_of_the_closed_form_or_one_that_is_undecided(tmp_path):
    found = ppca.reproduce(tmp_path, sigmas=(0.4, 0.9), seeds=range(1), epochs=200)
    assert [point["living"] for point in found["points"]] == [8, 0]
    for point in found["points"]:
        assert all(abs(fit["living"] - point["living"]) <= 1 for fit in point["fits"])
        assert all(fit["elbo"] <= point["elbo"] for fit in point["fits"])
    assert (tmp_path / "collapse.png").exists()


def test_topics_by_both_ways_are_compared_with_the_true_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(lda, "reuters_is_here", lambda: False)
    found = lda.reproduce(tmp_path, documents=20, sweeps=10, starts=1, epochs=5)["perplexity"]
    assert list(found) == ["true", "variational, a point", "variational, smoothed", "Gibbs sampling"]
    best = min(by[way]["value"] for by in found.values() for way in ("coordinate ascent", "Gibbs sampling"))
    assert best in (found["true"]["coordinate ascent"]["value"], found["true"]["Gibbs sampling"]["value"])
    assert {path.name for path in tmp_path.iterdir()} == {"gibbs.json", "gibbs.png"}


def test_the_program_of_the_slides_ends_with_an_error_or_at_an_infinite_penalty(tmp_path):
    fits = sparse_autoencoder.reproduce(tmp_path, seeds=range(1), quick=True)["fits"]
    assert [fit["recipe"] for fit in fits] == list(sparse_autoencoder.NAMES)
    for fit in fits:
        assert ("squared_error" in fit) != ("stopped" in fit)
        assert "sparsity" in fit.get("stopped", "sparsity")


def test_a_larger_beta_buys_a_lower_rate_with_distortion(tmp_path):
    run = Run.of("vae", None, "digits:threshold", {"hidden": [16], "latent_dim": 3}, {"epochs": 8, "lr": 1e-2})
    runs.start(run, tmp_path / "run")
    points = vae.reproduce(tmp_path, tmp_path / "run", betas=(0.1, 1.0, 10.0))["points"]
    assert [point["beta"] for point in points] == [0.1, 1.0, 10.0]
    for less, more in pairwise(points):
        assert more["kl"] < less["kl"]
        assert more["reconstruction"] < less["reconstruction"]
    assert points[1]["elbo"] == max(point["elbo"] for point in points)
    assert {"rate_distortion.png", "originals.png"} <= {path.name for path in tmp_path.iterdir()}


def test_a_table_holds_any_conditional_and_a_network_needs_fewer_data():
    found = conditionals(bits=(10,))
    [table], [linear], [network] = (found["conditionals"][name]["new"] for name in ("table", "linear", "network"))
    assert linear > math.log(2)  # "differ" is no half-space: at best each is said to be as likely as the other
    assert found["entropy"] < network < table < math.log(2)  # the first is Gibbs' inequality
    assert found["conditionals"]["table"]["parameters"] == [1024]


def test_a_table_is_every_function_of_its_bits():
    table = Table(3)
    with torch.no_grad():
        table.rows.weight.copy_(torch.arange(8.0).unsqueeze(1))
    assert sorted(table(all_bits(3)).tolist()) == list(range(8))


def test_codes_are_rounded_to_levels_that_cost_what_they_are_rare():
    train = torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    z = torch.tensor([[0.2, 1.0], [0.7, 5.0]], dtype=torch.float64)
    code, bits = rounded(train, z, 2)
    assert code.tolist() == [[0.0, 1.0], [1.0, pytest.approx(1.0)]]
    # of the first unit 3 in 5 are low, of the second, which never varies, 4 in 5: each level once more than it is seen
    assert bits == pytest.approx((math.log2(5 / 3) + math.log2(5 / 4) + math.log2(5 / 2) + math.log2(5)) / 2)
    fine, _ = rounded(torch.rand(50, 3, dtype=torch.float64), torch.full((1, 3), 0.5, dtype=torch.float64), 1 << 10)
    torch.testing.assert_close(fine, torch.full_like(fine, 0.5), rtol=0, atol=1 / 2046)


def test_widths_of_a_code(tmp_path):
    run = Run.of("autoencoder", None, "digits:grey", {"latent_dim": 8}, {"epochs": 10, "lr": 3e-3})
    runs.start(run, tmp_path / "run")
    found = autoencoder.reproduce(tmp_path, tmp_path / "run", widths=(32,), few=50, levels=(2, 16))
    gaps = {(p["images"], p["width"]): p["test"] - p["train"] for p in found["widths"]}
    assert gaps[50, 32] > gaps[1200, 32]  # with the same width: what overfits is few images
    coarse, fine = found["codes"]
    assert coarse["bits"] < fine["bits"]
    assert coarse["test"] > fine["test"]
    assert (tmp_path / "widths.png").exists()
    assert (tmp_path / "bits.png").exists()


@pytest.mark.slow
def test_images_without_labels_help_and_a_plane_is_parted(tmp_path):
    [row] = ss_vae.errors(labels=(20,), draws=1, settings=ss_vae.SETTINGS | {"epochs": 15})
    known = {"q(y | x)", "Bayes' rule", "logistic regression", "linear SVM"}
    assert set(row) == {"labels", "draw", "kernel SVM", "the same network, labels alone"} | known
    assert all(0 < row[name] < 0.8 for name in row.keys() - {"labels", "draw"})  # by chance it would be 0.9
    run = Run.of("ss_vae", None, "digits:threshold:50-labels", ss_vae.NETWORKS, {"epochs": 2, "objective": "enum"})
    runs.start(run, tmp_path / "run")
    found = ss_vae.plane(tmp_path / "run", epochs=2)
    assert len(found["codes"]) == len(found["labels"]) == 50
    for name, judged in found["accuracy"].items():
        assert np.shape(found["classes"][name]) == (ss_vae.SIDE, ss_vae.SIDE)
        assert judged["n"] == 297
    assert parted_plane(found).axes[0].get_xlim() == tuple(x for x, _ in found["between"])


@pytest.mark.slow
def test_a_large_beta_and_a_strong_decoder_leave_the_code_no_information(tmp_path):
    run = Run.of("vae", None, "digits:threshold", {"hidden": [16], "latent_dim": 2}, {"epochs": 15, "lr": 1e-2})
    runs.start(run, tmp_path / "run")
    points = information.reproduce(tmp_path, tmp_path / "run", betas=(1.0, 30.0), contexts=(63,), strong=())["points"]
    plain, dear, strong = (point["mutual_information"] for point in points)
    assert plain["cap"] == math.log(1500)
    assert plain["value"] > 1
    assert abs(dear["value"]) < 0.05
    assert strong["value"] < plain["value"] - 0.5
    assert points[2]["elbo"] > points[0]["elbo"]  # it models the pixels better, with less of the code
    assert (tmp_path / "information.png").exists()
