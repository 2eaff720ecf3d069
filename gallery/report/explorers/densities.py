"""Prior, exact posterior and fitted guide of a scalar z over x, with log p(x), the ELBO and the gap as numbers.

All values are computed beforehand, at the positions of the slider: densities by the distributions, the gap from draws
of the guide, with its Monte Carlo error. The page only draws them.
"""

from typing import Any

import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor

from data import Dataset
from gallery.figures.exact import PARTICLES
from gallery.figures.info import info_of
from gallery.report.explorers.fragment import fragment, packed, rounded
from inference import Pair, eval_mode, log_evidence
from inference.evaluation.evidence_gap import evidence_gap
from inference.pairs.capabilities import exact
from inference.pairs.sites import Site, latent_sites

__all__ = ["densities"]

POSITIONS, POINTS = 81, 201  # values of x on the slider, values of z on a curve
WITHIN = (0.025, 0.975)  # the range of x, as quantiles of the test data


def densities(pair: Pair, test: Dataset) -> str | None:
    """Return the explorer of a pair with exact posterior and evidence of scalar data.

    :param pair: on the CPU and in float64, like the data
    :return: None for another pair, and for a guide with parameters per data point, which has none for a new x
    """
    info = info_of(pair, test)
    known = exact(pair, "posterior") and exact(pair, "log_evidence")
    if not (known and info.is_scalar) or info.is_per_data_point:
        return None
    low, high = test.x.quantile(torch.tensor(WITHIN).to(test.x)).tolist()
    x = torch.linspace(low, high, POSITIONS).to(test.x).unsqueeze(-1)
    with eval_mode(pair):
        ((name, site),) = latent_sites(poutine.trace(pair.guide).get_trace(x)).items()
        of_model: Site = poutine.trace(pair.model).get_trace(x).nodes[name]
        fns, evidence = (of_model["fn"], pair.posterior(x), site["fn"]), log_evidence(pair, x)
        assert evidence is not None
        missing, error = evidence_gap(pair, x, PARTICLES)
        z = _grid(*fns)
        curves = [_density(fn, z) for fn in fns]
    top = 1.08 * max(curves[0].max(), curves[1].max()).item()
    prior, posterior, guide = (curve.clamp(max=2 * top).T for curve in curves)  # above the picture, also if infinite
    data = {
        "x": rounded(x[:, 0], 6),
        "z": rounded(z, 6),
        "top": top,
        "prior": packed(prior[0]),
        "exact": packed(posterior),
        "guide": packed(guide),
        "evidence": rounded(evidence, 6),
        "elbo": rounded(evidence - missing, 6),
        "gap": rounded(missing, 9),
        "error": rounded(error, 9),
    }
    caption = (
        "Prior, exact posterior and fitted guide of z given x, and the gap of the guide: log p(x) is exact, the ELBO "
        "is log p(x) minus the gap KL(q(z | x) ‖ p(z | x)), and the gap is the mean over "
        f"{PARTICLES:,} draws of the guide, ± its Monte Carlo standard error. For one data point x, in nats."
    )
    return fragment("densities", caption, _BODY.format(last=POSITIONS - 1, start=POSITIONS // 2), data)


def _grid(prior: dist.TorchDistribution, *others: dist.TorchDistribution) -> Tensor:
    """Return the grid of z: over the bulk of posterior and guide at all x, inside the support of the prior.

    The edge of that support is left out, because it may be outside the support of the guide.
    """
    support: Any = prior.support
    low = torch.cat([fn.mean - 4 * fn.stddev for fn in others]).min()
    high = torch.cat([fn.mean + 4 * fn.stddev for fn in others]).max()
    if not support.check(low).all():
        low = 1e-4 * high
    return torch.linspace(low.item(), high.item(), POINTS).to(low)


def _density(fn: dist.TorchDistribution, z: Tensor) -> Tensor:
    """Return the density, (points, positions), of fn, of batch shape (positions,), at z; 0 outside its support."""
    support: Any = fn.support
    value, inside = z.new_zeros(len(z), len(fn.mean)), support.check(z)
    value[inside] = fn.log_prob(z[inside].unsqueeze(-1)).exp()
    return value


_BODY = """<svg data-part="picture" viewBox="0 0 360 220" role="img"></svg>
<label>x <input type="range" data-part="x" min="0" max="{last}" value="{start}" step="1"></label>
<output data-part="status"></output>"""
