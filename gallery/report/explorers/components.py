"""The components of a mixture of images: draws of each, its share of the test images, and q(y | x) of a drawing.

The classifier of the pair is in the page, and its draws are images that the library made. Classes of a model that also
takes images without a label are components that have names.
"""

import torch

from data import Dataset
from gallery.figures.info import info_of
from gallery.report.explorers.decoding import has_one_code, run_guide, run_model
from gallery.report.explorers.drawing import LIBRARIES, examples, is_grey, lab, sheet, small_print, source_of
from gallery.report.explorers.fragment import fragment, options, packed, rounded
from gallery.report.explorers.network import Network, bits_of, quantised
from inference import Pair
from inference.pairs.capabilities import count
from inference.pairs.info import PairInfo

__all__ = ["components"]

ACROSS, DOWN, PIXELS = 4, 3, 20_000  # draws that are shown together; pixels of all draws of a component, at most


def components(pair: Pair, test: Dataset) -> str | None:
    """Return the explorer of a pair with a discrete latent y and one code per grey image.

    The guide has to be q(y | x) = softmax(classifier(x)), with a classifier that a page can compute.

    :param pair: on the CPU and in float64, like the data
    :return: None for another pair
    """
    fitted = info_of(pair, test)
    if not (test.is_image and is_grey(test) and fitted.component and has_one_code(fitted) and fitted.generates):
        return None
    if fitted.conditional and count(pair, "missing") is None:
        return None
    classifier = _classifier(fitted, test)
    if classifier is None:
        return None
    number, pixels = classifier.layers[-1].out_features, test.x.shape[1]
    sets = max(1, min(4, PIXELS // (ACROSS * DOWN * pixels)))
    each = ACROSS * DOWN * sets
    bits = bits_of(classifier.weights, number * each * pixels * 4 / 3)
    if bits is None:
        return None
    info = info_of(quantised(pair, bits), test)
    rounded_off = _classifier(info, test)
    assert rounded_off is not None
    with torch.no_grad():
        q, exact = (of.outputs(test.x).softmax(1) for of in (rounded_off, classifier))
    assigned = q.argmax(1)
    drawn = run_model(info, torch.arange(number).repeat_interleave(each))[2].mean.clamp(0, 1)
    name = "class" if fitted.conditional else "component"
    data = {
        **examples(test),
        "binary": bool(((test.x == 0) | (test.x == 1)).all()),
        "split": test.split,
        "n": len(test),
        "name": name,
        "classifier": rounded_off.pack(bits),
        "share": rounded(assigned.bincount(minlength=number) / len(test), 6),
        "classes": _classes(assigned, test, number),
        "across": ACROSS,
        "down": DOWN,
        "draws": packed((255 * drawn).round().to(torch.uint8), "u1"),  # (components, each, pixels)
    }
    changed = (q - exact).abs().max().item()
    small = (
        f"q(y | x) is the softmax of a classifier in the page. Rounding its weights to {bits} bits changes no "
        f"probability of {len(test)} {test.split} images by more than {changed:.1g}. A {test.split} image counts for "
        f"the {name} that is most probable under q(y | x). Draws are means E[x | z] at z ~ p(z | y)."
    )
    height, width = test.shape[-2:]
    hint = f"Draw with mouse, finger or keyboard, and see in which {name} the model puts the drawing. "
    hint += f"Choose a {name} by its bar or in the list, to see draws of it."
    body = f"""<div class="parts">
{sheet(test)}
<div class="part wide"><p class="head">which {name}: q(y | x) of the drawing</p>
<svg data-part="bars" viewBox="0 0 340 230" role="img"></svg>
<ul class="marks" data-part="legend"></ul></div>
<div class="part wide"><p class="head">draws from the {name}</p>
<label>{name} <select data-part="choice">{options([str(i) for i in range(number)])}</select></label>
<canvas data-part="picture" role="img" width="{ACROSS * (width + 2) - 2}" height="{DOWN * (height + 2) - 2}"></canvas>
<p class="scale" aria-hidden="true">0 <i></i> 1</p>
<p class="buttons"><button type="button" data-part="other">Other draws</button></p></div>
</div>
<output data-part="status"></output>{small_print(small)}"""
    return fragment("components", source_of(test, classifier.weights, bits), lab(body), data, hint, LIBRARIES)


def _classifier(info: PairInfo, test: Dataset) -> Network | None:
    """Return the network of q(y | x), compared with the guide on test images."""
    network = Network.of(getattr(info.pair, "classifier", None))
    site, few = info.component, test.x[:20]
    if network is None or site is None or site not in info.guide_sites:
        return None
    missing = count(info.pair, "missing") if info.conditional else 0
    _, sites = run_guide(info, few, torch.full((len(few),), missing or 0), "classifier")
    with torch.no_grad():
        out, probs = network.outputs(few).softmax(-1), sites[site]["fn"].probs
    return network if out.shape == probs.shape and torch.allclose(out, probs) else None


def _classes(assigned: torch.Tensor, test: Dataset, number: int) -> list[list[float] | None] | None:
    """Return the most frequent class of the images of each component and its share of them, None of an empty one."""
    if test.labels is None or not test.classes or (test.labels < 0).any():
        return None
    counts = torch.zeros(number, test.classes, dtype=torch.long)
    counts.index_put_((assigned, test.labels), torch.ones_like(assigned), accumulate=True)
    best = [(row.argmax().item(), row.max().item() / row.sum().item()) if row.any() else None for row in counts]
    return [None if it is None else [it[0], round(it[1], 4)] for it in best]
