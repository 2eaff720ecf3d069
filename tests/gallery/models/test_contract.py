"""The contract of a model (CONTRIBUTING.md), held against every entry of the registry."""

from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch
from cases import FITTED, NO_META, N, arguments, build, objective
from torch import nn

import gallery.models
from gallery.catalogue.recipes import RECIPES
from gallery.models import MODELS, family_module
from inference import SVI, InferenceError, Settings, check_fit
from inference.contract import CLAUSES, Case
from inference.pairs.info import inspect_pair
from inference.pairs.run import importance_traces
from inference.pairs.sites import is_flat, latent_sites

both = pytest.mark.parametrize("name", FITTED)


def given(args):
    return args[1] if len(args) > 1 else None


def fitting(name, pair, args, **settings):
    return SVI(pair, args[0], given(args), Settings(objective=objective(name), **settings))


def test_every_file_is_registered_and_every_model_has_a_recipe():
    files = {path.stem for path in Path(gallery.models.__file__).parent.glob("[!_]*.py")}
    assert files == {cls.__module__.removeprefix("gallery.models.") for cls in MODELS.values()}
    assert {recipe.model for recipe in RECIPES.values()} == set(MODELS)
    for name, cls in MODELS.items():  # in the file of its family, or in one whose name begins with the family's
        family, file = name.partition(":")[0], cls.__module__.removeprefix("gallery.models.")
        assert family in files
        assert file == family or file.startswith(f"{family}_")
        assert family_module(cls).__name__ == f"gallery.models.{family}"


@both
def test_the_contract(name):
    """Clause by clause, as `gallery check` holds it; that a step can be traced is shown by test_compiled."""
    case = Case(lambda: build(name), arguments(name), objective(name))
    found = {clause: list(ask(case)) for clause, ask in CLAUSES.items() if clause != "traceable"}
    assert not [finding for findings in found.values() for finding in findings if not finding.remark]
    assert [clause for clause in found if found[clause]] == ["device"] * (name in NO_META)


@both
def test_too_small_a_total_is_refused(name):
    with pytest.raises(InferenceError, match="less than the 12 rows"):
        importance_traces(build(name), arguments(name), total=N - 1)


NO_GUIDE = {"gaussian_mixture", "hmm"}  # the model alone enumerates their only latents


@both
def test_the_guide_draws_what_the_model_does_not_enumerate(name):
    pair, args = build(name), arguments(name)
    model, guide = importance_traces(pair, args)
    inference = inspect_pair(pair, args).inference_parameters
    enumerated = {site for site, node in latent_sites(model).items() if node["infer"].get("_enumerate_dim") is not None}
    assert latent_sites(guide).keys() >= latent_sites(model).keys() - enumerated
    assert bool(latent_sites(guide)) == (name not in NO_GUIDE)
    assert name not in NO_GUIDE or not inference


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
def test_beta_weighs_the_kl_and_nothing_else(name):
    """The objective, and so its gradient, is affine in beta with the KL as its slope: exactly, for the same noise.

    There is no KL without latent sites in the guide, nor under a flat prior; what the model alone sums out belongs to
    the likelihood."""
    pair, args = build(name).double().eval(), arguments(name, torch.float64)

    def gradient(beta):
        svi = fitting(name, pair, args)
        svi.loss.beta = beta
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


class Wide(nn.Module):
    """z ~ Uniform(0, 1), two coordinates that are one event; the guide is Uniform(0, wide)."""

    def __init__(self, wide):
        super().__init__()
        self.wide = wide
        self.phi = nn.ParameterDict({"unused": torch.zeros(())})

    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Uniform(torch.zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        pyro.module("phi", self.phi)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Uniform(torch.zeros(len(x), 2), self.wide).to_event(1))


def test_a_guide_that_is_too_wide_is_refused_whatever_its_family_and_dimension():
    x = torch.rand(4, 2)
    check_fit(Wide(1.0), x)
    with pytest.raises(InferenceError, match="KL\\(guide \\|\\| prior\\) is infinite"):
        check_fit(Wide(5.0), x)


def test_the_plain_normal_guide_is_refused_with_the_reason():
    with pytest.raises(InferenceError, match="KL\\(guide \\|\\| prior\\) is infinite"):
        SVI(build("exponential_gaussian:normal"), *arguments("exponential_gaussian"))
