"""A traced or compiled step against the same step run by Pyro."""

import copy
import warnings
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from cases import FITTED, N, arguments, build, objective
from known import Score
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import data
from gallery.models import MODELS
from gallery.models.vae import VAE
from inference import SVI, InferenceError, Settings, evaluate, param_scope, with_guide
from inference.fit.graph import UntraceableError, traced
from inference.fit.settings import OPTIMISERS
from inference.fit.step import COMPILE_STEPS
from inference.fit.updates import FUSED_SKIP_OPTIMISERS
from inference.pairs.handlers import SetRows

STEPS = 250  # enough for the graph to be chosen


def fitting(name, mode, double=True, **settings):
    torch.manual_seed(0)
    pair, args = build(name), arguments(name, torch.float64 if double else torch.float32)
    settings = {"objective": objective(name), "batch_size": 4, "epochs": 1} | settings
    svi = SVI(pair.double() if double else pair, *args, settings=Settings(**settings))
    svi.mode = mode
    return svi


def steps(svi, n=4, seed=1):
    torch.manual_seed(seed)
    return torch.stack([svi.train_step() for _ in range(n)])


@pytest.mark.parametrize("name", FITTED)
def test_graph_takes_the_steps_of_pyro(name):
    torch.testing.assert_close(steps(fitting(name, "graph")), steps(fitting(name, "eager")), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", FITTED)
def test_gradients_are_those_of_pyro(name):
    svi = fitting(name, "graph")
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svi.train_step()
    rows, args = torch.arange(4), svi.loss.batch(torch.arange(4))
    torch.manual_seed(2)
    _, loss, *gradients = svi.step_function(*svi.loss.step_arguments(rows))
    torch.manual_seed(2)
    with param_scope(), SetRows(rows):
        expected = svi.loss.estimator.loss_and_grads(svi.pair.model, svi.pair.guide, *args, total=N)
    torch.testing.assert_close(
        loss.item() * N, torch.as_tensor(expected, dtype=torch.float64).item(), rtol=1e-9, atol=1e-9
    )
    for parameter, gradient in zip(svi.parameters, gradients, strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["vae", "linear_regression"])
def test_objectives_and_particles_too(name):
    for settings in ({"objective": "analytic"}, {"particles": 3}, {"beta": 2.0, "warmup": 1.0}):
        graph, eager = (steps(fitting(name, mode, **settings)) for mode in ("graph", "eager"))
        torch.testing.assert_close(graph, eager, rtol=1e-9, atol=1e-9)


def test_score_function_gradients():
    x = torch.randn(12, 1, dtype=torch.float64)
    ends = []
    for mode in ("graph", "eager"):
        pair = Score().double()
        svi = SVI(pair, x, settings=Settings(epochs=1, batch_size=4))
        svi.mode = mode
        torch.manual_seed(0)
        svi.train_step()
        assert pair.q["loc"] != 0
        ends.append(pair.q["loc"].detach())
    torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-9)


class Reads(TorchDispatchMode):
    """Counts the tensors that are read on the host."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["factor_analysis", "vae", "ss_vae", "gmvae", "vrnn"])
def test_nothing_is_read_from_the_device_between_checks(name):
    svi = fitting(name, "graph", epochs=100)
    svi.train_step()
    with Reads() as reads:
        steps(svi, 20)
        assert reads.count == 0
        svi.check()
        assert reads.count > 0


class Overflowing(Score):
    """Its loss is not finite from the sixth step on, which no check of arguments foresees."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def guide(self, x, total=None):
        pyro.module("q", self.q)
        self.calls += self.training
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Normal(self.q["loc"] + x[:, 0], 1.0))
            weight = torch.where(self.calls > 5, torch.inf, 0.0)
            pyro.factor("weight", weight.expand(len(x)), has_rsample=True)


@pytest.mark.filterwarnings("ignore:Encountered")
@pytest.mark.parametrize("optimiser", [*FUSED_SKIP_OPTIMISERS, "RMSprop", "NAdam"])
def test_a_loss_that_is_not_finite_is_named_and_does_no_harm(optimiser):
    pair = Overflowing()
    svi = SVI(pair, torch.randn(N, 1), settings=Settings(epochs=200, batch_size=4, optimiser=optimiser))
    assert svi.mode == "graph"
    svi.train_step()
    pair.calls.zero_()
    weights = []

    def go_on():
        for _ in svi:
            weights.append([p.detach().clone() for p in svi.parameters])

    with pytest.raises(InferenceError, match=r"not finite at step 6 .*log-density of site weight"):
        go_on()
    assert len(weights) > 10  # found at the next check
    assert all(torch.equal(a, b) for a, b in zip(weights[4], svi.parameters, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights[3], svi.parameters, strict=True))


@pytest.mark.parametrize("name", [name for name in OPTIMISERS if name != "Muon"])
def test_every_optimiser_makes_the_update_of_torch_and_goes_on_from_its_state(name):
    made = fitting("vae", "graph", optimiser=name, lr=1e-3)
    other = copy.deepcopy(made.pair)
    theirs = OPTIMISERS[name](list(other.parameters()), lr=1e-3)
    by_name = dict(other.named_parameters())
    named = {id(parameter): name for name, parameter in made.pair.named_parameters()}
    for step in range(3):
        torch.manual_seed(step)
        loss = made.loss(made.rows(step))
        for parameter, gradient in zip(made.parameters, torch.autograd.grad(loss, made.parameters), strict=True):
            by_name[named[id(parameter)]].grad = gradient
        theirs.step()
        torch.manual_seed(step)
        made.train_step()
    for key, parameter in made.pair.named_parameters():
        torch.testing.assert_close(parameter, by_name[key], rtol=1e-6, atol=1e-9)

    kept = made.state()
    for _ in range(3):
        made.train_step()
    again = fitting("vae", "graph", optimiser=name, lr=1e-3)
    again.set_state(*kept)
    for _ in range(3):
        again.train_step()
    for a, b in zip(made.parameters, again.parameters, strict=True):
        assert torch.equal(a, b)


def test_the_help_says_from_when_on_a_step_is_compiled():
    assert f"compiled from {COMPILE_STEPS} steps on" in Settings.__doc__


def test_an_optimiser_that_cannot_take_the_parameters_says_so():
    with pytest.raises(InferenceError, match=r"optimiser Muon cannot fit this pair: .* Try Adam"):
        fitting("vae", "graph", optimiser="Muon")
    with pytest.raises(InferenceError, match=r"one of ASGD, .*SGD, not 'LBFGS', which asks for the loss again"):
        Settings(optimiser="LBFGS")


class Branching(MODELS["vae"]):
    def model(self, x, total=None):
        if x.sum() > 0:
            super().model(x, total)
        else:
            super().model(x, total)


def test_a_pair_that_branches_on_values_is_run_by_pyro_and_the_line_is_named():
    svi = SVI(Branching(6, 2, (5,)), *arguments("vae"), settings=Settings(epochs=200, batch_size=4))
    with pytest.warns(UserWarning, match=r"test_compiled.py:\d+: if x.sum\(\) > 0"):
        first = svi.train_step()
    assert svi.train_step() != first


def test_dropout_and_a_warmup_live_in_the_graph():
    svi = fitting("vae", "graph", warmup=2.0, epochs=4)
    svi.train_step()
    rows = torch.arange(4)

    def loss(beta, seed):
        torch.manual_seed(seed)
        return svi.step_function(svi.guard.failed, rows, svi.x.new_full((), beta), *svi.loss.batch(rows))[1]

    assert loss(1.0, 0) == loss(1.0, 0)
    assert loss(1.0, 0) != loss(1.0, 1)
    zero, one, three = (loss(beta, 0) for beta in (0.0, 1.0, 3.0))
    torch.testing.assert_close(three - zero, 3 * (one - zero))


@pytest.mark.parametrize("mode", ["graph", "compiled"])
def test_a_temperature_that_falls_is_seen_by_the_graph(mode):
    falling, eager = (fitting("gmvae:relaxed", m, final_temperature=0.1, epochs=2) for m in (mode, "eager"))
    assert falling.pair.temperature == 0.5
    torch.testing.assert_close(steps(falling, 6), steps(eager, 6), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(falling.pair.temperature.item(), 0.5 * 0.2 ** (5 / 6))


def test_half_products_leave_the_densities_alone():
    exact, half = (fitting("vae", "graph", double=False, precision=p) for p in ("float32", "bfloat16"))
    a, b = steps(exact, 1), steps(half, 1)
    assert b.dtype == torch.float32
    assert a != b
    torch.testing.assert_close(a, b, rtol=2**-8, atol=0)  # the spacing of bfloat16
    assert all(p.dtype == torch.float32 for p in half.parameters)


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU the compiler draws noise of its own")
@pytest.mark.parametrize("name", ["factor_analysis", "vae"])
def test_compiled_takes_the_steps_of_pyro_and_goes_on_to_the_bit(name):
    compiled = fitting(name, "compiled")
    torch.testing.assert_close(steps(compiled), steps(fitting(name, "eager")), rtol=1e-9, atol=1e-9)
    tensors, about = compiled.state()
    rest = steps(compiled)
    again = fitting(name, "compiled")
    again.set_state(tensors, about)
    assert torch.equal(steps(again), rest)


def test_how_steps_are_run_goes_by_their_number():
    x = arguments("vae")[0]

    def mode(**settings):
        return SVI(build("vae"), x, settings=Settings(batch_size=N, **settings)).mode

    assert [mode(epochs=e) for e in (199, 200, 2999, 3000)] == ["eager", "graph", "graph", "compiled"]
    assert mode(epochs=1, compile=True) == "compiled"
    assert mode(epochs=5000, compile=False) == "eager"


def test_few_labelled_rows_make_a_stratum():
    x, given = (torch.rand(300, 6) > 0.5).float(), torch.full((300,), -1)
    given[[7, 150, 290]] = torch.tensor([0, 1, 2])
    svi = SVI(build("ss_vae"), x, given, Settings(objective="enum", batch_size=20))
    weight = torch.zeros(300)
    count = 99  # 198 labelled rows are 66 passes, 99 x 18 = 1782 others are 6 passes of 297
    for step in range(count):
        rows = svi.rows(step)
        assert len(rows) == 20
        assert (given[rows] >= 0).sum() == 2
        weight.index_add_(0, rows, svi.minibatches.weights)
    torch.testing.assert_close(weight, torch.full((300,), 20 * count / 300))  # every row counts alike
    assert (
        SVI(build("ss_vae"), x, given.clamp(min=0), Settings(objective="enum", batch_size=20)).minibatches.weights
        is None
    )


def test_a_single_datum_can_be_fitted_by_a_guide_of_its_own():
    x = (torch.rand(1, 6) > 0.5).float()
    pair = with_guide(build("vae"), "normal", x)
    SVI(pair, x, settings=Settings(epochs=2)).train_step()


class Normalised(VAE):
    """A VAE with a running mean of batches, which a look at the pair or a trace of its step must not move."""

    def __init__(self):
        super().__init__(6, 2, (5,), dropout=0.0, likelihood="bernoulli")
        self.encoder = nn.Sequential(nn.BatchNorm1d(6), self.encoder)


def test_buffers_are_moved_by_training_steps_only():
    x, counts = (torch.rand(N, 6) > 0.5).float(), {}
    for mode in ("eager", "graph"):
        torch.manual_seed(0)
        svi = SVI(Normalised(), x, settings=Settings(epochs=200, batch_size=4))
        svi.mode = mode
        assert svi.pair.encoder[0].num_batches_tracked == 0
        steps(svi, 3)
        counts[mode] = svi.pair.encoder[0].num_batches_tracked.item(), svi.pair.encoder[0].running_mean.clone()
    assert counts["eager"][0] == counts["graph"][0] == 3
    torch.testing.assert_close(counts["eager"][1], counts["graph"][1])


def test_going_back_is_to_the_schedules_and_away_from_a_loss_that_was_not_finite():
    svi = fitting("vae", "graph", warmup=2.0, epochs=4)
    steps(svi, 3)
    kept, beta = svi.state(), svi.beta
    assert beta > 0
    again = fitting("vae", "graph", warmup=2.0, epochs=4)
    again.set_state(*kept)
    steps(svi, 1)
    assert again.beta == svi.beta > beta
    with torch.no_grad():
        svi.parameters[0].fill_(torch.nan)
    with pytest.raises(InferenceError, match="not finite"):
        steps(svi, 200)
    svi.set_state(*kept)
    steps(svi, 2)
    svi.check()


class Failing(Score):
    """The log-density of x is not finite for some draws of z, which one draw of every datum seldom meets."""

    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)
            pyro.factor("weight", torch.where(z > 2.5, torch.inf, 0.0))

    def guide(self, x, total=None):
        pyro.module("q", self.q)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Normal(self.q["loc"] + 0 * x[:, 0], 1.0))


@pytest.mark.filterwarnings("ignore:Encountered")
def test_what_is_not_finite_is_looked_for_among_all_draws():
    svi = SVI(Failing(), torch.zeros(N, 1), settings=Settings(epochs=200, batch_size=4, objective="iwae:300"))
    steps(svi, 1)
    with pytest.raises(InferenceError, match="log-density of site weight is the first"):
        svi.check()


class Asserting(VAE):
    def model(self, x, total=None):
        assert x.sum() > -1
        super().model(x, total)


def test_an_error_without_words_is_no_crash():
    svi = SVI(Asserting(6, 2, (5,)), *arguments("vae"), settings=Settings(epochs=200, batch_size=4))
    with pytest.warns(UserWarning, match=r"cannot be traced at .*test_compiled.py:\d+: assert"):
        svi.train_step()
    with pytest.raises(UntraceableError, match=r"AssertionError: \)"):
        traced(_wordless, (torch.zeros(1),))


def _wordless(x):
    raise AssertionError


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_compiled_ends_at_the_bound_of_training_by_pyro(precision):
    """Rounding differs, and runs part by it as those of other seeds do: by 4 standard errors over seeds."""
    train, test = (data.load("digits:threshold", split).x for split in ("train", "test"))

    def bounds(mode):
        found = []
        for seed in range(5):
            torch.manual_seed(seed)
            pair = VAE(data_dim=64, latent_dim=5, hidden=(64,), dropout=0.0, likelihood="bernoulli")
            settings = Settings(epochs=40, batch_size=50, lr=2e-3, lr_schedule="cosine", seed=seed)
            svi = SVI(pair, train, settings=settings if mode == "eager" else replace(settings, precision=precision))
            svi.mode = mode
            for _ in svi:
                pass
            found.append(evaluate(pair, test, particles=16)["elbo"]["value"])
        return torch.tensor(found, dtype=torch.float64)

    eager, compiled = bounds("eager"), bounds("compiled")
    error = ((eager.var() + compiled.var()) / len(eager)).sqrt()
    assert abs(eager.mean() - compiled.mean()) < 4 * error
    share = train.mean(0).clamp(1e-3, 1 - 1e-3)  # the bound of pixels that know nothing of each other
    assert eager.mean() > torch.distributions.Bernoulli(share).log_prob(test).sum(1).mean()  # they learnt
