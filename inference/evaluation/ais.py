"""Annealed importance sampling: the evidence from both sides, without a guide.

From the prior to the posterior the densities p(z) p(x | z)^t, 0 = t_0 < ... < t_T = 1, change little from one to the
next. A chain that starts at a draw of the prior and moves by Hamiltonian Monte Carlo at each t has the weight

    log w = sum_j (t_j - t_{j-1}) log p(x | z_{j-1}),    E[w] = p(x),    so E[log w] <= log p(x).

A chain that starts at a draw of the posterior and goes back has a weight with E[1 / w] = 1 / p(x), so its -log of the
mean of 1 / w lies above log p(x) in expectation. Draws of the posterior are known where the data are simulated:
z ~ p(z) and x ~ p(x | z) make z one draw of p(z | x). The two together hold log p(x) of simulated data, and their
distance says how much either can be wrong.

Both inequalities need moves that leave each density as it is, and whose step sizes do not look at the chain they move.
So the step sizes, one for each datum and each t, are found by a few pilot chains and held fixed.

    Neal, Annealed importance sampling, 2001.
    Grosse, Ghahramani and Adams, Sandwiching the marginal likelihood using bidirectional Monte Carlo, 2015.
    Wu, Burda, Salakhutdinov and Grosse, On the quantitative analysis of decoder-based generative models, 2017.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress

import pyro
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.distributions import Transform, biject_to, constraints

from inference.errors import InferenceError
from inference.evaluation.log_weights import iwae, iwae_variance, log_evidence
from inference.evaluation.metrics import _estimate
from inference.evaluation.predictive import sample
from inference.fit.graph import UntraceableError, traced
from inference.pairs.info import continuous_latents
from inference.pairs.run import arguments, eval_mode, log_joint, repeat
from inference.pairs.sites import is_local, latent_sites

ROWS = 20_000  # data times chains at a time: what bounds the memory
PILOTS = 4  # chains that find the step sizes
ACCEPTED = 0.65  # the share of moves that the step sizes aim at
GAIN = 0.1  # of log step size, for each move, per acceptance above or below
BURN_IN = 50  # moves of the pilots at the prior, before they set out

Density = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


class _Coordinates:
    """All latents of a datum as one vector of unbounded numbers, and back."""

    def __init__(self, latents: dict[str, Tensor], supports: dict[str, constraints.Constraint]):
        self.transforms: dict[str, Transform] = {name: biject_to(support) for name, support in supports.items()}
        self.shapes = {name: t.inv(latents[name][:1]).shape[1:] for name, t in self.transforms.items()}

    def flat(self, latents: dict[str, Tensor]) -> Tensor:
        """(rows, d)"""
        parts = [transform.inv(latents[name]) for name, transform in self.transforms.items()]
        return torch.cat([part.reshape(len(part), -1) for part in parts], dim=1)

    def latents(self, u: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The latents, and log |dz / du|, (rows,)."""
        latents, log_det = {}, u.new_zeros(len(u))
        parts = u.split([shape.numel() for shape in self.shapes.values()], dim=1)
        for (name, transform), part in zip(self.transforms.items(), parts, strict=True):
            part = part.reshape(len(u), *self.shapes[name])
            latents[name] = transform(part)
            log_det = log_det + transform.log_abs_det_jacobian(part, latents[name]).reshape(len(u), -1).sum(1)
        return latents, log_det


def _density(pair: nn.Module, args: tuple, coordinates: _Coordinates, u: Tensor) -> Density:
    """(u, t) to log p(z) with its volume and log p(x | z), (rows,), and the gradient of the first plus t times the
    second, (rows, d): as one graph if the pair can be traced."""

    def density(u: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.enable_grad(), pyro.validation_enabled(False):
            u = u.detach().requires_grad_()
            latents, log_det = coordinates.latents(u)
            prior, likelihood = log_joint(pair, args, latents)
            prior = prior + log_det
            (gradient,) = torch.autograd.grad((prior + t * likelihood).sum(), u)
        return prior.detach(), likelihood.detach(), gradient

    with suppress(UntraceableError):
        return traced(density, (u, u.new_ones(())))
    return density


def _move(density: Density, u: Tensor, state: tuple, t: Tensor, step: Tensor, leapfrog: int) -> tuple[Tensor, Tensor]:
    """One step of Hamiltonian Monte Carlo at t: (u, probability with which the proposal was accepted).

    :param state: what `density` says at u
    :param step: size of a step of the integrator, (rows,); it is varied by a fifth, so that no orbit closes
    """
    prior, likelihood, gradient = state
    step = (step * (0.8 + 0.4 * torch.rand_like(step))).unsqueeze(1)
    momentum = torch.randn_like(u)
    energy = 0.5 * momentum.square().sum(1) - prior - t * likelihood
    proposal = u
    for _ in range(leapfrog):
        momentum = momentum + 0.5 * step * gradient
        proposal = proposal + step * momentum
        prior, likelihood, gradient = density(proposal, t)
        momentum = momentum + 0.5 * step * gradient
    change = energy - (0.5 * momentum.square().sum(1) - prior - t * likelihood)
    accept = change.clamp(max=0).exp().nan_to_num(0.0)
    return torch.where((torch.rand_like(accept) < accept).unsqueeze(1), proposal, u), accept


def _temperatures(steps: int, like: Tensor) -> Tensor:
    """t_0, ..., t_steps from 0 to 1, dense at both ends: a sigmoid, as Grosse et al. have it."""
    s = torch.sigmoid(torch.linspace(-4, 4, steps + 1, dtype=like.dtype, device=like.device))
    return (s - s[0]) / (s[-1] - s[0])


def _anneal(density: Density, u: Tensor, temperatures: Tensor, sizes: Tensor, leapfrog: int) -> Tensor:
    """The log-weights of chains from u, (rows,), through these temperatures with these step sizes, one row each."""
    log_w = u.new_zeros(len(u), dtype=torch.float64)
    for j in range(1, len(temperatures)):
        state = density(u, temperatures[j])
        log_w += (temperatures[j] - temperatures[j - 1]) * state[1]
        if j + 1 < len(temperatures):
            u, _ = _move(density, u, state, temperatures[j], sizes[j], leapfrog)
    return log_w


def _step_sizes(density: Density, u: Tensor, temperatures: Tensor, pilots: int, leapfrog: int) -> Tensor:
    """Step sizes for every temperature and datum, (temperatures, n), as pilot chains from u, (pilots * n, d), adapted
    them on their way: up if more than ACCEPTED of their moves are accepted, down if less."""
    log_size, sizes = u.new_full((len(u) // pilots,), -1.0), []
    for t in [*[temperatures[0]] * BURN_IN, *temperatures]:
        sizes.append(log_size.exp())
        u, accept = _move(density, u, density(u, t), t, sizes[-1].repeat(pilots), leapfrog)
        log_size = log_size + GAIN * (accept.view(pilots, -1).mean(0) - ACCEPTED)
    return torch.stack(sizes[BURN_IN:])


def _prior(pair: nn.Module, args: tuple, names: Iterable[str]) -> dict[str, Tensor]:
    """A draw of the latents of every row from the prior."""
    trace = poutine.trace(poutine.uncondition(pair.model)).get_trace(*args)
    return {name: trace.nodes[name]["value"] for name in names}


def _chains(pair, x, given, chains, steps, leapfrog, seed, posterior: dict[str, Tensor] | None = None) -> Tensor:
    """Log-weights (chains, n): from the prior to the posterior or, from draws of the posterior, back."""
    for name, value in {"chains": chains, "steps": steps, "leapfrog": leapfrog}.items():
        if value < 1:
            raise InferenceError(f"{name} must be at least 1, not {value}.")
    columns, pilots = [], min(PILOTS, chains)
    with eval_mode(pair, seed):
        every = arguments(pair, x, given)
        supports = supports_of(pair, tuple(a[:2] for a in every))
        if posterior is not None and posterior.keys() != supports.keys():
            given_names = ", ".join(posterior) or "none"
            raise InferenceError(f"draws of {', '.join(supports)} are needed for every datum, and not {given_names}.")
        for rows in torch.arange(len(x), device=x.device).split(max(1, ROWS // chains)):
            args = tuple(a[rows] for a in every)
            few, many = repeat(args, pilots), repeat(args, chains)
            start = _prior(pair, few, supports)
            coordinates = _Coordinates(start, supports)
            u = coordinates.flat(start)
            temperatures = _temperatures(steps, u)
            sizes = _step_sizes(_density(pair, few, coordinates, u), u, temperatures, pilots, leapfrog)
            if posterior is None:
                start = _prior(pair, many, supports)
            else:
                start = dict(zip(posterior, repeat(tuple(z[rows] for z in posterior.values()), chains), strict=True))
                temperatures, sizes = temperatures.flip(0), sizes.flip(0)
            u = coordinates.flat(start)
            density = _density(pair, many, coordinates, u)
            log_w = _anneal(density, u, temperatures, sizes.repeat(1, chains), leapfrog)
            columns.append((log_w if posterior is None else -log_w).view(chains, -1))
    return torch.cat(columns, dim=1)


def supports_of(pair: nn.Module, args: tuple) -> dict[str, constraints.Constraint]:
    """Where each latent of a datum may lie, by its site, for a model that can be annealed. Call it inside `judging`.

    :param args: some rows of the arguments of `model`
    :raises InferenceError: if a latent is global, discrete or summed out, or its prior is flat
    """
    sites, name = continuous_latents(pair, args), type(pair).__name__
    others = latent_sites(poutine.trace(pair.model).get_trace(*args)).keys() - sites.keys()
    if others:
        raise InferenceError(
            f"{', '.join(sorted(others))} of {name} is discrete, and annealing moves continuous latents only: use IWAE."
        )
    joint = [key for key, site in sites.items() if not is_local(site)]
    if joint:
        raise InferenceError(
            f"{', '.join(joint)} of {name} is global, and annealing is per data point: use NUTS, or IWAE."
        )
    return {key: site["fn"].support for key, site in sites.items()}


def gradients(chains: int, steps: int, leapfrog: int) -> int:
    """How many gradients of log p(x, z) `ais` or `reverse_ais` takes for a datum: those of all its chains, and those of
    the pilots."""
    pilots = min(PILOTS, chains) * (BURN_IN + steps + 1) * (leapfrog + 1)
    return chains * (steps + (steps - 1) * leapfrog) + pilots


def ais(
    pair: nn.Module,
    x: Tensor,
    given: Tensor | None = None,
    chains: int = 16,
    steps: int = 500,
    leapfrog: int = 10,
    seed: int = 0,
) -> Tensor:
    """(chains, n) log-weights log w in nats, float64: E[w] = p(x), so `iwae` of them is a lower bound in expectation.

    Its cost is `gradients`: about steps * (leapfrog + 1) for each chain, and as many for each of 4 pilots.

    :param steps: temperatures between prior and posterior
    :param leapfrog: steps of the integrator for one move
    :raises InferenceError: if a latent is global, discrete or summed out, or its prior is flat
    """
    return _chains(pair, x, given, chains, steps, leapfrog, seed)


def reverse_ais(
    pair: nn.Module,
    x: Tensor,
    latents: dict[str, Tensor],
    given: Tensor | None = None,
    chains: int = 16,
    steps: int = 500,
    leapfrog: int = 10,
    seed: int = 0,
) -> Tensor:
    """(chains, n) log-weights log w in nats, float64: E[1 / w] = 1 / p(x), so `upper` of them is an upper bound in
    expectation. All chains of a datum start at the one draw of its posterior.

    :param latents: for every latent site a draw of the exact posterior of each datum, (n, ...), as `sample` gives it
    :raises InferenceError: as `ais` does
    """
    return _chains(pair, x, given, chains, steps, leapfrog, seed, latents)


def upper(log_w: Tensor) -> Tensor:
    """-log of the mean of 1 / w for each datum, (n,) in nats, from the (chains, n) log-weights of `reverse_ais`."""
    return -iwae(-log_w)


def bdmc(
    pair: nn.Module,
    like: Tensor,
    n: int = 100,
    given: Tensor | None = None,
    chains: int = 16,
    steps: int = 500,
    leapfrog: int = 10,
    seed: int = 0,
) -> dict[str, dict]:
    """The log evidence of n data simulated from the model, from both sides.

    :param like: data of the shape and kind to be simulated, (any, ...)
    :param given: (n, ...) what a conditional model conditions on
    :return: "lower", "upper", "width" and, where the model knows it, "evidence", nats per data point: each {"value", "se"
        over data, "mc_se" over chains, "n", "unit", "chains", "steps", "gradients" of a side for a datum}. For "upper"
        all chains of a datum start at one draw, and "mc_se" does not know what another would have given
    :raises InferenceError: as `ais` does
    """
    drawn = sample(pair, like, n, given, seed)
    x = drawn.pop("x")
    del drawn["mean"]
    below = ais(pair, x, given, chains, steps, leapfrog, seed)
    above = reverse_ais(pair, x, drawn, given, chains, steps, leapfrog, seed)
    low, high = iwae(below), upper(above)
    errors = [iwae_variance(below), iwae_variance(-above)]
    about = {"chains": chains, "steps": steps, "gradients": gradients(chains, steps, leapfrog)}
    result = {
        "lower": _estimate(low.unsqueeze(0), n, errors[0], **about),
        "upper": _estimate(high.unsqueeze(0), n, errors[1], **about),
        "width": _estimate((high - low).unsqueeze(0), n, errors[0] + errors[1], **about),
    }
    with eval_mode(pair, seed):
        exact = log_evidence(pair, x, given)
    if exact is not None:
        result["evidence"] = _estimate(exact.unsqueeze(0), n, exact=True)
    return result
