"""The contract of a model (CONTRIBUTING.md), held against every entry of the registry."""

from pathlib import Path

import pyro
import pytest
import torch
from cases import NO_META, REFUSED, N, arguments, build, objective

import gallery.models
from gallery.models import MODELS
from gallery.recipes import RECIPES
from inference import SVI, InferenceError, Settings, own_store
from inference.pairs import Rows, importance_traces, is_flat, is_local, latent_sites, look, observed_sites, parameters

FITTED = [name for name in MODELS if name not in REFUSED]
both = pytest.mark.parametrize("name", FITTED)


def given(args):
    return args[1] if len(args) > 1 else None


def fitting(name, pair, args, **settings):
    return SVI(pair, args[0], given(args), Settings(objective=objective(name), **settings))


def loss_of(name, pair, args, seed=0):
    torch.manual_seed(seed)
    return fitting(name, pair, args).loss(torch.arange(N))


def test_every_file_is_registered_and_every_model_has_a_recipe():
    files = {path.stem for path in Path(gallery.models.__file__).parent.glob("[!_]*.py")}
    assert files == {name.partition(":")[0] for name in MODELS}
    assert {recipe.model for recipe in RECIPES.values()} == set(MODELS)
    for name, cls in MODELS.items():
        assert cls.__module__ == f"gallery.models.{name.partition(':')[0]}"


@both
def test_model_and_guide_have_the_same_latent_sites(name):
    model, guide = importance_traces(build(name), arguments(name))
    enumerated = {site for site, node in latent_sites(model).items() if node["infer"].get("enumerate")}
    assert set(latent_sites(model)) - enumerated == set(latent_sites(guide)) - enumerated
    steps = {f"x_{t}" for t in range(1, len(observed_sites(model)) + 1)}
    assert observed_sites(model).keys() in ({"x"}, steps)


@both
def test_local_sites_are_scaled_by_total_over_n_and_global_ones_not(name):
    args, rows = tuple(a[:4] for a in arguments(name)), torch.tensor([3, 1, 0, 2])
    traces = importance_traces(build(name), args, rows, total=N)
    assert all(is_local(site) for site in observed_sites(traces[0]).values())
    for trace in traces:
        for site in (latent_sites(trace) | observed_sites(trace)).values():
            assert float(site["scale"]) == (N / 4 if is_local(site) else 1.0)


@both
def test_too_small_a_total_is_refused(name):
    with pytest.raises(InferenceError, match="less than the 12 rows"):
        importance_traces(build(name), arguments(name), total=N - 1)


@both
def test_every_parameter_gets_a_finite_gradient(name):
    pair, args = build(name), arguments(name)
    generative, inference = parameters(look(pair, args))
    assert {id(p) for p in pair.parameters()} == {id(p) for p in [*generative.values(), *inference.values()]}
    loss_of(name, pair, args).backward()
    if not latent_sites(importance_traces(pair, args)[1]):
        assert not inference  # a guide without latent sites has nothing to fit
    for key, parameter in pair.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key


@both
def test_same_seed_same_numbers_and_state_dict_round_trip(name):
    torch.manual_seed(1)
    pair, args = build(name), arguments(name)
    torch.manual_seed(2)
    other = build(name)
    assert loss_of(name, pair, args) == loss_of(name, pair, args)
    other.load_state_dict(pair.state_dict())
    assert loss_of(name, other, args) == loss_of(name, pair, args)


@both
def test_two_instances_and_the_users_parameters_do_not_meet(name):
    pyro.param("mine", torch.tensor(1.0))
    args = arguments(name)
    alone, first, second = build(name), build(name), build(name)
    first.load_state_dict(alone.state_dict())
    runs = [fitting(name, pair, args, batch_size=4, lr=0.1) for pair in (alone, first, second)]
    torch.manual_seed(0)
    expected = [runs[0].train_step() for _ in range(3)]
    torch.manual_seed(0)
    interleaved = []
    for _ in range(3):
        interleaved.append(runs[1].train_step())
        with torch.random.fork_rng():
            runs[2].train_step()
    assert interleaved == expected
    assert list(pyro.get_param_store().keys()) == ["mine"]


@both
def test_float64_throughout(name):
    pair, args = build(name).double(), arguments(name, torch.float64)
    for trace in importance_traces(pair, args):
        for key, site in trace.nodes.items():
            if site["type"] == "sample" and site["value"].is_floating_point():
                assert site["value"].dtype == torch.float64, key
                if not is_flat(site):  # of a masked density Pyro makes a zero in float32
                    assert site["log_prob"].dtype == torch.float64, key


@pytest.mark.parametrize("name", [name for name in FITTED if name not in NO_META])
def test_meta_device(name):
    """No tensor of a step is left on the host. Checks of values are off, for there are no values to read."""
    pair, args = build(name).to("meta"), tuple(a.to("meta") for a in arguments(name))
    with pyro.validation_enabled(False), own_store(), Rows(torch.arange(N, device="meta")):
        for trace in importance_traces(pair, args):
            for key, site in trace.nodes.items():
                if site["type"] == "sample":
                    assert site["value"].device.type == site["log_prob"].device.type == "meta", key


@both
def test_beta_weighs_the_kl_and_nothing_else(name):
    """The objective, and so its gradient, is affine in beta with the KL as its slope: exactly, for the same noise.

    There is no KL without latent sites in the guide, nor under a flat prior; what the model alone sums out belongs to
    the likelihood."""
    pair, args = build(name).double().eval(), arguments(name, torch.float64)

    def gradient(beta):
        svi = fitting(name, pair, args)
        svi.beta = beta
        torch.manual_seed(0)
        loss = svi.loss(torch.arange(N))
        grads = torch.autograd.grad(loss, svi.parameters, allow_unused=True)
        zeros = (torch.zeros_like(p) if g is None else g for p, g in zip(svi.parameters, grads, strict=True))
        return torch.cat([g.flatten() for g in (loss, *zeros)])

    zero, one, three = gradient(0.0), gradient(1.0), gradient(3.0)
    torch.testing.assert_close(three - zero, 3 * (one - zero), rtol=1e-9, atol=1e-9)
    model, guide = importance_traces(pair, args)
    has_kl = not all(is_flat(model.nodes[site]) for site in latent_sites(guide))
    assert torch.equal(one, zero) != has_kl


def test_the_plain_normal_guide_is_refused_with_the_reason():
    with pytest.raises(InferenceError, match="KL\\(guide \\|\\| prior\\) is infinite"):
        SVI(build("exponential_gaussian:normal"), *arguments("exponential_gaussian"))
