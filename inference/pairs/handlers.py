"""Handlers (Pyro messengers): set the plate's rows, weight rows, scale the KL, set posterior means, tile rows."""

from contextlib import suppress

import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from inference.errors import InferenceError
from inference.pairs.properties import UndefinedError, is_discrete, mean_of
from inference.pairs.sites import Site, is_local

__all__ = ["OffsetRows", "PosteriorMeans", "ScaleKL", "SetRows", "TileRows", "WeightRows"]


class SetRows(Messenger):
    """Sets the indices of the plate "data" to the given rows, so that no permutation of the data is drawn.

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
            msg["value"] = self.rows


class OffsetRows(Messenger):
    """Adds a number to the indices that `SetRows` gives to the plate "data", for rows that do not start at 0.

    :param first: index of the first row among the data of the fit
    """

    def __init__(self, first: int):
        super().__init__()
        self.first = first

    def _pyro_sample(self, msg: Site) -> None:
        if self.first and msg["name"] == "data" and site_is_subsample(msg) and msg["value"] is not None:
            msg["value"] = msg["value"] + self.first


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
