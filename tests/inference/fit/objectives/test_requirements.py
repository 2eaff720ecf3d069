"""Names of objectives, and pairs that an objective does not apply to."""

import re

import pytest
import torch
from cases import arguments, build
from known import Chain, Score, Upwards

from inference import SVI, InferenceError, Settings, param_scope
from inference.fit.objectives import OBJECTIVES, check_objective, objective, parse_objective
from inference.pairs.info import inspect_pair


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("elbo", "no objective 'elbo': expected one of trace, analytic, .*, wake-sleep:K"),
        ("iwae", "no objective 'iwae'"),
        ("iwae:two", "no objective"),
        ("iwae:5:1", "no objective"),
        ("trace:1", "no objective"),
        ("iwae:0", "at least 1: iwae:0 has 0"),
        ("dreg:-2", "at least 1"),
        ("renyi:1:5", "is the ELBO. Use objective="),
        ("renyi:1.0:5", "is the ELBO. Use objective="),
        ("renyi:-1:5", "no lower bound"),
        ("renyi:nan:5", "finite"),
        ("renyi:0.5:0", "at least 1"),
        ("free-bits:-1", "finite and not negative"),
        ("free-bits:inf", "finite and not negative"),
        ("free-bits", "no objective"),
        ("loo:1", "at least 2: loo:1 has 1. Use objective=.reinforce"),
        ("vimco:1", "at least 2: vimco:1 has 1"),
        ("miwae:0:3", "M, the number of bounds, must be at least 1: miwae:0:3 has 0"),
        ("piwae:2:0", "K, the number of draws, must be at least 1"),
        ("ciwae:1.1:3", "BETA, the share of the ELBO, must be between 0 and 1"),
        ("ciwae:nan:3", "between 0 and 1"),
        ("disarm:2", "no objective"),
    ],
)
def test_bad_names_of_objectives(name, message):
    with pytest.raises(InferenceError, match=message) as error:
        objective(name)
    assert "\n" not in str(error.value)


def test_names_of_objectives():
    for form in OBJECTIVES:
        numbers = {"K": "3", "M": "2", "ALPHA": "0.5", "BETA": "0.5", "NATS": "0.1"}
        name = ":".join(numbers.get(part, part) for part in form.split(":"))
        assert isinstance(objective(name), parse_objective(name)[0])
    assert objective("wake-sleep").draws == 10
    assert (objective("renyi:0.5:3").alpha, objective("renyi:0.5:3").draws) == (0.5, 3)
    assert objective("iwae:3", particles=4).num_particles == 12
    assert objective("miwae:2:3", particles=4).num_particles == objective("piwae:2:3", particles=4).num_particles == 24
    assert parse_objective("score") == parse_objective("reinforce")  # an alias, in runs of earlier versions


@pytest.mark.parametrize(
    ("model", "name", "message"),
    [
        ("autoencoder", "reinforce", "is a point (Delta)"),
        ("autoencoder", "iwae:5", "is a point (Delta)"),
        ("autoencoder", "free-bits:1", "is a point (Delta)"),
        ("linear_regression:map", "iwae:5", "is a point (Delta)"),
        ("gmvae", "iwae:5", "y is enumerated"),
    ],
)
def test_objectives_that_do_not_apply(model, name, message):
    pair, args = build(model), arguments(model)
    with pytest.raises(InferenceError, match=re.escape(message)):
        check_objective(name, inspect_pair(pair, args))
    with param_scope(), pytest.raises(InferenceError, match=re.escape(message)) as error:
        objective(name, 1, inspect_pair(pair, args).has_global_latent).differentiable_loss(
            pair.model, pair.guide, *args
        )
    assert "\n" not in str(error.value)


def test_objectives_refuse_draws_that_they_cannot_change():
    for model, name, message in [
        ("vrnn", "reinforce", "computes the draw of z itself"),
        ("vrnn", "dreg:5", "computes the draw of z itself"),
        ("vrnn", "wake-sleep:5", "computes the draw of z itself"),
    ]:
        with param_scope(), pytest.raises(InferenceError, match=re.escape(message)) as error:
            objective(name).differentiable_loss(build(model).model, build(model).guide, *arguments(model))
        assert "\n" not in str(error.value)
    with pytest.raises(InferenceError, match="y is enumerated"):  # by the model alone
        check_objective("wake-sleep:5", inspect_pair(build("gaussian_mixture"), arguments("gaussian_mixture")))
    score = Score()
    for name in ("iwae:5", "dreg:5", "renyi:0.5:5", "analytic"):
        with pytest.raises(InferenceError, match="z are not reparametrised"):
            check_objective(name, inspect_pair(score, (torch.randn(4, 1),)))
    with pytest.raises(InferenceError, match=r"y is discrete .*Set warmup"):
        check_objective("free-bits:1", inspect_pair(build("gmvae"), arguments("gmvae")))
    check_objective("wake-sleep:5", inspect_pair(score, (torch.randn(4, 1),)))


def test_weights_of_a_global_latent_are_of_all_data():
    pair, args = build("linear_regression"), arguments("linear_regression")
    with param_scope(), pytest.raises(InferenceError, match="a minibatch of 12 has none"):
        objective("iwae:5", 1, True).differentiable_loss(pair.model, pair.guide, *args, total=24)
    with param_scope(), pytest.raises(InferenceError, match="a latent is global"):
        objective("iwae:5").differentiable_loss(pair.model, pair.guide, *args)


@pytest.mark.parametrize("name", ["analytic", "free-bits:0.1"])
def test_a_closed_kl_needs_the_order_of_the_model(name):
    SVI(Chain(), torch.zeros(3, 1), settings=Settings(objective=name))
    with pytest.raises(InferenceError, match="draws z_2, z_1 in this order, and the model in another"):
        SVI(Upwards(), torch.zeros(3, 1), settings=Settings(objective=name))
