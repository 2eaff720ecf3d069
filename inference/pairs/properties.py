"""Read what a distribution may lack: mean, support and a bijection onto it, list of values, reparametrised draws."""

import math
import re

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution, Transform, biject_to, constraints, transform_to

from inference.errors import InferenceError
from inference.pairs.sites import TRANSFORMED, unwrap

__all__ = [
    "UndefinedError",
    "base_of",
    "bijection_onto",
    "distribution_fault",
    "distribution_of",
    "has_one_support",
    "is_discrete",
    "is_reparametrised",
    "lists_values",
    "mean_of",
    "name_of",
    "parameter_fault",
    "support_of",
    "values_of",
]


SITE = re.compile(r"Error while computing (?:log_prob|score_parts|log_prob_sum) at site '(\S+)'")
PARAMETER = re.compile(r"Expected parameter (\w+) .*?of distribution (\w+)", re.DOTALL)
_NAMES = [
    (constraints.boolean, "{0, 1}"),
    (constraints.unit_interval, "[0, 1]"),
    (constraints.nonnegative, "[0, inf)"),
    (constraints.positive, "(0, inf)"),
    (constraints.nonnegative_integer, "{0, 1, 2, ...}"),
    (constraints.positive_integer, "{1, 2, 3, ...}"),
    (constraints.real, "the real numbers"),
    (constraints.one_hot, "one-hot rows"),
]
MIXED = re.compile(r"\bdtypes?\b|scalar type|\w+ did not match \w+")  # of two dtypes, in a message of torch
NAN = "Search what computes it for a logarithm, a root or a division."
_REMEDIES = {
    "probs": "Of a network's output, write logits=... in its place.",
    "scale_tril": "A Cholesky factor needs a positive diagonal: apply softplus to it.",
}
_OF_PARAMETERS = ("enumerate_support", "expand", "rsample", "sample")  # calls without values
_PACKAGES = ("torch.distributions", "pyro.distributions")


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


def name_of(support: constraints.Constraint) -> str:
    """Return the name of a support for a message, such as "[0, 1]"."""
    base = base_of(support)
    ends = [torch.as_tensor(getattr(base, end, math.nan)) for end in ("lower_bound", "upper_bound")]
    if known := [name for constraint, name in _NAMES if base == constraint]:
        return known[0]
    if isinstance(base, constraints.multinomial):
        return f"{{0, 1, 2, ...}} with a sum of {torch.as_tensor(base.upper_bound).max().item()} at most"
    if any(end.isnan().any() for end in ends):
        return str(base)
    return f"{'the integers in ' * base.is_discrete}[{ends[0].min().item():g}, {ends[1].max().item():g}]"


def is_discrete(fn: dist.TorchDistribution) -> bool:
    """Return whether the support is known and discrete."""
    support = support_of(fn)
    return support is not None and support.is_discrete


def is_reparametrised(fn: dist.TorchDistribution) -> bool:
    """Return whether draws have gradients with respect to the parameters; False if the distribution does not state it.

    >>> is_reparametrised(dist.Normal(0.0, 1.0).mask(False)), is_reparametrised(dist.Poisson(1.0))
    (True, False)
    """
    try:
        return bool(fn.has_rsample)
    except (AttributeError, NotImplementedError):
        return False


def lists_values(fn: dist.TorchDistribution) -> bool:
    """Return whether `values_of` the distribution is defined.

    >>> lists_values(dist.Bernoulli(0.5)), lists_values(dist.Poisson(1.0))
    (True, False)
    """
    try:
        return bool(fn.has_enumerate_support)
    except (AttributeError, NotImplementedError):
        return False


def values_of(fn: dist.TorchDistribution, expand: bool = False) -> Tensor:
    """Return the values of a discrete distribution, (values, 1, ..., *event) with a 1 for each batch dimension.

    :param expand: whether the batch dimensions have their length
    :raises UndefinedError: if it does not list them

    >>> values_of(dist.Bernoulli(torch.tensor([0.2, 0.3])))
    tensor([[0.],
            [1.]])
    """
    try:
        return fn.enumerate_support(expand=expand)
    except NotImplementedError:
        raise UndefinedError(f"{type(unwrap(fn)).__name__} has no list of its values.") from None


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


def distribution_of(error: BaseException) -> tuple[Distribution | None, str]:
    """Return the distribution of torch or Pyro in whose code an exception was raised, with its method; else (None, "").

    Of wrappers and what they wrap it is the innermost.
    """
    step, fn, method, inside = _first(error).__traceback__, None, "", False
    while step is not None:
        owner, name = step.tb_frame.f_locals.get("self"), step.tb_frame.f_code.co_name
        if isinstance(owner, Distribution) and step.tb_frame.f_globals.get("__name__", "").startswith(_PACKAGES):
            fn, method = owner, method if name.startswith("_") and method else name
            inside = True
        else:
            inside = inside and step.tb_frame.f_globals.get("__name__", "").startswith(("torch.", "pyro."))
        step = step.tb_next
    return (fn, method) if inside else (None, "")


def _first(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def distribution_fault(error: BaseException) -> str | None:
    """Return a sentence for an exception with which a distribution refuses a call; None for any other.

    A distribution may lack draws, a log-density or `expand`, refuse a value or a parameter, or be one of torch itself.
    """
    first, (fn, method) = _first(error), distribution_of(error)
    reason, site = " ".join(str(first).split())[:200].rstrip("."), SITE.search(str(error))
    if fn is None:
        return _foreign(first) if isinstance(first, TypeError) else None
    family = type(fn).__name__
    where = f"{site[1]} ~ {family}" if site else family
    if isinstance(first, NotImplementedError):
        return f"{where}.{method} is not implemented{f' ({reason})' if reason else ''}. Choose another distribution."
    if isinstance(first, AssertionError):
        return f"{where}.{method} refuses the shapes{f' ({reason})' if reason else ''}. Choose another distribution."
    if isinstance(first, RuntimeError | TypeError) and method in _OF_PARAMETERS and "alloc" not in reason:
        return f"{where}.{method} fails ({reason}). Choose another distribution."
    if isinstance(first, RuntimeError) and MIXED.search(reason):
        remedy = "Give it parameters and values of one dtype, or choose another distribution"
        return f"{where}.{method} fails ({reason}). {remedy}."
    if not isinstance(first, ValueError):
        return None
    if "within the support" in reason:
        return f"a value of {where} is outside its support, where its density is 0."
    if parameter := PARAMETER.search(str(first)):
        bounds: dict[str, constraints.Constraint] = fn.arg_constraints
        wrong = "that are NaN" if _has_nan(fn, parameter[1]) else f"outside {name_of(bounds[parameter[1]])}"
        return f"the parameter {parameter[1]} of {where} has values {wrong}."
    return f"{where}.{method} refuses: {reason}."


def parameter_fault(error: BaseException) -> str | None:
    """Return a sentence for an exception with which a distribution refuses a parameter, with what to do; else None."""
    refused = PARAMETER.search(str(error)) if isinstance(error, ValueError) else None
    fn, fault = distribution_of(error)[0], distribution_fault(error)
    if refused is None or fn is None:
        return None
    remedy = _REMEDIES.get(refused[1], "Of a network's output, write softplus(...) for positive values.")
    return f"{fault} {NAN if _has_nan(fn, refused[1]) else remedy}"


def _has_nan(fn: Distribution, parameter: str) -> bool:
    value = vars(fn).get(parameter)
    return isinstance(value, Tensor) and bool(value.isnan().any())


def _foreign(error: BaseException) -> str | None:
    """Return a sentence for an exception of Pyro about a distribution of torch itself."""
    step = error.__traceback__
    while step is not None:
        message = step.tb_frame.f_locals.get("msg")
        fn = message.get("fn") if isinstance(message, dict) else None
        if isinstance(fn, Distribution) and not callable(fn):
            kind = type(fn).__name__
            return f"torch.distributions.{kind} is unknown to Pyro. Write pyro.distributions.{kind}."
        step = step.tb_next
    return None
