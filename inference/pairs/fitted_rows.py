"""Check that the rows of a fit are stated, for a pair with parameters for each data point."""

from copy import deepcopy

import torch
from torch import Tensor

from inference.errors import InferenceError
from inference.pairs.handlers import stated_rows
from inference.pairs.info import inspect_pair
from inference.pairs.pair import Pair
from inference.pairs.run import eval_mode, importance_traces, same_buffers

__all__ = ["check_rows"]


def check_rows(pair: Pair, args: tuple[Tensor, ...]) -> None:
    """Check that the rows are stated where guide or model have parameters for each data point.

    :param args: (x,) or (x, given), (n, ...) each
    :raises InferenceError: if they are not, or are others than those that have parameters
    """
    if not inspect_pair(pair, args).is_per_data_point:
        return
    name, n = type(pair).__name__, len(args[0])
    first = stated_rows()
    if first is None:
        raise InferenceError(
            f"{name} has parameters for each data point that it was fitted to, and which of them x are is not stated.",
            "If x[0] is row i of the fit, call this within `with FittedRows(i):`; other data have no parameters.",
        )
    few = tuple(a[-2:].cpu() for a in args)
    if args[0].device.type != "cpu":  # a GPU does not raise an IndexError: it ends the process
        pair = deepcopy(pair).cpu()
    with eval_mode(pair), same_buffers(pair):
        try:
            importance_traces(pair, few, torch.arange(n)[-2:])
        except IndexError:
            raise InferenceError(
                f"x are stated as rows {first} to {first + n - 1} of the fit of {name}, and some have no parameters."
            ) from None
