"""The explorer of probabilistic PCA: its closed forms are those of a pair at its optimum."""

import json
from dataclasses import replace

import pytest
import torch
from explorer_cases import hero, inline, part, slide, status, unfitted, value
from torch.distributions import MultivariateNormal, kl_divergence

from data import from_arrays
from gallery.models.ppca import PPCA, maximum_likelihood, set_optimum
from gallery.report.explorers.spectrum import spectrum


@pytest.fixture(scope="module")
def html():
    return hero("ppca")


def shown(page):
    return json.loads(page.locator("figure").get_attribute("data-shown"))


def at_the_noise(page, splits):
    """Return a pair at the maximum of the likelihood, with the noise and the units of the page."""
    it = shown(page)
    pair = PPCA(64, it["k"], it["variance"] ** 0.5).double()
    set_optimum(pair, splits["train"].x)
    return pair


def test_numbers_and_image_are_those_of_the_optimum(html, visit):
    page, (_, splits) = visit(html), unfitted("ppca")
    x, counts = splits["train"].x, []
    *_, sigma = maximum_likelihood(x, 10)
    assert shown(page)["variance"] == pytest.approx(sigma.item() ** 2, abs=1e-8)
    for steps, units in ((0, 10), (25, 10), (15, 20), (0, 3)):
        slide(page, "k", units - 1)
        part(page, "picture").locator("[role=slider]").focus()
        for _ in range(steps):
            page.keyboard.press("ArrowUp")
        pair = at_the_noise(page, splits)
        prior = MultivariateNormal(torch.zeros(units).double(), torch.eye(units).double())
        kl = kl_divergence(pair.posterior(x), prior).mean().item()
        log_p = pair.log_evidence(x).mean().item()
        expected = [int(pair.theta["W"].any(0).sum()), log_p, kl, log_p + kl]
        numbers = [value(page, name) for name in ("live", "log_p", "kl", "reconstruction")]
        assert numbers == pytest.approx(expected, abs=1e-4)
        m, W, best = maximum_likelihood(x, units)
        top = MultivariateNormal(m, W @ W.T + best.square() * torch.eye(64)).log_prob(x).mean()
        assert value(page, "best") == pytest.approx(top.item(), abs=1e-4)
        image = pair.theta["W"] @ pair.posterior(splits["test"].x[:1]).mean[0] + pair.theta["m"]
        torch.testing.assert_close(torch.tensor(shown(page)["image"]).double(), image.detach(), atol=1e-4, rtol=0)
        counts.append(expected[0])
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 10
    assert "units live" in status(page)


def test_buttons_choose_the_best_noise_and_another_image(html, visit):
    page, (_, splits) = visit(html), unfitted("ppca")
    slide(page, "k", 3)
    assert value(page, "log_p") < value(page, "best")
    part(page, "snap").click()
    assert value(page, "log_p") == pytest.approx(value(page, "best"), abs=1e-9)
    first = shown(page)["image"]
    part(page, "example").click()
    image = at_the_noise(page, splits)
    second = image.theta["W"] @ image.posterior(splits["test"].x[1:2]).mean[0] + image.theta["m"]
    torch.testing.assert_close(torch.tensor(shown(page)["image"]).double(), second.detach(), atol=1e-4, rtol=0)
    assert shown(page)["image"] != first


def test_a_fixed_noise_is_the_first_and_data_that_are_no_images_have_none(visit):
    splits = from_arrays({"x": torch.randn(50, 4).double().numpy()}, dtype=torch.float64)
    page = visit(spectrum(PPCA(4, 2, sigma=0.7), splits["train"], splits["test"]))
    assert shown(page)["variance"] == pytest.approx(0.49, abs=1e-6)  # 0.7 is kept in single precision
    assert "x" not in inline(page)
    assert page.locator("canvas").count() == 0
    flat = replace(splits["train"], x=torch.ones(50, 4).double())
    assert spectrum(PPCA(4, 2), flat, splits["test"]) is None
