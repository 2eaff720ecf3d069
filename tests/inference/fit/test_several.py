"""Several fits whose steps run in one graph: each is the fit that it is alone."""

import pytest
import torch
from cases import FITTED, N, arguments, build, objective
from known import Tempered

from inference import SVI, InferenceError, Settings
from inference.examples import LinearGaussian
from inference.fit.checkpoint import random_state, set_random_state
from inference.fit.guard import DivergenceError
from inference.fit.several import SeveralFits

QUICK = ["exponential_gaussian", "factor_analysis", "gaussian_mixture", "linear_regression"]
DEPENDENT = ["exponential_gaussian:gamma", "loaded_die", "vae:continuous_bernoulli", "lda", "lda:smoothed"]
REFUSED = dict.fromkeys(DEPENDENT, "draws noise that depends on weights or data")  # Dirichlet or gamma
REFUSED |= dict.fromkeys(["sparse_autoencoder", "sparse_autoencoder:deep"], "a step cannot be batched")  # torch's KL
SHIFTED = {"prod_lda": ["encoder.1.bias", "encoder.2.running_mean"]}
"""A bias before a batch normalisation has a gradient of 0, which rounding makes 1e-12; Adam divides it by its eps."""
SEEDS, STEPS = 3, 24


def fits_of(name, x, *given, transform=None, **settings):
    """Return fits with several seeds, and the state of the random generators of each."""
    fits, noise = [], []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        pair = (build(name) if isinstance(name, str) else name()).double()
        settings = {"epochs": STEPS // 2, "batch_size": N // 2, "engine": "graph", "lr": 1e-2} | settings
        fit = SVI(pair, x, *given, settings=Settings(seed=seed, precision="float64", **settings), transform=transform)
        pair.train()
        fits.append(fit)
        noise.append(random_state())
    return fits, noise


def alone(fits, noise):
    losses = []
    for fit, state in zip(fits, noise, strict=True):
        set_random_state(state)
        losses.append(fit.run())
    return torch.stack(losses)


def together(fits, noise):
    several, losses = SeveralFits(fits, noise), []
    while fits[0].step < fits[0].steps:
        losses.append(several.train_steps(7))
    return torch.cat(losses, 1)


def check(name, *args, **settings):
    one, other = (fits_of(name, *args, **settings) for _ in range(2))
    torch.testing.assert_close(together(*one), alone(*other), rtol=1e-8, atol=1e-8)
    for fit, expected in zip(one[0], other[0], strict=True):
        for key, value in expected.pair.state_dict().items():
            atol = STEPS * 1e-2 * 1e-12 / 1e-8 if key in SHIFTED.get(name, ()) else 1e-8
            torch.testing.assert_close(fit.pair.state_dict()[key], value, rtol=1e-8, atol=atol)


@pytest.mark.parametrize("name", QUICK)
def test_each_fit_is_the_one_it_is_alone(name):
    check(name, *arguments(name, torch.float64), objective=objective(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FITTED if name not in QUICK])
def test_each_fit_of_any_model_is_the_one_it_is_alone(name):
    if name not in REFUSED:
        check(name, *arguments(name, torch.float64), objective=objective(name))
        return
    with pytest.raises(InferenceError, match=REFUSED[name]):
        SeveralFits(*fits_of(name, *arguments(name, torch.float64), objective=objective(name)))


def test_schedules_and_a_transform_that_draws_are_those_of_each_fit():
    x = torch.rand(N, 1, dtype=torch.float64)
    check(Tempered, x, transform=torch.bernoulli, warmup=4, lr_schedule="cosine", final_temperature=0.1)


def test_a_fit_goes_on_alone():
    x = torch.randn(N, 1, dtype=torch.float64)
    (fits, noise), expected = fits_of(LinearGaussian, x), fits_of(LinearGaussian, x)
    several = SeveralFits(fits, noise)
    global_noise = torch.get_rng_state()
    first = several.train_steps(10)
    assert torch.equal(torch.get_rng_state(), global_noise)
    rest = alone(fits, several.noise)
    torch.testing.assert_close(torch.cat([first, rest], 1), alone(*expected), rtol=1e-8, atol=1e-8)


def test_a_loss_that_is_not_finite_is_found_at_its_step():
    x = torch.randn(N, 1, dtype=torch.float64)
    fits, noise = fits_of(LinearGaussian, x)
    several = SeveralFits(fits, noise)
    several.train_steps(3)
    with torch.no_grad():
        fits[1].pair.q["weight"].fill_(torch.nan)
    with pytest.raises(DivergenceError, match=r"at step 3 \("):
        together_left(several)


def together_left(several):
    while several.fits[0].step < several.fits[0].steps:
        several.train_steps(100)


@pytest.mark.parametrize("settings", [{"engine": "pyro"}, {"engine": "compiled"}])
def test_fits_that_are_not_run_as_a_graph_are_refused(settings):
    with pytest.raises(InferenceError, match="run as graphs in one process, are joined"):
        SeveralFits(*fits_of(LinearGaussian, torch.zeros(N, 1, dtype=torch.float64), **settings))


def test_fits_of_other_steps_are_refused_and_left_as_they_were():
    x = torch.randn(N, 1, dtype=torch.float64)
    (one, *_), (noise, *_) = fits_of(LinearGaussian, x)
    (other, *_), _ = fits_of(LinearGaussian, x, batch_size=3)
    with pytest.raises(InferenceError, match="different steps"):
        SeveralFits([one, other], [noise, noise])
    assert one.step == other.step == 0
    assert one.run().isfinite().all()
