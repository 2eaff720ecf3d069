"""Prior, exact posterior and fitted guide of a scalar z as x moves, with log p(x), the ELBO and the gap as numbers.

Everything is computed beforehand, at the positions of the slider: densities by the distributions themselves, the gap
from draws of the guide, whose Monte Carlo error is said. The page draws what it is told and computes nothing.
"""

import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn

from data import Dataset
from gallery.figures.exact import PARTICLES, gap
from gallery.figures.info import info_of
from gallery.report.explorers.fragment import fragment, packed, rounded
from inference import eval_mode, log_evidence
from inference.pairs.capabilities import exact
from inference.pairs.sites import latent_sites

POSITIONS, POINTS = 81, 201  # of x on the slider, of z on a curve
WITHIN = (0.025, 0.975)  # quantiles of the test data, between which x moves


def densities(pair: nn.Module, test: Dataset) -> str | None:
    """The explorer of a pair that knows posterior and evidence of scalar data, else None: also for a guide with
    parameters for each datum, which says nothing of an x it was not fitted to.

    :param pair: on the CPU and in float64, as the data
    """
    info = info_of(pair, test)
    known = exact(pair, "posterior") and exact(pair, "log_evidence")
    if not (known and info.is_scalar) or info.is_per_data_point:
        return None
    low, high = test.x.quantile(torch.tensor(WITHIN).to(test.x)).tolist()
    x = torch.linspace(low, high, POSITIONS).to(test.x).unsqueeze(-1)
    with eval_mode(pair):
        ((name, site),) = latent_sites(poutine.trace(pair.guide).get_trace(x)).items()
        prior = poutine.trace(pair.model).get_trace(x).nodes[name]["fn"]
        posterior, guide, evidence = pair.posterior(x), site["fn"], log_evidence(pair, x)
        lost, error = gap(pair, x, PARTICLES)
        z = _grid(prior, posterior, guide)
        curves = [_density(fn, z) for fn in (prior, posterior, guide)]
    top = 1.08 * max(curves[0].max(), curves[1].max()).item()
    prior, posterior, guide = (curve.clamp(max=2 * top).T for curve in curves)  # above the picture; infinite, perhaps
    data = {
        "x": rounded(x[:, 0], 6),
        "z": rounded(z, 6),
        "top": top,
        "prior": packed(prior[0]),
        "exact": packed(posterior),
        "guide": packed(guide),
        "evidence": rounded(evidence, 6),
        "elbo": rounded(evidence - lost, 6),
        "gap": rounded(lost, 9),
        "error": rounded(error, 9),
    }
    caption = (
        "Prior, exact posterior and fitted guide of z given x, and what the guide loses there: log p(x) is exact, the "
        "ELBO is log p(x) less the gap KL(q(z | x) ‖ p(z | x)), and the gap an average over "
        f"{PARTICLES:,} draws of the guide, ± its Monte Carlo standard error. Of one datum x, in nats."
    )
    return fragment("densities", caption, _BODY.format(last=POSITIONS - 1, start=POSITIONS // 2), data)


def _grid(*fns: dist.Distribution) -> Tensor:
    """Where the curves are: over the bulk of the others at all x, and inside the support of the prior, whose edge may
    be no point of a guide's."""
    prior, *others = fns
    low = torch.cat([fn.mean - 4 * fn.stddev for fn in others]).min()
    high = torch.cat([fn.mean + 4 * fn.stddev for fn in others]).max()
    if not prior.support.check(low).all():
        low = 1e-4 * high
    return torch.linspace(low.item(), high.item(), POINTS).to(low)


def _density(fn: dist.Distribution, z: Tensor) -> Tensor:
    """(points, positions): the density of fn, of batch shape (positions,), at z, (points,); 0 outside its support."""
    value, inside = z.new_zeros(len(z), len(fn.mean)), fn.support.check(z)
    value[inside] = fn.log_prob(z[inside].unsqueeze(-1)).exp()
    return value


_BODY = """<svg data-part="picture" viewBox="0 0 360 220" role="img"></svg>
<label>x <input type="range" data-part="x" min="0" max="{last}" value="{start}" step="1"></label>
<output data-part="said"></output>"""
