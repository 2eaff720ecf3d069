"""The places of data among the rows of a fit, for a guide that has parameters for each of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from data import Dataset
from gallery.errors import RunError
from inference import Pair
from inference.pairs.handlers import FittedRows
from inference.pairs.info import inspect_pair
from inference.pairs.run import arguments, eval_mode

__all__ = ["places_of"]


@contextmanager
def places_of(dataset: Dataset, pair: Pair) -> Iterator[None]:
    """Give the rows of a data set their places among those that the pair was fitted to.

    :raises RunError: if the guide has parameters for each data point of the fit, and these are others
    """
    few = dataset.head(2)
    with eval_mode(pair):
        is_per_data_point = inspect_pair(pair, arguments(pair, few.scored(), few.given)).is_per_data_point
    if dataset.first_row is None and is_per_data_point:
        raise RunError(
            f"The guide of {type(pair).__name__} has parameters for each data point that it was fitted to, and none "
            f"for split={dataset.split!r} of {dataset.name}.",
            "Take its training rows: leave out other data, and choose the split train.",
        )
    with FittedRows(dataset.first_row or 0):
        yield
