"""Requirements of estimators on the traces of a pair."""

from collections.abc import Callable
from typing import ClassVar

from pyro import poutine
from pyro.infer.util import is_validation_enabled

from inference.errors import InferenceError
from inference.pairs.properties import is_reparametrised
from inference.pairs.sites import is_flat, latent_sites, point_sites, same_order

__all__ = [
    "Checked",
    "require_closed_kl",
    "require_density",
    "require_inferred",
    "require_no_enumeration",
    "require_order_of_model",
    "require_reparametrised",
    "require_unset_draws",
]

Requirement = Callable[[poutine.Trace, poutine.Trace], None]


class Checked:
    """An estimator with requirements on the pair.

    `requirements` are functions of the traces of model and guide that raise an InferenceError, in this order.
    """

    requirements: ClassVar[tuple[Requirement, ...]] = ()
    samples_enumerated: ClassVar[bool] = False
    """Whether sites that are marked for enumeration are sampled."""
    traceable: ClassVar[bool] = True
    """Whether a step runs the same operations whatever the values of weights and draws."""

    @classmethod
    def check(cls, model: poutine.Trace, guide: poutine.Trace) -> None:
        """Check all requirements on the traces of model and guide.

        :raises InferenceError: if one is not met
        """
        for require in cls.requirements:
            require(model, guide)

    @classmethod
    def check_if_validating(cls, model: poutine.Trace, guide: poutine.Trace) -> None:
        """Check all requirements where Pyro's validation is on, and so not while a step is traced.

        :raises InferenceError: if one is not met
        """
        if is_validation_enabled():
            cls.check(model, guide)


def require_order_of_model(model: poutine.Trace, guide: poutine.Trace) -> None:
    """Check that the guide draws the latents in the order of the model.

    Otherwise the prior of a site may depend on a site that the guide drew from it, and the closed form of
    KL(q(z) || p(z)) is not E log q(z) / p(z).
    """
    if not same_order(model, guide):
        raise InferenceError(
            f"the guide draws {', '.join(latent_sites(guide))} in this order, and the model in another: "
            "a KL in closed form needs the order of the model.",
            'Draw in the order of the model, or use objective="trace", or "enum" with enumerated sites.',
        )


def require_density(model: poutine.Trace, guide: poutine.Trace) -> None:
    """Check that no latent site of the guide is a Delta, unless its density is masked out."""
    points = [name for name in point_sites(guide) if not is_flat(guide.nodes[name])]
    if points:
        raise InferenceError(
            f"the guide of {', '.join(points)} is a point (Delta): it has no density, and this objective needs one.",
            ("objective", "trace"),
        )


def _enumerated(model: poutine.Trace, guide: poutine.Trace) -> list[str]:
    """Return the sites that are marked for enumeration."""
    sites = latent_sites(model) | latent_sites(guide)
    return sorted(name for name, site in sites.items() if site["infer"].get("enumerate"))


def _not_reparametrised(guide: poutine.Trace) -> list[str]:
    return [name for name, site in latent_sites(guide).items() if not is_reparametrised(site["fn"])]


def require_closed_kl(model: poutine.Trace, guide: poutine.Trace) -> None:
    """Check that no site is enumerated, or drawn without reparametrisation: free bits need a KL in closed form."""
    sites = sorted({*_enumerated(model, guide), *_not_reparametrised(guide)})
    if sites:
        raise InferenceError(
            f"free bits need a KL in closed form; {', '.join(sites)} is discrete or not reparametrised.",
            "Set warmup, the epochs over which the weight of the KL rises, instead.",
        )


def require_no_enumeration(model: poutine.Trace, guide: poutine.Trace) -> None:
    """Check that no site is enumerated: its guide would cancel in a weight, and enumeration replaces its score."""
    if sites := _enumerated(model, guide):
        raise InferenceError(
            f"{', '.join(sites)} is enumerated, and this objective would not fit its guide, which cancels in the "
            "importance weights.",
            ("objective", "enum"),
        )


def require_inferred(model: poutine.Trace, guide: poutine.Trace) -> None:
    """Check that the guide draws every latent: a site that the model alone enumerates has no draw to follow."""
    if sites := [name for name in _enumerated(model, guide) if name not in guide.nodes]:
        raise InferenceError(
            f"{', '.join(sites)} is summed out by the model alone, and this objective samples every latent from the "
            "guide.",
            ("objective", "enum"),
        )


def require_reparametrised(model: poutine.Trace, guide: poutine.Trace) -> None:
    """Check that all draws of the guide are reparametrised: the gradient goes through them."""
    if sites := _not_reparametrised(guide):
        raise InferenceError(
            f"draws of {', '.join(sites)} are not reparametrised, and the gradient of this objective goes through "
            "the draws.",
            'Use objective="loo:K" for the ELBO, or "vimco:K" for the bound of K draws.',
        )


def require_unset_draws(guide: poutine.Trace) -> None:
    """Check that the guide draws each latent by `pyro.sample`, after one of the handlers of this folder has run it.

    :raises InferenceError: if it computes the draw of a site elsewhere, and passes it to `pyro.sample` as a value
    """
    preset = [name for name, site in latent_sites(guide).items() if site["infer"].get("_is_preset")]
    if preset:
        raise InferenceError(
            f"the guide computes the draw of {', '.join(preset)} itself, outside pyro.sample, so the gradient of the "
            "draw cannot be changed, as this objective does.",
            f"Draw {', '.join(preset)} by pyro.sample in the guide.",
        )
