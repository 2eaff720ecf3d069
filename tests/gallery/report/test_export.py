"""What leaves the gallery is what torch computes: draws for ArviZ, networks as ONNX, scalars for TensorBoard."""

import json
import math
import warnings

import cases
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import data
from gallery.cli.main import main
from gallery.errors import RunError
from gallery.figures.info import decode
from gallery.models import MODELS
from gallery.report import export
from gallery.runs.specification import Run
from inference import Settings, eval_mode, log_evidence

TINY = ["--hidden", "16", "--latent-dim", "2", "--epochs", "2", "--batch-size", "400"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a run: a VAE of binary digits."""
    path = tmp_path_factory.mktemp("export") / "vae"
    assert main(["fit", "vae", "--data", "digits:threshold", *TINY, "--run", str(path)]) == 0
    return path


@pytest.fixture
def az():
    pytest.importorskip("xarray", reason="pip install latent-gallery[arviz]")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ArviZ about its own future
        return pytest.importorskip("arviz", reason="pip install latent-gallery[arviz]")


def refused(capsys, *arguments):
    """The one line with which a command is refused."""
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def small(name, dtype=torch.float64):
    """A pair of that name with a data set of the rows of `tests.cases`."""
    torch.manual_seed(0)
    x, *given = cases.arguments(name, dtype)
    kind = {} if not given else {"covariates" if given[0].is_floating_point() else "labels": given[0]}
    return cases.build(name).to(dtype), data.Dataset("cases", "train", x, (x.shape[1],), **kind)


# Draws


def test_arviz_opens_the_file(folder, az, capsys, tmp_path):
    out = tmp_path / "draws.nc"
    assert main(["export", str(folder), "--to", "arviz", "--n", "7", "--draws", "30", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    found = az.from_netcdf(out)
    assert dict(found["posterior"].sizes) == {"chain": 1, "draw": 30, "datum": 7, "z_dim_0": 2}
    assert found["log_likelihood"]["x"].dims == ("chain", "draw", "datum")
    assert found["posterior_predictive"]["x"].dims == ("chain", "draw", "datum", "x_dim_0", "x_dim_1")
    assert found["posterior_predictive"]["x"].shape == (1, 30, 7, 8, 8)
    test = data.load("digits:threshold", "test").head(7)
    assert np.array_equal(found["observed_data"]["x"].values, test.x.view(7, 8, 8).numpy())
    assert np.array_equal(found["constant_data"]["labels"].values, test.labels.numpy())
    assert set(found["constant_data"].data_vars) == {"labels"}
    run = json.loads((folder / "run.json").read_text())
    assert json.loads(found.attrs["keywords"]) == run["keywords"]
    assert found.attrs["data_hash"] == test.hash
    assert {"model": "vae", "split": "test"}.items() <= dict(found.attrs).items()
    assert "guide" in found.attrs["draws"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ArviZ: one chain
        table = az.summary(found["posterior"].to_dataset() if hasattr(found, "subtree") else found)
        assert len(table) == 14
        az.plot_forest(found, var_names=["z"])


def test_arviz_judges_a_model_whose_latents_are_global(az, tmp_path):
    folder, out = tmp_path / "line", tmp_path / "draws.nc"
    assert (
        main(
            ["fit", "linear_regression", "--epochs", "100", "--batch-size", "200", "--lr", "0.1", "--run", str(folder)]
        )
        == 0
    )
    arguments = ["--split", "train", "--n", "200", "--draws", "500", "--out", str(out)]
    assert main(["export", str(folder), "--to", "arviz", *arguments]) == 0
    found = az.from_netcdf(out)
    assert found["posterior"]["w"].dims == ("chain", "draw", "w_dim_0")
    assert "sample_stats" not in found
    assert found["constant_data"]["given"].shape == (200, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loo = az.loo(found)
    log_p = found["log_likelihood"]["x"].values[0].astype(float)
    in_sample = (np.logaddexp.reduce(log_p, 0) - math.log(len(log_p))).sum()
    value = getattr(loo, "elpd_loo", None) or loo.elpd
    assert value < in_sample  # leaving a datum out costs what it had told
    assert in_sample - value < 200 * 0.1  # and that is little: 3 parameters for 200 data


@pytest.mark.parametrize("name", [name for name in MODELS if name not in cases.REFUSED])
def test_every_model_has_draws(name):
    groups = pytest.importorskip("gallery.report.export.arviz", reason="pip install latent-gallery[arviz]").groups
    found = groups(*small(name), draws=2)
    assert found["log_likelihood"]["x"].shape == (1, 2, cases.N)
    assert found["posterior_predictive"]["x"].shape == (1, 2, *found["observed_data"]["x"].shape)
    assert found["posterior"].data_vars
    for group in found.values():
        assert all(np.isfinite(values).all() for values in group.data_vars.values())


def test_log_likelihood_and_log_weight_are_those_of_the_draws():
    groups = pytest.importorskip("gallery.report.export.arviz").groups
    pair, dataset = small("factor_analysis")
    found = groups(pair, dataset, draws=100)
    z = torch.from_numpy(found["posterior"]["z"].values[0])  # (draw, n, 2)
    log_likelihood = torch.stack([decode(pair, dataset.x, {"z": z_s}).log_prob(dataset.x) for z_s in z])
    assert torch.allclose(torch.from_numpy(found["log_likelihood"]["x"].values[0]), log_likelihood, atol=1e-8, rtol=0)
    with eval_mode(pair):
        q = torch.distributions.MultivariateNormal(dataset.x @ pair.phi["V"].T, scale_tril=pair.scale_tril())
        prior = torch.distributions.Normal(torch.zeros(2).double(), 1.0)
        log_w = prior.log_prob(z).sum(-1) + log_likelihood - q.log_prob(z)
        evidence = log_evidence(pair, dataset.x)
        gap = torch.distributions.kl_divergence(q, pair.posterior(dataset.x))
    written = torch.from_numpy(found["sample_stats"]["log_weight"].values[0])
    assert torch.allclose(written, log_w, atol=1e-8, rtol=0)
    error = written.std(0) / math.sqrt(len(written))
    assert ((written.mean(0) - (evidence - gap)).abs() < 4 * error).all()  # the ELBO, known exactly


def test_a_latent_that_is_summed_out_is_drawn_from_its_posterior():
    groups = pytest.importorskip("gallery.report.export.arviz").groups
    pair, dataset = small("gaussian_mixture")
    found = groups(pair, dataset, draws=100)
    with eval_mode(pair):
        p = pair.posterior(dataset.x).probs
    y = torch.from_numpy(found["posterior"]["y"].values[0])  # (draw, n)
    shares = torch.nn.functional.one_hot(y, p.shape[1]).double().mean(0)
    error = (p * (1 - p) / 100).sqrt()
    assert ((shares - p).abs() <= 4 * error + 1 / 100).all()
    assert "sample_stats" not in found


def test_draws_from_the_prior_have_not_seen_the_data():
    groups = pytest.importorskip("gallery.report.export.arviz").groups
    pair, dataset = small("vrnn")
    other = data.Dataset("other", "train", 1 - dataset.x, dataset.shape)
    one, two = (groups(pair, d, draws=2)["prior"] for d in (dataset, other))
    assert all(np.array_equal(one[name], two[name]) for name in one)


# Networks


def onnx():
    pytest.importorskip("onnxscript", reason="pip install latent-gallery[onnx]")
    pytest.importorskip("onnxruntime", reason="pip install latent-gallery[onnx]")
    return pytest.importorskip("gallery.report.export.onnx", reason="pip install latent-gallery[onnx]")


def session(path):
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_encoder_and_decoder_of_a_run(folder, capsys, tmp_path):
    onnx()
    assert main(["export", str(folder), "--to", "onnx", "--out", str(tmp_path / "networks")]) == 0
    from gallery.runs import training as runs

    pair, x = runs.load(folder)[1], data.load("digits:threshold", "test").x
    encoder, decoder = (session(tmp_path / "networks" / f"{name}.onnx") for name in ("encoder", "decoder"))
    assert encoder.get_modelmeta().custom_metadata_map["q(z)"] == "Normal"
    for n in (1, 3, 297):  # any number of data at a time
        loc, scale = (torch.from_numpy(v) for v in encoder.run(["z.loc", "z.scale"], {"x": x[:n].numpy()}))
        with eval_mode(pair):
            q = pair.encoder(x[:n]).base_dist
            mean = pair.decoder(loc).mean
        assert torch.allclose(loc, q.loc, atol=1e-5, rtol=1e-5)
        assert torch.allclose(scale, q.scale, atol=1e-5, rtol=1e-5)
        found = torch.from_numpy(decoder.run(["mean"], {"z": loc.numpy()})[0])
        assert torch.allclose(found, mean, atol=1e-5, rtol=1e-5)


def test_a_file_that_differs_is_not_kept(folder, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx(), "TOLERANCE", -1.0)  # the best there is differs by 0
    line = refused(capsys, "export", folder, "--to", "onnx", "--out", tmp_path / "networks")
    assert "differs as ONNX from torch" in line
    assert not (tmp_path / "networks").exists()


def test_the_check_tells_one_network_from_another():
    module = onnx()
    pair, dataset = small("vae", torch.float32)
    network, inputs, _ = module.encoder(pair, (dataset.x,))
    content = module.as_onnx(pair, network, inputs, {})
    with torch.no_grad():
        pair.encoder[1].linear.bias[0] += 2e-5
    with pytest.raises(RunError, match=r"differs .* in z\.loc"):
        module.check("the encoder", content, pair, network, inputs)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("linear_regression", ["no encoder: all data share w", "no decoder"]),
        ("loaded_die", ["no encoder: all data share p", "no decoder"]),
    ],
)
def test_pairs_without_networks(name, words, tmp_path):
    pair, dataset = small(name, torch.float32)
    run = Run(name, {}, "cases", Settings())
    with pytest.raises(RunError) as error:
        onnx().write(run, pair, dataset, tmp_path / "networks")
    assert all(word in str(error.value) for word in words)
    assert not (tmp_path / "networks").exists()


def test_half_a_pair():
    module = onnx()
    for name, make, words in [
        ("exponential_gaussian:per_datum", module.encoder, "parameters of its own for each datum"),
        ("gaussian_mixture", module.encoder, "its guide has no latent"),
        ("vrnn", module.decoder, "draws one part of x to go on with the next"),
    ]:
        pair, dataset = small(name, torch.float32)
        with pytest.raises(module.NoNetworkError, match=words):
            make(pair, (dataset.x,))


def test_one_datum_is_enough_and_float64_is_kept(tmp_path):
    module = onnx()
    pair, dataset = small("factor_analysis")
    paths, reasons = module.write(Run("factor_analysis", {}, "cases", Settings()), pair, dataset.head(1), tmp_path)
    assert [path.name for path in paths] == ["encoder.onnx", "decoder.onnx"]
    assert reasons == []
    (found,) = session(paths[0]).run(["z.loc"], {"x": dataset.x.numpy()})  # 12 rows
    with eval_mode(pair):
        assert np.abs(found - (dataset.x @ pair.phi["V"].T).numpy()).max() < 1e-8


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if name not in cases.REFUSED])
def test_every_network_there_is(name):
    module = onnx()
    pair, dataset = small(name, torch.float32)
    args = (dataset.x,) if dataset.given is None else (dataset.x, dataset.given)
    for make in (module.encoder, module.decoder):
        try:
            network, inputs, said = make(pair, args)
        except module.NoNetworkError:
            continue
        if name == "contractive_autoencoder:deep" and make is module.encoder:
            with pytest.raises(module.NoNetworkError, match="cannot be written"):  # torch cannot trace its Jacobian
                module.as_onnx(pair, network, inputs, said)
        else:
            module.as_onnx(pair, network, inputs, said)  # checks itself


# On the command line


@pytest.mark.parametrize("extra", ["arviz", "onnx", "tensorboard"])
def test_a_missing_package_is_named(extra, folder, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    command = ["export", folder, "--to", extra, "--out", tmp_path / "x.nc"]
    if extra == "tensorboard":
        command = ["fit", "vae", "--data", "digits:threshold", "--run", tmp_path / "run", "--tensorboard"]
    assert f"pip install latent-gallery[{extra}]" in refused(capsys, *command)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--to csv", '"arviz", "onnx"'),
        ("--to arviz --out {tmp}/x.zarr", "ends in .nc"),
        ("--to arviz --out {tmp}/no/x.nc", "make it first"),
        ("--to arviz --out {tmp}/x.nc --draws 0", "--draws is at least 1"),
        ("--to arviz --out {tmp}/x.nc --n 0", "--n is at least 1"),
        ("--to arviz --out {tmp}/x.nc --draws 9999999", "GiB"),
        ("--to arviz --out {tmp}/x.nc --data digits:grey", "{0, 1}"),
        ("--to arviz --out {tmp}/x.nc --data factor_analysis", "rows of 3 values"),
    ],
)
def test_bad_requests(arguments, words, folder, capsys, tmp_path, az):
    assert words in refused(capsys, "export", folder, *arguments.replace("{tmp}", str(tmp_path)).split())
    assert not list(tmp_path.iterdir())


# TensorBoard


def test_scalars_of_every_epoch(folder, tmp_path, capsys):
    pytest.importorskip("tensorboard", reason="pip install latent-gallery[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    command = ["fit", "vae", "--data", "digits:threshold", *TINY, "--run", str(tmp_path / "run")]
    assert main([*command, "--tensorboard"]) == 0
    weights = [load_file(path / "weights.safetensors") for path in (folder, tmp_path / "run")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])  # watching changes nothing
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    for tag, values in {
        "loss": [line["loss"] for line in history],
        "elbo/test": [line["test"]["elbo"] for line in history],
    }.items():
        assert [event.step for event in events.Scalars(tag)] == [line["step"] for line in history]
        assert [event.value for event in events.Scalars(tag)] == pytest.approx(values, rel=1e-6)  # kept in float32
    assert all(event.value >= 0 for event in events.Scalars("kl/z"))
    assert main([*command, "--overwrite"]) == 0
    assert not (tmp_path / "run" / "tensorboard").exists()  # they were of the run that was replaced
