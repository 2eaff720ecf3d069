"""Gradient and update in one compiled call: the steps of Pyro, in any number a call, and the fits it leaves alone.

Most fits here have one graph. It is compiled twice: for several steps a call, and for one where a transform may draw.
"""

import operator
from dataclasses import replace
from functools import partial

import pytest
import torch
from fits import run_steps, tiny_fit

from inference import SVI, InferenceError, Settings
from inference.examples import LinearGaussian
from inference.fit.loop import written
from inference.fit.step import prepare_step
from inference.fit.whole_step import MOST_STEPS, adam_rates, compile_whole_steps

STEPS = 9  # of three epochs


def fit(mode="compiled", **settings):
    return tiny_fit("factor_analysis", mode, epochs=3, **settings)


def weights(svi):
    return torch.cat([p.detach().flatten() for p in svi.parameters])


@pytest.mark.integration
def test_any_number_of_steps_a_call_gives_the_same_bits_as_one():
    one, several = fit(), fit()
    losses = run_steps(one, STEPS)
    torch.manual_seed(1)
    assert torch.equal(torch.cat([several.train_steps(4), several.train_steps(5)]), losses)
    assert several.runner.prepare()[1].most > 5
    assert (several.step, several.lr, several.beta) == (one.step, one.lr, one.beta)
    assert torch.equal(weights(one), weights(several))
    assert all(torch.equal(v, several.state()[0][name]) for name, v in one.state()[0].items())


@pytest.mark.integration
@pytest.mark.parametrize("beta", [{}, pytest.param({"beta": 0.5, "warmup": 2.0}, marks=pytest.mark.slow)])
def test_schedules_and_a_transform_that_draws_are_those_of_pyro(beta):
    """A weight of the KL has another graph."""
    runs = []
    for mode in ("compiled", "pyro"):
        svi = fit(mode, lr_schedule="cosine", **beta)
        svi.transform = svi.loss.transform = lambda batch: batch + torch.randn_like(batch)
        svi.pair.train()
        torch.manual_seed(1)
        runs.append(svi.run())
        assert svi.updates.state()["0.step"] == STEPS
    torch.testing.assert_close(*runs, rtol=1e-9, atol=1e-9)


@pytest.mark.integration
def test_a_fit_continues_from_its_state_and_from_that_of_pyro():
    for mode in ("compiled", "pyro"):
        begun, other = fit(mode), fit()
        torch.manual_seed(1)
        begun.train_step()
        begun.train_step()
        other.set_state(*begun.state())
        rest = run_steps(begun, 3)
        torch.testing.assert_close(run_steps(other, 3), rest, rtol=1e-9, atol=1e-9)


@pytest.mark.integration
@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_loss_that_is_not_finite_stops_all_updates_of_the_call_and_is_named(bad):
    """At the first, at the last and within a call; the state of the generator is that before the step, whose noise the
    message depends on."""
    errors, left, noise = [], [], []
    for mode, calls in (("compiled", [9]), ("compiled", [2, 7]), ("compiled", [1] * 9), ("pyro", [1] * 9)):
        svi = fit(mode)
        svi.x[svi.rows(bad)[0]] = torch.nan
        svi.loss.first_not_finite = lambda rows: noise.append(torch.get_rng_state()) or f"row {rows[0]}"
        torch.manual_seed(1)
        with pytest.raises(InferenceError) as error:
            [svi.train_steps(most) for most in calls]
        errors.append(str(error.value))
        left.append(weights(svi))
    assert f"at step {bad} (epoch 1): row {svi.rows(bad)[0]} is" in errors[0]
    assert set(errors) == {errors[0]}
    assert all(torch.equal(state, noise[0]) for state in noise)
    assert torch.equal(left[0], left[1])
    assert torch.equal(left[0], left[2])
    torch.testing.assert_close(left[0], left[3], rtol=1e-9, atol=1e-9)


@pytest.mark.integration
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupt_between_two_steps_of_a_call_leaves_those_that_were_made(error):
    broken, other = fit(), fit()
    calls = []

    def transform(batch):
        calls.append(1)
        if len(calls) == 4:  # the first is that of the compilation
            raise error
        return batch

    broken.transform = broken.loss.transform = transform
    torch.manual_seed(1)
    with pytest.raises(error):
        broken.run()
    assert broken.step == 2
    run_steps(other, 2)
    assert all(torch.equal(v, broken.state()[0][name]) for name, v in other.state()[0].items())


@pytest.mark.integration
def test_an_interrupt_of_a_call_of_several_steps_comes_after_them(monkeypatch):
    """Also where the losses of that call are due to be checked."""
    monkeypatch.setattr("inference.fit.guard.CHECK_STEPS", 7)
    broken, other = fit(), fit()
    step, whole = broken.runner.prepare()

    def call(values):
        whole.call(values)
        raise KeyboardInterrupt  # as Python does for a signal that came within the call

    torch.manual_seed(1)
    broken.train_steps(2)
    broken.runner._prepared = step, replace(whole, call=call)
    with pytest.raises(KeyboardInterrupt):
        broken.train_steps(5)
    broken.runner._prepared = step, whole
    torch.manual_seed(1)
    other.train_steps(7)
    assert broken.step == 7
    for svi in (other, broken):
        torch.manual_seed(2)
        svi.train_steps(2)
    assert all(torch.equal(v, broken.state()[0][name]) for name, v in other.state()[0].items())


class Counting(LinearGaussian):
    """Its guide counts its calls in a buffer, on which it depends, and keeps a constant."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("start", torch.tensor(0.5))

    def guide(self, x, total=None):
        self.calls.mul_(0.9).add_(1 + self.start)
        super().guide(x + self.calls, total)


@pytest.mark.slow
def test_buffers_that_the_pair_updates_are_carried_from_step_to_step():
    fits, losses = [], []
    for mode, calls in (("compiled", [20]), ("compiled", [3] * 6 + [2]), ("graph", [1] * 20)):
        torch.manual_seed(0)
        svi = SVI(Counting(), torch.randn(40, 1), settings=Settings(epochs=2, batch_size=4))
        svi.runner.mode = mode
        torch.manual_seed(1)
        losses.append(torch.cat([svi.train_steps(most) for most in calls]))
        fits.append(svi)
    assert fits[0].runner.prepare()[1].most == MOST_STEPS
    assert torch.equal(losses[0], losses[1])
    torch.testing.assert_close(losses[0], losses[2], rtol=1e-5, atol=1e-5)
    assert torch.equal(fits[0].pair.calls, fits[1].pair.calls)
    torch.testing.assert_close(fits[0].pair.calls, fits[2].pair.calls, rtol=1e-6, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("bad", [0, 3])
def test_buffers_after_a_step_that_failed_are_those_before_it(bad):
    torch.manual_seed(0)
    svi = SVI(Counting(), torch.randn(40, 1), settings=Settings(epochs=2, batch_size=4))
    svi.runner.mode = "compiled"
    expected = 0.0
    for _ in range(bad):
        expected = 0.9 * expected + 1.5
    svi.x[svi.rows(bad)] = torch.nan
    with pytest.raises(InferenceError, match=f"at step {bad} "):
        svi.train_steps(20)
    assert svi.pair.calls.item() == pytest.approx(expected, rel=1e-6)


def test_the_arguments_that_a_graph_changes_are_those_that_it_changes_through_a_view():
    nodes = torch.fx.Graph()
    a, b, c, d = map(nodes.placeholder, "abcd")
    row = nodes.call_function(torch.ops.aten.select.int, (b, 0, 0))
    nodes.call_function(torch.ops.aten.add_.Tensor, (row, 1))
    nodes.call_function(torch.ops.aten.add.Tensor, (a, c))
    halves = nodes.call_function(torch.ops.aten.split.Tensor, (d, 1))
    nodes.call_function(torch.ops.aten.add_.Tensor, (nodes.call_function(operator.getitem, (halves, 0)), 1))
    nodes.output((row,))
    assert written(torch.fx.GraphModule({}, nodes)) == [1, 3]


def test_the_count_of_steps_has_the_type_of_torch(monkeypatch):
    """A checkpoint is refused where it has another."""
    monkeypatch.setattr("torch.zeros", partial(torch.zeros, dtype=torch.float64))  # as by set_default_dtype
    svi = fit("pyro")
    svi.updates.moments(svi.parameters)
    assert svi.updates.state()["0.step"].dtype == torch.float32


def test_arguments_of_several_steps_are_those_of_each():
    svi = fit("pyro", warmup=2.0)
    rows, betas = svi.minibatches.many_rows(2, 3), [svi.runner.schedules.beta(i) for i in (2, 3, 4)]
    together = svi.loss.many_arguments(rows, betas)
    for i, *of_step in zip((2, 3, 4), *together, strict=True):
        svi.runner.set_step(i)
        assert all(map(torch.equal, of_step, svi.loss.step_arguments(svi.rows(i))[1:]))


@pytest.mark.parametrize("reason", ["a transform", "large minibatches", "a temperature", None])
def test_a_call_has_one_step_where_its_arguments_are_not_prepared_together(reason, monkeypatch):
    svi, most = fit(), []
    if reason == "a transform":
        svi.loss.transform = torch.clone
    if reason == "large minibatches":
        monkeypatch.setattr("inference.fit.loss.MOST_TOGETHER", 2 * 4 * svi.x[0].numel() - 1)
    if reason == "a temperature":
        monkeypatch.setattr("inference.fit.schedules.Schedules.temperature", lambda self, step: 0.5)
        svi.pair.temperature = torch.tensor(1.0)
    monkeypatch.setattr(
        "inference.fit.step_runner.prepare_step", lambda *args: most.append(args[-1]) or (svi.loss.gradients, None)
    )
    svi.runner.set_step(0)
    svi.runner.prepare()
    assert most == [1 if reason else MOST_STEPS]


@pytest.mark.parametrize("held", [torch.eye(2).to_sparse(), torch.nn.Identity()], ids=["sparse", "branch"])
def test_a_graph_that_holds_more_than_dense_tensors_has_no_whole_step(held):
    svi = fit("pyro")
    nodes = torch.fx.Graph()
    failed = nodes.placeholder("failed")
    nodes.output((failed, nodes.get_attr("held"), *[failed] * len(svi.parameters)))
    graph = torch.fx.GraphModule({"held": held}, nodes)
    assert compile_whole_steps(graph, (svi.runner.guard.failed,), svi.updates, 1) is None


@pytest.mark.parametrize("reason", ["SGD", "size", "shared", "several processes", "compiler"])
def test_other_fits_are_left_to_the_optimiser(reason, monkeypatch):
    svi = fit(optimiser="SGD" if reason == "SGD" else "Adam")
    graph, args = fit("graph"), svi.loss.step_arguments(svi.rows(0), svi.runner.guard.failed)
    graph.train_step()
    if reason == "size":
        monkeypatch.setattr("inference.fit.whole_step.MOST_WEIGHTS", 3)
    if reason == "several processes":
        monkeypatch.setattr("inference.fit.distributed.workers", lambda: 2)
    if reason == "compiler":
        monkeypatch.setattr("inference.fit.whole_step.load_library", lambda *args, **kwargs: 1 / 0)
    if reason == "shared":
        first, second = svi.parameters[:2]
        second.data = first.data.flatten()[: second.numel()].view_as(second)
    monkeypatch.setattr("inference.fit.step.fused", lambda graph, args: graph)
    step, whole = prepare_step(svi.pair, svi.loss.gradients, "compiled", args, svi.updates)
    assert whole is None
    assert len(step(*args)) == 2 + len(svi.parameters)


def test_the_rates_are_those_of_adam():
    """By a fit of one weight with the gradients 1, 2, 3."""
    weight, by_rates = torch.nn.Parameter(torch.zeros((), dtype=torch.float64)), torch.zeros((), dtype=torch.float64)
    optimiser, mean, square = torch.optim.Adam([weight], lr=0.1), 0.0, 0.0
    for gradient, (lr, root) in zip(
        (1.0, 2.0, 3.0), adam_rates(0, [0.1] * 3, (0.9, 0.999), torch.float64), strict=True
    ):
        weight.grad = torch.full_like(weight, gradient)
        optimiser.step()
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        by_rates -= lr * mean / (square**0.5 / root + 1e-8)
    torch.testing.assert_close(by_rates, weight.detach(), rtol=1e-12, atol=0)


@pytest.mark.integration
def test_a_library_is_compiled_once_and_takes_new_weights(monkeypatch):
    first = fit()
    first.train_step()
    monkeypatch.setattr("torch._inductor.aot_compile", lambda *args, **kwargs: 1 / 0)
    second = fit()
    with torch.no_grad():
        for p in second.parameters:
            p.add_(0.1)
    eager = fit("pyro")
    eager.pair.load_state_dict(second.pair.state_dict())
    torch.testing.assert_close(run_steps(second), run_steps(eager), rtol=1e-9, atol=1e-9)
    assert second.runner.prepare()[1] is not None


def test_svi_returns_the_loss_of_every_step():
    assert fit("pyro").run().shape == (STEPS,)
