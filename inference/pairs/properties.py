"""Read what a distribution may lack: a mean, a support, a bijection onto its support."""

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Transform, biject_to, constraints, transform_to

from inference.errors import InferenceError
from inference.pairs.sites import TRANSFORMED, unwrap

__all__ = [
    "UndefinedError",
    "base_of",
    "bijection_onto",
    "has_one_support",
    "is_discrete",
    "mean_of",
    "support_of",
]


class UndefinedError(InferenceError):
    """A number that a distribution does not have, with the reason."""


def mean_of(fn: dist.TorchDistribution) -> Tensor:
    """Return the mean of a distribution, of its batch and event shape.

    A Delta with a density stands for the draw of another distribution, whose mean it does not know.

    :raises UndefinedError: if the family has no mean, torch does not know it, or it is not finite

    >>> mean_of(dist.Normal(torch.ones(2), 1.0))
    tensor([1., 1.])
    """
    family = type(unwrap(fn)).__name__
    point = unwrap(fn, TRANSFORMED)
    checked = not torch.compiler.is_exporting()  # a network that is exported has no values to check
    if checked and isinstance(point, dist.Delta) and point.log_density.any():
        raise UndefinedError("a Delta with a density is a draw: its mean is unknown.")
    try:
        mean = fn.mean
    except NotImplementedError:
        raise UndefinedError(f"torch knows no mean of {family}.") from None
    if checked and not torch.isfinite(mean).all():
        raise UndefinedError(f"the mean of {family} is not finite.")
    return mean if torch.is_grad_enabled() else mean.detach()  # torch computes lazy properties with gradients


def support_of(fn: dist.TorchDistribution) -> constraints.Constraint | None:
    """Return the support of a distribution; None if torch does not know it.

    >>> support_of(dist.Normal(0.0, 1.0))
    Real()
    """
    try:
        return fn.support
    except NotImplementedError:
        return None


def base_of(support: constraints.Constraint) -> constraints.Constraint:
    """Return the constraint within `independent` and the constraint of a mixture.

    >>> base_of(constraints.independent(constraints.positive, 1))
    GreaterThan(lower_bound=0.0)
    """
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return support


def is_discrete(fn: dist.TorchDistribution) -> bool:
    """Return whether the support is known and discrete."""
    support = support_of(fn)
    return support is not None and support.is_discrete


def has_one_support(support: constraints.Constraint) -> bool:
    """Return whether the support is the same for all data points: no bound of it is a tensor of several numbers.

    >>> has_one_support(constraints.interval(0.0, 1.0)), has_one_support(constraints.greater_than(torch.ones(2)))
    (True, False)
    """
    parts = [base_of(part) for part in getattr(support, "cseq", [support])]
    return not any(isinstance(value, Tensor) and value.dim() for part in parts for value in vars(part).values())


@biject_to.register(constraints.MixtureSameFamilyConstraint)
@transform_to.register(constraints.MixtureSameFamilyConstraint)
def _onto_components(support: constraints.MixtureSameFamilyConstraint) -> Transform:
    """The support of a mixture is that of its components; torch has no bijection for it."""
    return biject_to(support.base_constraint)


def bijection_onto(fn: dist.TorchDistribution, name: str) -> Transform:
    """Return the map of real numbers onto the support of a distribution.

    :param name: of its site, for the message
    :raises InferenceError: if the support is unknown, or torch has no such map

    >>> bijection_onto(dist.Normal(0.0, 1.0), "z").codomain
    Real()
    """
    support = support_of(fn)
    try:
        return biject_to(support)
    except NotImplementedError:
        kind = "unknown" if support is None else f"{base_of(support)}, onto which torch maps no real numbers"
        raise InferenceError(f"the support of {name} is {kind}.") from None
