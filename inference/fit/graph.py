"""Trace a function of tensors that runs a pair into one graph, and compile the graph.

    graph = traced(run, args)          # run(*args) -> tensors; gradients are taken inside
    fast = fused(graph, args)          # the same, compiled

Pyro's handlers run once, while tracing; later calls run tensor operations only. Loss and gradient are traced together,
since detached parts of a loss would otherwise get gradients. The graph holds the parameters themselves, so an optimiser
that updates them in place updates the graph. All else that is not a tensor argument is a constant of the graph: the
value of a schedule has to be passed as a tensor. Random numbers are drawn anew at every call. The graph does not check
values, so run the function once with validation on before tracing it.
"""

import logging
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import pyro
import torch
import torch.nn.functional as F
from torch import Tensor, fx
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode

from inference.errors import InferenceError
from inference.fit.library import compile_library

__all__ = ["HalfProducts", "UntraceableError", "fused", "traced"]


READING = (torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.__array__)
COMPUTING = ("pyro.distributions.", "pyro.infer.reparam.", "pyro.ops.")  # their branches on values are no checks


class UntraceableError(InferenceError):
    """A function whose operations depend on the values of tensors; the message names the line."""


class ConstantChecks(TorchFunctionMode):
    """While tracing, replaces Pyro's value-dependent checks (isfinite, .item(), .all()) by constants.

    Code of the user is not affected.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.register_hook and args[1].__module__ == "pyro.util":
            return None  # the hook only warns of gradients that are not finite
        if function in READING:  # their values would be constants of the graph, without a trace of it
            raise RuntimeError(f"{function.__name__} reads the values of a tensor")
        if function is F.one_hot and len(args) > 1:  # its kernel reads the largest index
            return (args[0].unsqueeze(-1) == torch.arange(args[1], device=args[0].device)).long()
        caller: FrameType | None = sys._getframe(1)
        while caller is not None and caller.f_code.co_filename == __file__:  # another mode of this file
            caller = caller.f_back
        name = "" if caller is None else caller.f_globals.get("__name__", "")
        if name.startswith("pyro.") and not name.startswith(COMPUTING):
            if function is torch.Tensor.item:
                return args[0].detach()  # a loss that Pyro returns as a float
            if function is torch.Tensor.any:
                return False  # whether an element is not finite
            if function is torch.Tensor.all:
                return True  # whether all weights are positive
        return function(*args, **(kwargs or {}))


def _bernoulli(p: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw as `torch.bernoulli` does, to the bit; in float64 the compiler's own form draws other numbers."""
    return (torch.rand(p.shape, dtype=p.dtype, device=p.device) < p).to(p.dtype)


DECOMPOSED = {torch.ops.aten.bernoulli.default: _bernoulli}


def traced(run: Callable[..., tuple[Tensor, ...]], args: tuple[Tensor, ...]) -> fx.GraphModule:
    """Trace `run` into a graph for arguments of the shapes of `args`; random generators are left as they were.

    :raises UntraceableError: if its operations depend on the values of tensors
    """

    def with_constant_checks(*args: Tensor) -> tuple[Tensor, ...]:
        with ConstantChecks():  # within make_fx, so that it comes before the mode of make_fx
            return run(*args)

    devices = [a.device for a in args if a.is_cuda]
    shapes = TracingContext(FakeTensorMode())  # of all nodes: else each node makes a mode, which records the stack
    try:
        with torch.random.fork_rng(devices), pyro.validation_enabled(False), tracing(shapes):
            graph = make_fx(with_constant_checks, DECOMPOSED)(*args)
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if not _is_library(f.filename)]
        where = f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else "?"
        words = (str(error).splitlines() or [""])[0][:100]
        raise UntraceableError(f"cannot be traced at {where} ({type(error).__name__}: {words})") from error
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def fused(graph: fx.GraphModule, args: tuple[Tensor, ...]) -> Callable[..., tuple[Tensor, ...]]:
    """Compile a graph by the compiler of torch.compile, for arguments of the shapes of `args`, which are not checked.

    On a GPU the compiled graph is captured and replayed. On a CPU it becomes a library, which is kept on disk; where
    torch cannot do that, it is compiled for this process alone. It draws from torch's generator there, as the graph
    does, since the compiler's generator is ten times slower; a Bernoulli draw of expanded probabilities, as several
    draws of a site are, gets its numbers in another order. A graph that cannot be compiled, as where there is no C++
    compiler, is returned as it is, with a warning.
    """
    devices = [a.device for a in args if a.is_cuda]
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns where there is no GPU
    with torch.random.fork_rng(devices), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler warns that it has code
        if not devices:
            with suppress(Exception):  # of any kind, from a compiler whose interface differs between versions
                return compile_library(graph, args)
        options = {"triton.cudagraphs": bool(devices), "fallback_random": not devices}
        try:
            return torch._inductor.compile(graph, list(args), options=options)
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
    warnings.warn(f"torch cannot compile ({reason}). The graph runs uncompiled, which is slower.", stacklevel=2)
    return graph


def _is_library(path: str) -> bool:
    return "site-packages" in path or path == __file__ or path.startswith("<")


class HalfProducts(TorchFunctionMode):
    """Computes the matrix products of networks in bfloat16, and all else, such as log-densities, as before."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.linear and args[0].dtype == torch.float32:
            args = tuple(a if a is None else a.bfloat16() for a in args)
            return function(*args, **(kwargs or {})).float()
        return function(*args, **(kwargs or {}))
