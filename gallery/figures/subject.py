"""A fitted pair with its data: what a figure is drawn of, and what decides which figures apply."""

from dataclasses import dataclass
from functools import cached_property

import pyro.distributions as dist
from torch.distributions import constraints

from data import Dataset
from gallery.figures.info import info_of
from gallery.figures.rolls import ends_early
from inference import Pair
from inference.pairs.capabilities import capability, exact
from inference.pairs.info import PairInfo
from inference.pairs.properties import support_of
from inference.pairs.sites import is_local, unwrap

__all__ = ["Subject"]


@dataclass(frozen=True, eq=False)
class Subject:
    """A fitted pair with its data: what a figure is drawn of.

    :param history: a dictionary for every epoch, as `learning_curve` takes them
    """

    pair: Pair
    train: Dataset
    test: Dataset
    history: list[dict]
    seed: int

    @cached_property
    def info(self) -> PairInfo:
        """The structure of the pair in evaluation mode."""
        return info_of(self.pair, self.test)

    @property
    def encodes(self) -> bool:
        """Whether new data have codes."""
        return bool(self.info.codes) and not self.info.is_per_data_point

    @property
    def has_steps(self) -> bool:
        """Whether the data are sequences of numbers, each from one site of the model."""
        info = self.info
        one_each = not self.test.is_image and 1 < len(info.data_sites) == self.test.x.shape[1]
        return one_each and not (info.conditional or info.has_global_latent or info.is_per_data_point)

    @property
    def ends_early(self) -> bool:
        """Whether the data are sequences of different lengths, of a model without conditions."""
        info, step_dim = self.info, capability(self.pair, "step_dim")
        return self.encodes and info.generates and not info.conditional and ends_early(self.test, step_dim)

    @property
    def has_rows(self) -> bool:
        """Whether the data are grey images that the model generates in steps, from the top."""
        return self.encodes and self.info.generates and self.info.generates_rows(self.test.shape)

    @property
    def has_whole_images(self) -> bool:
        """Whether the data are images that a model without conditions generates in one step."""
        return self.encodes and self.test.is_image and not self.info.conditional and len(self.info.data_sites) == 1

    @property
    def has_answers(self) -> bool:
        """Whether the data are answers, 0 or 1, to several items, and a data point has one latent, any real number."""
        latents = [site["fn"] for site in self.info.prior.values() if is_local(site)]
        one = len(latents) == len(self.info.codes) == 1 and latents[0].event_shape == ()
        scalar = one and support_of(latents[0]) is constraints.real
        binary = len(self.info.likelihood) == 1 and isinstance(unwrap(self.info.likelihood[0]), dist.Bernoulli)
        return scalar and binary and self.encodes and not self.test.is_image and self.test.x.shape[1] > 1

    @property
    def shares_posterior(self) -> bool:
        """Whether all data share a latent, and the model knows the posterior of it, or of all latents together."""
        whole = exact(self.pair, "coordinates") is not None or len(self.info.guide_sites) == 1
        return self.info.has_global_latent and whole and exact(self.pair, "posterior") is not None

    @property
    def has_odds(self) -> bool:
        """Whether x is 0 or 1, depends on one covariate, and all data share the latents."""
        binary = len(self.info.likelihood) == 1 and isinstance(unwrap(self.info.likelihood[0]), dist.Bernoulli)
        c, local = self.train.covariates, [site for site in self.info.prior.values() if is_local(site)]
        one_each = self.train.x[0].numel() == 1 and c is not None and c.shape[1] == 1
        return binary and one_each and self.info.has_global_latent and not local

    @property
    def has_responsibilities(self) -> bool:
        """Whether x has two coordinates, and its only latent is a component that the model sums out."""
        plane = not self.test.is_image and self.test.x[0].numel() == 2 and not self.info.conditional
        return plane and len(self.info.enumerated_in_model) == 1 and exact(self.pair, "posterior") is not None

    @property
    def is_exact(self) -> bool:
        """Whether x and z are real numbers and the model computes its evidence."""
        return self.info.is_scalar and exact(self.pair, "log_evidence") is not None

    @property
    def is_exact_in_z(self) -> bool:
        """Whether the model computes its posterior besides."""
        return self.is_exact and exact(self.pair, "posterior") is not None
