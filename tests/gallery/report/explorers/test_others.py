"""Explorers of densities, rows and training show the values that the library computes."""

import base64
import re

import pytest
import torch
from explorer_cases import inline, loaded, part, pixels, slide, status

from gallery.report.explorers.network import quantised
from inference import sample


def test_densities_and_numbers_are_those_of_the_library(fitted, visit):
    folder, html = fitted("densities")
    page, (pair, _) = visit(html), loaded(folder)
    data, shown = inline(page), []
    z = torch.tensor(data["z"], dtype=torch.float64)
    for i in (3, 40):
        slide(page, "x", i)
        x = torch.tensor([[data["x"][i]]], dtype=torch.float64)
        assert part(page, "x").get_attribute("aria-valuetext") in status(page)
        with torch.no_grad():
            exact = pair.posterior(x)
            guide = pair.family(*pair.eta(x).unbind(-1))
            evidence = pair.log_evidence(x).item()
            ends = torch.linspace(-20, 5, 200_001, dtype=torch.float64)  # of log z: KL(guide || exact) by quadrature
            log_q, log_p = (fn.log_prob(ends.exp().unsqueeze(-1)).squeeze(-1) for fn in (guide, exact))
            gap = torch.trapezoid((log_q + ends).exp() * (log_q - log_p), ends).item()
        for name, fn in (("truth", exact), ("guide", guide)):
            drawn = page.locator(f"polyline.{name}").get_attribute("points").split()
            y = torch.tensor([float(place.split(",")[1]) for place in drawn], dtype=torch.float64)
            density = (196 - y) / 192 * data["top"]
            with torch.no_grad():  # z = 0 may be no point of the support
                expected = fn.log_prob(z[1:].unsqueeze(-1)).exp().squeeze(-1).clamp(max=2 * data["top"])
            torch.testing.assert_close(density[1:], expected, atol=0.006 / 192 * data["top"] + 1e-5, rtol=0)
        numbers = [float(v.replace("−", "-")) for v in re.findall(r"[=±] (−?[\d.]+)", status(page))]
        _, log_p_x, elbo, lost, error = numbers
        assert log_p_x == pytest.approx(evidence, abs=5.1e-5)
        assert elbo == pytest.approx(log_p_x - lost, abs=1.6e-4)
        assert lost == pytest.approx(gap, abs=4 * error + 1e-4)
        shown.append(status(page))
    assert shown[0] != shown[1]
    box = part(page, "x").bounding_box()
    page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    assert status(page) not in shown


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
    with torch.no_grad():
        evidence = pair.log_evidence(test.x).mean().item()
    last = status(page)
    assert f"log p(x) = {evidence:.4f}".replace("-", "−") in last
    circles = (
        "[...document.querySelectorAll('[data-part=view-1] .drawn')].map(c => [c.cx.baseVal.value, c.cy.baseVal.value])"
    )
    noise = torch.frombuffer(bytearray(base64.b64decode(data["noise"])), dtype=torch.float32).double().reshape(-1, 5)
    with torch.no_grad():
        x = noise[:, :2] @ pair.theta["W"].T + pair.sigma * noise[:, 2:]
    drawn = torch.tensor(page.evaluate(circles), dtype=torch.float64)
    expected = 75 + 75 / data["edge"] * x[:, [0, 2]] * torch.tensor([1.0, -1.0])
    torch.testing.assert_close(drawn, expected, atol=0.0051, rtol=1e-6)
    slide(page, "step", 5)
    assert status(page).startswith(f"After step {data['steps'][5]}:")
    assert status(page) != last
    assert not torch.equal(torch.tensor(page.evaluate(circles), dtype=torch.float64), drawn)
