"""Draws for ArviZ are those of guide and model."""

import json
import math
import warnings

import cases
import numpy as np
import pytest
import torch
from export_cases import small

import data
from gallery.cli.main import main
from gallery.figures.info import decode
from gallery.models import MODELS
from inference import eval_mode, log_evidence
from inference.pairs.capabilities import declared
from inference.pairs.ends import data_within, entries_within
from inference.pairs.run import arguments

pytestmark = pytest.mark.integration


def test_arviz_opens_the_file(folder, az, capsys, tmp_path):
    out = tmp_path / "draws.nc"
    assert main(["export", str(folder), "--to", "arviz", "--n", "7", "--draws", "30", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    exported = az.from_netcdf(out)
    assert dict(exported["posterior"].sizes) == {"chain": 1, "draw": 30, "datum": 7, "z_dim_0": 2}
    assert exported["log_likelihood"]["x"].dims == ("chain", "draw", "datum")
    assert exported["posterior_predictive"]["x"].dims == ("chain", "draw", "datum", "x_dim_0", "x_dim_1")
    assert exported["posterior_predictive"]["x"].shape == (1, 30, 7, 8, 8)
    test = data.load("digits:threshold", "test").head(7)
    assert np.array_equal(exported["observed_data"]["x"].values, test.x.view(7, 8, 8).numpy())
    assert np.array_equal(exported["constant_data"]["labels"].values, test.labels.numpy())
    assert set(exported["constant_data"].data_vars) == {"labels"}
    run = json.loads((folder / "run.json").read_text())
    assert json.loads(exported.attrs["keywords"]) == run["keywords"]
    assert exported.attrs["data_hash"] == test.hash
    assert {"model": "vae", "split": "test"}.items() <= dict(exported.attrs).items()
    assert "guide" in exported.attrs["draws"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ArviZ warns of a single chain
        table = az.summary(exported["posterior"].to_dataset() if hasattr(exported, "subtree") else exported)
        assert len(table) == 14
        az.plot_forest(exported, var_names=["z"])


def test_arviz_evaluates_a_model_with_global_latents(az, tmp_path):
    folder, out = tmp_path / "line", tmp_path / "draws.nc"
    assert (
        main(
            ["fit", "linear_regression", "--epochs", "100", "--batch-size", "200", "--lr", "0.1", "--run", str(folder)]
        )
        == 0
    )
    arguments = ["--split", "train", "--n", "200", "--draws", "500", "--out", str(out)]
    assert main(["export", str(folder), "--to", "arviz", *arguments]) == 0
    exported = az.from_netcdf(out)
    assert exported["posterior"]["w"].dims == ("chain", "draw", "w_dim_0")
    assert "sample_stats" not in exported
    assert exported["constant_data"]["given"].shape == (200, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loo = az.loo(exported)
    log_p = exported["log_likelihood"]["x"].values[0].astype(float)
    in_sample = (np.logaddexp.reduce(log_p, 0) - math.log(len(log_p))).sum()
    value = getattr(loo, "elpd_loo", None) or loo.elpd
    assert value < in_sample  # a data point that is left out does not inform its prediction
    assert in_sample - value < 200 * 0.1  # a small difference: 3 parameters for 200 data points


@pytest.mark.parametrize("name", [name for name in MODELS if name not in cases.REFUSED])
def test_every_model_has_draws(name):
    groups = pytest.importorskip("gallery.report.export.arviz", reason="pip install latent-gallery[arviz]").groups
    pair, dataset = small(name)
    exported = groups(pair, dataset, draws=2)
    assert exported["log_likelihood"]["x"].shape == (1, 2, cases.N)
    assert exported["posterior_predictive"]["x"].shape == (1, 2, *exported["observed_data"]["x"].shape)
    assert exported["posterior"].data_vars
    np.testing.assert_array_equal(exported.pop("observed_data")["x"], dataset.x)  # NaN where a value is missing
    latents, of_x = entries_within(pair, arguments(pair, dataset.x, dataset.given)), data_within(pair, dataset.x)
    ends = {(group, site): kept for group in ("posterior", "prior") for site, kept in latents.items()}
    ends |= {} if of_x is None else {("posterior_predictive", "x"): of_x.unflatten(-1, dataset.shape)}
    assert bool(ends) == ("step_dim" in declared(MODELS[name]))  # some of these sequences are shorter
    for group, of_group in exported.items():
        for site, values in of_group.data_vars.items():
            expected = ends.get((group, site), torch.tensor(True)).expand(values.shape)
            assert np.array_equal(np.isfinite(values), expected)


def test_log_likelihood_and_log_weight_are_those_of_the_draws():
    groups = pytest.importorskip("gallery.report.export.arviz").groups
    pair, dataset = small("factor_analysis")
    exported = groups(pair, dataset, draws=100)
    z = torch.from_numpy(exported["posterior"]["z"].values[0])  # (draw, n, 2)
    log_likelihood = torch.stack([decode(pair, dataset.x, {"z": z_s}).log_prob(dataset.x) for z_s in z])
    assert torch.allclose(
        torch.from_numpy(exported["log_likelihood"]["x"].values[0]), log_likelihood, atol=1e-8, rtol=0
    )
    with eval_mode(pair):
        q = torch.distributions.MultivariateNormal(dataset.x @ pair.phi["V"].T, scale_tril=pair.scale_tril())
        prior = torch.distributions.Normal(torch.zeros(2).double(), 1.0)
        log_w = prior.log_prob(z).sum(-1) + log_likelihood - q.log_prob(z)
        evidence = log_evidence(pair, dataset.x)
        gap = torch.distributions.kl_divergence(q, pair.posterior(dataset.x))
    written = torch.from_numpy(exported["sample_stats"]["log_weight"].values[0])
    assert torch.allclose(written, log_w, atol=1e-8, rtol=0)
    error = written.std(0) / math.sqrt(len(written))
    assert ((written.mean(0) - (evidence - gap)).abs() < 4 * error).all()  # the ELBO, known exactly


def test_a_latent_that_is_summed_out_is_drawn_from_its_posterior():
    groups = pytest.importorskip("gallery.report.export.arviz").groups
    pair, dataset = small("gaussian_mixture")
    exported = groups(pair, dataset, draws=100)
    with eval_mode(pair):
        p = pair.posterior(dataset.x).probs
    y = torch.from_numpy(exported["posterior"]["y"].values[0])  # (draw, n)
    shares = torch.nn.functional.one_hot(y, p.shape[1]).double().mean(0)
    error = (p * (1 - p) / 100).sqrt()
    assert ((shares - p).abs() <= 4 * error + 1 / 100).all()
    assert "sample_stats" not in exported


def test_draws_from_the_prior_do_not_depend_on_the_data():
    groups = pytest.importorskip("gallery.report.export.arviz").groups
    pair, dataset = small("vrnn")
    other = data.Dataset("other", "train", 1 - dataset.x, dataset.shape)
    one, two = (groups(pair, d, draws=2)["prior"] for d in (dataset, other))
    assert all(np.array_equal(one[name], two[name], equal_nan=True) for name in one)
