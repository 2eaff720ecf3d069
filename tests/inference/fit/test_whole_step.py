"""Gradient and update in one compiled call: the steps of Pyro, in any number a call, and the fits it leaves alone.

All fits here have one graph, which is compiled once.
"""

import os
from functools import partial

import pytest
import torch
from fits import run_steps, tiny_fit

from inference import InferenceError
from inference.fit.graph import fused
from inference.fit.library import _key, _library, _remove_oldest, compile_library, lift_tensors
from inference.fit.step import prepare_step
from inference.fit.whole_step import adam_rates, compile_whole_step

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
    assert several.runner.prepare()[1] is not None
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
def test_a_loss_that_is_not_finite_stops_all_updates_of_the_call_and_is_named():
    errors, left = [], []
    for mode in ("compiled", "pyro"):
        svi = fit(mode)
        svi.x[svi.rows(2)[0]] = torch.nan
        torch.manual_seed(1)
        with pytest.raises(InferenceError) as error:
            svi.run()
        errors.append(str(error.value))
        left.append(weights(svi))
    assert "at step 2 (epoch 1)" in errors[0]
    assert errors[0] == errors[1]
    torch.testing.assert_close(*left, rtol=1e-9, atol=1e-9)


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


def test_the_count_of_steps_has_the_type_of_torch(monkeypatch):
    """A checkpoint is refused where it has another."""
    monkeypatch.setattr("torch.zeros", partial(torch.zeros, dtype=torch.float64))  # as by set_default_dtype
    svi = fit("pyro")
    svi.updates.moments(svi.parameters)
    assert svi.updates.state()["0.step"].dtype == torch.float32


def test_large_minibatches_are_copied_one_by_one(monkeypatch):
    svi = fit("pyro")
    rows = svi.minibatches.many_rows(0, 3)
    together = list(svi.loss.many_arguments(rows, [1.0] * 3, svi.runner.guard.failed))
    monkeypatch.setattr("inference.fit.loss.MOST_TOGETHER", 3)
    one_by_one = list(svi.loss.many_arguments(rows, [1.0] * 3, svi.runner.guard.failed))
    assert all(map(torch.equal, sum(together, ()), sum(one_by_one, ())))
    storages = [{args[3].untyped_storage().data_ptr() for args in of} for of in (together, one_by_one)]
    assert list(map(len, storages)) == [1, 3]


@pytest.mark.parametrize("held", [torch.eye(2).to_sparse(), torch.nn.Identity()], ids=["sparse", "branch"])
def test_a_graph_that_holds_more_than_dense_tensors_has_no_whole_step(held):
    svi = fit("pyro")
    nodes = torch.fx.Graph()
    failed = nodes.placeholder("failed")
    nodes.output((failed, nodes.get_attr("held"), *[failed] * len(svi.parameters)))
    graph = torch.fx.GraphModule({"held": held}, nodes)
    assert compile_whole_step(graph, (svi.runner.guard.failed,), svi.updates) is None


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
        monkeypatch.setattr("inference.fit.whole_step.compile_library", lambda *args, **kwargs: 1 / 0)
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


def test_constants_of_a_graph_become_arguments_and_no_gradient_stays_none(monkeypatch):
    kept = torch.ones(2)
    nodes = torch.fx.Graph()
    x, constant = nodes.placeholder("x"), nodes.get_attr("kept")
    nodes.output((nodes.call_function(torch.add, (x, constant)), None))
    graph = torch.fx.GraphModule({"kept": kept}, nodes)
    lifted, tensors = lift_tensors(graph)
    assert len(tensors) == 1
    assert tensors[0] is kept
    assert torch.equal(lifted(torch.ones(2), torch.zeros(2))[0], torch.ones(2))

    class Runner:
        def __init__(self, path, models):
            self.run = lambda values: [values[0] + values[1]]

    monkeypatch.setattr("torch._C._aoti.AOTIModelContainerRunnerCpu", Runner)
    monkeypatch.setattr("inference.fit.library._library", lambda *args: "step.so")
    total, missing = compile_library(graph, (torch.ones(2),))(torch.ones(2))
    assert torch.equal(total, 2 * torch.ones(2))
    assert missing is None


def test_without_the_ahead_of_time_compiler_a_graph_is_compiled_for_the_process(monkeypatch):
    monkeypatch.setattr("inference.fit.graph.compile_library", lambda *args: 1 / 0)
    monkeypatch.setattr("torch._inductor.compile", lambda graph, args, options: ("compiled", options))
    assert fused(None, (torch.ones(2),)) == ("compiled", {"triton.cudagraphs": False, "fallback_random": True})


def test_a_graph_that_cannot_be_compiled_runs_as_it_is(monkeypatch):
    """As where there is no C++ compiler."""
    monkeypatch.setattr("inference.fit.graph.compile_library", lambda *args: 1 / 0)
    monkeypatch.setattr("torch._inductor.compile", lambda graph, args, options: 1 / 0)
    graph = torch.fx.symbolic_trace(lambda x: x + 1)
    with pytest.warns(UserWarning, match=r"torch cannot compile \(division by zero\)"):
        assert fused(graph, (torch.ones(2),)) is graph


@pytest.fixture
def compiles(tmp_path, monkeypatch):
    """Replace the compiler; return (folder of libraries, list with an entry for each compilation)."""
    done = []

    def compile_graph(graph, inputs, options):
        done.append(options)
        (tmp_path / "compiled.so").write_bytes(b"library")
        return str(tmp_path / "compiled.so")

    monkeypatch.setattr("torch._inductor.aot_compile", compile_graph)
    return tmp_path / "steps", done


def test_a_damaged_library_is_compiled_anew(compiles):
    steps, done = compiles
    for content in (b"library", b"libr", None):
        path = _library(steps / "key", None, [], {})
        assert path.read_bytes() == b"library"
        assert _library(steps / "key", None, [], {}) == steps / "key" / "step.so"
        path = steps / "key" / "step.so"
        path.write_bytes(content) if content else path.unlink()
    assert len(done) == 2  # at first, and where "libr" was left
    assert [path.name for path in steps.iterdir()] == ["key"]


def test_a_library_that_cannot_be_kept_is_used(compiles):
    steps, _ = compiles
    steps.write_text("a file where the folder should be")
    assert _library(steps / "key", None, [], {}).read_bytes() == b"library"


def test_a_library_depends_on_constants_and_settings(monkeypatch):
    def key(constant):
        return _key(torch.fx.symbolic_trace(lambda x: x + constant), [torch.ones(2)], {})

    keys = {key(0.1), key(0.1 + 1e-16), key(float("inf"))}
    monkeypatch.setattr("torch.get_default_dtype", lambda: torch.float64)
    keys.add(key(0.1))
    assert len(keys) == 4


def test_the_oldest_libraries_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("inference.fit.library.MOST", 2)
    for name, used in (("a", 3), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (used, used))
    _remove_oldest(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "c"}


def test_an_epoch_ends_where_a_call_does():
    svi = tiny_fit("factor_analysis", "pyro", epochs=2, batch_size=5)  # 12 rows: epochs end in the steps 3 and 5
    ends = []
    while svi.step < svi.steps:
        left = svi.steps_left_of_epoch
        for _ in range(left):
            svi.train_step()
        ends.append((svi.step, svi.epoch))
    assert ends == [(3, 1), (5, 2)]


def test_svi_returns_the_loss_of_every_step():
    assert fit("pyro").run().shape == (STEPS,)
