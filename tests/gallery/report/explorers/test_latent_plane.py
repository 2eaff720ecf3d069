"""The plane of codes shows the decoder's images, by mouse and keyboard."""

import re

import pytest
import torch
from explorer_cases import PLANES, code, in_page, inline, loaded, of_text, part, pixels, status, value_text

from gallery.figures.info import decode
from gallery.models.exponential_gaussian import ExponentialGaussian
from gallery.models.vae import VAE
from gallery.report.explorers import network
from gallery.report.explorers.latent_plane import latent_plane
from gallery.report.explorers.network import Network
from inference import encode


@pytest.mark.parametrize("name", PLANES)
def test_the_picture_is_the_decoders(name, fitted, visit):
    folder, html = fitted(name, latent_plane)
    page, (pair, test) = visit(html), loaded(folder)
    pair = in_page(pair, inline(page))
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
        torch.testing.assert_close(pixels(page), mean.clamp(0, 1), atol=0.501 / 255, rtol=0)
        assert not torch.equal(pixels(page), before)
        assert status(page) != was
        torch.testing.assert_close(of_text(page), list(point), atol=0.00501, rtol=0)
        assert value_text(page) in part(page, "picture").get_attribute("aria-label")


def field_of(page):
    """Return left, top and width in pixels of the field of the plane, without its axes."""
    box, (x, y, width, _) = (
        part(page, "pad").bounding_box(),
        map(float, part(page, "pad").get_attribute("viewBox").split()),
    )
    unit = box["width"] / width
    return box["x"] - x * unit, box["y"] - y * unit, 300 * unit


def test_the_pointer_moves_the_point(fitted, visit):
    page = visit(fitted("vae")[1])
    data, before = inline(page), pixels(page)
    part(page, "pad").scroll_into_view_if_needed()
    left, top, width = field_of(page)
    page.mouse.move(left + 0.5 * width, top + 0.5 * width)
    page.mouse.down()
    page.mouse.move(left + 0.8 * width, top + 0.1 * width, steps=3)
    assert page.evaluate("getSelection().toString()") == ""  # a drag selects no text
    page.mouse.up()
    page.mouse.move(left, top)  # no button is down: not followed
    a, b = data["a"], data["b"]
    expected = [a[0] + 0.8 * (a[1] - a[0]), b[1] - 0.1 * (b[1] - b[0])]
    torch.testing.assert_close(of_text(page), expected, atol=0.01 * (a[1] - a[0]), rtol=0)
    assert not torch.equal(pixels(page), before)


@pytest.mark.integration
def test_the_stated_rounding_error_is_the_largest_at_the_marks(fitted, monkeypatch):
    monkeypatch.setattr(network, "BITS", (6,))
    pair, test = loaded(fitted("vae")[0])
    html = latent_plane(pair, test)
    rounded = network.quantised(pair, 6)
    z = encode(rounded, test.x)["z"][:300]
    with torch.no_grad():
        off = (rounded.decoder(z).mean - pair.decoder(z).mean).abs().max().item()
    assert off > 0.002  # else the statement is empty
    stated = float(re.search(r"off by more than ([\d.]+)\.", html)[1])
    assert off <= stated < off + 0.001


def test_a_class_keeps_the_point_and_a_component_moves_it(fitted, visit):
    for name, moves in (("cvae", False), ("gmvae", True)):
        page = visit(fitted(name, latent_plane)[1])
        before, at = pixels(page), value_text(page)
        part(page, "choice").select_option(index=2)
        assert (value_text(page) != at) == moves
        assert not torch.equal(pixels(page), before)
        assert re.match(r"Given (class|component) 2\.", status(page))


def test_a_decoder_of_another_kind_is_left_alone():
    assert Network.of(None) is None
    assert Network.of(torch.nn.Linear(2, 3)) is None
    pair = VAE(data_dim=6, hidden=(5,), activation="tanh")
    assert Network.of(pair.decoder).activations == ["tanh", None]
    pair.decoder[0][1] = torch.nn.GELU()
    assert Network.of(pair.decoder) is None
    assert not hasattr(ExponentialGaussian(), "decoder")
