"""Run a model/guide pair: arguments, evaluation mode, a scoped parameter store, traces, log-densities."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

import pyro
import torch
from pyro import poutine
from pyro.infer.enum import get_importance_trace
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from inference.errors import InferenceError
from inference.pairs.handlers import SetRows


def arguments(pair: nn.Module, x: Tensor, given: Tensor | None) -> tuple[Tensor, ...]:
    """The positional arguments of `model` and `guide`: (x,), or (x, given) for a conditional model."""
    if "given" not in inspect.signature(pair.model).parameters:
        return (x,)
    if given is None:
        raise InferenceError(f"{type(pair).__name__} conditions on labels or covariates, and the data have none.")
    if len(given) != len(x):
        raise InferenceError(f"`given` has {len(given)} rows and x has {len(x)}: they must agree.")
    return (x, given)


@contextmanager
def param_scope() -> Iterator[None]:
    """A fresh scope of Pyro's parameter store, so that two models of one class never meet in it."""
    with pyro.get_param_store().scope():
        yield


@contextmanager
def eval_mode(pair: nn.Module, seed: int | None = 0) -> Iterator[None]:
    """No gradient, evaluation mode, an own store; with a seed also an own stream of random numbers."""
    training = pair.training
    with torch.no_grad(), torch.random.fork_rng(cuda_devices(pair), enabled=seed is not None), param_scope():
        if seed is not None:
            torch.manual_seed(seed)
        pair.eval()
        try:
            yield
        finally:
            pair.train(training)


def importance_traces(pair: nn.Module, args: tuple, rows: Tensor | None = None, total: int | None = None):
    """Traces (model, guide) with log-densities: the guide drawn, the model run on its draw.

    Sites marked ``infer={"enumerate": "parallel"}`` are enumerated to the left of the plate's dimension -1.
    """
    guide, model = EnumMessenger(first_available_dim=-2)(pair.guide), EnumMessenger()(pair.model)
    with SetRows(torch.arange(len(args[0]), device=args[0].device) if rows is None else rows):
        return get_importance_trace("flat", 1, model, guide, args, {"total": total})


@contextmanager
def same_buffers(pair: nn.Module) -> Iterator[None]:
    """What is run within leaves the buffers of the pair, such as running means of batches, as they were."""
    before = [buffer.clone() for buffer in pair.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(pair.buffers(), before, strict=True):
                buffer.copy_(value)


def cuda_devices(pair: nn.Module) -> list[torch.device]:
    """The CUDA devices that the pair is on: their random generators are forked with the CPU's."""
    return list({p.device for p in pair.parameters() if p.device.type == "cuda"})


def repeat(args: tuple[Tensor, ...], k: int) -> tuple[Tensor, ...]:
    """Every argument, (n, ...), k times: (k * n, ...), row r being row r % n of the data."""
    return tuple(a.repeat(k, *[1] * (a.dim() - 1)) for a in args)


def log_joint(pair: nn.Module, args: tuple, latents: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(log p(z), log p(x | z)) of every row, each (rows,) in nats, at given values of all latents, which are local."""
    trace = poutine.trace(poutine.condition(pair.model, latents)).get_trace(*args)
    trace.compute_log_prob(lambda name, site: not site_is_subsample(site))
    zero, terms = args[0].new_zeros(len(args[0])), ([], [])
    for name, site in trace.nodes.items():
        if "log_prob" in site:
            terms[name not in latents].append(site["log_prob"])
    return sum(terms[0], zero), sum(terms[1], zero)
