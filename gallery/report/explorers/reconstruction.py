"""An image, its code and its reconstruction by an autoencoder; a slider for its corruption or for its active units.

Encoder and decoder are in the page. Both are compared with guide and model on test images.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from data import Dataset
from gallery.figures.info import info_of
from gallery.models._distributions import MAX_LOGIT
from gallery.report.explorers.decoding import has_one_code, run_guide, run_model
from gallery.report.explorers.drawing import LIBRARIES, examples, is_grey, lab, picture, sheet, small_print, source_of
from gallery.report.explorers.fragment import fragment, packed, rounded
from gallery.report.explorers.network import MEANS, Network, bits_of, quantised
from inference import Pair
from inference.pairs.capabilities import capability
from inference.pairs.info import PairInfo
from inference.pairs.sites import is_delta

__all__ = ["reconstruction"]

ROWS, LEVELS = 300, 21  # test images in means; levels of corruption on a curve

CORRUPTIONS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {  # of x, u and level, as the page computes them
    "uniform": lambda x, u, level: (x + level * u).clamp(0, 1),
    "gaussian": lambda x, u, level: x + level * torch.special.ndtri(u),
    "masking": lambda x, u, level: x * (u.argsort(1).argsort(1) >= round(level * x.shape[1])),
    "salt_pepper": lambda x, u, level: torch.where(u < level / 2, 0.0, torch.where(u > 1 - level / 2, 1.0, x)),
}


def reconstruction(pair: Pair, test: Dataset) -> str | None:
    """Return the explorer of a pair whose guide is a point, the output of an encoder that a page can compute.

    There is a slider for the level of corruption if the pair corrupts images, and one for k if it keeps the k largest
    units of a code.

    :param pair: on the CPU and in float64, like the data
    :return: None for another pair
    """
    fitted = info_of(pair, test)
    chains = _chains(fitted, test)
    bits = bits_of(sum(chain.weights for chain in chains[:2])) if chains else None
    if chains is None or bits is None:
        return None
    info = info_of(quantised(pair, bits), test)
    in_page = _chains(info, test)
    assert in_page is not None
    encoder, decoder, mean = in_page
    few = test.head(ROWS)
    kind, units = _kind(pair), encoder.layers[-1].out_features
    k = capability(pair, "k") if kind == "k" else None
    with torch.no_grad():
        codes = _largest(encoder.outputs(few.x), k)
    data: dict[str, Any] = {
        **examples(test),
        "binary": bool(((test.x == 0) | (test.x == 1)).all()),
        "split": test.split,
        "n": len(few),
        "kind": kind,
        "encoder": encoder.pack(bits),
        "decoder": decoder.pack(bits),
        "mean": mean,
        "bound": MAX_LOGIT,
        "range": rounded(torch.stack([codes.min(), codes.max()])),
        "units": units,
    }
    start: float = 0.0
    if kind == "plain":
        data["errors"] = sorted(rounded(_errors(in_page, few.x, few.x)))
    elif k is not None:
        start, data["curve"] = k, [_errors(in_page, few.x, few.x, j).mean().item() for j in range(1, units + 1)]
    else:
        start = pair.level
        data |= _corruption(pair, in_page, few.x)
    data["start"] = start
    exact, changed = (_errors(of, few.x, few.x, k).mean().item() for of in (chains, in_page))
    small = (
        f"Errors are squared and summed over pixels; x, from 0 to 1, is the image without corruption. The mean over "
        f"{len(few)} {test.split} images is {exact:.4f} for uncorrupted input, and {changed:.4f} with weights rounded "
        f"to {bits} bits."
    )
    body, source = lab(_body(test, kind, units, start) + small_print(small)), encoder.weights + decoder.weights
    return fragment("reconstruction", source_of(test, source, bits), body, data, _hint(kind), LIBRARIES)


def _kind(pair: Pair) -> str:
    """Return "k" or the kind of corruption of a pair, or "plain"."""
    if isinstance(capability(pair, "k"), int):
        return "k"
    return pair.corruption if capability(pair, "corrupt") and pair.corruption in CORRUPTIONS else "plain"


def _largest(h: Tensor, k: int | None) -> Tensor:
    """Return h with all but the k largest values of each row set to 0; h if k is None."""
    if k is None:
        return h
    values, units = h.topk(k, dim=-1)
    return torch.zeros_like(h).scatter(-1, units, values)


def _chains(info: PairInfo, test: Dataset) -> tuple[Network, Network, str] | None:
    """Return (encoder, decoder, name of the mean), compared with the pair; None for another pair."""
    if not (test.is_image and is_grey(test) and has_one_code(info)) or info.conditional or info.component:
        return None
    code, pair, few = info.codes[0], info.pair, test.x[:20]
    encoder, decoder = (Network.of(getattr(pair, name, None)) for name in ("encoder", "decoder"))
    if encoder is None or decoder is None or not is_delta(info.guide_sites[code]):
        return None
    decoder, none = decoder.logits, torch.zeros(len(few), dtype=torch.long)
    read, sites = run_guide(info, few, none)
    read, z, kind = few if read is None else read, sites[code]["value"], _kind(pair)
    if kind not in CORRUPTIONS and not torch.equal(read, few):
        return None
    k = pair.k if kind == "k" else None
    if k is not None and k > z.shape[1]:
        return None
    fn = run_model(info, none, z)[2]
    with torch.no_grad():
        h = encoder.outputs(read)
        if h.shape != z.shape or not torch.allclose(_largest(h, k), z):
            return None
        name = decoder.mean(z, fn.mean)
        if name and kind in CORRUPTIONS:
            u = _noise(few)
            for level in (pair.level, 1.0):
                x = pair.corrupt(few, u, level)
                same = torch.allclose(x, CORRUPTIONS[kind](few, u, level))
                if not same or not torch.allclose(pair.denoise(x), MEANS[name](decoder.outputs(encoder.outputs(x)))):
                    return None
    return (encoder, decoder, name) if name else None


def _noise(x: Tensor) -> Tensor:
    """Return noise u of the shape of x with values in (0, 1) that float32 holds."""
    u = torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    return u.clamp(1e-6, 1 - 1e-6).to(x)


def _errors(chains: tuple[Network, Network, str], x: Tensor, read: Tensor, k: int | None = None) -> Tensor:
    """Return the squared error of each reconstruction of x from `read`, (n,), summed over pixels."""
    encoder, decoder, mean = chains
    with torch.no_grad():
        return (MEANS[mean](decoder.outputs(_largest(encoder.outputs(read), k))) - x).square().sum(1)


def _corruption(pair: Pair, chains: tuple[Network, Network, str], x: Tensor) -> dict[str, Any]:
    """Return the noise of the page, and mean errors over levels of corruption: of the input and reconstructed."""
    u = _noise(x)
    first = u[0]
    levels = torch.linspace(0, 1, LEVELS).tolist()
    inputs = [pair.corrupt(x, u, level) for level in levels]
    return {
        "noise": packed(torch.special.ndtri(first) if pair.corruption == "gaussian" else first),
        "curve": [_errors(chains, x, read).mean().item() for read in inputs],
        "input": [(read - x).square().sum(1).mean().item() for read in inputs],
    }


def _hint(kind: str) -> str:
    what = "The drawing is corrupted, and reconstructed without the noise. Move the level."
    if kind == "plain":
        what = "The encoder computes the code of the drawing, the decoder an image from the code alone."
    elif kind == "k":
        what = "Only the k largest units of its code stay on. Move k."
    return f"Draw with mouse, finger or keyboard. {what}"


def _body(test: Dataset, kind: str, units: int, start: float) -> str:
    corrupted = slider = ""
    if kind == "k":
        slider = f"""<label>k, units that stay on <input type="range" data-part="slider" min="1" max="{units}" step="1"
 value="{start}"></label>"""
    elif kind != "plain":
        corrupted = f'<div class="part">{picture(test, "corrupted", "corrupted, x′")}</div>'
        slider = f"""<label>level of the {kind.replace("_", " ")} corruption
 <input type="range" data-part="slider" min="0" max="1" step="0.01" value="{start}"></label>"""
    beside = {"plain": "its error beside those of test images", "k": "error over k"}.get(kind, "error over the level")
    return f"""<div class="parts">
{sheet(test)}
{corrupted}
<div class="part">{picture(test, "picture", "reconstruction")}</div>
<div class="part sum"><p class="head">code, {units} units</p>
<svg data-part="code" viewBox="0 0 240 130" role="img"></svg></div>
</div>
{slider}
<output data-part="status"></output>
<div class="parts">
<div class="part sum"><p class="head">squared error, summed over pixels</p>
<table><tbody data-part="terms"></tbody></table></div>
<div class="part wide"><p class="head">{beside}</p>
<svg data-part="curve" viewBox="0 0 340 {90 if kind == "plain" else 190}" role="img"></svg>
<ul class="marks" data-part="legend"></ul></div>
</div>"""
