"""Explorers of exact models show the numbers that the library computes, also after an interaction."""

import math

import pytest
import torch
from explorer_cases import hero, inline, part, slide, unfitted, value
from scipy.stats import beta

from gallery.models import MODELS
from inference import em
from inference.pairs.capabilities import exact

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


def handles(page, name):
    return page.get_by_role("slider", name=name, exact=True)


def places(page, name):
    """Return (covariate, response) of each point, from the inline data of its handle."""
    return page.evaluate(
        """name => [...document.querySelectorAll(`[aria-label="${name}"]`)].map(it => it.dataset.place.split(","))""",
        name,
    )


@pytest.mark.parametrize("keywords", [{}, {"noise": 0.3, "prior_scale": 1.0}])
def test_a_line_has_the_posterior_of_its_points(keywords, visit):
    page = visit(hero("linear_regression", **keywords))
    pair, splits = unfitted("linear_regression", **keywords)

    def check():
        shown = [[float(v) for v in place] for place in places(page, "Data point")]
        points = torch.tensor(shown, dtype=torch.float64).reshape(-1, 2)
        given, x = points[:, :1], points[:, 1:]
        posterior, evidence = pair.posterior(x, given), pair.log_evidence(x, given).item()
        precision = posterior.precision_matrix
        guide = torch.distributions.MultivariateNormal(posterior.mean, precision.diag().reciprocal().diag())
        gap = torch.distributions.kl_divergence(guide, posterior).item()
        shown = [value(page, name) for name in ("log_evidence", "elbo", "gap", "intercept", "slope")]
        assert shown == pytest.approx([evidence, evidence - gap, gap, *posterior.mean.tolist()], abs=TOLERANCE)
        return points

    first = check()
    torch.testing.assert_close(first[:, :1], splits["train"].covariates[:8], atol=0.0051, rtol=0)
    drag(page, handles(page, "Data point").nth(3), -60, 30)
    moved = check()
    assert (moved != first).any(1).tolist() == [i == 3 for i in range(8)]
    page.keyboard.press("Delete")
    assert len(check()) == 7
    part(page, "add").click()
    assert len(check()) == 8
    part(page, "points").click(position={"x": 100, "y": 40})
    assert len(check()) == 9
    part(page, "shift").click()
    assert check()[:, 0].mean().item() == pytest.approx(0, abs=1e-9)
    assert value(page, "gap") == pytest.approx(0, abs=1e-9)
    part(page, "none").click()
    assert len(check()) == 0


@pytest.mark.parametrize("keywords", [{}, {"mu_scale": 2.0, "tau_scale": 20.0}])
def test_a_hierarchy_is_shrunk_as_by_the_library(keywords, visit):
    page = visit(hero("eight_schools", **keywords))
    pair, splits = unfitted("eight_schools", **keywords)
    x, c = splits["train"].x, splits["train"].given
    p = pair.posterior(x, c)
    for position, tau in ((0, 0.0), (7, 1.75), (120, 30.0)):
        slide(page, "tau", position)
        known = p.given_tau(torch.tensor([tau], dtype=torch.float64))
        density = (known.log_x + p._log_prior(torch.tensor(tau).double()) - p.log_evidence).exp()
        expected = [tau, density.item(), known.mean.item(), known.log_x.item(), pair.log_evidence(x, c).item()]
        shown = [value(page, name) for name in ("tau", "density", "mu", "log_x", "log_evidence")]
        assert shown == pytest.approx(expected, abs=TOLERANCE)
        reach = 1.6448536 * known.effect_sd
        for name, of in {
            "share": known.share,
            "effect": known.effect,
            "low": known.effect - reach,
            "high": known.effect + reach,
            "mean": p.mean[None, 2:],
        }.items():
            shown = [value(page, f"{name}-{letter}") for letter in "ABCDEFGH"]
            assert shown == pytest.approx(of[0].tolist(), abs=TOLERANCE)


@pytest.mark.parametrize("keywords", [{}, {"prior_scale": 1.0}])
def test_odds_have_the_posterior_of_the_first_answers(keywords, visit):
    page = visit(hero("logistic_regression", **keywords))
    pair, splits = unfitted("logistic_regression", **keywords)
    for n in (0, 1, 5, 40):
        slide(page, "n", n)
        few = splits["train"].head(n)
        p = pair.posterior(few.x, few.given)
        shown = [value(page, name) for name in ("log_evidence", "intercept", "slope")]
        assert shown == pytest.approx([p.log_evidence.item(), *p.mean.tolist()], abs=TOLERANCE)
        mode = p.mean
        for _ in range(30):
            gradient = torch.autograd.functional.jacobian(p.log_prob, mode)
            curvature = -torch.autograd.functional.hessian(p.log_prob, mode)
            mode = mode + torch.linalg.solve(curvature, gradient)
        laplace = (p.log_joint(mode[None]) + math.log(2 * math.pi) - 0.5 * curvature.logdet()).item()
        assert [value(page, "mode"), value(page, "laplace")] == pytest.approx([mode[1].item(), laplace], abs=TOLERANCE)


def test_em_steps_are_those_of_the_library(visit):
    page = visit(hero("gaussian_mixture"), reduced_motion="reduce")
    pair, splits = unfitted("gaussian_mixture")
    x = torch.tensor(inline(page)["x"], dtype=torch.float64)
    torch.testing.assert_close(x, splits["train"].x[:200], atol=5.1e-4, rtol=0)

    def check(expected):
        assert value(page, "log_evidence") == pytest.approx(expected, abs=TOLERANCE)
        weights = [value(page, f"weight-{k}") for k in (1, 2, 3)]
        assert weights == pytest.approx(pair.theta["logits"].softmax(0).tolist(), abs=TOLERANCE)
        row = int(part(page, "point").input_value()) - 1
        shares = [value(page, f"responsibility-{k}") for k in (1, 2, 3)]
        assert shares == pytest.approx(pair.posterior(x[row : row + 1]).probs[0].tolist(), abs=TOLERANCE)

    check(pair.log_evidence(x).mean().item())
    drag(page, handles(page, "Mean of component 1"), -70, 60)
    dropped = [float(v) for v in places(page, "Mean of component 1")[0]]
    with torch.no_grad():
        pair.theta["mean"][0] = torch.tensor(dropped)
    check(pair.log_evidence(x).mean().item())
    for _ in range(3):
        part(page, "step").click()
        *_, expected = em(pair, x, 1)
        check(expected)
    slide(page, "point", 17)
    check(expected)
    part(page, "play").click()
    *_, expected = em(pair, x, 20)
    check(expected)
    assert value(page, "steps") == 23


@pytest.mark.parametrize("count", [3, 2])
def test_a_chain_is_filtered_and_smoothed_as_by_the_library(count, visit):
    page = visit(hero("hmm", states=count))
    pair, splits = unfitted("hmm", states=count)
    list(em(pair, splits["train"].x, 60))
    steps, every = range(1, 11), range(1, count + 1)

    def check():
        x = torch.tensor([[float(places(page, f"Measurement of step {t}")[0][1]) for t in steps]], dtype=torch.float64)
        assert value(page, "log_evidence") == pytest.approx(pair.log_evidence(x).item(), abs=TOLERANCE)
        smooth = pair.expected_counts(x)[2][0]
        for t in steps:
            known = pair.expected_counts(x[:, :t])[2][0, -1]
            for name, expected in (("filter", known), ("smooth", smooth[t - 1])):
                shown = [value(page, f"{name}-{t}-{k}") for k in every]
                assert shown == pytest.approx(expected.tolist(), abs=TOLERANCE)
        initial, transition, emission = pair.log_factors(x)
        paths = torch.cartesian_prod(*[torch.arange(count)] * 10)
        joint = initial[paths[:, 0]] + transition[paths[:, :-1], paths[:, 1:]].sum(1)
        joint = joint + emission[0, torch.arange(10), paths].sum(1)
        assert value(page, "path") == pytest.approx(joint.max().item(), abs=TOLERANCE)
        assert [value(page, f"path-{t}") - 1 for t in steps] == paths[joint.argmax()].tolist()
        assert value(page, "share") == pytest.approx((joint.max() - joint.logsumexp(0)).exp().item(), abs=TOLERANCE)
        return x

    first = check()
    handles(page, "Measurement of step 4").focus()
    page.keyboard.press("ArrowUp")
    drag(page, handles(page, "Measurement of step 7"), 0, 80)
    assert (check() != first)[0].tolist() == [t in (4, 7) for t in steps]
    part(page, "next").click()
    check()


def test_every_explorer_of_an_exact_model_is_small_named_and_fits_a_phone(visit):
    models = [name for name in MODELS if exact(MODELS[name], "log_evidence") and ":" not in name]
    fragments = {name: html for name in models if (html := hero(name))}
    assert set(models) - set(fragments) == {"state_space"}  # which has pictures alone
    assert all(len(html.encode()) < 200_000 and 'class="hint"' in html for html in fragments.values())
    page = visit(*fragments.values(), color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for figure in page.locator("figure.explorer").all():
        assert figure.locator("output").inner_text()
        assert figure.locator("svg text").count() > 6  # numbers and titles of the axes
        assert figure.locator(".legend li").count() >= 2
        sizes = figure.locator("svg text").evaluate_all(
            "all => all.map(it => parseFloat(getComputedStyle(it).fontSize))"
        )
        assert min(sizes) >= 12
    for element in page.locator("svg[role], input, select, [role=slider]").all():
        assert element.evaluate("e => e.getAttribute('aria-label') || e.labels?.[0].textContent.trim()")


def test_a_finger_drags_a_handle_and_the_page_stays(visit):
    page = visit(hero("loaded_die"), hero("hmm"), has_touch=True)
    touch = page.context.new_cdp_session(page)
    for handle, name in (("Throws of face 2", "count-2"), ("Measurement of step 5", "log_evidence")):
        knob = handles(page, handle)
        knob.scroll_into_view_if_needed()
        box, before, top = knob.bounding_box(), page.locator(f'[data-number="{name}"]').last, page.evaluate("scrollY")
        was = before.get_attribute("data-value")
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for kind, points in (("Start", [(x, y)]), ("Move", [(x, y - 30)]), ("Move", [(x, y - 60)]), ("End", [])):
            at = [{"x": a, "y": b} for a, b in points]
            touch.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": at})
        assert before.get_attribute("data-value") != was
        assert page.evaluate("scrollY") == top


@pytest.mark.parametrize(("t", "shown"), [(0.5, True), (0.1, True), (0.01, False)])
def test_a_posterior_too_narrow_for_the_page_has_no_explorer(t, shown):
    html = hero("squared_gaussian", t=t)
    assert (html is not None) == shown
    assert html is None or len(html.encode()) < 200_000
