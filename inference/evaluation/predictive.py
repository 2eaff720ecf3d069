"""Simulate data, reconstruct and encode, from the traces of any pair."""

from collections.abc import Callable
from contextlib import suppress

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO, infer_discrete
from torch import Tensor

from inference.counts import whole_number
from inference.errors import InferenceError
from inference.pairs.data_checks import check_given
from inference.pairs.ends import data_within, entries_within, left_out
from inference.pairs.fitted_rows import check_rows
from inference.pairs.handlers import FittedRows, PosteriorMeans
from inference.pairs.info import inspect_pair
from inference.pairs.pair import Pair
from inference.pairs.properties import UndefinedError, mean_of, values_of
from inference.pairs.run import arguments, check_dense, eval_mode, repeat
from inference.pairs.sites import Site, is_flat, latent_sites, observed_sites

__all__ = ["encode", "observed_mean", "observed_value", "posterior_trace", "reconstruct", "sample"]


def observed_value(trace: poutine.Trace, of_site: Callable[[Site], Tensor], x: Tensor) -> Tensor:
    """Return `of_site(site)` in the shape of x; of several observed sites x_1, x_2, ... side by side.

    :raises UndefinedError: if the values of a site do not have the shape of what it observes
    """
    parts = []
    for name, site in observed_sites(trace).items():
        part, width = of_site(site), site["value"].shape[1:].numel()
        if part.shape[1:].numel() != width:
            raise UndefinedError(f"{name} has {width} values, and its mean {part.shape[1:].numel()}.")
        parts.append(part.to(x.dtype) if part.dtype != x.dtype else part)
    if len(parts) == 1:
        return parts[0].reshape(x.shape)
    return torch.cat([part.reshape(len(x), -1) for part in parts], dim=1).reshape(x.shape)


def sample(pair: Pair, like: Tensor, n: int, given: Tensor | None = None, seed: int | None = 0) -> dict[str, Tensor]:
    """Draw n data points from the model, with their latents.

    >>> from inference.examples import LinearGaussian
    >>> draws = sample(LinearGaussian(), torch.zeros(1, 1), n=5)
    >>> {name: tuple(value.shape) for name, value in draws.items()}
    {'x': (5, 1), 'z': (5, 1), 'mean': (5, 1)}

    :param like: (any, ...) data of the shape and type to be drawn; its values are not used
    :param n: number of data points. Of a model with parameters for each data point they are drawn at those of the first
        n rows of the fit, or from the row on that `FittedRows` states
    :param given: (n, ...) what a conditional model conditions on
    :param seed: of the noise; if None, torch's generator is used as it is
    :return: "x", (n, ...); every latent site by name, (n, ...), or one draw for all n where the latent is global; and,
        if every likelihood has a mean, "mean", E[x | latents], (n, ...)
    :raises InferenceError: if n < 1, if the prior is flat, so that it cannot be sampled, or if a model with parameters
        for each data point has none for some of the rows
    """
    check_dense(like)
    n = whole_number(n, "n")
    with FittedRows(), eval_mode(pair, seed, "sample"):
        args = arguments(pair, like.new_zeros(n, *like.shape[1:]), given)
        check_given(pair, given if len(args) > 1 else None)
        check_rows(pair, args, model_alone=True)
        trace = poutine.trace(poutine.uncondition(pair.model)).get_trace(*args)
        latent = {name: site for name, site in latent_sites(trace).items() if name not in observed_sites(trace)}
        for name, site in latent.items():
            if is_flat(site):
                raise InferenceError(f"drawing from {type(pair).__name__} is undefined: the prior of {name} is flat.")
        drawn = {"x": observed_value(trace, lambda site: site["value"], args[0])}
        drawn |= {name: site["value"] for name, site in latent.items()}
        with suppress(UndefinedError):
            drawn["mean"] = observed_mean(trace, args[0])
    return {name: value.detach() for name, value in drawn.items()}  # a lazy property of torch has gradients even here


def observed_mean(trace: poutine.Trace, x: Tensor) -> Tensor:
    """Return E[x | latents] of a trace of the model, in the shape of x.

    :raises UndefinedError: if a likelihood has no mean
    """
    return observed_value(trace, lambda site: mean_of(site["fn"]), x)


def posterior_trace(pair: Pair, args: tuple[Tensor, ...], summed: set[str] | None = None) -> poutine.Trace:
    """Return a trace of one draw of all latents given the data: those of the guide and those the model alone sums out.

    The latter are drawn from their posterior given the former. Call it inside `eval_mode`.

    :param args: the arguments of `model` and `guide`
    :param summed: `enumerated_in_model` of the pair, where it is known, as for the second of many draws
    :raises InferenceError: if the model alone sums out a vector
    """
    guide = poutine.trace(pair.guide).get_trace(*args)
    if summed is None:
        summed = inspect_pair(pair, args).enumerated_in_model
    if summed:
        certain = _certain_sites(pair, args, summed)
        guide.nodes.update(certain)
        if certain.keys() == summed:
            return guide
        for name, site in latent_sites(poutine.trace(pair.model).get_trace(*args)).items():
            if name in summed and site["fn"].event_shape:
                raise InferenceError(
                    f"{name}, which the model alone sums out, is a vector: Pyro draws only numbers from a posterior.",
                    f"Use Categorical, with {name} an index.",
                )
        posterior = infer_discrete(poutine.replay(pair.model, guide), first_available_dim=-2)
        drawn = poutine.trace(posterior).get_trace(*args)
        guide.nodes.update({name: site for name, site in latent_sites(drawn).items() if name not in guide.nodes})
    return guide


def _certain_sites(pair: Pair, args: tuple[Tensor, ...], names: set[str]) -> dict[str, Site]:
    """Return those of the discrete sites that have one value. Pyro infers discrete sites of two values or more."""
    sites = latent_sites(poutine.trace(pair.model).get_trace(*args))
    supports = {name: values_of(site["fn"]) for name, site in sites.items() if name in names}
    return {name: sites[name] for name, support in supports.items() if len(support) == 1}


def reconstruct(pair: Pair, x: Tensor, given: Tensor | None = None, seed: int | None = 0) -> Tensor:
    """Compute the reconstruction E[x' | z], (n, ...), with one draw of z from the guide at each x.

    Sites that the model alone sums out are drawn from their posterior. Steps after the end of a sequence are NaN.

    >>> from inference.examples import LinearGaussian
    >>> reconstruct(LinearGaussian(), torch.randn(5, 1)).shape
    torch.Size([5, 1])

    :param x: (n, ...)
    :param given: (n, ...) what a conditional model conditions on
    :param seed: of the noise; if None, torch's generator is used as it is
    :raises InferenceError: if a conditional model has no `given`, the likelihood has no mean, or a guide with
        parameters for each data point is used outside `FittedRows`
    """
    with eval_mode(pair, seed, "reconstruct"):
        args = arguments(pair, x, given)
        check_rows(pair, args)
        guide = posterior_trace(pair, args)
        trace = poutine.trace(poutine.replay(poutine.uncondition(pair.model), guide)).get_trace(*args)
        mean, within = observed_mean(trace, x).detach(), data_within(pair, x)
        return mean if within is None else mean.where(within, torch.nan)


def encode(pair: Pair, x: Tensor, given: Tensor | None = None, seed: int | None = 0) -> dict[str, Tensor]:
    """Compute the code of x: the mean of the guide at every latent site, (n, ...).

    A site that depends on others gets their means, or the mode of a discrete one. The code of a discrete site is its
    probabilities, (n, ..., values). They are those of the exact posterior if the site is summed out in the model alone.
    Entries of steps after the end of a sequence are NaN.

    >>> from inference.examples import LinearGaussian
    >>> encode(LinearGaussian(), torch.randn(5, 1))["z"].shape
    torch.Size([5, 1])

    :param x: (n, ...)
    :param given: (n, ...) what a conditional model conditions on
    :param seed: of the noise; if None, torch's generator is used as it is
    :raises InferenceError: if a conditional model has no `given`, the distribution of a site has no mean, or a guide
        with parameters for each data point is used outside `FittedRows`
    """
    with eval_mode(pair, seed, "encode"):
        args = arguments(pair, x, given)
        check_rows(pair, args)
        with PosteriorMeans():
            guide = poutine.trace(pair.guide).get_trace(*args)
            code = {name: _code(name, site) for name, site in latent_sites(guide).items()}
        if summed := inspect_pair(pair, args).enumerated_in_model:
            rows = repeat(args, 2) if len(x) == 1 else args  # Pyro drops the dimension of a single row
            certain = _certain_sites(pair, rows, summed)
            model = poutine.condition(pair.model, {name: site["value"] for name, site in certain.items()})
            code |= {name: _code(name, site)[: len(x)] for name, site in certain.items()}
            try:
                bound = TraceEnum_ELBO(max_plate_nesting=1)
                posterior = bound.compute_marginals(model, pair.guide, *rows) if summed - certain.keys() else {}
            except TypeError:  # Pyro builds the family from logits alone
                names = ", ".join(sorted(summed))
                raise UndefinedError(f"Pyro knows the posterior of {names} only if it is Categorical.") from None
            code |= {name: marginal.probs[: len(x)] for name, marginal in posterior.items()}
        within = {name: kept for name, kept in (entries_within(pair, args) or {}).items() if name in code}
        more = {name: code[name].dim() - kept.dim() for name, kept in within.items()}  # 1 of probabilities, else 0
        code = left_out(code, {name: kept.reshape(*kept.shape, *[1] * more[name]) for name, kept in within.items()})
    return {name: value.detach() for name, value in code.items()}


def _code(name: str, site: Site) -> Tensor:
    """Return the mean of a site's distribution, the probabilities of a categorical one.

    :raises UndefinedError: if it has no mean; a draw in its place would differ with every call
    """
    if isinstance(site["fn"], dist.Categorical):
        return site["fn"].probs
    try:
        return mean_of(site["fn"])
    except UndefinedError as error:
        raise UndefinedError(f"the code {name} is undefined: {error}") from None
