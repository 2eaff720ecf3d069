"""Annealed importance sampling, forwards and backwards: bounds on the evidence without a guide.

From the prior to the posterior the densities p(z) p(x | z)^t, 0 = t_0 < ... < t_T = 1, change little from one to the
next. A chain that starts at a draw of the prior and moves by Hamiltonian Monte Carlo at each t has the weight

    log w = sum_j (t_j - t_{j-1}) log p(x | z_{j-1}),    E[w] = p(x),    so E[log w] <= log p(x).

A chain that starts at a draw of the posterior and runs backwards has a weight with E[1 / w] = 1 / p(x), so -log of the
mean of 1 / w is at least log p(x) in expectation. Exact draws of the posterior are available for simulated data:
z ~ p(z) and x ~ p(x | z) make z one draw of p(z | x). The two together bound log p(x) of simulated data (`bdmc`).

Both inequalities need moves that leave each density invariant, with step sizes that do not depend on the chain they
move. So a few pilot chains adapt the step sizes, one for each data point and each t, which are then held fixed.

    Neal, Annealed importance sampling, 2001.
    Grosse, Ghahramani and Adams, Sandwiching the marginal likelihood using bidirectional Monte Carlo, 2015.
    Wu, Burda, Salakhutdinov and Grosse, On the quantitative analysis of decoder-based generative models, 2017.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress

import pyro
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import Transform, biject_to, constraints

from inference.counts import whole_number
from inference.errors import InferenceError
from inference.evaluation.log_weights import MAX_ROWS, iwae
from inference.fit.graph import UntraceableError, traced
from inference.pairs.fitted_rows import check_rows
from inference.pairs.handlers import SetRows
from inference.pairs.info import continuous_latents
from inference.pairs.pair import Pair
from inference.pairs.properties import support_of
from inference.pairs.run import arguments, eval_mode, log_joint, repeat
from inference.pairs.sites import Site, is_local, latent_sites

__all__ = ["ais", "gradients", "reverse_ais", "supports_of", "upper"]

PILOT_CHAINS = 4  # that adapt the step sizes
TARGET_ACCEPTANCE = 0.65  # of moves
ADAPTATION_RATE = 0.1  # of log step size, for each move, per acceptance above or below the target
PILOT_BURN_IN = 50  # moves of the pilots at the prior, before they anneal

Density = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


class _Coordinates:
    """All latents of a data point as one vector of unbounded numbers u, and back."""

    def __init__(self, latents: dict[str, Tensor], supports: dict[str, constraints.Constraint]):
        self.transforms: dict[str, Transform] = {name: biject_to(support) for name, support in supports.items()}
        self.shapes = {name: t.inv(latents[name][:1]).shape[1:] for name, t in self.transforms.items()}

    def flat(self, latents: dict[str, Tensor]) -> Tensor:
        """Return u of the latents, (rows, d)."""
        parts = [transform.inv(latents[name]) for name, transform in self.transforms.items()]
        return torch.cat([part.reshape(len(part), -1) for part in parts], dim=1)

    def latents(self, u: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the latents of u, and log |dz / du|, (rows,)."""
        latents, log_det = {}, u.new_zeros(len(u))
        parts = u.split([shape.numel() for shape in self.shapes.values()], dim=1)
        for (name, transform), part in zip(self.transforms.items(), parts, strict=True):
            part = part.reshape(len(u), *self.shapes[name])
            latents[name] = transform(part)
            log_det = log_det + transform.log_abs_det_jacobian(part, latents[name]).reshape(len(u), -1).sum(1)
        return latents, log_det


def _density(pair: Pair, args: tuple[Tensor, ...], rows: Tensor, coordinates: _Coordinates, u: Tensor) -> Density:
    """Return the function from (u, t) to log p(z) with its volume, (rows,), log p(x | z), (rows,), and the gradient of
    the first plus t times the second, (rows, d).

    It is one graph if the pair can be traced.
    """

    def density(u: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.enable_grad(), pyro.validation_enabled(False):
            u = u.detach().requires_grad_()
            latents, log_det = coordinates.latents(u)
            prior, likelihood = log_joint(pair, args, latents, rows)
            prior = prior + log_det
            (gradient,) = torch.autograd.grad((prior + t * likelihood).sum(), u)
        return prior.detach(), likelihood.detach(), gradient

    with suppress(UntraceableError):
        return traced(density, (u, u.new_ones(())))
    return density


def _move(
    density: Density, u: Tensor, state: tuple[Tensor, Tensor, Tensor], t: Tensor, step: Tensor, leapfrog: int
) -> tuple[Tensor, Tensor]:
    """Make one step of Hamiltonian Monte Carlo at t: (u, probability with which the proposal was accepted).

    :param state: `density` at u
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
    """Return t_0, ..., t_steps from 0 to 1, dense at both ends: a sigmoid, as in Grosse et al."""
    s = torch.sigmoid(torch.linspace(-4, 4, steps + 1, dtype=like.dtype, device=like.device))
    return (s - s[0]) / (s[-1] - s[0])


def _anneal(density: Density, u: Tensor, temperatures: Tensor, sizes: Tensor, leapfrog: int) -> Tensor:
    """Compute the log-weights, (rows,), of chains from u, (rows, d).

    :param temperatures: (steps + 1,)
    :param sizes: (steps + 1, rows) step sizes
    """
    log_w = u.new_zeros(len(u), dtype=torch.float64)
    for j in range(1, len(temperatures)):
        state = density(u, temperatures[j])
        log_w += (temperatures[j] - temperatures[j - 1]) * state[1]
        if j + 1 < len(temperatures):
            u, _ = _move(density, u, state, temperatures[j], sizes[j], leapfrog)
    return log_w


def _step_sizes(density: Density, u: Tensor, temperatures: Tensor, pilots: int, leapfrog: int) -> Tensor:
    """Adapt step sizes for every temperature and data point, (temperatures, n).

    Pilot chains start from u, (pilots * n, d). Step sizes go up if more than TARGET_ACCEPTANCE of the pilots' moves are
    accepted, down if less.
    """
    log_size, sizes = u.new_full((len(u) // pilots,), -1.0), []
    for t in [*[temperatures[0]] * PILOT_BURN_IN, *temperatures]:
        sizes.append(log_size.exp())
        u, accept = _move(density, u, density(u, t), t, sizes[-1].repeat(pilots), leapfrog)
        log_size = log_size + ADAPTATION_RATE * (accept.view(pilots, -1).mean(0) - TARGET_ACCEPTANCE)
    return torch.stack(sizes[PILOT_BURN_IN:])


def _prior(pair: Pair, args: tuple[Tensor, ...], rows: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
    """Draw the latents of every row from the prior."""
    with SetRows(rows):
        sites: dict[str, Site] = poutine.trace(poutine.uncondition(pair.model)).get_trace(*args).nodes
    return {name: sites[name]["value"] for name in names}


def _chains(
    pair: Pair,
    x: Tensor,
    given: Tensor | None,
    chains: int,
    steps: int,
    leapfrog: int,
    seed: int,
    posterior: dict[str, Tensor] | None = None,
) -> Tensor:
    """Compute log-weights (chains, n): from the prior to the posterior or, from draws of the posterior, backwards."""
    chains, steps = whole_number(chains, "chains"), whole_number(steps, "steps")
    leapfrog = whole_number(leapfrog, "leapfrog")
    columns, pilots = [], min(PILOT_CHAINS, chains)
    with eval_mode(pair, seed, "ais" if posterior is None else "reverse_ais"):
        check_rows(pair, every := arguments(pair, x, given), model_alone=True)
        supports = supports_of(pair, tuple(a[:2] for a in every))
        if posterior is not None and posterior.keys() != supports.keys():
            raise InferenceError(
                f"draws of {', '.join(supports)} are needed for every data point; got {', '.join(posterior) or 'none'}."
            )
        for rows in torch.arange(len(x), device=x.device).split(max(1, MAX_ROWS // chains)):
            args = tuple(a[rows] for a in every)
            piloted, chained = ((repeat(args, k), rows.repeat(k)) for k in (pilots, chains))
            start = _prior(pair, *piloted, supports)
            coordinates = _Coordinates(start, supports)
            u = coordinates.flat(start)
            temperatures = _temperatures(steps, u)
            sizes = _step_sizes(_density(pair, *piloted, coordinates, u), u, temperatures, pilots, leapfrog)
            if posterior is None:
                start = _prior(pair, *chained, supports)
            else:
                start = dict(zip(posterior, repeat(tuple(z[rows] for z in posterior.values()), chains), strict=True))
                temperatures, sizes = temperatures.flip(0), sizes.flip(0)
            u = coordinates.flat(start)
            sizes, density = sizes.repeat(1, chains), _density(pair, *chained, coordinates, u)
            log_w = _anneal(density, u, temperatures, sizes, leapfrog)
            columns.append((log_w if posterior is None else -log_w).view(chains, -1))
    return torch.cat(columns, dim=1)


def supports_of(pair: Pair, args: tuple[Tensor, ...]) -> dict[str, constraints.Constraint]:
    """Return the support of each latent of a data point, by its site, of a model that can be annealed.

    Call it inside `eval_mode`.

    :param args: some rows of the arguments of `model`
    :raises InferenceError: if a latent is global, discrete or summed out, or its prior is flat
    """
    sites, name = continuous_latents(pair, args), type(pair).__name__
    if others := latent_sites(poutine.trace(pair.model).get_trace(*args)).keys() - sites.keys():
        raise InferenceError(
            f"{', '.join(sorted(others))} of {name} is discrete, and annealing moves continuous latents only.",
            "Use IWAE.",
        )
    if joint := [key for key, site in sites.items() if not is_local(site)]:
        reason = f"annealing needs latents of one data point each, and {', '.join(joint)} of {name} is global."
        raise InferenceError(reason, "Use NUTS or IWAE.")
    found = {key: support_of(site["fn"]) for key, site in sites.items()}
    return {key: support for key, support in found.items() if support is not None}  # each: it has a bijection


def gradients(chains: int, steps: int, leapfrog: int) -> int:
    """Count the gradients of log p(x, z) that `ais` or `reverse_ais` takes for a data point, pilots included."""
    pilots = min(PILOT_CHAINS, chains) * (PILOT_BURN_IN + steps + 1) * (leapfrog + 1)
    return chains * (steps + (steps - 1) * leapfrog) + pilots


def ais(
    pair: Pair,
    x: Tensor,
    given: Tensor | None = None,
    chains: int = 16,
    steps: int = 500,
    leapfrog: int = 10,
    seed: int = 0,
) -> Tensor:
    """Compute log-weights log w of annealed importance sampling, (chains, n) in nats, float64.

    E[w] = p(x), so the log of their mean over chains, `iwae(log_w)`, is in expectation a lower bound on log p(x). The
    cost for a data point, counted by `gradients`, is about steps * (leapfrog + 1) gradients of log p(x, z) for each
    chain, and as many for each of at most 4 pilot chains, which adapt the step sizes.

    Neal, Annealed importance sampling, 2001.

    >>> from inference.examples import LinearGaussian
    >>> ais(LinearGaussian(), torch.zeros(3, 1), chains=4, steps=5, leapfrog=2).shape
    torch.Size([4, 3])

    :param x: (n, ...)
    :param given: (n, ...) what a conditional model conditions on
    :param chains: number of independent chains for each data point
    :param steps: temperatures between prior and posterior
    :param leapfrog: steps of the integrator for one move
    :param seed: of the noise
    :raises InferenceError: if `chains`, `steps` or `leapfrog` is below 1, a latent is global, discrete or summed out,
        its prior is flat, or a model with parameters for each data point is used outside `FittedRows`
    """
    return _chains(pair, x, given, chains, steps, leapfrog, seed)


def reverse_ais(
    pair: Pair,
    x: Tensor,
    latents: dict[str, Tensor],
    given: Tensor | None = None,
    chains: int = 16,
    steps: int = 500,
    leapfrog: int = 10,
    seed: int = 0,
) -> Tensor:
    """Compute log-weights log w of annealing from the posterior to the prior, (chains, n) in nats, float64.

    E[1 / w] = 1 / p(x), so minus the log of the mean of 1 / w over chains, `upper(log_w)`, is in expectation an upper
    bound on log p(x). All chains of a data point start at the same draw of its posterior.

    Grosse, Ghahramani and Adams, Sandwiching the marginal likelihood using bidirectional Monte Carlo, 2015.

    >>> from inference.evaluation.predictive import sample
    >>> from inference.examples import LinearGaussian
    >>> draws = sample(LinearGaussian(), torch.zeros(1, 1), n=3)
    >>> reverse_ais(LinearGaussian(), draws["x"], {"z": draws["z"]}, chains=4, steps=5, leapfrog=2).shape
    torch.Size([4, 3])

    :param x: (n, ...)
    :param latents: by latent site, a draw of the exact posterior of each data point, (n, ...). `sample` returns such
        draws with the data that it simulates
    :param given: (n, ...) what a conditional model conditions on
    :param chains: number of chains for each data point
    :param steps: temperatures between prior and posterior
    :param leapfrog: steps of the integrator for one move
    :param seed: of the noise
    :raises InferenceError: as `ais`, and if `latents` lacks a latent site or has another site
    """
    return _chains(pair, x, given, chains, steps, leapfrog, seed, latents)


def upper(log_w: Tensor) -> Tensor:
    """Compute -log of the mean of 1 / w of each data point, (n,) in nats, from log-weights of `reverse_ais`."""
    return -iwae(-log_w)
