"""What can be drawn of a pair? Read off one run of its model and guide on two rows."""

from dataclasses import dataclass
from functools import cached_property

import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn

from data import Dataset
from inference import encode, eval_mode
from inference.pairs.info import is_per_data_point
from inference.pairs.run import arguments
from inference.pairs.sites import is_flat, is_local, latent_sites, observed_sites


@dataclass(frozen=True, eq=False)
class Traits:
    """A pair beside data of the kind that it was fitted to."""

    pair: nn.Module
    dataset: Dataset

    @cached_property
    def _few(self) -> tuple[Tensor, ...]:
        given = self.dataset.given
        return arguments(self.pair, self.dataset.x[:2], None if given is None else given[:2])

    @cached_property
    def _traces(self) -> tuple[poutine.Trace, poutine.Trace]:
        with eval_mode(self.pair):
            model = poutine.trace(poutine.uncondition(self.pair.model)).get_trace(*self._few)
            return model, poutine.trace(self.pair.guide).get_trace(*self._few)

    @property
    def prior(self) -> dict[str, dict]:
        """The latent sites of the model, by name."""
        seen = observed_sites(self._traces[0])
        return {name: site for name, site in latent_sites(self._traces[0]).items() if name not in seen}

    @property
    def guide(self) -> dict[str, dict]:
        """The latent sites of the guide, by name."""
        return latent_sites(self._traces[1])

    @property
    def likelihood(self) -> list[dist.Distribution]:
        """p(x | latents), one for every site of data, without its event dimensions."""
        fns = [site["fn"] for site in observed_sites(self._traces[0]).values()]
        return [fn.base_dist if isinstance(fn, dist.Independent) else fn for fn in fns]

    @property
    def conditional(self) -> bool:
        """Does the model condition on labels or covariates?"""
        return len(self._few) > 1

    @property
    def by_class(self) -> bool:
        """Does the model condition on a class?"""
        return self.conditional and self.dataset.classes is not None and self.dataset.covariates is None

    @cached_property
    def per_datum(self) -> bool:
        """Does the guide know nothing of data it was not fitted to?"""
        return is_per_data_point(self.pair, self._few)

    @property
    def generates(self) -> bool:
        """Is there a prior to draw from, and not a flat one?"""
        return not any(is_flat(site) for site in self.prior.values())

    @property
    def is_global(self) -> bool:
        """Has the guide a latent site outside the plate of the data?"""
        return any(not is_local(site) for site in self.guide.values())

    @property
    def codes(self) -> list[str]:
        """The continuous latent sites that every datum has one of."""
        return [name for name, s in self.guide.items() if is_local(s) and not s["fn"].support.is_discrete]

    @property
    def component(self) -> str | None:
        """The discrete latent site that every datum has one of, if there is one and no other."""
        sites = self.prior.items()
        names = [name for name, site in sites if is_local(site) and site["fn"].support.is_discrete]
        return names[0] if len(names) == 1 else None

    @property
    def sites(self) -> list[str]:
        """The sites of data, one for each step where there are steps."""
        return list(observed_sites(self._traces[0]))

    @property
    def in_steps(self) -> bool:
        """Are data grey images that the model tells in steps, from the top?"""
        grey = len(self.dataset.shape) == 2 or (len(self.dataset.shape) == 3 and self.dataset.shape[0] == 1)
        return grey and len(self.sites) > 1

    @property
    def early(self) -> list[str]:
        """The latent sites that the model draws before the second half of the steps."""
        names = list(self._traces[0].nodes)
        last = names.index(self.sites[len(self.sites) // 2 - 1])
        return [name for name in self.prior if names.index(name) < last]

    def pixels(self, steps: int) -> int:
        """The number of pixels in the first steps."""
        return self.dataset.x.shape[1] * steps // len(self.sites)

    @cached_property
    def filters(self) -> bool:
        """Does the guide draw the latents of the first half of the steps without a look at the other half?"""
        if not set(self.early) <= self.guide.keys():
            return False
        x, *given = self._few
        end, drawn = self.pixels(len(self.sites) // 2), []
        for rest in (x[:, end:], 1 - x[:, end:]):  # with the same noise: is the draw another?
            with eval_mode(self.pair):
                guide = poutine.trace(self.pair.guide).get_trace(torch.cat([x[:, :end], rest], dim=1), *given)
            drawn.append([guide.nodes[name]["value"] for name in self.early])
        return all(torch.equal(a, b) for a, b in zip(*drawn, strict=True))

    def encode(self, x: Tensor, given: Tensor | None = None, seed: int = 0) -> Tensor:
        """The posterior means of the codes side by side, (n, width)."""
        means = encode(self.pair, x, given, seed)
        return torch.cat([means[name].reshape(len(x), -1) for name in self.codes], dim=1)

    @property
    def scalar(self) -> bool:
        """Are x and its only latent z real numbers, and the guide a density?"""
        if self.dataset.x.shape[1] != 1 or self.conditional or len(self.guide) != 1 or len(self.codes) != 1:
            return False
        (site,) = self.guide.values()
        return site["value"].shape == (len(self._few[0]),) and not isinstance(site["fn"], dist.Delta)

    @property
    def plane(self) -> bool:
        """Is the only latent site z ~ Normal(0, I) in R^2?"""
        if list(self.prior) != ["z"] or not self.generates:
            return False
        fn = self.prior["z"]["fn"]
        if fn.event_shape != (2,) or not torch.equal(fn.mean, torch.zeros_like(fn.mean)):
            return False
        if isinstance(fn, dist.MultivariateNormal):
            eye = torch.eye(2).to(fn.mean)
            return torch.equal(fn.covariance_matrix, eye.expand_as(fn.covariance_matrix))
        normal = isinstance(fn, dist.Independent) and isinstance(fn.base_dist, dist.Normal)
        return normal and torch.equal(fn.variance, torch.ones_like(fn.variance))


def decode(pair: nn.Module, like: Tensor, latents: dict[str, Tensor], given: Tensor | None = None, seed: int = 0):
    """The distribution p(x | latents) of n data, for a model with one site of data; latents are (n, ...), and those
    that are not among them drawn."""
    n = len(next(iter(latents.values())))
    with eval_mode(pair, seed):
        model = poutine.condition(poutine.uncondition(pair.model), data=latents)
        trace = poutine.trace(model).get_trace(*arguments(pair, like.new_zeros(n, *like.shape[1:]), given))
    return trace.nodes["x"]["fn"]
