"""Check that the rows of a fit are stated, for a pair with parameters for each data point."""

from copy import deepcopy

import torch
from torch import Tensor

from inference.errors import InferenceError
from inference.pairs.handlers import FittedRows, SetRows, stated_rows
from inference.pairs.info import inspect_pair
from inference.pairs.pair import Pair
from inference.pairs.rows import RowUse
from inference.pairs.run import cuda_devices, eval_mode, importance_traces, same_buffers

__all__ = ["check_rows"]


def check_rows(pair: Pair, args: tuple[Tensor, ...], model_alone: bool = False) -> None:
    """Check that the rows are stated where guide or model have parameters for each data point.

    :param args: (x,) or (x, given), (n, ...) each
    :param model_alone: whether the guide is not run, so that it may have such parameters
    :raises InferenceError: if they are not, or are others than those that have parameters
    """
    few = tuple(a[-2:] for a in args)
    if not (_model_uses_rows(pair, few) if model_alone else inspect_pair(pair, few).is_per_data_point):
        return
    name, n = type(pair).__name__, len(args[0])
    first = stated_rows()
    if first is None:
        raise InferenceError(
            f"{name} has parameters for each data point that it was fitted to, and which of them x are is not stated.",
            "If x[0] is row i of the fit, call this within `with FittedRows(i):`; other data have no parameters.",
        )
    devices = cuda_devices(pair)
    if args[0].device.type != "cpu":  # a GPU does not raise an IndexError: it ends the process
        pair, few = deepcopy(pair).cpu(), tuple(a.cpu() for a in few)
    rows = torch.arange(n)[-2:]
    with torch.random.fork_rng(devices), eval_mode(pair), same_buffers(pair):
        try:
            if model_alone:
                _run_model(pair, few, rows)
            else:
                importance_traces(pair, few, rows)
        except IndexError:
            raise InferenceError(
                f"x are stated as rows {first} to {first + n - 1} of the fit of {name}, and some have no parameters."
            ) from None


def _model_uses_rows(pair: Pair, args: tuple[Tensor, ...]) -> bool:
    rows = torch.arange(len(args[0]), device=args[0].device)
    with eval_mode(pair), same_buffers(pair), FittedRows(0), RowUse(rows) as use:
        _run_model(pair, args, rows)
    return use.used


def _run_model(pair: Pair, args: tuple[Tensor, ...], rows: Tensor) -> None:
    """Run the model at rows; the data are not scored, so that their values need not be possible."""
    with SetRows(rows):
        pair.model(*args)
