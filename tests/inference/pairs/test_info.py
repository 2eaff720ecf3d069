"""PairInfo: what one run on two rows states about a pair, and what it leaves as it was."""

import pickle

import pyro
import pyro.distributions as dist
import pytest
import torch
from cases import FITTED, arguments, build
from torch import nn

from inference import InferenceError, param_scope
from inference.pairs.info import SUMMED_OUT, continuous_latents, inspect_pair
from inference.pairs.run import Batch
from inference.pairs.sites import INDEPENDENT, TRANSFORMED, independent_factors, layers, unwrap


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", FITTED)
def test_inspection_leaves_noise_buffers_and_the_parameter_store_as_they_were(name, training):
    pair, args = build(name).train(training), arguments(name)
    buffers, noise = [buffer.clone() for buffer in pair.buffers()], torch.get_rng_state()
    with param_scope():
        info = inspect_pair(pair, args)
        _ = info.is_per_data_point, info.filters if len(info.data_sites) > 1 else None
        assert not list(pyro.get_param_store().keys())
    assert torch.equal(torch.get_rng_state(), noise)
    assert all(torch.equal(a, b) for a, b in zip(pair.buffers(), buffers, strict=True))
    assert pair.training is training
    assert all(len(a) == 2 for a in info.args)
    assert info.conditional == (len(args) == 2)
    assert set(info.continuous_sites) | (info.discrete_sites.keys() & info.guide_sites.keys()) == set(info.guide_sites)
    assert set(info.codes) <= set(info.continuous_sites)
    assert info.enumerated_in_guide <= info.guide_sites.keys()
    assert not info.enumerated_in_model & info.guide_sites.keys()
    named = {id(p) for p in pair.parameters()}
    assert {id(p) for p in (info.generative_parameters | info.inference_parameters).values()} <= named


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vae", {"codes": ["z"], "generates": True, "has_standard_normal_plane": True, "n_cases": 1}),
        ("autoencoder", {"delta_sites": ["z"], "flat_sites": ["z"], "generates": False}),
        ("cvae", {"conditional": True, "conditions_on_class": True}),
        ("linear_regression", {"has_global_latent": True, "conditions_on_class": False, "codes": []}),
        ("exponential_gaussian", {"is_scalar": True, "is_per_data_point": False}),
        ("exponential_gaussian:per_datum", {"is_scalar": True, "is_per_data_point": True}),
        ("gmvae", {"component": "y", "enumerated_in_guide": {"y"}, "enumerated_in_model": set(), "n_cases": 3}),
        ("gaussian_mixture", {"enumerated_in_guide": set(), "codes": []}),
        ("vrnn", {"data_sites": ["x_1", "x_2", "x_3"], "filters": True, "early_sites": ["z_1"]}),
        ("vrnn:smoothing", {"filters": False}),
    ],
)
def test_what_is_stated_of_the_models(name, expected):
    info = inspect_pair(build(name).eval(), arguments(name))
    assert {key: getattr(info, key) for key in expected} == expected
    assert info.generates_rows((2, 3)) == name.startswith("vrnn")
    assert not info.generates_rows((3, 2, 1))


def test_continuous_latents_are_refused_with_a_remedy():
    with pytest.raises(InferenceError) as error:
        continuous_latents(build("gmvae"), arguments("gmvae"))
    assert error.value.remedy == SUMMED_OUT
    assert str(error.value) == f"{error.value.message} {SUMMED_OUT}"
    with pytest.raises(InferenceError, match="has no continuous latent"):
        continuous_latents(build("gaussian_mixture"), arguments("gaussian_mixture"))


def test_errors_keep_message_and_remedy():
    plain, number = InferenceError("x has no rows."), InferenceError("Too steep.", ("lr", "0.001"))
    assert (str(plain), plain.message, plain.remedy) == ("x has no rows.", "x has no rows.", None)
    assert str(number) == "Too steep. Use lr=0.001."
    again = pickle.loads(pickle.dumps(number))
    assert (str(again), again.message, again.remedy) == (str(number), number.message, number.remedy)
    assert str(InferenceError("Too steep.", "Rescale x.")) == "Too steep. Rescale x."


def test_unwrap_and_layers():
    normal = dist.Normal(torch.zeros(3, 2), 1.0)
    masked = normal.to_event(1).mask(torch.ones(3, dtype=torch.bool))
    assert unwrap(masked) is normal
    assert unwrap(masked, INDEPENDENT) is masked
    assert [type(fn).__name__ for fn in layers(masked)] == ["MaskedDistribution", "Independent", "Normal"]
    log_normal = dist.LogNormal(0.0, 1.0)
    assert unwrap(log_normal) is log_normal
    assert isinstance(unwrap(log_normal, TRANSFORMED), dist.Normal)
    q, p = independent_factors(normal.to_event(1), dist.Normal(torch.zeros(3, 2), 2.0).to_event(2))
    assert (q.batch_shape, p.batch_shape) == ((3, 2), (3, 2))
    q, p = independent_factors(normal.to_event(1), normal)
    assert isinstance(q, dist.Independent)
    assert p is normal


def test_a_batch_is_sliced_moved_and_repeated_as_one():
    class Conditional(nn.Module):
        def model(self, x, given, total=None): ...

    class Plain(nn.Module):
        def model(self, x, total=None): ...

    batch = Batch(torch.arange(6.0).reshape(3, 2), torch.tensor([0, 1, 2]))
    assert len(batch[1:]) == 2
    assert batch[torch.tensor([2, 0])].given.tolist() == [2, 0]
    assert batch.repeat(2).given.tolist() == [0, 1, 2, 0, 1, 2]
    moved = batch.to(dtype=torch.float64)
    assert (moved.x.dtype, moved.given.dtype) == (torch.float64, torch.int64)
    assert batch.args(Conditional()) == (batch.x, batch.given)
    assert batch.args(Plain()) == (batch.x,)
    assert Batch(batch.x)[:1].given is None
    assert Batch(batch.x).repeat(3).given is None
    with pytest.raises(InferenceError, match="conditions on labels or covariates, and the data have none"):
        Batch(batch.x).args(Conditional())
    with pytest.raises(InferenceError, match="`given` has 1 rows and x has 3"):
        Batch(batch.x, batch.given[:1]).args(Conditional())
