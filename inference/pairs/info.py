"""Inspect a pair: the kinds of its sites and its parameters, from one run on two rows."""

from dataclasses import dataclass
from functools import cached_property

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer.enum import config_enumerate
from pyro.poutine.enum_messenger import EnumMessenger
from torch import Tensor, nn

from inference.errors import InferenceError
from inference.pairs.checks import parameter_of
from inference.pairs.handlers import FittedRows
from inference.pairs.pair import Pair
from inference.pairs.properties import bijection_onto, is_discrete
from inference.pairs.rows import RowUse
from inference.pairs.run import (
    cuda_devices,
    distribution_errors,
    eval_mode,
    importance_traces,
    param_scope,
    same_buffers,
)
from inference.pairs.sites import (
    INDEPENDENT,
    Site,
    children_of_enumerated,
    enumerated_sites,
    factor_sites,
    is_flat,
    is_local,
    latent_sites,
    observed_sites,
    point_sites,
    unwrap,
)

__all__ = ["PairInfo", "continuous_latents", "inspect_pair"]

SUMMED_OUT = 'Leave the sampler out: objective "enum" fits the pair, and sums its discrete latents out.'


@dataclass(frozen=True, eq=False)
class PairInfo:
    """The structure of a pair, read off one run of `inspect_pair` in the mode, training or evaluation, that it was in.

    :param pair: the pair
    :param args: the two rows it was run on: (x,), or (x, given) for a conditional model
    :param model: trace of the model on the draws of the guide, with log-densities and enumerated sites
    :param guide: trace of the guide, with log-densities and enumerated sites
    """

    pair: Pair
    args: tuple[Tensor, ...]
    model: poutine.Trace
    guide: poutine.Trace

    @cached_property
    def prior(self) -> dict[str, Site]:
        """The latent sites of the model by name."""
        return latent_sites(self.model)

    @cached_property
    def guide_sites(self) -> dict[str, Site]:
        """The latent sites of the guide by name."""
        return latent_sites(self.guide)

    @cached_property
    def data_sites(self) -> list[str]:
        """The observed sites: x, or one for each step x_1, x_2, ... of a sequence."""
        return list(observed_sites(self.model))

    @property
    def likelihood(self) -> list[dist.TorchDistribution]:
        """The distributions p(x | latents), one for each observed site, without their event dimensions."""
        return [unwrap(site["fn"], INDEPENDENT) for site in observed_sites(self.model).values()]

    @property
    def scale(self) -> str:
        """What log p(x) is: a "log probability" where all of x is discrete, else a "log density"."""
        return "log probability" if all(is_discrete(fn) for fn in self.likelihood) else "log density"

    @property
    def conditional(self) -> bool:
        """Whether the model conditions on labels or covariates."""
        return len(self.args) > 1

    @property
    def conditions_on_class(self) -> bool:
        """Whether the model conditions on a class: what it conditions on are integers."""
        return self.conditional and not self.args[1].is_floating_point()

    @cached_property
    def has_global_latent(self) -> bool:
        """Whether a latent site of model or guide is outside the plate "data", so that data points are dependent."""
        return any(not is_local(site) for site in (*self.prior.values(), *self.guide_sites.values()))

    @cached_property
    def delta_sites(self) -> list[str]:
        """The latent sites whose guide is a Delta, without a density: the pair then has no ELBO."""
        return point_sites(self.guide)

    @cached_property
    def continuous_sites(self) -> list[str]:
        """The continuous latent sites of the guide."""
        return [name for name, site in self.guide_sites.items() if not is_discrete(site["fn"])]

    @cached_property
    def discrete_sites(self) -> dict[str, Site]:
        """The discrete latent sites of model or guide by name."""
        return {name: s for name, s in (self.prior | self.guide_sites).items() if is_discrete(s["fn"])}

    @cached_property
    def flat_sites(self) -> list[str]:
        """The latent sites whose prior is flat, as that of a deterministic code."""
        return [name for name, site in self.prior.items() if is_flat(site)]

    @cached_property
    def factors(self) -> list[str]:
        """The factors of the model and of the guide."""
        return [*factor_sites(self.model), *factor_sites(self.guide)]

    @property
    def generates(self) -> bool:
        """Whether data can be drawn from the model: no prior is flat."""
        return not self.flat_sites

    @cached_property
    def codes(self) -> list[str]:
        """The local continuous latent sites of the guide."""
        return [name for name in self.continuous_sites if is_local(self.guide_sites[name])]

    @cached_property
    def component(self) -> str | None:
        """The local discrete latent site of the model; None unless there is exactly one."""
        sites = self.prior.items()
        names = [name for name, site in sites if is_local(site) and is_discrete(site["fn"])]
        return names[0] if len(names) == 1 else None

    @cached_property
    def enumerated_in_guide(self) -> set[str]:
        """The enumerated sites that the guide has."""
        return enumerated_sites(self.model, self.guide)[0]

    @cached_property
    def enumerated_in_model(self) -> set[str]:
        """The enumerated sites that the model alone has, which are summed out of the likelihood."""
        return enumerated_sites(self.model, self.guide)[1]

    @property
    def enumerated(self) -> set[str]:
        """All enumerated sites."""
        return self.enumerated_in_guide | self.enumerated_in_model

    @cached_property
    def children_of_enumerated(self) -> set[str]:
        """The sites of the guide whose prior depends on a site that the model alone enumerates."""
        return children_of_enumerated(self.model, self.guide)

    @cached_property
    def n_cases(self) -> int:
        """The largest number of combinations of enumerated values for which a data point's likelihood is evaluated."""
        return max(site["log_prob"][..., :1].numel() for site in observed_sites(self.model).values())

    @property
    def generative_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that are registered while the model runs, by name."""
        return _parameters(self.model)

    @property
    def inference_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that are registered while the guide runs, by name."""
        return _parameters(self.guide)

    @cached_property
    def is_per_data_point(self) -> bool:
        """Whether guide or model use the indices of the plate: they have values for each data point of the fit, and
        none for new data.

        Both are run in evaluation mode. Which values the parameters have does not matter.
        """
        rows = torch.arange(len(self.args[0]), device=self.args[0].device)
        with eval_mode(self.pair), same_buffers(self.pair), FittedRows(0), RowUse(rows) as use:
            importance_traces(self.pair, self.args, rows)
        return use.used

    @property
    def is_scalar(self) -> bool:
        """Whether x and its only latent, a local continuous z with a density, are real numbers."""
        if self.args[0].shape[1:] != (1,) or self.conditional or len(self.guide_sites) != 1 or len(self.codes) != 1:
            return False
        (site,) = self.guide_sites.values()
        return site["value"].shape == (len(self.args[0]),) and not isinstance(site["fn"], dist.Delta)

    @property
    def has_standard_normal_plane(self) -> bool:
        """Whether the only latent site of the model is z ~ Normal(0, I) in R^2."""
        if list(self.prior) != ["z"] or not self.generates:
            return False
        fn = self.prior["z"]["fn"]
        if fn.event_shape != (2,) or not torch.equal(fn.mean, torch.zeros_like(fn.mean)):
            return False
        if isinstance(fn, dist.MultivariateNormal):
            eye = torch.eye(2).to(fn.mean)
            return torch.equal(fn.covariance_matrix, eye.expand_as(fn.covariance_matrix))
        normal = isinstance(unwrap(fn, INDEPENDENT), dist.Normal)
        return normal and torch.equal(fn.variance, torch.ones_like(fn.variance))

    @property
    def early_sites(self) -> list[str]:
        """The latent sites that the model samples before the second half of the steps of a sequence."""
        names = list(self.model.nodes)
        last = names.index(self.data_sites[len(self.data_sites) // 2 - 1])
        return [name for name in self.prior if names.index(name) < last]

    def width_of(self, steps: int) -> int:
        """Return the number of values of x in the first steps of a sequence."""
        return self.args[0].shape[1] * steps // len(self.data_sites)

    def generates_rows(self, shape: tuple[int, ...]) -> bool:
        """Return whether images of shape (h, w) or (channels, h, w) are grey and generated in steps, from the top."""
        grey = len(shape) == 2 or (len(shape) == 3 and shape[0] == 1)
        return grey and len(self.data_sites) > 1

    @cached_property
    def filters(self) -> bool:
        """Whether the guide infers the latents of the first half of the steps from that half of x alone.

        The guide is run in evaluation mode on two second halves, with the same noise.
        """
        if not set(self.early_sites) <= self.guide_sites.keys():
            return False
        x, *given = self.args
        end, drawn = self.width_of(len(self.data_sites) // 2), []
        for rest in (x[:, end:], 1 - x[:, end:]):
            with eval_mode(self.pair):
                guide = poutine.trace(self.pair.guide).get_trace(torch.cat([x[:, :end], rest], dim=1), *given)
            drawn.append([guide.nodes[name]["value"] for name in self.early_sites])
        return all(torch.equal(a, b) for a, b in zip(*drawn, strict=True))


def inspect_pair(pair: Pair, args: tuple[Tensor, ...]) -> PairInfo:
    """Return the structure of the pair from one run on the first two rows of its arguments, in the mode that it is in.

    Random generators, buffers and Pyro's parameter store are left as they were.

    :param args: (x,) or (x, given), (n, ...) each
    """
    few = tuple(a[:2] for a in args)
    with (
        torch.random.fork_rng(cuda_devices(pair)),
        torch.no_grad(),
        same_buffers(pair),
        param_scope(),
        distribution_errors(),
        FittedRows(0),  # the structure is the same at all rows, and others may have no parameters
    ):
        return PairInfo(pair, few, *importance_traces(pair, few))


def _parameters(trace: poutine.Trace) -> dict[str, nn.Parameter]:
    sites: dict[str, Site] = {name: site for name, site in trace.nodes.items() if site["type"] == "param"}
    return {name.replace("$$$", "."): parameter_of(site["value"]) for name, site in sites.items()}


def continuous_latents(pair: Pair, args: tuple[Tensor, ...]) -> dict[str, Site]:
    """Return the sites that a gradient-based sampler moves: the continuous latents of the model, whatever the guide.

    The model is run on all rows of the arguments, and takes its draws from the random generator as it is.

    :param args: (x,) or (x, given), (n, ...) each
    :raises InferenceError: if there is none, or one has a flat prior, no known support or an enumerated parent: a
        discrete y above z is not summed out by summing over y at one z for all y
    """
    enumerated, name = EnumMessenger(first_available_dim=-2)(config_enumerate(pair.model)), type(pair).__name__
    try:
        trace = poutine.trace(enumerated).get_trace(*args)
    except RuntimeError:  # shapes that do not broadcast
        raise InferenceError(
            f"the model of {name} cannot enumerate its discrete latents without its guide, as a sampler needs.",
            SUMMED_OUT,
        ) from None
    continuous = {key: site for key, site in latent_sites(trace).items() if not is_discrete(site["fn"])}
    if not continuous:
        raise InferenceError(f"{name} has no continuous latent, and a gradient-based sampler needs one.", SUMMED_OUT)
    for key, site in continuous.items():
        if is_flat(site):
            raise InferenceError(f"the prior of {key} in {name} is flat: there is no posterior to sample.")
        bijection_onto(site["fn"], f"{key} in {name}")
        plates = max((-frame.dim for frame in site["cond_indep_stack"] if frame.vectorized), default=0)
        if len(site["fn"].batch_shape) > plates:
            raise InferenceError(
                f"{key} of {name} has an enumerated parent, and a sampler has one {key} for all its values.",
                SUMMED_OUT,
            )
    return continuous
