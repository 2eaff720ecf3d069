"""Handlers (Pyro messengers): set the plate's rows, weight rows, scale the KL, set posterior means, tile rows."""

from contextlib import suppress

import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from inference.errors import InferenceError
from inference.pairs.sites import is_local


class SetRows(Messenger):
    """Sets the indices of the plate "data" to the rows at hand, so that no permutation of the data is drawn.

    :raises InferenceError: if the plate is told of fewer data in total than there are rows
    """

    def __init__(self, rows: Tensor):
        super().__init__()
        self.rows = rows

    def _pyro_sample(self, msg) -> None:
        if msg["name"] == "data" and site_is_subsample(msg):
            if msg["fn"].size < len(self.rows):
                raise InferenceError(f"total={msg['fn'].size} is less than the {len(self.rows)} rows of x.")
            msg["value"] = self.rows


class WeightRows(Messenger):
    """Multiplies the scale of everything in the plate "data" by a factor for each row, (n,): of a stratified sample."""

    def __init__(self, shares: Tensor):
        super().__init__()
        self.shares = shares

    def _pyro_sample(self, msg) -> None:
        if is_local(msg) and not site_is_subsample(msg):
            msg["scale"] = msg["scale"] * self.shares


class ScaleKL(Messenger):
    """Multiplies the log-densities of the latent sites by beta, and so the KL of the ELBO; beta is a tensor.

    Sites that the model alone sums out (`but`) have no KL: they belong to the likelihood.
    """

    def __init__(self, beta: Tensor, but: frozenset[str] = frozenset()):
        super().__init__()
        self.beta, self.but = beta, but

    def _pyro_sample(self, msg) -> None:
        if not msg["is_observed"] and not site_is_subsample(msg) and msg["name"] not in self.but:
            msg["scale"] = msg["scale"] * self.beta


class PosteriorMeans(Messenger):
    """Sets every latent site to the mean of its distribution, or to the mode of a discrete one."""

    def _pyro_sample(self, msg) -> None:
        if msg["done"] or msg["is_observed"] or site_is_subsample(msg) or msg["infer"].get("is_auxiliary"):
            return
        with suppress(NotImplementedError):
            msg["value"] = msg["fn"].mode if msg["fn"].support.is_discrete else msg["fn"].mean
            msg["done"] = True


class TileRows(Messenger):
    """For arguments of n rows that are repeated k times along the plate "data": what messengers further out say of n
    rows, their indices (`Rows`) and a factor for each (`Shares`), is repeated with them."""

    def __init__(self, n: int, k: int):
        super().__init__()
        self.n, self.k = n, k

    def _pyro_sample(self, msg) -> None:
        if msg["name"] == "data" and site_is_subsample(msg):
            fn = msg["fn"]  # as it is without repetition: whoever sets the indices is told of n of so many data
            msg["fn"] = type(fn)(fn.size // self.k, self.n, device=fn.device)

    def _pyro_post_sample(self, msg) -> None:
        if msg["name"] == "data" and site_is_subsample(msg):
            if len(msg["value"]) == self.n:  # and not those of the guide already
                msg["value"] = msg["value"].repeat(self.k)
        elif torch.is_tensor(msg["scale"]) and msg["scale"].dim() == 1:
            msg["scale"] = msg["scale"].repeat(self.k)
