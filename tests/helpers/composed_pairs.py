"""Pairs composed at random: prior, guide, likelihood, shapes, plates, mask, enumeration, a global latent, dtype.

`specifications` is a strategy of Hypothesis. What fits together is read off the distributions: which guides have the
support of a prior, and which latents can be enumerated.
"""

import math
import warnings
from collections import defaultdict
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache

import families
import pyro
import pyro.distributions as dist
import torch
from hypothesis import strategies as st
from small_pairs import SHAPES, linear
from torch import nn
from torch.distributions import biject_to

from inference.pairs.properties import name_of, support_of

__all__ = ["BIJECTION", "Composed", "PartlyKnown", "Specification", "at", "make", "specifications"]

BIJECTION = "normal distribution mapped onto the support of the prior"
PLACES = ("local", "global", "local and global", "local and items")
ITEMS = 3  # in the second plate
PLATES = ("subsampled", "full")


@dataclass(frozen=True)
class Specification:
    """What a pair is composed of.

    :param prior: name of the family of z; also `guide`, or BIJECTION, and `likelihood`
    :param latent: of SHAPES, that of the real numbers that the prior is a function of; `event` is the likelihood's
    :param place: of the latents: z is local or global, or z is local beside w, which is global or in a plate "items"
    :param plate: "subsampled": minibatches; "full": all rows in each step; "none": there is no plate
    :param has_mask: whether x is unknown in every second row
    :param enumerates: "", or what enumerates z: "both" guide and model, or the "model" alone
    """

    prior: str
    guide: str
    likelihood: str
    latent: str = "number"
    event: str = "vector"
    place: str = "local"
    plate: str = "subsampled"
    has_mask: bool = False
    enumerates: str = ""
    dtype: torch.dtype = torch.float32


def at(name, a, shape):
    """Return a family at real numbers (..., *shape), whose dimensions beyond those to the left are of the event."""
    fn = families.FAMILIES[name](a)
    folded = min(_folded(name, shape), len(fn.batch_shape))
    return fn.to_event(folded) if folded > 0 else fn


@cache
def _folded(name, shape):
    return len(families.FAMILIES[name](torch.zeros(2, *shape)).batch_shape) - 1


@cache
def example(name, shape):
    """Return a family at zeros, for two rows; it may warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return at(name, torch.zeros(2, *SHAPES[shape]), SHAPES[shape])


@cache
def _places_of(shape):
    """Return the names of families by (shape of a draw, support)."""
    found = defaultdict(list)
    for name in families.NUMBERS if shape == "number" else families.FAMILIES:
        fn = example(name, shape)
        support = support_of(fn)
        found[fn.event_shape, name if support is None else name_of(support)].append(name)
    return found


def _guides(prior, latent, alike):
    """Return the families of draws of the shape of the prior: those of its support, or of other supports."""
    groups = _places_of(latent).items()
    of_prior, _ = next(key for key, names in groups if prior in names)
    return [name for (shape, _), names in groups if shape == of_prior and (prior in names) == alike for name in names]


def _has_bijection(fn):
    try:
        return biject_to(support_of(fn)) is not None
    except NotImplementedError:
        return False


@st.composite
def specifications(draw, priors=tuple(families.FAMILIES), likelihoods=tuple(families.FAMILIES), guides=None):
    """Draw a `Specification`.

    :param guides: names; if None, all, and every few draws one of another support than the prior
    """
    prior, likelihood = draw(st.sampled_from(priors)), draw(st.sampled_from(likelihoods))
    latent = draw(st.sampled_from(["number", "vector"] if prior in families.NUMBERS else ["vector"]))
    event = draw(st.sampled_from([*SHAPES][likelihood not in families.NUMBERS :]))
    fn = example(prior, latent)
    alike = [name for name in _guides(prior, latent, True) if guides is None or name in guides]
    kinds = 2 * ([[prior], alike] + [[BIJECTION]] * _has_bijection(fn))
    others = _guides(prior, latent, False) if guides is None else []
    guide = draw(st.sampled_from(draw(st.sampled_from(kinds + [others] * bool(others)))))
    enumerates = [""]
    if fn.has_enumerate_support:
        enumerates += ["model"] + ["both"] * (guide != BIJECTION and example(guide, latent).has_enumerate_support)
    return Specification(
        prior,
        guide,
        likelihood,
        latent,
        event,
        draw(st.sampled_from(PLACES)),
        draw(st.sampled_from(PLATES * 2 + ("none",))),
        draw(st.booleans()),
        draw(st.sampled_from(enumerates)),
        draw(st.sampled_from([torch.float32, torch.float64])),
    )


class Composed(nn.Module):
    """z ~ prior(weights), x ~ likelihood(network of z, and the sum of w), and a guide z ~ family(network of x)."""

    def __init__(self, specification):
        super().__init__()
        spec = self.spec = specification
        self.name, self.has_mask = spec.prior, spec.has_mask
        self.families = {spec.prior, spec.guide, spec.likelihood}
        self.same_support = spec.guide == BIJECTION or spec.guide in _guides(spec.prior, spec.latent, True)
        self.latent, self.event, self.enumerates = SHAPES[spec.latent], SHAPES[spec.event], spec.enumerates
        prior = example(spec.prior, spec.latent)
        self.events = prior.event_shape
        self.free = self.latent
        if spec.guide == BIJECTION:
            alone = at(spec.prior, torch.zeros(self.latent), self.latent)
            self.free = biject_to(alone.support).inverse_shape(self.events)
        self.items = (ITEMS,) * (spec.place == "local and items")
        self.has_w = spec.place.startswith("local and")
        self.theta = nn.ParameterDict({"a": 0.3 * torch.randn(self.latent)})
        if self.has_w:
            self.theta["w"] = torch.tensor(0.5)
        w = {"w": torch.full(self.items, 0.5)} if self.has_w else {}
        self.decoder = linear(math.prod(self.events), math.prod(self.event))
        if spec.enumerates == "model":
            self.phi = nn.ParameterDict(w)
        elif spec.place == "global":
            self.phi = nn.ParameterDict({"a": 0.3 * torch.randn(self.free)})
        else:
            self.phi = nn.ParameterDict(w)
            self.encoder = linear(math.prod(example(spec.likelihood, spec.event).event_shape), math.prod(self.free))

    @property
    def likelihood(self):
        """The name of the family of x, its distribution at real numbers, and their shape."""
        return self.spec.likelihood, lambda a: at(self.spec.likelihood, a, self.event), self.event

    def draws_have_gradients(self):
        return self.approximation(torch.zeros(2, *self.free)).has_rsample

    def prior(self, a):
        return at(self.spec.prior, a, self.latent)

    def approximation(self, a):
        """Return the distribution of the guide at real numbers (..., *free)."""
        if self.spec.guide != BIJECTION:
            return at(self.spec.guide, a, self.latent)
        normal = dist.Normal(a, 0.5).to_event(len(self.free))
        return dist.TransformedDistribution(normal, [biject_to(self.prior(self.theta["a"]).support)])

    def out(self, z, w=None):
        """Return real numbers (..., *event), bounded functions of z, and w beside them."""
        left = z.shape[: z.dim() - len(self.events)]
        a = self.decoder((z.reshape(*left, -1).to(self.decoder.weight.dtype) + 0.5).atan())
        if w is not None:
            each = torch.linspace(1.0, 2.0, a.shape[-1]).to(a)  # logits that all get the same do not change
            a = a + self.theta["w"] * (w.sum(-1, keepdim=True) if self.items else w).unsqueeze(-1) * each
        return a.reshape((*a.shape[:-1], *self.event))

    def encoded(self, x):
        """Return real numbers (n, *free), functions of x."""
        out = self.encoder(x.to(self.encoder.weight.dtype).reshape(len(x), -1).atan())
        return out.reshape(-1, *self.free)

    def plate(self, x, total):
        if self.spec.plate == "none":
            return nullcontext()
        return pyro.plate("data", total or len(x), subsample_size=len(x))

    def draw_w(self, mean, sd):
        with pyro.plate("items", ITEMS) if self.items else nullcontext():
            return pyro.sample("w", dist.Normal(mean, sd))

    def draw(self, fn, part):
        return pyro.sample("z", fn, infer={"enumerate": "parallel"} if self.enumerates in ("both", part) else {})

    def generate(self, x, total, known=None):
        pyro.module("decoder", self.decoder)
        pyro.module("theta", self.theta)
        place, a, w = self.spec.place, self.theta["a"], None
        if self.has_w:
            w = self.draw_w(x.new_zeros((), dtype=a.dtype), 1.0)
        if place == "global":
            z = self.draw(self.prior(a), "model")
        with self.plate(x, total):
            if place != "global":
                z = self.draw(self.prior(a.expand(len(x), *self.latent)), "model")
            with nullcontext() if known is None else pyro.poutine.mask(mask=known):
                pyro.sample("x", at(self.spec.likelihood, self.out(z, w), self.event), obs=x)

    def infer(self, x, total):
        if self.has_w:
            pyro.module("phi", self.phi)
            self.draw_w(self.phi["w"], 0.5)
        if self.enumerates == "model":
            return
        if self.spec.place == "global":
            pyro.module("phi", self.phi)
            self.draw(self.approximation(self.phi["a"]), "guide")
            return
        pyro.module("encoder", self.encoder)
        with self.plate(x, total):
            self.draw(self.approximation(self.encoded(x)), "guide")

    def model(self, x, total=None):
        self.generate(x, total)

    def guide(self, x, total=None):
        self.infer(x, total)


class PartlyKnown(Composed):
    """The same with x unknown where `given` is 0."""

    def model(self, x, given, total=None):
        self.generate(x, total, given[:, 0] > 0)

    def guide(self, x, given, total=None):
        self.infer(x, total)


def make(specification):
    """Return a new pair."""
    return (PartlyKnown if specification.has_mask else Composed)(specification).to(specification.dtype)
