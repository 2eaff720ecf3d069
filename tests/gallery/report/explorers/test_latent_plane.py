"""The plane of codes shows the decoder's images, by mouse and keyboard."""

import re

import pytest
import torch
from explorer_cases import PLANES, code, inline, loaded, of_text, part, pixels, rounding, status, value_text

from gallery.figures.info import decode
from gallery.models.exponential_gaussian import ExponentialGaussian
from gallery.models.vae import VAE
from gallery.report.explorers.network import Network, as_packed
from inference import encode


@pytest.mark.parametrize("name", PLANES)
def test_the_picture_is_the_decoders(name, fitted, visit):
    folder, html = fitted(name)
    page, (pair, test) = visit(html), loaded(folder)
    data, choices = inline(page), part(page, "choice").count()
    step, pad = (data["a"][1] - data["a"][0]) / 40, part(page, "pad")
    for choice in (0, 3) if choices else (0,):
        if choices:
            part(page, "choice").select_option(index=choice)
        pad.focus()
        page.keyboard.press("Home")
        before, was = pixels(page), status(page)
        page.keyboard.press("Shift+ArrowLeft")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowUp")
        a, b = data["starts"][choice]
        point = (max(a - 5 * step, data["a"][0]), min(b + 2 * step, data["b"][1]))
        latents, given = code(pair, test, data, point, choice)
        with torch.no_grad():
            mean = decode(pair, test.x, latents, given).mean.reshape(8, 8)
        bound = rounding(pair, latents["z"], given, data["mean"]).reshape(8, 8)
        assert bound.max() < 0.02, "a bound so wide would prove nothing"
        off = (pixels(page) - mean.clamp(0, 1)).abs()
        assert (off <= bound + 0.5 / 255).all(), (off - bound).max()
        assert not torch.equal(pixels(page), before)
        assert status(page) != was
        torch.testing.assert_close(of_text(page), list(point), atol=0.00501, rtol=0)
        assert value_text(page) in part(page, "picture").get_attribute("aria-label")


def test_the_pointer_moves_the_point(fitted, visit):
    page = visit(fitted("vae")[1])
    data, before, box = inline(page), pixels(page), part(page, "pad").bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.1 * box["height"], steps=3)
    page.mouse.up()
    page.mouse.move(box["x"], box["y"])  # no button is down: not followed
    a, b = data["a"], data["b"]
    expected = [a[0] + 0.8 * (a[1] - a[0]), b[1] - 0.1 * (b[1] - b[0])]
    torch.testing.assert_close(of_text(page), expected, atol=0.01 * (a[1] - a[0]), rtol=0)
    assert not torch.equal(pixels(page), before)


def test_the_stated_rounding_error_is_the_largest_at_the_marks(fitted):
    folder, html = fitted("vae")
    pair, test = loaded(folder)
    z = encode(pair, test.x)["z"][:300]
    with torch.no_grad():
        packed_logits = as_packed(Network.of(pair.decoder)).outputs(z)
        off = (packed_logits.sigmoid() - pair.decoder(z).mean).abs().max().item()
    stated = float(re.search(r"off by more than ([\d.]+)\.", html)[1])
    assert off <= stated < off + 0.001


def test_a_class_keeps_the_point_and_a_component_moves_it(fitted, visit):
    for name, moves in (("cvae", False), ("gmvae", True)):
        page = visit(fitted(name)[1])
        before, at = pixels(page), value_text(page)
        part(page, "choice").select_option(index=2)
        assert (value_text(page) != at) == moves
        assert not torch.equal(pixels(page), before)
        assert re.match(r"Given (class|component) 2\.", status(page))


def test_a_decoder_of_another_kind_is_left_alone():
    assert Network.of(None) is None
    assert Network.of(torch.nn.Linear(2, 3)) is None
    pair = VAE(data_dim=6, hidden=(5,), activation="tanh")
    assert Network.of(pair.decoder).activation == "tanh"
    pair.decoder[0][1] = torch.nn.GELU()
    assert Network.of(pair.decoder) is None
    assert not hasattr(ExponentialGaussian(), "decoder")
