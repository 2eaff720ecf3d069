"""A function of tensors that runs a pair, as one graph: Pyro's handlers go once, at tracing; tensor code ever after.

    graph = traced(run, args)          # run(*args) -> tensors, its gradients taken inside
    fast = fused(graph, args)          # the same, compiled
    loss, *gradients = fast(*args)

Loss and gradient are traced together: of a loss alone, detached parts would get gradients. The graph holds the
parameters themselves, so an optimiser that updates them in place updates it. All else that is not a tensor among the
arguments is a constant of it: a schedule has to travel as a tensor. Random numbers stay random. Inside there are no
checks of values: whoever traces runs the function once before, with validation on.
"""

import logging
import sys
import traceback
import warnings
from collections.abc import Callable

import pyro
import torch
import torch.nn.functional as F
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode

from inference.errors import InferenceError


class UntraceableError(InferenceError):
    """A pair whose operations depend on values; the message names the line."""


class _WithoutReading(TorchFunctionMode):
    """Answers the questions that Pyro's own code asks of values, as a fit that goes well would; the user's are left."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.register_hook and args[1].__module__ == "pyro.util":
            return None  # a warning of gradients that are not finite
        if function is F.one_hot and len(args) > 1:  # its kernel reads the largest index
            return (args[0].unsqueeze(-1) == torch.arange(args[1], device=args[0].device)).long()
        caller = sys._getframe(1)
        while caller.f_code.co_filename == __file__:  # another mode of this file
            caller = caller.f_back
        if caller.f_globals.get("__name__", "").startswith("pyro."):
            if function is torch.Tensor.item:
                return args[0].detach()  # a loss that Pyro would return as a float
            if function is torch.Tensor.any:
                return False  # is an element not finite?
            if function is torch.Tensor.all:
                return True  # are all weights positive?
        return function(*args, **(kwargs or {}))


def traced(run: Callable[..., tuple[Tensor, ...]], args: tuple[Tensor, ...]) -> fx.GraphModule:
    """`run` as a graph for arguments of these shapes; random generators are left as they were.

    :raises UntraceableError: if its operations depend on the values of tensors
    """

    def quietly(*args: Tensor) -> tuple[Tensor, ...]:
        with _WithoutReading():  # within make_fx, so that it is the first to be asked
            return run(*args)

    devices = [a.device for a in args if a.is_cuda]
    try:
        with torch.random.fork_rng(devices), pyro.validation_enabled(False):
            graph = make_fx(quietly)(*args)
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if not _is_library(f.filename)]
        where = f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else "?"
        words = (str(error).splitlines() or [""])[0][:100]
        raise UntraceableError(f"at {where} ({type(error).__name__}: {words})") from error
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def fused(graph: fx.GraphModule, args: tuple[Tensor, ...]) -> Callable[..., tuple[Tensor, ...]]:
    """The graph through the compiler behind torch.compile, for arguments of these shapes and no others, which is not
    checked; on a GPU it is captured and replayed. On a CPU the noise is torch's own, that of the graph: the compiler's
    costs ten times as much there."""
    devices = [a.device for a in args if a.is_cuda]
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # that there is no GPU
    with torch.random.fork_rng(devices), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler about itself
        options = {"triton.cudagraphs": bool(devices), "fallback_random": not devices}
        return torch._inductor.compile(graph, list(args), options=options)


def _is_library(path: str) -> bool:
    return "site-packages" in path or path == __file__ or path.startswith("<")


class HalfProducts(TorchFunctionMode):
    """The matrix products of networks in bfloat16, all else as it is: log-densities keep their precision."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.linear and args[0].dtype == torch.float32:
            args = tuple(a if a is None else a.bfloat16() for a in args)
            return function(*args, **(kwargs or {})).float()
        return function(*args, **(kwargs or {}))
