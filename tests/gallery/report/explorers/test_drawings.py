"""What a page computes of a drawing equals what the library computes with the weights in the page."""

import base64
import hashlib
import json

import pytest
import torch
from explorer_cases import inline, of_text, part, pixels, slide, status
from pyro import poutine
from torch.distributions import kl_divergence

from gallery.figures.info import info_of
from gallery.report.explorers import committed_explorer, network, weights
from gallery.report.explorers.components import components
from gallery.report.explorers.drawing import bounds
from gallery.report.explorers.fit_weights import FAMILIES, fit
from gallery.report.explorers.latent_plane import latent_plane
from gallery.report.explorers.reconstruction import _noise, reconstruction
from gallery.report.explorers.rows import rows
from gallery.report.explorers.weights import RECORD, WEIGHTS, committed, read_record
from gallery.report.site.hero import hero_of
from inference import encode, eval_mode, evaluate

AUTOENCODERS = [family for family in FAMILIES if family.endswith("autoencoder")]


def draw(page):
    """Clear the sheet, draw a stroke with the mouse and a pixel with the keyboard."""
    part(page, "clear").click()
    part(page, "sheet").scroll_into_view_if_needed()
    box = part(page, "sheet").bounding_box()
    at = [(box["x"] + a * box["width"], box["y"] + b * box["height"]) for a, b in ((0.4, 0.1), (0.55, 0.8))]
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move(*at[1], steps=4)
    page.mouse.up()
    part(page, "sheet").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.evaluate("() => new Promise(requestAnimationFrame)")
    x = shown(page)["x"]
    assert 2 < x.count_nonzero() < 30
    assert x[8 * 4 + 5] == 1  # the pen begins in the middle
    drawn = part(page, "ink").evaluate("ink => [...ink.getContext('2d').getImageData(0, 0, 8, 8).data]")
    torch.testing.assert_close(1 - torch.tensor(drawn)[::4].double() / 255, x, atol=0.501 / 255, rtol=0)
    return x.unsqueeze(0)


def shown(page):
    """Return the numbers of the page."""
    numbers = json.loads(page.locator("figure").get_attribute("data-shown"))
    return {name: torch.tensor(v).double() if isinstance(v, list) else v for name, v in numbers.items()}


def floats(text):
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.float32).double()


def close(page_value, value):
    torch.testing.assert_close(torch.as_tensor(page_value).double(), value.squeeze(0), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("family", "bits"), [("vae", 16), ("cvae", 12), ("vae", 8), ("cvae", 6)])
def test_code_reconstruction_and_bound_of_a_drawing(family, bits, visit, monkeypatch):
    monkeypatch.setattr(network, "BITS", (bits,))
    pair, test = committed(family)
    page = visit(latent_plane(pair, test))
    pair, data = network.quantised(pair, bits), inline(page)
    x, given = draw(page), ()
    if family == "cvae":
        part(page, "choice").select_option(index=3)
        given = (torch.tensor([3]),)
    eps = floats(data["drawing"]["noise"]).reshape(-1, 1, 2)
    with eval_mode(pair):
        q = poutine.trace(pair.guide).get_trace(x, *given).nodes["z"]["fn"]

        def given_z(z):
            model = poutine.condition(pair.model, data={"z": z})
            return poutine.trace(model).get_trace(x, *given).nodes

        terms = torch.stack([given_z(q.mean + q.stddev * e)["x"]["fn"].log_prob(x) for e in eps]).mean(0)
        at_mean = given_z(q.mean)
        kl = kl_divergence(q, at_mean["z"]["fn"])
    numbers = shown(page)
    for name, value in {"mean": q.mean, "sd": q.stddev, "terms": terms, "kl": kl, "elbo": terms - kl}.items():
        close(numbers[name], value)
    close(numbers["image"], at_mean["x"]["fn"].mean)
    rows = part(page, "terms").inner_text().replace("−", "-")
    assert f"{(terms - kl).item():.3f}" in rows
    assert f"{terms.item():.3f}" in rows
    few = (test.x[:20], *((test.labels[:20],) if given else ()))
    expected = evaluate(pair, *few, particles=64)["elbo"]
    assert abs(expected["value"] - sum(_elbos(pair, test, 20, eps)) / 20) < 4 * expected["se"]
    assert data["drawing"]["elbos"] == sorted(data["drawing"]["elbos"])


def _elbos(pair, test, n, eps):
    terms, kl = bounds(info_of(pair, test), test.x[:n], test.labels[:n])
    return (terms - kl).tolist()


def test_a_drawing_moves_the_cross_to_its_code(visit):
    page = visit(latent_plane(*committed("vae")))
    draw(page)
    torch.testing.assert_close(torch.tensor(of_text(page)).double(), shown(page)["mean"], atol=0.0051, rtol=0)
    assert pixels(page).shape == (8, 8)


@pytest.mark.parametrize("family", ["gmvae", "ss_vae"])
def test_components_of_a_drawing(family, visit):
    pair, test = committed(family)
    page = visit(components(pair, test))
    rounded, x = network.quantised(pair, 16), draw(page)
    given = () if family == "gmvae" else (torch.tensor([-1]),)
    with eval_mode(rounded):
        q = poutine.trace(rounded.guide).get_trace(x, *given).nodes["y"]["fn"].probs
    numbers = shown(page)
    close(numbers["q"], q)
    assert numbers["choice"] == q.argmax()
    y = (numbers["choice"] + 3) % 10
    before = pixels(page)
    page.locator("rect.frame").nth(y).click()
    assert part(page, "choice").input_value() == str(y)
    assert not torch.equal(pixels(page), before)
    values = encode(rounded, test.x, None if not given else torch.full((len(test),), -1))["y"]
    share = (values.argmax(1) == y).double().mean().item()
    assert f" {y}: {100 * share:.1f} %" in status(page)
    part(page, "other").click()
    assert status(page)


@pytest.mark.parametrize("family", AUTOENCODERS)
def test_code_and_reconstruction_of_a_drawing(family, visit):
    pair, test = committed(family)
    page = visit(reconstruction(pair, test))
    data, x = inline(page), draw(page)
    pair = network.quantised(pair, 16).eval()
    with torch.no_grad():
        read, z = x, pair.encoder(x)
        if part(page, "slider").count():
            slide(page, "slider", 3)
        if "noise" in data:
            read = pair.corrupt(x, floats(data["noise"]).unsqueeze(0), level=0.03)
            z = pair.encoder(read)
            close(shown(page)["read"], read)
            torch.testing.assert_close(data["curve"][10], _error(pair, test), atol=1e-4, rtol=0)
        elif data["kind"] == "k":
            pair.k = 4
            z = pair.largest(z)
            assert z.count_nonzero() == 4
            assert "k = 4: 4 of 24 units" in status(page)
        image = pair.decoder(z).mean
    numbers = shown(page)
    for name, value in {"code": z, "image": image, "error": (image - x).square().sum(1)}.items():
        close(numbers[name], value)
    torch.testing.assert_close(pixels(page), image.reshape(8, 8), atol=0.501 / 255, rtol=0)
    assert f"{(image - x).square().sum().item():.3f}" in part(page, "terms").inner_text()


def _error(pair, test):
    """Compute the mean squared error at level 0.5 with the noise of the page."""
    clean = pair.denoise(pair.corrupt(test.x, _noise(test.x), 0.5))
    return (clean - test.x).square().sum(1).mean().item()


@pytest.mark.parametrize("corruption", ["gaussian", "masking", "salt_pepper"])
def test_other_corruptions(corruption, visit):
    pair, test = committed("denoising_autoencoder")
    pair.corruption = corruption
    page = visit(reconstruction(pair, test))
    data, x = inline(page), draw(page)
    slide(page, "slider", 30)
    noise = floats(data["noise"]).unsqueeze(0)
    if corruption == "gaussian":
        noise = torch.special.ndtr(noise)
    read = pair.corrupt(x, noise, level=0.3)
    assert not torch.equal(read, x)
    close(shown(page)["read"], read)


def test_completions_of_a_drawing(visit):
    pair, test = committed("vrnn")
    page = visit(rows(pair, test))
    drawing, x = inline(page)["drawing"], draw(page)
    slide(page, "cut", 2)
    pair = network.quantised(pair, 16).eval()
    noise, given = floats(drawing["noise"]).reshape(-1, 8, 10)[:3], 3
    x_t, z_t, memory = pair.start(x.expand(3, -1))
    means = []
    with torch.no_grad():
        for t, row in enumerate(pair.rows(x.expand(3, -1)).unbind(1)):
            h, memory = pair.advance(x_t, z_t, memory)
            q = pair.encoder(torch.cat([h, row], 1)) if t < given else pair.prior(h)
            z_t = q.mean + q.stddev * noise[:, t, :2]
            p = pair.decoder(torch.cat([h, z_t], 1)).mean
            x_t = row if t < given else (noise[:, t, 2:] < p).double()
            means.append(row if t < given else p)
    numbers = shown(page)
    assert numbers["cut"] == given
    close(numbers["means"], torch.stack(means, 1).flatten().unsqueeze(0))
    assert status(page) == "8 of 8 rows: 3 shown to the model, 5 drawn by it."
    part(page, "noise").click()
    assert not torch.equal(shown(page)["means"], numbers["means"])


def test_play_never_shows_an_empty_picture(visit):
    page = visit(rows(*committed("vrnn")))
    part(page, "set").select_option(index=0)
    part(page, "play").click()
    assert int(part(page, "shown").input_value()) >= 1
    assert (pixels(page)[0] > 0.5).any()


def test_a_finger_draws(visit):
    page = visit(latent_plane(*committed("vae")), has_touch=True)
    part(page, "clear").tap()
    page.evaluate("() => new Promise(requestAnimationFrame)")
    assert shown(page)["x"].count_nonzero() == 0
    part(page, "sheet").tap()
    page.evaluate("() => new Promise(requestAnimationFrame)")
    assert shown(page)["x"].count_nonzero() > 0
    at = of_text(page)
    part(page, "pad").tap(position={"x": 60, "y": 40})
    assert of_text(page) != at
    for name in ("sheet", "pad"):  # a drag draws, and does not scroll the page
        assert part(page, name).evaluate("element => getComputedStyle(element).touchAction") == "none"


@pytest.mark.integration
def test_a_network_that_fits_no_page_leaves_the_images(monkeypatch):
    pair, test = committed("vrnn")
    monkeypatch.setattr(network, "LIMIT", 1000)
    assert '"drawing":null' in rows(pair, test)
    assert latent_plane(*committed("vae")) is None
    assert components(*committed("gmvae")) is None


def test_committed_weights_are_those_of_the_record():
    record = json.loads(RECORD.read_text())
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == record["sha256"]
    assert set(record["families"]) == set(FAMILIES)
    assert WEIGHTS.stat().st_size < 120_000
    assert committed("hmm") is None
    for family in ("autoencoder", "vae"):
        pair, test = committed(family)
        found = evaluate(pair, test.x, test.given, particles=16, seed=0)["reconstruction"]
        assert found["value"] == pytest.approx(record["families"][family]["test"]["reconstruction"]["value"], abs=1e-4)


@pytest.mark.integration
def test_each_family_with_weights_has_an_explorer_that_states_its_fit(visit):
    for family in FAMILIES:
        html = committed_explorer(family)
        assert len(html) < 100_000
        epochs = read_record()[family]["run"]["settings"]["epochs"]
        assert f"{epochs} epochs with seed 0, not tuned" in html
    assert committed("hmm") is None
    page = visit(*map(committed_explorer, FAMILIES), viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("figure[data-shown]").count() == len(FAMILIES)


@pytest.mark.integration
@pytest.mark.parametrize("family", ["vae", "vrnn", "hmm"])
def test_a_model_page_leads_with_its_explorer_without_a_download(family, monkeypatch, tmp_path):
    monkeypatch.setenv("GALLERY_DATA", str(tmp_path))
    assert 'class="explorer"' in hero_of.__wrapped__(family)
    monkeypatch.setattr(weights, "WEIGHTS", tmp_path / "none")
    assert (hero_of.__wrapped__(family) is None) == (family != "hmm")


@pytest.mark.slow
def test_the_command_fits_the_committed_weights():
    for family in ("vae", "k_sparse_autoencoder"):
        run, pair = fit(family)
        kept, test = committed(family)
        found, expected = (evaluate(it, test.x, particles=16)["reconstruction"]["value"] for it in (pair, kept))
        assert found == pytest.approx(expected, abs=0.2), run.model
