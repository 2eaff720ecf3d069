"""The explorer of item response: its sums are those of a pair with the items of the page."""

import math
from dataclasses import replace

import pytest
import torch
from explorer_cases import hero, part, slide, status, unfitted, value

from data import load
from gallery.models.item_response import Bayesian, ItemResponse, Rasch
from gallery.report.explorers.items import items

ITEM = "Difficulty of item {}"


def place(page, j):
    return float(page.get_by_label(ITEM.format(j + 1)).get_attribute("data-place").split(",")[0])


def check(page, pair, x, answers):
    """Compare the numbers of the page with those of a pair, for the answers of a person."""
    row = torch.tensor([answers], dtype=torch.float64)
    posterior, log_x = pair.posterior(row), pair.log_evidence(row).item()
    known = ~row.isnan()[0]
    observed = (x[:, known] == row[:, known]).all(1).sum().item()
    expected = [posterior.mean.item(), posterior.variance.sqrt().item(), log_x, len(x) * math.exp(log_x), observed]
    expected.append(pair.log_evidence(x).mean().item())
    names = ("mean", "sd", "log_x", "expected", "observed", "log_all")
    assert [value(page, name) for name in names] == pytest.approx(expected, abs=1e-4)


@pytest.fixture(scope="module")
def html():
    return hero("item_response")


def test_numbers_of_moved_items_and_changed_answers(html, visit):
    page, (pair, splits) = visit(html), unfitted("item_response")
    x = splits["train"].x
    for _ in range(60):
        pair.m_step(pair.e_step(x))
    check(page, pair, x, [1.0] * 5)
    part(page, "answer-2").click()
    check(page, pair, x, [1.0, 1.0, 0.0, 1.0, 1.0])
    part(page, "answer-2").click()
    check(page, pair, x, [1.0, 1.0, math.nan, 1.0, 1.0])
    assert part(page, "answer-2").inner_text() == "3: missing"
    best = value(page, "log_all")
    page.get_by_label(ITEM.format(4)).focus()
    page.keyboard.press("Shift+ArrowRight")
    assert part(page, "item").input_value() == "item 4"
    slide(page, "slope", 60)
    with torch.no_grad():
        pair.theta["b"][3] += 0.5
        pair.theta["a"][3] = 2.4
    assert place(page, 3) == pytest.approx(pair.theta["b"][3].item(), abs=1e-6)
    part(page, "wrong").click()
    check(page, pair, x, [0.0] * 5)
    assert value(page, "log_all") < best
    assert "slope 2.40" in status(page)
    part(page, "missing").click()
    assert [value(page, name) for name in ("mean", "sd", "log_x")] == pytest.approx([0, 1, 0], abs=1e-6)
    part(page, "again").click()
    assert value(page, "log_all") == pytest.approx(best, abs=1e-9)


def test_items_with_one_slope_share_it(visit):
    pair, x = Rasch().double(), load("lsat6").x.double()
    page = visit(items(pair, replace(load("lsat6"), x=x)))
    slide(page, "slope", 50)
    with torch.no_grad():
        pair.theta["a"].fill_(2.0)
    check(page, pair, x, [1.0] * 5)


def test_other_models_long_tests_and_items_beyond_the_page_have_none():
    train = load("lsat6")
    assert items(Bayesian(), train) is None
    assert items(ItemResponse(10), replace(train, x=train.x.repeat(1, 2))) is None
    for name, beyond in {"a": -0.1, "b": 4.1}.items():
        pair = ItemResponse(5)
        assert items(pair, train) is not None
        with torch.no_grad():
            pair.theta[name][0] = beyond
        assert items(pair, train) is None
