"""A point on a plane of codes, and the decoder's mean image there.

The page contains the decoder, not pictures of it. With z = a u + b v + rest the first layer has two inputs, a and b,
whatever the dimension of z. The weights of the other layers are rounded to 12 bits. The effect is measured and stated
below the picture.

A code of two dimensions is drawn as it is. For a longer code, u and v are the first two principal directions of the
posterior means of the test data. Across the plane, z is the mean of the prior given the chosen class or component, or
the mean of the codes if they are points and not distributions.
"""

import math

import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor

from data import Dataset
from gallery.figures.info import codes_of, info_of
from gallery.figures.style import CLASSES
from gallery.models._distributions import MAX_LOGIT
from gallery.report.explorers.fragment import fragment, options, packed, rounded
from gallery.report.explorers.network import MEANS, Network, as_packed, pack
from inference import Pair, eval_mode
from inference.pairs.info import PairInfo
from inference.pairs.run import arguments
from inference.pairs.sites import Site, is_delta, is_flat

__all__ = ["latent_plane"]

CODES, SHOWN = 2000, 300  # test data points: for the directions, and marked on the plane
COMPONENTS = dist.Categorical, dist.OneHotCategorical
MOST = 1_000_000  # weights in a page, at 2 bytes each


def latent_plane(pair: Pair, test: Dataset) -> str | None:
    """Return the explorer of a pair with one continuous code per image and a feed-forward decoder.

    The output of `pair.decoder` at z has to be the mean of x in a run of the model.

    :param pair: on the CPU and in float64, like the data
    :return: None for another pair
    """
    info, network = info_of(pair, test), Network.of(getattr(pair, "decoder", None))
    if network is None or not test.is_image or not _one_code(info):
        return None
    if sum(layer.weight.numel() for layer in network.layers[1:]) > MOST:
        return None
    (code,), choice, count = info.codes, None, 1
    if info.conditional:
        choice, count = "class", test.classes or 0
    elif info.component:
        choice, count = "component", info.prior[info.component]["fn"].probs.shape[-1]
    few, each = test.head(CODES), torch.arange(count)
    codes = codes_of(info, few.x, few.given if info.conditional else None)
    directions, share = _directions(codes)
    points = codes[:SHOWN] @ directions
    prior, _, _ = _run(info, each)
    flat = is_flat(info.prior[code])
    by_codes = flat or is_delta(info.guide_sites[code])
    centre = (codes.mean(0) if by_codes else prior.mean).expand(count, -1)  # (choices, length of z)
    on_plane = _on_plane(info, network, directions, centre - centre @ directions @ directions.T, points)
    if on_plane is None:
        return None
    decoder, error = on_plane

    starts = centre @ directions
    low, high = torch.aminmax(torch.cat([points, starts]), dim=0)
    half = 0.53 * (high - low).max()
    labels = (
        [None] * len(points) if test.labels is None else [None if y < 0 else y for y in test.labels[:SHOWN].tolist()]
    )
    data = {
        **{axis: [m - half.item(), m + half.item()] for axis, m in zip("ab", ((low + high) / 2).tolist(), strict=True)},
        "axes": ["z₁", "z₂"] if codes.shape[1] == 2 else ["1st direction", "2nd direction"],
        "codes": [[*place, label] for place, label in zip(rounded(points), labels, strict=True)],
        "colours": CLASSES,
        "choice": choice,
        "starts": rounded(starts),
        "priors": None if flat else _ellipses(prior, directions),
        "channels": 3 if len(test.shape) == 3 and test.shape[0] == 3 else 1,
        **decoder,
    }
    caption = _caption(info, test, data, "the codes" if by_codes else "the prior", share, error)
    return fragment("latent_plane", caption, _body(data, *test.shape[-2:]), data)


def _one_code(info: PairInfo) -> bool:
    """Return whether the pair has one observed site and one code per data point, of two or more dimensions.

    The model may condition on a class, and on nothing else.
    """
    if info.has_global_latent or len(info.codes) != 1 or len(info.data_sites) != 1 or info.is_per_data_point:
        return False
    site = info.prior.get(info.codes[0])
    if info.component and not isinstance(info.prior[info.component]["fn"], COMPONENTS):
        return False
    one = site is not None and len(site["fn"].event_shape) == 1 and site["fn"].event_shape.numel() > 1
    return one and info.conditional == info.conditions_on_class


def _directions(codes: Tensor) -> tuple[Tensor, float]:
    """Return u and v as columns, (latent_dim, 2), orthonormal, and their share of the variance of the codes."""
    centred = codes - codes.mean(0)
    if codes.shape[1] == 2:
        return torch.eye(2).to(codes), 1.0
    _, size, v = torch.linalg.svd(centred, full_matrices=False)
    directions = v[:2].T
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
    return directions * largest.sign(), (size[:2].square().sum() / size.square().sum()).item()


def _on_plane(
    info: PairInfo, network: Network, directions: Tensor, rest: Tensor, points: Tensor
) -> tuple[dict, float] | None:
    """(the decoder of z = (a, b) directions + rest as data for a page; what rounding its weights changes at most in a
    pixel at the points, each with a choice in turn). `rest` has a row for each choice. None if the model's mean of x is
    another there."""
    each, (first, *others) = torch.arange(len(rest)), network.layers
    corners = torch.cat([torch.zeros_like(directions[:, :1]), directions], 1).T  # (a, b) = (0, 0), (1, 0), (0, 1)
    z = rest.unsqueeze(1) + corners  # (choices, 3, length of z)
    read = _run(info, each.repeat_interleave(3), z.flatten(0, 1))[1]
    some = torch.arange(len(points)) % len(each)
    _, seen, mean = _run(info, some, points @ directions.T + rest[some])
    if read is None or seen is None or read.shape[1:] != (first.in_features,):
        return None
    read = read.unflatten(0, (-1, 3))
    moved = read[0, 1:] - read[0, :1]
    with torch.no_grad():
        name = network.mean(read[some, 0] + points @ moved, mean)
        if name is None:
            return None
        plane, origins = first.weight @ moved.T, first(read[:, 0])
        error = (MEANS[name](as_packed(network).outputs(seen)) - mean).abs().max().item()
    decoder = {
        "plane": packed(plane),  # (width, 2)
        "origins": [packed(origin) for origin in origins],
        "layers": [pack(layer) for layer in others],
        "activation": network.activation,
        "mean": name,
        "bound": MAX_LOGIT,
    }
    return decoder, error


def _run(
    info: PairInfo, choice: Tensor, z: Tensor | None = None
) -> tuple[dist.TorchDistribution, Tensor | None, Tensor]:
    """Run the model on n data points.

    :param choice: (n,), the class or component; ignored by a model without them
    :param z: (n, latent_dim); drawn from the prior by default
    :return: (p(z | choice), the input of the decoder, E[x | z, choice])
    """
    pair, latents = info.pair, {} if z is None else {info.codes[0]: z}
    like = info.args[0].new_zeros(len(choice), info.args[0].shape[1])
    if info.component and not info.conditional:
        fn = info.prior[info.component]["fn"]
        latents[info.component] = torch.eye(fn.probs.shape[-1]).to(like)[choice] if fn.event_shape else choice
    read: list[Tensor] = []
    hook = pair.decoder.register_forward_pre_hook(lambda _, args: read.extend(args[:1]))
    try:
        with eval_mode(pair):
            model = poutine.condition(poutine.uncondition(pair.model), data=latents)
            given = choice if info.conditional else None
            sites: dict[str, Site] = poutine.trace(model).get_trace(*arguments(pair, like, given)).nodes
    finally:
        hook.remove()
    return sites[info.codes[0]]["fn"], next(iter(read), None), sites[info.data_sites[0]]["fn"].mean


def _ellipses(prior: dist.TorchDistribution, directions: Tensor) -> list[list[float]] | None:
    """Return the ellipse of two standard deviations of the prior: centre, half axes, angle of the first in degrees."""
    if not isinstance(prior, dist.Independent) or not isinstance(prior.base_dist, dist.Normal):
        return None
    covariance = directions.T @ (prior.variance.unsqueeze(-1) * directions)  # (choices, 2, 2)
    size, axes = torch.linalg.eigh(covariance)
    angle = torch.atan2(axes[:, 1, 0], axes[:, 0, 0]).rad2deg().unsqueeze(1)
    return rounded(torch.cat([prior.mean @ directions, 2 * size.sqrt(), angle], 1))


def _body(data: dict, height: int, width: int) -> str:
    names = options([str(i) for i in range(len(data["origins"]))])
    control = f'<label>{data["choice"]} <select data-part="choice">{names}</select></label>' if data["choice"] else ""
    low, high = data["a"]
    return f"""{control}
<div class="parts">
<svg class="pad" data-part="pad" viewBox="0 0 300 300" tabindex="0" role="slider" aria-valuemin="{low:.2f}"
 aria-valuemax="{high:.2f}" aria-valuenow="{low:.2f}" aria-roledescription="point on a plane"
 aria-label="Point on the plane of codes: arrow keys move it, with Shift five times as far, Home resets it"></svg>
<canvas data-part="picture" role="img" width="{width}" height="{height}"></canvas>
</div>
<output data-part="status"></output>"""


def _caption(info: PairInfo, test: Dataset, data: dict, across: str, share: float, error: float) -> str:
    choice = data["choice"]
    of = "E[x | z, y]" if info.conditional else "E[x | z]"
    sentences = [f"Drag the point, or move it with the arrow keys. Beside it is the decoder's mean image {of}."]
    if wide := data["axes"][0] != "z₁":
        sentences.append("The plane is spanned by two principal directions of the codes,")
        sentences.append(f"with {100 * share:.0f} % of their variance.")
        sentences.append(f"Across it z is the mean of {across}{f' given the {choice}' if choice else ''}.")
    if choice == "component":
        sentences.append("The choice of a component moves the point to the mean of p(z | y).")
    marks = "positions" if test.labels is None else "classes"
    sentences.append(f"Marks are the {marks} of {len(data['codes'])} {test.split} data points")
    sentences.append("at their posterior means E[z | x]")
    sentences[-1] += (", projected" if wide else "") + "."
    if data["priors"]:
        sentences.append("The dashed line is two standard deviations from the mean of the prior.")
    if data["layers"]:
        off = math.ceil(1000 * error) / 1000
        sentences.append(
            "The browser computes the image, of pixels from 0 to 1, with weights rounded to 12 bits: at the marks"
        )
        sentences.append(f"no pixel is off by more than {off}.")
    return " ".join(sentences)
