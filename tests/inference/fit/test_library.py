"""Graphs as libraries on disk: their constants, their keys, damaged files."""

import os

import pytest
import torch

from inference.fit.graph import fused
from inference.fit.library import _key, _library, _remove_oldest, compile_library, lift_tensors
from inference.fit.loop import graph_of, looped


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


def test_a_library_depends_on_the_graphs_within_its_graph():
    def key(constant):
        turn = graph_of(lambda x: [x[0] + constant], (1,))
        condition = graph_of(lambda x: [x[0].sum() < 1], (1,))
        loop = graph_of(lambda x: looped("turn", "condition", x, []), (1,), {"turn": turn, "condition": condition})
        return _key(loop, [torch.ones(2)], {})

    assert key(0.1) == key(0.1) != key(0.2)


def test_the_oldest_libraries_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("inference.fit.library.MOST", 2)
    for name, used in (("a", 3), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (used, used))
    _remove_oldest(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "c"}
