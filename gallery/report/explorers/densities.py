"""A scalar z given x: prior, exact posterior and a guide of a chosen family, with both KLs, the ELBO and log p(x).

The exact posterior is computed here, at the nodes of a quadrature and at each position of the slider for x. The page
has the families of guides, integrates both KLs over the nodes, and minimises them.
"""

import math
from typing import Any

import pyro.distributions as dist
import torch
import torch.nn.functional as F
from pyro import poutine
from torch import Tensor

from data import Dataset
from gallery.figures.info import info_of
from gallery.models._distributions import TruncatedNormal
from gallery.report.explorers.fragment import buttons, fragment, legend, options, packed, readings, rounded
from inference import Pair, eval_mode, log_evidence
from inference.pairs.capabilities import exact
from inference.pairs.sites import Site, latent_sites

__all__ = ["densities"]

POSITIONS, FEWEST = 31, 8  # values of x on the slider, and the fewest
BYTES = 114_000  # of all tables
WITHIN = (0.025, 0.975)  # the range of x, as quantiles of the test data
STEP, LOWEST, TAIL = 0.25, -30.0, 10.0  # of the variable of the quadrature: step, start, and end beyond the bulk
FAMILIES: dict[type, str] = {
    TruncatedNormal: "truncated normal",
    dist.Normal: "normal",
    dist.Gamma: "gamma",
    dist.LogNormal: "log-normal",
    dist.Exponential: "exponential",
}
"""The families that the page has, by their class."""
OFFERED = ("normal", "gamma", "log-normal")


def densities(pair: Pair, test: Dataset, fitted: bool = True) -> str | None:
    """Return the explorer of a pair with exact posterior and evidence of scalar data.

    :param pair: on the CPU and in float64, like the data
    :param fitted: whether its guide is fitted, and shown
    :return: None for another pair, and for a guide with parameters per data point, which has none for a new x
    """
    info = info_of(pair, test)
    known = exact(pair, "posterior") and exact(pair, "log_evidence")
    if not (known and info.is_scalar) or info.is_per_data_point:
        return None
    low, high = test.x.quantile(torch.tensor(WITHIN).to(test.x)).tolist()
    positions, x = POSITIONS, test.x[:0]
    with eval_mode(pair):
        while len(x) != positions:  # at most twice: fewer positions, where the nodes are many
            x = torch.linspace(low, high, positions).to(test.x).unsqueeze(-1)
            ((name, site),) = latent_sites(poutine.trace(pair.guide).get_trace(x)).items()
            of_model: Site = poutine.trace(pair.model).get_trace(x).nodes[name]
            posterior, guide, evidence = pair.posterior(x), site["fn"], log_evidence(pair, x)
            positive = not of_model["fn"].support.check(torch.tensor(-1.0))
            z, weight = _nodes(posterior, positive)
            tables = (
                BYTES // (4 * len(z)) - 5
            )  # of one value per node: beside nodes and weights, in doubles, and the prior
            positions = min(positions, tables // (1 + fitted))
            if positions < FEWEST:  # the posterior is far narrower than the range of z
                return None
        log_p, log_q, log_prior = (_log_density(fn, z) for fn in (posterior, guide, of_model["fn"]))
    if evidence is None or not _resolved(log_p, weight):
        return None
    fitted = fitted and _resolved(log_q, weight)
    own = FAMILIES.get(type(guide))
    families = (["fitted guide"] if fitted else []) + list(dict.fromkeys(filter(None, (own, *OFFERED))))
    bulk = z[(log_p.exp() > 1e-3 * log_p.exp().amax(1, keepdim=True)).any(0)]
    margin = 0.1 * (bulk.max() - bulk.min()).item()
    edges = [(0.0 if positive else bulk.min().item()) - margin, bulk.max().item() + margin]
    data = {
        "x": rounded(x[:, 0], 6),
        "z": packed(z, "f8"),
        "weight": packed(weight, "f8"),
        "prior": packed(log_prior[0]),
        "exact": packed(log_p),
        "guide": packed(log_q) if fitted else None,
        "evidence": rounded(evidence, 6),
        "edge": [round(end, 3) for end in edges],
        "positive": positive,
    }
    marks = [("prior", "prior p(z)"), ("truth", "exact posterior p(z | x)"), ("guide", "guide q(z | x)")]
    marks += [("k4", "what each z adds to KL(q ‖ p)"), ("k0", "and to KL(p ‖ q)")]
    numbers = [("evidence", "log p(x), exact", "nats"), ("elbo", "ELBO of the guide", "nats")]
    numbers += [("forward", "KL(q ‖ p), the gap", "nats"), ("reverse", "KL(p ‖ q)", "nats")]
    body = f"""{legend(*marks)}
<div class="stage">
<svg data-part="picture" role="img"></svg>
<svg data-part="parts" role="img"></svg>
</div>
<div class="controls">
<label><span data-part="x-name"></span> <input type="range" data-part="x" min="0" max="{len(x) - 1}"
 value="{len(x) // 2}" step="1"></label>
<label>family of the guide q <select data-part="family">{options(families)}</select></label>
<label><span data-part="first-name">first parameter</span> <input type="range" data-part="first" step="any"></label>
<label><span data-part="second-name">second parameter</span> <input type="range" data-part="second" step="any"></label>
</div>
{buttons(("fit-forward", "Fit: smallest KL(q ‖ p)"), ("fit-reverse", "Fit: smallest KL(p ‖ q)"))}
{readings(*numbers)}
<output data-part="status"></output>"""
    caption = (
        "First chart: densities of z. Second chart: q log(q / p) − q + p, with the integral KL(q ‖ p), and p log(p "
        "/ q) − p + q, with the integral KL(p ‖ q); p is the exact posterior. log p(x) is exact; the ELBO is log "
        "p(x) − KL(q ‖ p). All numbers are of one data point x, in nats, by quadrature. Variational inference "
        "minimises KL(q ‖ p)."
    )
    hint = (
        "Try: choose a family, then fit it by each KL. One direction stays where p has mass, the other covers it all."
    )
    return fragment("densities", caption, body, data, hint, ("plot", "special"))


def _resolved(log_density: Tensor, weight: Tensor) -> bool:
    """Return whether the weights of the nodes integrate each density, (positions, nodes), to 1."""
    return bool(((log_density.exp() @ weight - 1).abs() < 1e-3).all())


def _nodes(posterior: Any, positive: bool) -> tuple[Tensor, Tensor]:
    """Return nodes and weights of a quadrature over z > 0, or over all z: the trapezoidal rule in u.

    z = unit (softplus(u) + exp(u - c)) is linear in u where the posterior has its mass, exponential near 0, where a
    guide may be unbounded, and beyond c, where it may have a heavy tail.

    :param posterior: of batch shape (positions,)
    """
    ends = [posterior.mean + k * posterior.stddev for k in (-5, 5)]
    reach = max(end.abs().max().item() for end in ends)
    grid = torch.linspace(0 if positive else -reach, reach, 4001).to(posterior.mean)
    top = _log_density(posterior, grid[1:]).exp().max().item()
    unit = min(0.2 / top, 0.02 * reach) / STEP  # 0.2 / top is the standard deviation of one of two equal modes
    c = 1.3 * reach / unit
    u = torch.arange(LOWEST, c + TAIL, STEP).to(posterior.mean)
    z, weight = unit * (F.softplus(u) + (u - c).exp()), unit * STEP * (u.sigmoid() + (u - c).exp())
    return (z, weight) if positive else (torch.cat([-z.flip(0), z]), torch.cat([weight.flip(0), weight]))


def _log_density(fn: dist.TorchDistribution, z: Tensor) -> Tensor:
    """Return the log density of fn, of batch shape (positions,), at z, (positions, nodes); -inf outside its support."""
    support: Any = fn.support
    value, inside = z.new_full((len(z), len(fn.mean)), -math.inf), support.check(z)
    value[inside] = fn.log_prob(z[inside].unsqueeze(-1))
    return value.T
