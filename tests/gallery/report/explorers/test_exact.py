"""Explorers of exact models show the numbers that the library computes, also after an interaction."""

import pytest
import torch
from explorer_cases import hero, part, unfitted, value
from scipy.stats import beta

TOLERANCE = 1e-4


def drag(page, handle, right, down):
    """Move a handle by the mouse."""
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right / 2, y + down / 2)
    page.mouse.move(x + right, y + down)
    page.mouse.up()


@pytest.mark.parametrize("concentration", [1.0, 0.3])
def test_a_die_has_the_posterior_of_its_counts(concentration, visit):
    page = visit(hero("loaded_die", concentration=concentration))
    pair, splits = unfitted("loaded_die", concentration=concentration)

    def check():
        counts = torch.tensor([int(value(page, f"count-{k}")) for k in range(1, 7)])
        x = torch.eye(6, dtype=torch.float64).repeat_interleave(counts, dim=0)
        a = pair.posterior(x).concentration
        marginal = beta(a, a.sum() - a)
        for name, expected in {"mean": marginal.mean(), "low": marginal.ppf(0.05), "high": marginal.ppf(0.95)}.items():
            shown = [value(page, f"{name}-{k}") for k in range(1, 7)]
            assert shown == pytest.approx(expected.tolist(), abs=TOLERANCE)
        assert value(page, "log_evidence") == pytest.approx(pair.log_evidence(x).item(), abs=TOLERANCE)
        return counts.tolist()

    first = check()
    assert first == splits["train"].x[:20].sum(0).tolist()
    handle = page.get_by_role("slider", name="Throws of face 3")
    handle.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Shift+ArrowUp")
    assert check() == [n + 6 * (k == 2) for k, n in enumerate(first)]
    drag(page, page.get_by_role("slider", name="Throws of face 1"), 0, -40)
    assert check()[0] > first[0]
    part(page, "all").click()
    assert check() == splits["train"].x.sum(0).tolist()
    part(page, "none").click()
    check()
