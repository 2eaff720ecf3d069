"""Inspect a pair: the kinds of its latents and its parameters, from one run on two rows."""

from dataclasses import dataclass

import torch
from pyro import poutine
from pyro.infer.enum import config_enumerate
from pyro.poutine.enum_messenger import EnumMessenger
from torch import nn

from inference.errors import InferenceError
from inference.pairs.run import cuda_devices, eval_mode, importance_traces, param_scope, same_buffers
from inference.pairs.sites import enumerated_sites, is_delta, is_flat, is_local, latent_sites, observed_sites


@dataclass(frozen=True, eq=False)
class PairInfo:
    """What kind of pair is it? Read off one run on two rows; random numbers and Pyro's store are left as they were."""

    model: poutine.Trace
    guide: poutine.Trace

    @property
    def joint(self) -> bool:
        """Is a latent site outside the plate of the data, so that they are dependent?"""
        return any(not is_local(site) for t in (self.model, self.guide) for site in latent_sites(t).values())

    @property
    def points(self) -> list[str]:
        """The latent sites at which the guide is a point: there is no bound on the evidence then."""
        return [name for name, site in latent_sites(self.guide).items() if is_delta(site)]

    @property
    def continuous(self) -> list[str]:
        """The latent sites of the guide that are not discrete."""
        return [name for name, site in latent_sites(self.guide).items() if not site["fn"].support.is_discrete]

    @property
    def enumerated(self) -> tuple[set[str], set[str]]:
        """Names of the sites that are summed out: (in the guide, by the model alone)."""
        return enumerated_sites(self.model, self.guide)

    @property
    def cases(self) -> int:
        """The largest number of cases of enumerated sites for which a datum's density is evaluated."""
        return max(site["log_prob"][..., :1].numel() for site in observed_sites(self.model).values())


def inspect_pair(pair: nn.Module, args: tuple) -> PairInfo:
    """A look at the pair, on the first two rows of its arguments."""
    with torch.random.fork_rng(cuda_devices(pair)), torch.no_grad(), same_buffers(pair), param_scope():
        return PairInfo(*importance_traces(pair, tuple(a[:2] for a in args)))


def parameters(inspect_pair: PairInfo) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """(generative, inference) parameters by name: those registered while the model ran, and those of the guide."""
    found = []
    for trace in (inspect_pair.model, inspect_pair.guide):
        sites = {name: site for name, site in trace.nodes.items() if site["type"] == "param"}
        found.append({name.replace("$$$", "."): site["value"] for name, site in sites.items()})
    return found[0], found[1]


def continuous_latents(pair: nn.Module, args: tuple) -> dict[str, dict]:
    """The sites that a sampler by gradients moves: the continuous latents of the model alone, whatever the guide.

    :raises InferenceError: if there is none, if the prior of one is flat, or if it has an enumerated parent: a discrete
        y above z is not summed out by summing over y at one z for all y
    """
    enumerated, name = EnumMessenger(first_available_dim=-2)(config_enumerate(pair.model)), type(pair).__name__
    try:
        trace = poutine.trace(enumerated).get_trace(*args)
    except RuntimeError:  # shapes that do not go together
        raise InferenceError(
            f"the model of {name} cannot sum out its discrete latents without its guide, as a sampler would have to: "
            "fit it with --objective enum."
        ) from None
    found = {key: site for key, site in latent_sites(trace).items() if not site["fn"].support.is_discrete}
    if not found:
        raise InferenceError(f"{name} has no continuous latent: there is nothing for a sampler by gradients to move.")
    for key, site in found.items():
        if is_flat(site):
            raise InferenceError(f"the prior of {key} in {name} is flat: there is no posterior to sample.")
        plates = max((-frame.dim for frame in site["cond_indep_stack"] if frame.vectorized), default=0)
        if len(site["fn"].batch_shape) > plates:
            raise InferenceError(
                f"{key} of {name} has a discrete parent that is summed out, and a sampler has one {key} for all its "
                "values: fit it with --objective enum."
            )
    return found


def is_per_data_point(pair: nn.Module, args: tuple) -> bool:
    """Has the guide parameters of its own for every datum, so that it knows nothing of new data?"""
    drawn = []
    for row in (0, len(args[0]) - 1):  # the same noise at another row: is the draw another?
        with eval_mode(pair, seed=0):
            rows = torch.full((len(args[0]),), row, device=args[0].device)
            guide = importance_traces(pair, args, rows)[1]
            drawn.append([site["value"] for site in latent_sites(guide).values()])
    return any(not torch.equal(a, b) for a, b in zip(*drawn, strict=True))
