"""Every purpose has a separate random stream, and the user's generator is left as it was."""

import math
from dataclasses import replace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import gallery
from gallery.catalogue.recipes import RECIPES
from gallery.runs import training
from gallery.runs.metrics import evaluate_split
from gallery.runs.specification import Run
from inference import InferenceError, ais, bdmc, eval_mode, evaluate, gradient_noise, nuts, sample
from inference.evaluation.mutual_information import mutual_information
from inference.examples import LinearGaussian
from inference.fit.minibatches import Minibatches
from inference.fit.settings import Settings
from inference.fit.svi import SVI
from inference.pairs.streams import stream


def test_streams_differ_by_seed_purpose_and_number():
    seeds = [
        stream(seed, *purpose)
        for seed in range(5)
        for purpose in ((), ("noise",), ("noise", 0), ("noise", 1), ("weights",), (0,), (1,), (0, 0), ("", 0), ("0",))
    ]
    assert len(set(seeds)) == len(seeds)
    assert stream(0, "sample") == stream(0, "sample")


def test_the_streams_of_one_seed_are_unrelated():
    """As are those that a user begins with the same seed by torch or numpy; ten pairs of streams for each seed."""
    n, purposes = 10_000, (("noise", 0), ("weights",), ("sample",), ("guide",))
    for seed in (0, 3, 11):
        torch.manual_seed(seed)
        drawn = [torch.randn(n), torch.tensor(np.random.default_rng(seed).normal(size=n), dtype=torch.float32)]
        drawn += [torch.randn(n, generator=torch.Generator().manual_seed(stream(seed, *of))) for of in purposes]
        correlation = torch.corrcoef(torch.stack(drawn)) - torch.eye(len(drawn))
        assert correlation.abs().max() < 5 / n**0.5


class Recording(LinearGaussian):
    """Keeps the first draw of the guide in training, which at its first weights does not depend on x."""

    first = None

    def guide(self, x, total=None):
        pyro.module("q", self.q)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            scale = torch.nn.functional.softplus(self.q["spread"])
            z = pyro.sample("z", dist.Normal(self.q["weight"] * x, scale).to_event(1))
        if self.first is None and self.training and len(x) > 100:
            self.first = z.detach()[:, 0]


@pytest.mark.parametrize("seed", [0, 5])
def test_data_that_a_user_draws_are_unrelated_to_the_noise_of_a_fit_of_the_same_seed(seed):
    torch.manual_seed(seed)
    x, pair = torch.randn(4000, 1), Recording()
    gallery.fit(pair, x, validation=False, epochs=1, batch_size=3600, seed=seed, engine="pyro", progress=False)
    n = len(pair.first)
    assert n == 3600
    for part in (x[:n, 0], x[-n:, 0]):
        assert abs(np.corrcoef(part, pair.first)[0, 1]) < 4 / n**0.5


@pytest.mark.parametrize("seed", [0, 7])
def test_chains_do_not_start_at_the_draws_that_simulated_their_data(seed):
    """With one temperature the log weight is log p(x | z) of a new z, whose mean is -log(2 pi) / 2 - 3 / 2."""
    x = sample(LinearGaussian(), torch.zeros(1, 1), 4000, seed=seed)["x"]
    weights = ais(LinearGaussian(), x, chains=1, steps=1, seed=seed).flatten()
    error = weights.std() / len(weights) ** 0.5
    assert abs(weights.mean() + math.log(2 * math.pi) / 2 + 1.5) < 4 * error


def test_a_negative_seed_is_refused():
    with pytest.raises(InferenceError, match=r"seed -1 is negative\. Use an integer from 0\."):
        sample(LinearGaussian(), torch.zeros(2, 1), 2, seed=-1)


FUNCTIONS = {
    "sample": lambda pair, x, seed: sample(pair, x, 8, seed=seed)["x"],
    "evaluate": lambda pair, x, seed: torch.tensor(evaluate(pair, x, particles=2, seed=seed)["elbo"]["value"]),
    "ais": lambda pair, x, seed: ais(pair, x, chains=2, steps=3, seed=seed),
    "nuts": lambda pair, x, seed: nuts(pair, x, None, 4, 2, seed=seed)["draws"]["z"],
    "bdmc": lambda pair, x, seed: torch.tensor(bdmc(pair, x, 4, chains=2, steps=3, seed=seed)["upper"]["value"]),
    "gradient_noise": lambda pair, x, seed: torch.tensor(
        gradient_noise(SVI(pair, x, settings=Settings(batch_size=4)), 2, 2, seed)["all"]["variance"]
    ),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.integration] * (name == "bdmc")) for name in FUNCTIONS]
)
def test_noise_depends_on_the_seed_and_on_nothing_else(name):
    pair, x = LinearGaussian(), torch.randn(8, 1)
    found = []
    for seed in (0, 0, 1):
        torch.rand(1)  # the position of the user's generator does not matter
        before = torch.get_rng_state()
        found.append(FUNCTIONS[name](pair, x, seed))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_a_users_data_and_a_guide_of_the_same_seed_are_unrelated():
    """x = torch.randn after torch.manual_seed(s) would equal the noise of z of the same seed."""
    pair, n = LinearGaussian(), 4000
    torch.manual_seed(0)
    x = torch.randn(n, 1)
    with eval_mode(pair, 0):
        eps = torch.randn(n, 1)
    for other in (eps, sample(pair, x, n, seed=0)["z"]):
        correlation = np.corrcoef(x.squeeze(1), other.squeeze(1))[0, 1]
        assert abs(correlation) < 4 / n**0.5


@pytest.mark.parametrize("seed", [0, 1])
def test_information_of_simulated_data_is_exact_at_one_seed_for_both(seed):
    """I(x; z) is log(1 + 1) / 2 under the exact posterior; common noise of data and guide would inflate it."""
    pair, n = LinearGaussian(), 2000
    with torch.no_grad():
        pair.q["weight"].fill_(0.5)
        pair.q["spread"].fill_(math.log(math.expm1(0.5**0.5)))
    x = sample(pair, torch.zeros(1, 1), n, seed=seed)["x"]
    found = mutual_information(pair, x, n=n, seed=seed)["mutual_information"]
    exact = math.log(2) / 2
    bias = (math.exp(2 * exact) - 1) / (2 * n)
    assert abs(found["value"] + bias - exact) < 4 * found["se"]


def test_runs_of_several_seeds_are_evaluated_with_several_noises(monkeypatch, tmp_path):
    """The bounds of one set of weights spread over seeds by their Monte Carlo error, which a range has to hold."""
    run = Run.of("factor_analysis:fixed_variance")
    pair, test = run.build(), run.load("test").head(100)
    values = [evaluate_split(pair, test, seed=seed)["elbo"]["value"] for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


def test_a_finished_run_was_evaluated_with_its_seed(monkeypatch, tmp_path):
    seeds = []
    monkeypatch.setattr("gallery.figures.draw", lambda *_, **__: [])
    monkeypatch.setattr("gallery.runs.finish.evaluate_split", lambda *_, seed: seeds.append(seed) or {})
    training.start(Run.of("loaded_die", None, None, {}, {"epochs": 1, "seed": 3}), tmp_path / "run")
    assert seeds == [3, 3]


def test_a_fit_leaves_the_users_generator_as_it_was(tmp_path):
    before = torch.get_rng_state()
    training.start(Run.of("loaded_die", RECIPES["loaded_die"], None, {}, {"epochs": 1}), tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_of_a_run_depend_on_its_seed_alone():
    run = Run.of("vae", RECIPES["vae"], "digits:threshold", {}, {})
    torch.rand(3)
    first, again = run.build().state_dict(), run.build().state_dict()
    other = replace(run, settings=replace(run.settings, seed=1)).build().state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not all(torch.equal(value, other[name]) for name, value in first.items())


def test_orders_differ_between_seeds_epochs_and_strata():
    x = torch.zeros(40, 1)
    rows = {seed: Minibatches(x, Settings(batch_size=40, seed=seed)).rows for seed in (0, 1)}
    orders = [rows[seed](epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(40)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
