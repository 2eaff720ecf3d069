"""Explorers of densities, rows and training show the values that the library computes."""

import base64
import re

import numpy as np
import pytest
import torch
from explorer_cases import hero, inline, loaded, part, pixels, slide, status, unfitted, value

from data.synthetic import FA_SIGMA, FA_W
from gallery.ledger.experiments.factor_analysis import exact_gap
from gallery.models._distributions import TruncatedNormal
from gallery.report.explorers.network import quantised
from gallery.report.explorers.training import refit
from gallery.runs.training import load
from inference import sample


def kls(q, p, low=None):
    """Return KL(q || p) and KL(p || q) of scalar distributions of batch shape (1,), by quadrature.

    :param low: over log z from here on, for densities on z > 0; else over z
    """
    if low is None:
        z = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
        weight = torch.full_like(z, 1e-3)
    else:
        u = torch.linspace(low, 7, 40_001, dtype=torch.float64)
        z, weight = u.exp(), u.exp() * (7 - low) / 40_000
    with torch.no_grad():
        log_q, log_p = (fn.log_prob(z.unsqueeze(-1)).squeeze(-1) for fn in (q, p))
    return [(weight * a.exp() * (a - b)).sum().item() for a, b in ((log_q, log_p), (log_p, log_q))]


def numbers_of_kls(page):
    return [value(page, name) for name in ("evidence", "elbo", "forward", "reverse")]


def curve(page, name):
    """Return the densities of a curve of the first chart at POINTS values of z over the view."""
    drawn = part(page, "picture").locator(f"polyline.{name}").get_attribute("points").split()
    places = torch.tensor([[float(v) for v in place.split(",")] for place in drawn], dtype=torch.float64)
    x, y = places.T
    find = """all => all.filter(it => it.getAttribute("text-anchor") === "end")
      .map(it => [it.textContent, it.y.baseVal[0].value])"""
    ticks = part(page, "picture").locator("text").evaluate_all(find)
    (a, ya), *_, (b, yb) = [(float(text), at - 4) for text, at in ticks]
    return (x - x[0]) / (x[-1] - x[0]), a + (y - ya) / (yb - ya) * (b - a), abs((b - a) / (yb - ya))


def test_densities_and_numbers_are_those_of_the_library(fitted, visit):
    folder, html = fitted("densities")
    page, (pair, _) = visit(html), loaded(folder)
    data, shown = inline(page), []
    assert part(page, "family").input_value() == "fitted guide"
    for i in (3, 15):
        slide(page, "x", i)
        x = torch.tensor([[data["x"][i]]], dtype=torch.float64)
        assert part(page, "x").get_attribute("aria-valuetext") in status(page)
        with torch.no_grad():
            exact, guide = pair.posterior(x), pair.family(*pair.eta(x).unbind(-1))
            evidence = pair.log_evidence(x).item()
        gap, reverse = kls(guide, exact, -40)
        expected = [evidence, evidence - gap, gap, reverse]
        assert numbers_of_kls(page) == pytest.approx(expected, abs=1e-4)
        for name, fn in (("truth", exact), ("guide", guide)):
            at, density, pixel = curve(page, name)
            z = data["edge"][0] + at * (data["edge"][1] - data["edge"][0])
            z, density = z[z > 0.02], density[z > 0.02]
            with torch.no_grad():
                heights = fn.log_prob(z.unsqueeze(-1)).exp().squeeze(-1)
            highest = density.max() if name == "guide" else torch.inf  # a gamma density may leave the chart near 0
            assert (density - heights.clamp(max=highest)).abs().max() < 0.02 * pixel + 2e-3
        shown.append(status(page))
    assert shown[0] != shown[1]


FAMILIES = {
    "normal": torch.distributions.Normal,
    "gamma": torch.distributions.Gamma,
    "log-normal": torch.distributions.LogNormal,
    "truncated normal": TruncatedNormal,
}


@pytest.mark.parametrize(
    ("model", "family"),
    [("exponential_gaussian", it) for it in ("truncated normal", "gamma", "log-normal")]
    + [("squared_gaussian", it) for it in ("normal", "gamma", "log-normal")],
)
def test_both_kls_of_a_family_and_their_minima(model, family, visit):
    page, (pair, _) = visit(hero(model)), unfitted(model)
    data = inline(page)
    part(page, "family").select_option(family)
    slide(page, "x", 20)
    x = torch.tensor([[data["x"][20]]], dtype=torch.float64)
    exact, evidence = pair.posterior(x), pair.log_evidence(x).item()

    def check():
        ends = [float(part(page, name).get_attribute("data-parameter")) for name in ("first", "second")]
        q = FAMILIES[family](*(torch.tensor([end], dtype=torch.float64) for end in ends))
        forward, reverse = kls(q, exact, None if family == "normal" else -40)
        if model == "squared_gaussian" and family != "normal":
            reverse = torch.inf  # half of the posterior has no mass of q
        assert numbers_of_kls(page) == pytest.approx([evidence, evidence - forward, forward, reverse], abs=1e-4)
        return q, forward, reverse

    _, start, _ = check()
    part(page, "first").focus()
    page.keyboard.press("ArrowRight")
    check()
    part(page, "fit-forward").click()
    q, least, other = check()
    assert least < start
    if family == "truncated normal":
        assert least < 1e-8  # the family contains the posterior
    if family == "normal":
        assert abs(q.mean.item()) > 1  # one mode
    for i in (0, 1):  # a step to either side is no better
        for factor in (0.99, 1.01):
            moved = type(q)(*(v * (factor if k == i else 1) for k, v in enumerate(pair_of(q))))
            assert kls(moved, exact, None if family == "normal" else -40)[0] > least - 1e-9
    if other != torch.inf:
        part(page, "fit-reverse").click()
        q, _, reverse = check()
        assert reverse <= other + 1e-9
        if family == "normal":
            assert [q.mean.item(), q.stddev.item()] == pytest.approx([0, exact.stddev.item()], abs=1e-4)


def pair_of(q):
    return [getattr(q, name) for name in (("concentration", "rate") if hasattr(q, "rate") else ("loc", "scale"))]


def test_a_normal_guide_of_a_positive_number_has_an_infinite_gap(visit):
    page = visit(hero("exponential_gaussian"))
    part(page, "family").select_option("normal")
    assert numbers_of_kls(page)[1:3] == [-torch.inf, torch.inf]
    assert "infinite" in status(page)
    assert part(page, "fit-forward").is_disabled()
    part(page, "fit-reverse").click()
    assert value(page, "reverse") < torch.inf


def test_rows_appear_from_the_top(fitted, visit):
    folder, html = fitted("rows")
    page, (pair, test) = visit(html), loaded(folder)
    mean = sample(quantised(pair, 16), test.x, 12)["mean"].reshape(12, 8, 8)
    part(page, "set").select_option(index=0)

    def images():
        return pixels(page).unfold(0, 8, 10).unfold(1, 8, 10).reshape(12, 8, 8)

    torch.testing.assert_close(images(), mean, atol=0.501 / 255, rtol=0)  # all rows at first
    slide(page, "shown", 3)
    torch.testing.assert_close(images()[:, :3], mean[:, :3], atol=0.501 / 255, rtol=0)
    assert images()[:, 3:].unique().tolist() == pytest.approx([0.15], abs=0.501 / 255)
    assert status(page) == "3 of 8 rows: 3 drawn by it."
    part(page, "set").select_option(index=1)
    slide(page, "shown", 8)
    assert images()[4:8, :4].equal(images()[:4, :4])
    torch.testing.assert_close(images()[:4, :4], test.x[:4].reshape(4, 8, 8)[:, :4], atol=0.501 / 255, rtol=0)
    assert status(page) == "8 of 8 rows: 4 shown to the model, 4 drawn by it."


def test_play_advances_and_with_reduced_motion_shows_one_row_at_a_time(fitted, visit):
    page = visit(fitted("rows")[1])
    slide(page, "shown", 1)
    play = part(page, "play")
    play.focus()
    page.keyboard.press("Enter")
    assert play.inner_text() == "Pause"
    page.wait_for_function("document.querySelector('[data-part=shown]').value === '8'")
    page.wait_for_function("document.querySelector('[data-part=play]').textContent === 'Play'")
    assert status(page).startswith("8 of 8 rows")
    still = visit(fitted("rows")[1], reduced_motion="reduce")
    part(still, "set").select_option(index=0)
    slide(still, "shown", 1)
    part(still, "play").click()
    still.wait_for_timeout(400)
    assert status(still) == "2 of 8 rows: 2 drawn by it."
    assert part(still, "play").inner_text() == "Next row"


def test_steps_of_training_move_the_model(fitted, visit):
    folder, html = fitted("training")
    page, (pair, test) = visit(html), loaded(folder)
    data = inline(page)
    assert data["steps"][0] == 0
    assert data["steps"][-1] == 125  # 4 epochs of 1000 rows, 32 at a time
    assert "those of the run, to the bit" in html  # fitted once more: the same weights

    def check(pair):
        with torch.no_grad():
            evidence, gap = pair.log_evidence(test.x).mean().item(), exact_gap(pair, test.x)
            covariance = pair.theta["W"] @ pair.theta["W"].T + pair.sigma.square().diag()
        shown = [value(page, name) for name in ("log_evidence", "elbo", "gap")]
        assert shown == pytest.approx([evidence, evidence - gap, gap], abs=1e-4)
        cells = [[value(page, f"model-{i}-{j}") for j in range(3)] for i in range(3)]
        torch.testing.assert_close(torch.tensor(cells, dtype=torch.float64), covariance.detach(), atol=1e-4, rtol=0)

    def drawn():
        circles = """it => [...it.querySelectorAll(".drawn")].map(c => [c.cx.baseVal.value, c.cy.baseVal.value])"""
        axis = part(page, "view-1").locator("path.axis").last.get_attribute("d")
        left, top, bottom, right = (float(number) for number in re.findall(r"[\d.]+", axis))
        at = torch.tensor(part(page, "view-1").evaluate(circles), dtype=torch.float64)
        return (at - torch.tensor([left, bottom])) / torch.tensor([right - left, top - bottom]) * 2 - 1

    noise = torch.frombuffer(bytearray(base64.b64decode(data["noise"])), dtype=torch.float32).double().reshape(-1, 5)
    with torch.no_grad():
        x = noise[:, :2] @ pair.theta["W"].T + pair.sigma * noise[:, 2:]
    check(pair)
    last, before = status(page), drawn()
    torch.testing.assert_close(before, x[:, [0, 2]] / data["edge"], atol=1e-4, rtol=1e-6)
    slide(page, "step", 5)
    assert status(page).startswith(f"After step {data['steps'][5]}:")
    assert status(page) != last
    assert not torch.equal(drawn(), before)
    part(page, "play").click()
    page.wait_for_function("document.querySelector('[data-part=step]').value > 7")
    part(page, "play").click()
    check(
        refit(load(folder)[0], load(folder)[0].datasets()["train"])[
            data["steps"][int(part(page, "step").input_value())]
        ]
    )


def test_the_steps_of_a_model_without_a_run(visit):
    page, (pair, splits) = visit(hero("factor_analysis"), reduced_motion="reduce"), unfitted("factor_analysis")
    slide(page, "step", 0)
    x = splits["test"].x
    assert value(page, "gap") == pytest.approx(exact_gap(pair, x), abs=1e-4)
    assert value(page, "log_evidence") == pytest.approx(pair.log_evidence(x).mean().item(), abs=1e-4)
    first = value(page, "gap")
    part(page, "play").click()
    assert value(page, "gap") != first
    cells = [[value(page, f"other-{i}-{j}") for j in range(3)] for i in range(3)]
    truth = torch.as_tensor(FA_W @ FA_W.T + np.diag(FA_SIGMA**2))
    torch.testing.assert_close(torch.tensor(cells, dtype=torch.float64), truth, atol=1e-4, rtol=0)
