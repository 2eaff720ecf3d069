"""A point on a plane of codes, and the decoder's mean image there; a drawing, its code and its bound.

The page contains decoder and encoder, not pictures of them. With z = a u + b v + rest the plane is that of a and b,
whatever the dimension of z. The weights are rounded to as many bits as fit, and the page states what that changes.

A code of two dimensions is drawn as it is. For a longer code, u and v are the first two principal directions of the
posterior means of the test data. Across the plane, z is the mean of the prior given the chosen class or component, or
the mean of the codes if they are points and not distributions.
"""

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from data import Dataset
from gallery.figures.info import codes_of, info_of
from gallery.figures.style import CLASSES, number
from gallery.models._distributions import MAX_LOGIT
from gallery.report.explorers.decoding import has_one_code, run_model
from gallery.report.explorers.drawing import (
    DRAWS,
    LIBRARIES,
    bounds,
    drawing_data,
    encoder_of,
    lab,
    picture,
    sheet,
    small_print,
    source_of,
)
from gallery.report.explorers.fragment import fragment, options, packed, rounded
from gallery.report.explorers.network import Network, bits_of, quantised
from inference import Pair
from inference.pairs.info import PairInfo
from inference.pairs.sites import is_delta, is_flat

__all__ = ["latent_plane"]

CODES, SHOWN = 2000, 300  # test data points: for the directions, and marked on the plane


def latent_plane(pair: Pair, test: Dataset) -> str | None:
    """Return the explorer of a pair with one continuous code per image and a feed-forward decoder.

    The output of `pair.decoder` at z has to be the mean of x in a run of the model. With an encoder that a page can
    compute there is a sheet to draw on.

    :param pair: on the CPU and in float64, like the data
    :return: None for another pair
    """
    fitted, network = info_of(pair, test), Network.of(getattr(pair, "decoder", None))
    if network is None or not test.is_image or not has_one_code(fitted):
        return None
    choice, count = None, 1
    if fitted.conditional:
        choice, count = "class", test.classes or 0
    elif fitted.component:
        choice, count = "component", fitted.prior[fitted.component]["fn"].probs.shape[-1]
    encoder = encoder_of(fitted, test, count)
    bits = bits_of(network.weights + encoder.network.weights) if encoder else None
    if bits is None:
        encoder, bits = None, bits_of(network.weights)
    if bits is None:
        return None
    info = info_of(quantised(pair, bits), test)
    encoder = encoder and encoder_of(info, test, count)

    (code,), few = info.codes, test.head(CODES)
    codes = codes_of(info, few.x, few.given if info.conditional else None)
    directions, share = _directions(codes)
    points = codes[:SHOWN] @ directions
    prior, _, _ = run_model(info, torch.arange(count))
    flat = is_flat(info.prior[code])
    by_codes = flat or is_delta(info.guide_sites[code])
    centre = (codes.mean(0) if by_codes else prior.mean).expand(count, -1)  # (choices, length of z)
    rest = centre - centre @ directions @ directions.T
    some = torch.arange(len(points)) % count
    z = points @ directions.T + rest[some]
    decoder = _decoder(info, z, some, count, bits)
    if decoder is None:
        return None
    changed = (run_model(info, some, z)[2].mean - run_model(fitted, some, z)[2].mean).abs().max().item()

    starts = centre @ directions
    low, high = torch.aminmax(torch.cat([points, starts]), dim=0)
    half = 0.53 * (high - low).max()
    labels = (
        [None] * len(points) if test.labels is None else [None if y < 0 else y for y in test.labels[:SHOWN].tolist()]
    )
    data = {
        **{axis: [m - half.item(), m + half.item()] for axis, m in zip("ab", ((low + high) / 2).tolist(), strict=True)},
        "axes": ["z₁", "z₂"] if codes.shape[1] == 2 else ["1st direction of z", "2nd direction of z"],
        "codes": [[*place, label] for place, label in zip(rounded(points), labels, strict=True)],
        "colours": CLASSES,
        "choice": choice,
        "starts": rounded(starts),
        "priors": None if flat else _ellipses(prior, directions),
        "channels": 3 if len(test.shape) == 3 and test.shape[0] == 3 else 1,
        "directions": packed(directions),  # (length of z, 2)
        "rest": [packed(row) for row in rest],
        "bits": bits,
        **decoder,
        "drawing": drawing_data(info, test, encoder, count, bits) if encoder else None,
    }
    weights = network.weights + (encoder.network.weights if encoder else 0)
    small = _small_print(info, test, data, "the codes" if by_codes else "the prior", share, changed)
    if encoder:
        small += " " + _bound_print(fitted, info, test)
    hint = "Drag the cross, or move it with the arrow keys: the decoder's image follows."
    if encoder:
        hint = f"Draw with mouse, finger or keyboard: the encoder places the drawing on the plane. {hint}"
    body = lab(_body(data, test) + small_print(small))
    return fragment("latent_plane", source_of(test, weights, bits), body, data, hint, LIBRARIES)


def _directions(codes: Tensor) -> tuple[Tensor, float]:
    """Return u and v as columns, (latent_dim, 2), orthonormal, and their share of the variance of the codes."""
    centred = codes - codes.mean(0)
    if codes.shape[1] == 2:
        return torch.eye(2).to(codes), 1.0
    _, size, v = torch.linalg.svd(centred, full_matrices=False)
    directions = v[:2].T
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
    return directions * largest.sign(), (size[:2].square().sum() / size.square().sum()).item()


def _decoder(info: PairInfo, z: Tensor, choice: Tensor, count: int, bits: int) -> dict[str, Any] | None:
    """Return the decoder as data for a page: its first layer as an affine map of z for each choice, and the others.

    :param z: (n, latent_dim), where it is compared with the model
    :param choice: (n,)
    :return: None if the model's mean of x is another there
    """
    network = Network.of(info.pair.decoder)
    assert network is not None
    network, first = network.logits, network.layers[0]
    at_0 = run_model(info, torch.arange(count), torch.zeros_like(z[:1]).expand(count, -1))[1]
    units = torch.eye(z.shape[1]).to(z)
    at_units = run_model(info, torch.zeros(len(units), dtype=torch.long), units)[1]
    _, seen, fn = run_model(info, choice, z)
    if at_0 is None or at_units is None or seen is None or seen.shape[1:] != (first.in_features,):
        return None
    moved = at_units - at_0[:1]
    with torch.no_grad():
        name = network.mean(at_0[choice] + z @ moved, fn.mean)
        if name is None:
            return None
        return {
            "first": packed(first.weight @ moved.T),  # (width, latent_dim)
            "origins": [packed(origin) for origin in first(at_0)],
            "activation": network.activations[0],
            "layers": network.pack(bits, 1),
            "mean": name,
            "bound": MAX_LOGIT,
        }


def _ellipses(prior: dist.TorchDistribution, directions: Tensor) -> list[list[float]] | None:
    """Return the ellipse of two standard deviations of the prior: centre, half axes, angle of the first in degrees."""
    if not isinstance(prior, dist.Independent) or not isinstance(prior.base_dist, dist.Normal):
        return None
    covariance = directions.T @ (prior.variance.unsqueeze(-1) * directions)  # (choices, 2, 2)
    size, axes = torch.linalg.eigh(covariance)
    angle = torch.atan2(axes[:, 1, 0], axes[:, 0, 0]).rad2deg().unsqueeze(1)
    return rounded(torch.cat([prior.mean @ directions, 2 * size.sqrt(), angle], 1))


def _body(data: dict[str, Any], test: Dataset) -> str:
    names = options([str(i) for i in range(len(data["origins"]))])
    control = f'<label>{data["choice"]} <select data-part="choice">{names}</select></label>' if data["choice"] else ""
    low, high = data["a"]
    drawn = rebuilt = sums = ""
    if data["drawing"]:
        drawn, rebuilt = sheet(test), picture(test, "reconstruction", "its reconstruction")
        sums = """
<div class="parts">
<div class="part sum"><p class="head">the code of the drawing</p>
<svg data-part="code" viewBox="0 0 240 144" role="img"></svg></div>
<div class="part sum"><p class="head">its bound, in nats</p><table><tbody data-part="terms"></tbody></table></div>
<div class="part sum"><p class="head">beside those of test images</p>
<svg data-part="strip" viewBox="0 0 240 78" role="img"></svg>
<p class="quiet" data-part="rank"></p></div>
</div>"""
    return f"""{control}
<div class="parts">
{drawn}
<div class="part last">{rebuilt}
{picture(test, "picture", "image at the cross")}</div>
<div class="part wide"><p class="head">the plane of codes</p>
<svg class="pad" data-part="pad" viewBox="-44 -6 350 340" tabindex="0" role="slider" aria-valuemin="{low:.2f}"
 aria-valuemax="{high:.2f}" aria-valuenow="{low:.2f}" aria-roledescription="point on a plane"
 aria-label="Point on the plane of codes: arrow keys move it, with Shift five times as far, Home resets it"></svg>
<ul class="marks" data-part="legend"></ul></div>
</div>
<output data-part="status"></output>{sums}"""


def _small_print(info: PairInfo, test: Dataset, data: dict[str, Any], across: str, share: float, changed: float) -> str:
    choice = data["choice"]
    sentences = [f"The image is the decoder's mean {'E[x | z, y]' if info.conditional else 'E[x | z]'}."]
    if wide := data["axes"][0] != "z₁":
        sentences.append("The plane is spanned by two principal directions of the codes,")
        sentences.append(f"with {100 * share:.0f} % of their variance.")
        sentences.append(f"Across it z is the mean of {across}{f' given the {choice}' if choice else ''}.")
    if choice == "component":
        sentences.append("The choice of a component moves the point to the mean of p(z | y).")
    marks = "positions" if test.labels is None else "classes"
    sentences.append(f"Marks are the {marks} of {len(data['codes'])} {test.split} data points")
    sentences.append(f"at their posterior means E[z | x]{', projected' if wide else ''}.")
    off = math.ceil(1000 * changed) / 1000
    sentences.append(
        f"The browser computes with weights rounded to {data['bits']} bits: at the marks no pixel, from 0 to 1, is off "
        f"by more than {off}."
    )
    return " ".join(sentences)


def _bound_print(fitted: PairInfo, info: PairInfo, test: Dataset) -> str:
    """Describe how the bound of a drawing is estimated, and what rounding changes in it."""
    few = test.head(SHOWN)
    given = few.labels if info.conditional and few.labels is not None else torch.zeros(len(few), dtype=torch.long)
    exact, rounded_off = (terms - kl for terms, kl in (bounds(of, few.x, given) for of in (fitted, info)))
    return (
        f"The reconstruction term is the mean of log p(x | z) over {DRAWS} draws z = mean + sd × noise of the guide, "
        "with the same noise for every drawing; the KL has a closed form. The mean ELBO of "
        f"{len(few)} {test.split} images is {number(exact.mean().item(), '.3f')} nats, and "
        f"{number(rounded_off.mean().item(), '.3f')} with rounded weights."
    )
