"""Networks as ONNX compute what torch computes."""

import cases
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from export_cases import refused, small
from one_line_changed import Bare, Base
from pyro.distributions.transforms import affine_autoregressive, planar

import data
from gallery.cli.main import main
from gallery.errors import RunError
from gallery.models import MODELS
from gallery.report.export.networks import NoNetworkError, encoder
from gallery.runs.specification import Run
from inference import Settings, eval_mode

pytestmark = pytest.mark.integration


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
    from gallery.runs import training

    pair, x = training.load(folder)[1], data.load("digits:threshold", "test").x
    encoder, decoder = (session(tmp_path / "networks" / f"{name}.onnx") for name in ("encoder", "decoder"))
    assert encoder.get_modelmeta().custom_metadata_map["q(z)"] == "Normal"
    for n in (1, 3, 297):  # any number of data points
        loc, scale = (torch.from_numpy(v) for v in encoder.run(["z.loc", "z.scale"], {"x": x[:n].numpy()}))
        with eval_mode(pair):
            q = pair.encoder(x[:n]).base_dist
            mean = pair.decoder(loc).mean
        assert torch.allclose(loc, q.loc, atol=1e-5, rtol=1e-5)
        assert torch.allclose(scale, q.scale, atol=1e-5, rtol=1e-5)
        actual = torch.from_numpy(decoder.run(["mean"], {"z": loc.numpy()})[0])
        assert torch.allclose(actual, mean, atol=1e-5, rtol=1e-5)


def test_a_file_that_differs_is_not_kept(folder, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx(), "TOLERANCE", -1.0)  # the best there is differs by 0
    line = refused(capsys, "export", folder, "--to", "onnx", "--out", tmp_path / "networks")
    assert "differs as ONNX from torch" in line
    assert not (tmp_path / "networks").exists()


class BareGuide(Base):
    def posterior(self, loc, scale):
        return Bare(loc).to_event(1)


def test_a_guide_without_stated_parameters_has_no_encoder():
    with pytest.raises(
        NoNetworkError, match="has no encoder: q\\(z\\) is a Bare, whose parameters torch does not name"
    ):
        encoder(BareGuide(), (torch.randn(3, 2),))


def test_the_check_refuses_another_network():
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
        ("linear_regression", ["no encoder: all data points share w", "no decoder"]),
        ("loaded_die", ["no encoder: all data points share p", "no decoder"]),
        (
            "hmm",
            ["no encoder: its guide has no latent", "as ONNX: traced by torch, its number of rows becomes a const"],
        ),
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
        ("exponential_gaussian:per_datum", module.encoder, "parameters per data point"),
        ("gaussian_mixture", module.encoder, "its guide has no latent"),
        ("vrnn", module.decoder, "feeds a sample of one part of x into the next"),
    ]:
        pair, dataset = small(name, torch.float32)
        with pytest.raises(module.NoNetworkError, match=words):
            make(pair, (dataset.x,))


def test_an_operator_that_onnx_lacks_is_named():
    error = RuntimeError("No ONNX function found for <OpOverload(op='prims.digamma', overload='default')>. Failure")
    assert onnx()._reason(error) == "ONNX has no operator digamma."


def test_one_data_point_is_enough_and_float64_is_kept(tmp_path):
    module = onnx()
    pair, dataset = small("factor_analysis")
    paths, reasons = module.write(Run("factor_analysis", {}, "cases", Settings()), pair, dataset.head(1), tmp_path)
    assert [path.name for path in paths] == ["encoder.onnx", "decoder.onnx"]
    assert reasons == []
    (actual,) = session(paths[0]).run(["z.loc"], {"x": dataset.x.numpy()})  # 12 rows
    with eval_mode(pair):
        assert np.abs(actual - (dataset.x @ pair.phi["V"].T).numpy()).max() < 1e-8


ROWS = "its number of rows becomes a constant"
UNWRITTEN = {  # (name, part): why it is no ONNX
    ("contractive_autoencoder:deep", "encoder"): "cannot be written",  # torch cannot trace its Jacobian
    ("factor_analysis:missing", "encoder"): "ONNX has no operator",  # it solves no linear system
    ("lda", "encoder"): "ONNX has no operator digamma",
    ("hmm", "decoder"): ROWS,
    **{(f"state_space{variant}", part): ROWS for variant in ("", ":local_level") for part in ("encoder", "decoder")},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if name not in cases.REFUSED])
def test_every_network_there_is(name):
    module = onnx()
    pair, dataset = small(name, torch.float32)
    args = (dataset.x,) if dataset.given is None else (dataset.x, dataset.given)
    for part in ("encoder", "decoder"):
        try:
            network, inputs, about = getattr(module, part)(pair, args)
        except module.NoNetworkError:
            continue
        if (name, part) in UNWRITTEN:
            with pytest.raises(module.NoNetworkError, match=UNWRITTEN[name, part]):
                module.as_onnx(pair, network, inputs, about)
        else:
            module.as_onnx(pair, network, inputs, about)  # checks itself


@pytest.mark.parametrize("flow", [planar, affine_autoregressive])
def test_a_guide_with_a_flow_has_no_encoder_and_its_decoder_is_written(tmp_path, flow):
    module = onnx()
    pair, dataset = small("vae")
    pair.flow = flow(2).double()

    def guide(x, total=None):
        pyro.module("encoder", pair.encoder)
        pyro.module("flow", pair.flow)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.TransformedDistribution(pair.encoder(x), [pair.flow]))

    pair.guide = guide
    paths, reasons = module.write(Run("vae", {}, "cases", Settings()), pair, dataset, tmp_path)
    assert [path.name for path in paths] == ["decoder.onnx"]
    assert reasons == ["VAE has no encoder: q(z) is a TransformedDistribution, whose parameters torch does not name."]
