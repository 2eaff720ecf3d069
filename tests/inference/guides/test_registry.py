"""Guides by name: the names, and the models that a guide does not apply to."""

import pytest
import torch
from cases import N, arguments, build
from free_guides import factor_analysis

from gallery.models.exponential_gaussian import ExponentialGaussian, PerDatum
from gallery.models.linear_regression import LinearRegression
from inference import GUIDES, InferenceError, finish, with_guide
from inference.guides.registry import parse_guide


@pytest.mark.parametrize("name", ["normal", "semi_amortised"])
@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("gaussian_mixture", "sums out y"),
        ("hmm", "sums out"),
        ("gmvae", "sums out y"),
        ("gmvae:relaxed", "sums out y"),
        ("ss_vae", "sums out y"),
        ("vrnn", "sequence of 3 steps"),
        ("autoencoder", "flat prior of z"),
        ("denoising_autoencoder", "flat prior of z"),
    ],
)
def test_models_that_a_guide_by_name_cannot_serve(model, name, why):
    why = "does not compute" if name == "semi_amortised" else why
    with pytest.raises(InferenceError, match=why) as error:
        with_guide(build(model), name, *arguments(model))
    assert type(build(model)).__name__ in str(error.value)
    assert "\n" not in str(error.value)


def test_names():
    pair, x = factor_analysis(4)
    for name in GUIDES:
        if name != "semi:STEPS":
            assert parse_guide(name)[0] == name
    assert parse_guide("semi:7") == ("semi_amortised", 7)
    with pytest.raises(InferenceError, match="Did you mean 'multivariate'"):
        with_guide(pair, "multivariat", x)
    for name in ("semi:0", "semi:-1", "semi:1.5", "semi:STEPS", "semi", "semi:"):
        with pytest.raises(InferenceError, match="whole number from 1 on"):
            with_guide(pair, name, x)


@pytest.mark.parametrize("own", [torch.nn.Linear(2, 2), lambda: None, 3])
def test_an_attribute_of_the_user_is_no_step_after_the_fit(own):
    pair, x = factor_analysis(4)
    pair.after_fit = own
    assert finish(pair, x) is pair
    laplace = with_guide(pair, "laplace", x)
    assert finish(laplace, x) is not laplace
    assert finish(pair, x) is pair


def test_families_that_do_not_apply():
    x = torch.randn(N, 1)
    with pytest.raises(InferenceError, match="couplings need two"):
        with_guide(ExponentialGaussian(), "flow", x)
    with pytest.raises(InferenceError, match="does not compute"):
        with_guide(PerDatum(total=N), "semi_amortised", x)
    with pytest.raises(InferenceError, match="Finish it with the data of its fit"):
        finish(with_guide(ExponentialGaussian(), "laplace", x), x[:5])
    with pytest.raises(InferenceError, match="conditions on labels or covariates"):
        with_guide(LinearRegression(), "normal", x)
