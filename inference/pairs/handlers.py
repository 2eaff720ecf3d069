"""Handlers (Pyro messengers): set the plate's rows, weight rows, scale the KL, set posterior means, tile rows."""

from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Self

import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from inference.errors import InferenceError
from inference.pairs.properties import UndefinedError, is_discrete, mean_of
from inference.pairs.sites import Site, is_local

__all__ = ["FittedRows", "PosteriorMeans", "ScaleKL", "SetRows", "TileRows", "WeightRows", "stated_rows"]

_FIRST: ContextVar[int | None] = ContextVar("first row", default=None)


class SetRows(Messenger):
    """Sets the indices of the plate "data" to the given rows, so that no permutation of the data is drawn.

    Within `FittedRows` they are counted from the row that it states.

    :param rows: (n,) integers
    :raises InferenceError: if the size of the plate is less than n
    """

    def __init__(self, rows: Tensor):
        super().__init__()
        self.rows = rows

    def _pyro_sample(self, msg: Site) -> None:
        if msg["name"] == "data" and site_is_subsample(msg):
            if msg["fn"].size < len(self.rows):
                raise InferenceError(f"total={msg['fn'].size} is less than the {len(self.rows)} rows of x.")
            first = stated_rows()
            msg["value"] = self.rows + first if first else self.rows


class FittedRows(Messenger):
    """A handler within which the data are rows of the fit, in their order.

    A guide with parameters for each data point has some for these rows alone. Functions that run such a guide on data
    refuse it elsewhere; for other pairs the handler changes nothing.

    >>> import torch
    >>> from inference import FittedRows, encode
    >>> from inference.examples import LinearGaussian
    >>> with FittedRows(0):
    ...     code = encode(LinearGaussian(), torch.randn(5, 1))

    :param first: index of the first row among the data of the fit; if None, what a handler around this one states, or 0
    :raises InferenceError: if it is negative
    """

    def __init__(self, first: int | None = None):
        super().__init__()
        if first is not None and first < 0:
            raise InferenceError(f"the first row of the data of a fit is row 0; got {first}.")
        self.first = first

    def __enter__(self) -> Self:
        first = (stated_rows() or 0) if self.first is None else self.first
        self.outer = _FIRST.set(first)
        entered: Self = super().__enter__()
        return entered

    def __exit__(self, *error: Any) -> None:
        _FIRST.reset(self.outer)
        super().__exit__(*error)

    def _pyro_sample(self, msg: Site) -> None:
        fn, first = msg["fn"], stated_rows()
        drawn = msg["name"] == "data" and site_is_subsample(msg) and msg["value"] is None
        if first and drawn and fn.subsample_size == fn.size:  # a part of the plate is another draw of rows
            msg["value"] = torch.arange(first, first + fn.size, device=fn.device or "cpu")


def stated_rows() -> int | None:
    """Return the index among the data of the fit of the first row of x that `FittedRows` states; None without it."""
    return _FIRST.get()


class WeightRows(Messenger):
    """Multiplies the scale of every site in the plate "data" by a factor for each row, as for a stratified sample.

    :param weights: (n,) factors
    """

    def __init__(self, weights: Tensor):
        super().__init__()
        self.weights = weights

    def _pyro_sample(self, msg: Site) -> None:
        if is_local(msg) and not site_is_subsample(msg):
            msg["scale"] = msg["scale"] * self.weights


class ScaleKL(Messenger):
    """Multiplies the log-densities of the latent sites by beta, and so the KL of the ELBO.

    :param beta: a tensor, so that a traced step takes it as an argument
    :param but: sites that are left as they are: those that the model alone enumerates belong to the likelihood
    """

    def __init__(self, beta: Tensor, but: frozenset[str] = frozenset()):
        super().__init__()
        self.beta, self.but = beta, but

    def _pyro_sample(self, msg: Site) -> None:
        if not msg["is_observed"] and not site_is_subsample(msg) and msg["name"] not in self.but:
            msg["scale"] = msg["scale"] * self.beta


class PosteriorMeans(Messenger):
    """Sets every latent site to the mean of its distribution, or to the mode of a discrete distribution."""

    def _pyro_sample(self, msg: Site) -> None:
        if msg["done"] or msg["is_observed"] or site_is_subsample(msg) or msg["infer"].get("is_auxiliary"):
            return
        with suppress(NotImplementedError, UndefinedError):
            msg["value"] = msg["fn"].mode if is_discrete(msg["fn"]) else mean_of(msg["fn"])
            msg["done"] = True


class TileRows(Messenger):
    """Repeats indices (`SetRows`) and factors (`WeightRows`) of n rows k times along the plate "data", for arguments
    that are repeated k times.

    :param n: rows before repetition
    :param k: repetitions
    """

    def __init__(self, n: int, k: int):
        super().__init__()
        self.n, self.k = n, k

    def _pyro_sample(self, msg: Site) -> None:
        if msg["name"] == "data" and site_is_subsample(msg):
            fn = msg["fn"]  # without repetition: outer handlers set the indices of n rows
            msg["fn"] = type(fn)(fn.size // self.k, self.n, device=fn.device)

    def _pyro_post_sample(self, msg: Site) -> None:
        if msg["name"] == "data" and site_is_subsample(msg):
            if len(msg["value"]) == self.n:  # else the guide has repeated them
                msg["value"] = msg["value"].repeat(self.k)
        elif torch.is_tensor(msg["scale"]) and msg["scale"].dim() == 1:
            msg["scale"] = msg["scale"].repeat(self.k)
