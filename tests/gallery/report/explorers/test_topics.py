"""The explorer of topics: its coordinate ascent, bound and counts are those of the pair."""

import json
from dataclasses import replace

import pytest
import torch
from explorer_cases import part, slide, status, value

from data import load
from gallery.models.lda import LDA, Smoothed, coordinate_bound
from gallery.report.explorers import committed_explorer
from gallery.report.explorers.topics import topics, weights_of
from gallery.report.explorers.weights import committed


def shown(page):
    return json.loads(page.locator("figure").get_attribute("data-shown"))


def close(of_page, expected):
    torch.testing.assert_close(torch.tensor(of_page).double(), expected, atol=1e-4, rtol=0)


@torch.no_grad()
def check(page, pair):
    """Compare gamma, bound and counts of the page with those of the pair, for the document and step of the page."""
    it = shown(page)
    pair.alpha, x = it["alpha"], torch.tensor([it["x"]]).double()
    weights = weights_of(pair)
    gamma = pair.alpha + x.sum(1, keepdim=True) / len(weights) + torch.zeros(1, len(weights)).double()
    if it["at"]:
        pair.sweeps = it["at"]
        gamma = pair.ascend(x, weights)
    bound = coordinate_bound(gamma, x, weights, pair.alpha).item()
    close(it["gamma"], gamma[0])
    assert value(page, "bound") == pytest.approx(bound, abs=1e-4)
    q, p = (torch.distributions.Dirichlet(it) for it in (gamma, torch.full_like(gamma, pair.alpha)))
    assert value(page, "kl") == pytest.approx(torch.distributions.kl_divergence(q, p).item(), abs=1e-4)
    k = int(part(page, "topic").input_value()) - 1
    numbers = [value(page, name) for name in ("share", "sd", "dealt")]
    expected = [q.mean[0, k].item(), q.variance[0, k].sqrt().item(), gamma[0, k].item() - pair.alpha]
    assert numbers == pytest.approx(expected, abs=1e-4)
    close(it["expected"], x.sum() * (q.mean @ pair.topics())[0])
    phi = gamma[0].digamma().exp().unsqueeze(1) * weights
    close(it["dealt"], (x * phi / phi.sum(0))[k])
    return it["x"]


def test_numbers_of_documents_steps_and_concentrations(visit):
    page, (pair, test) = visit(committed_explorer("lda")), committed("lda")
    assert check(page, pair) == test.x[0].tolist()
    part(page, "example").click()
    assert check(page, pair) == test.x[1].tolist()
    bounds = [value(page, "bound")]
    page.get_by_role("slider", name="Step of coordinate ascent").focus()
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
        check(page, pair)
        bounds.append(value(page, "bound"))
    assert bounds == sorted(bounds, reverse=True)
    page.keyboard.press("Shift+ArrowLeft")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowLeft")  # five steps
    assert shown(page)["at"] == 0
    check(page, pair)
    assert "raise the bound" in status(page)
    slide(page, "alpha", 2)
    assert shown(page)["alpha"] == 0.125
    check(page, pair)


def test_words_are_added_and_removed_by_mouse_and_keys(visit):
    page, (pair, _) = visit(committed_explorer("lda")), committed("lda")
    part(page, "clear").click()
    assert value(page, "bound") == pytest.approx(0, abs=1e-9)
    assert "the posterior is the prior" in status(page)
    document = part(page, "document")
    box = document.bounding_box()
    at = [(box["x"] + box["width"] * (j + 0.5) / 5, box["y"] + box["height"] * 0.5) for j in (1, 3)]
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move(*at[1], steps=8)
    page.mouse.up()
    row = [0] * 10 + [0, 1, 1, 1, 0] + [0] * 10
    assert check(page, pair) == row
    for key in ("ArrowUp", "ArrowLeft", "Space", "+", "Backspace"):
        page.keyboard.press(key)
    row[7] = 1
    assert check(page, pair) == row
    assert "row 2, column 3: 1." in document.get_attribute("aria-label")
    part(page, "remove").click()
    assert part(page, "does").inner_text() == "removes"
    document.click()  # the middle
    row[12] = 0
    assert check(page, pair) == row
    document.click()
    assert check(page, pair) == row
    part(page, "topic").select_option(index=2)
    part(page, "add").click()
    more = torch.tensor(check(page, pair)) - torch.tensor(row)
    assert more.sum() == 10
    assert (more - 10 * pair.topics()[2]).abs().max() < 1


def test_latent_topics_take_their_expected_logarithms(visit):
    pair = Smoothed(data_dim=25, topics=4).double()
    page = visit(topics(pair, load("topics", "test")))
    check(page, pair)
    assert "leaves out their own KL" in page.locator("figcaption").inner_text()


def test_many_topics_and_words_without_a_grid_have_none():
    test = load("topics", "test")
    assert topics(LDA(topics=20), test) is not None
    assert topics(LDA(topics=21), test) is None
    assert topics(LDA(), replace(test, shape=(25,))) is None
