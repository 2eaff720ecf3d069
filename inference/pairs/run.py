"""Run a model/guide pair: arguments, evaluation mode, a scoped parameter store, traces, log-densities."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import pyro
import torch
from pyro import poutine
from pyro.infer.enum import get_importance_trace
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import Transform

from inference.errors import InferenceError
from inference.pairs.handlers import SetRows
from inference.pairs.pair import Pair
from inference.pairs.properties import distribution_fault
from inference.pairs.sites import other_plate
from inference.pairs.streams import seeded
from inference.products import using_products

__all__ = [
    "Batch",
    "arguments",
    "check_dense",
    "clear_caches",
    "cuda_devices",
    "distribution_errors",
    "eval_mode",
    "importance_traces",
    "log_joint",
    "param_scope",
    "repeat",
    "same_buffers",
]


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of data with what a conditional model conditions on, sliced, moved and repeated together.

    >>> batch = Batch(torch.arange(6.0).reshape(3, 2), torch.tensor([0, 1, 2]))
    >>> batch[1:].given
    tensor([1, 2])

    :param x: (n, ...) data
    :param given: (n, ...) labels or covariates, or None
    """

    x: Tensor
    given: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: slice | Tensor) -> "Batch":
        return Batch(self.x[rows], None if self.given is None else self.given[rows])

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Batch":
        """Return the batch on another device, its floating-point values in another type."""

        def moved(t: Tensor) -> Tensor:
            return t.to(device, dtype if t.is_floating_point() else None)

        return Batch(moved(self.x), None if self.given is None else moved(self.given))

    def repeat(self, k: int) -> "Batch":
        """Return every row k times, row r being row r % n of this batch."""
        return Batch(*repeat((self.x,) if self.given is None else (self.x, self.given), k))

    def args(self, pair: Pair) -> tuple[Tensor, ...]:
        """Return the positional arguments of `model` and `guide`: (x,), or (x, given) for a conditional model.

        :raises InferenceError: if the model conditions on something and the batch has nothing, or other rows of it
        """
        if "given" not in inspect.signature(pair.model).parameters:
            return (self.x,)
        if self.given is None:
            raise InferenceError(
                f"{type(pair).__name__} conditions on labels or covariates, and the data have none.",
                "Choose data that have them, or pass them as `given`.",
            )
        rows = len(self.given) if self.given.dim() else 0
        if rows != len(self.x):
            raise InferenceError(
                f"`given` has {rows} rows and x has {len(self.x)}; expected a row of `given` for each of x."
            )
        return (self.x, self.given)


def arguments(pair: Pair, x: Tensor, given: Tensor | None) -> tuple[Tensor, ...]:
    """Return the positional arguments of `model` and `guide`, (x,) or (x, given), as `Batch.args`.

    :raises InferenceError: if x is no dense tensor of floats
    """
    check_dense(x)
    return Batch(x, given).args(pair)


def check_dense(x: object) -> None:
    """:raises InferenceError: if x is no dense tensor of floats"""
    if isinstance(x, Tensor) and x.layout == torch.strided and not x.is_meta and x.is_floating_point():
        return
    got = f"a tensor, {x.dtype}, {x.layout} on {x.device}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
    raise InferenceError(
        f"x is {got}; expected a dense tensor of floats.", "Use torch.as_tensor(x, dtype=torch.float32)."
    )


@contextmanager
def param_scope() -> Iterator[None]:
    """Open an empty scope of Pyro's parameter store, so that two models of one class never share parameters.

    The parameters of the store before are restored on exit. The weights of a pair are in its module, and stay.

    >>> import pyro
    >>> import torch
    >>> from inference import param_scope
    >>> with param_scope():
    ...     scale = pyro.param("scale", torch.ones(()))
    >>> "scale" in pyro.get_param_store()
    False
    """
    with pyro.get_param_store().scope():
        yield


@contextmanager
def eval_mode(pair: Pair, seed: int | None = 0, purpose: str = "evaluation") -> Iterator[None]:
    """Run a block with the pair in evaluation mode, without gradients and in a `param_scope`.

    Mode, parameter store, torch's switch of `inference.products` and, with a seed, its random generators are restored
    on exit.

    >>> from inference import eval_mode
    >>> from inference.examples import LinearGaussian
    >>> pair = LinearGaussian()
    >>> with eval_mode(pair, seed=1):
    ...     pair.training, torch.is_grad_enabled()
    (False, False)
    >>> pair.training
    True

    :param pair: the model and guide
    :param seed: of all noise in the block; if None, torch's generators are used as they are
    :param purpose: name of the block's random stream: blocks of other purposes draw other numbers from the same seed
    :raises InferenceError: if the seed is negative
    """
    training = pair.training
    noise = nullcontext() if seed is None else seeded(seed, purpose, devices=cuda_devices(pair))
    with torch.no_grad(), noise, param_scope():
        clear_caches(pair)
        pair.eval()
        try:
            with using_products(), distribution_errors():
                yield
        finally:
            pair.train(training)


@contextmanager
def distribution_errors() -> Iterator[None]:
    """Raise in one line what a distribution refuses in a block, such as a draw that it does not implement.

    :raises InferenceError: if it does; other exceptions pass as they are
    """
    try:
        yield
    except InferenceError:
        raise
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        if (fault := distribution_fault(error)) is None:
            raise
        raise InferenceError(fault) from error


def importance_traces(
    pair: Pair, args: tuple[Tensor, ...], rows: Tensor | None = None, total: int | None = None
) -> tuple[poutine.Trace, poutine.Trace]:
    """Return the traces (model, guide) with log-densities: the guide sampled, the model run on its sample.

    Sites marked ``infer={"enumerate": "parallel"}`` are enumerated to the left of the plate's dimension -1.

    :param rows: (n,) indices of the rows among all data; 0, 1, ... by default
    :param total: number of all data; n by default
    """
    guide, model = EnumMessenger(first_available_dim=-2)(pair.guide), EnumMessenger()(pair.model)
    with SetRows(torch.arange(len(args[0]), device=args[0].device) if rows is None else rows):
        return get_importance_trace("flat", 1, model, guide, args, {"total": total})


def clear_caches(pair: Pair) -> None:
    """Empty the caches of the flows that are modules of the pair.

    A flow caches its last (x, y) by the identity of the tensors, not by the values of its parameters. The same x in a
    later call would be scored by earlier weights, or by a graph whose gradients are freed.
    """
    for module in pair.modules():
        if isinstance(module, Transform):
            module._cached_x_y = None, None


@contextmanager
def same_buffers(pair: Pair) -> Iterator[None]:
    """Restore the buffers of the pair, such as running means of batch normalisation, on exit."""
    before = [buffer.clone() for buffer in pair.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(pair.buffers(), before, strict=True):
                buffer.copy_(value)


def cuda_devices(pair: Pair) -> list[torch.device]:
    """Return the CUDA devices that the pair is on, whose random generators are forked with the CPU's."""
    return list({p.device for p in pair.parameters() if p.device.type == "cuda"})


def repeat(args: tuple[Tensor, ...], k: int) -> tuple[Tensor, ...]:
    """Return every argument, (n, ...), repeated k times: (k * n, ...), row r being row r % n of the data."""
    return tuple(a.repeat(k, *[1] * (a.dim() - 1)) for a in args)


def log_joint(
    pair: Pair, args: tuple[Tensor, ...], latents: dict[str, Tensor], rows: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return (log p(z), log p(x | z)) of every row, each (m,) in nats, at values of all latents.

    The density of a global latent is part of that of every row.

    :param args: the arguments of `model`, of m rows; some may be the same data point
    :param rows: (m,) index of the data point of each row; 0, 1, ... without it
    """
    with nullcontext() if rows is None else SetRows(rows):
        trace = poutine.trace(poutine.condition(pair.model, latents)).get_trace(*args)
    trace.compute_log_prob(lambda name, site: not site_is_subsample(site))
    zero = args[0].new_zeros(len(args[0]))
    terms: tuple[list[Tensor], list[Tensor]] = [], []
    for name, site in trace.nodes.items():
        if "log_prob" in site:
            plated = other_plate(site) is not None
            terms[name not in latents].append(site["log_prob"].sum() if plated else site["log_prob"])
    return sum(terms[0], zero), sum(terms[1], zero)
