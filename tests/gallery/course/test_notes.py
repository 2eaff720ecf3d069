"""The numbers of the instructor's notes, and the syllabus."""

import math
import re
from importlib.resources import files

import pytest
import torch
from course import names
from torch.distributions import Normal

from gallery.catalogue.elsewhere import ELSEWHERE
from gallery.course import LESSONS
from gallery.course.checks import lesson_04, lesson_05
from gallery.course.pictures import HEROES
from gallery.course.source import lesson
from gallery.course.syllabus import MISCONCEPTIONS, NOTATION, OUTLINE, SECTIONS, WEEKS
from gallery.models import MODELS

DOUBLE = torch.float64


def note(phrase):
    """The sentence with a phrase, which is in one note."""
    (found,) = [it.number for it in MISCONCEPTIONS if phrase in it.number]
    return found


def test_every_lesson_has_a_picture_sections_and_a_week():
    assert HEROES.keys() == SECTIONS.keys() == set(LESSONS)
    assert sorted({n for week in WEEKS for n in week.lessons}) == list(LESSONS)
    assert len(WEEKS) == 13
    assert {page for week in WEEKS for page in week.pages} <= set(MODELS)
    assert {len(row) for row in NOTATION} == {6}
    assert {it.lesson for it in MISCONCEPTIONS} <= set(LESSONS)


def test_the_notes_have_the_shortest_and_the_longest_time_of_a_lesson():
    texts = [lesson(number).cells[0].source for number in LESSONS]
    minutes = [int(time) for text in texts for time in re.findall(r"\*\*Time\*\*: (\d+) minutes", text)]
    assert len(minutes) == len(LESSONS)
    notes = files("gallery.report.site").joinpath("templates", "notes.html.j2").read_text(encoding="utf-8")
    assert f"A lesson takes {min(minutes)} to {max(minutes)} minutes" in notes


def test_every_week_of_the_outline_is_here_or_elsewhere():
    assert len(OUTLINE) == 12
    assert {n for week in OUTLINE for n in week.lessons} == set(LESSONS)
    assert {page for week in OUTLINE for page in week.pages} <= set(MODELS)
    subjects = " ".join(subject for _, subject, _ in ELSEWHERE)
    missing = [week.topic for week in OUTLINE if not week.pages]
    assert missing == ["Message passing, graph neural networks", "GANs", "Energy-based models"]
    assert all(word in subjects for word in ("graph neural networks", "generative adversarial", "energy-based"))


def test_an_unseen_face():
    assert "$1/13 = 0.077$" in note("uniform prior")
    counts = names(1)["counts"]
    assert counts[1] == 0
    assert (names(1)["posterior"](counts)[1] / names(1)["posterior"](counts).sum()).item() == pytest.approx(1 / 13)
    assert pytest.approx(0.077, abs=5e-4) == 1 / 13


def test_the_line():
    text = note("0.00315")
    assert "1.88" in text
    assert "0.630" in text
    _, S = names(2)["posterior"](names(2)["x"], names(2)["c"])
    gap = names(2)["mean_field_gap"](S).item()
    assert (gap, gap / 200) == (pytest.approx(0.630, abs=5e-4), pytest.approx(0.00315, abs=5e-6))
    ratio = (S.diagonal() / names(2)["mean_field_variances"](S)).sqrt()
    assert ratio.tolist() == pytest.approx([1.88, 1.88], abs=0.005)


def test_the_exponential_guide():
    x = torch.tensor(2.0, dtype=DOUBLE)
    assert "0.2462 nats below it at $x = 2$" in note("exponential guide")
    assert names(3)["gap"](names(3)["best_rate"](x), x).item() == pytest.approx(0.2462, abs=5e-5)


def test_the_direction_of_the_kl():
    text = note("moment-matched")
    assert "forward KL 2.87 and reverse KL 270" in text
    mean, scale = names(4)["forward_fit"](9.0)
    reverse, forward = names(4)["kls"](names(4)["log_normal"](mean, scale.item()), names(4)["log_posterior"](9.0))
    assert (forward.item(), reverse.item()) == (pytest.approx(2.87, abs=0.005), pytest.approx(270, abs=0.5))
    assert "0.694" in text
    assert pytest.approx(0.694, abs=5e-4) == lesson_04.LEAST


def test_em_stays():
    text = note("three equal components")
    assert "$-3.85$" in text
    assert "$-3.26$" in text
    x = names(5)["x"]
    equal = torch.full((3,), 1 / 3).double(), torch.zeros(3, 2).double(), torch.ones(3, 2).double()
    assert names(5)["em"](x, *equal, 5)[-1][-1] == pytest.approx(-3.85, abs=0.005)
    apart = lesson_05.WEIGHTS, lesson_05.MEANS, lesson_05.SCALES
    assert names(5)["em"](x, *apart, 60)[-1][-1] == pytest.approx(-3.26, abs=0.005)


def test_the_family_is_at_fault():
    assert "amortisation gap 0 and approximation gap 0.153" in note("approximation gap")
    family, network = names(9)["gaps"](torch.linspace(-2, 2, 5, dtype=DOUBLE), 0.5, 1.0)
    assert family.item() == pytest.approx(0.153, abs=5e-4)
    assert network.item() == 0


def test_the_variance_of_the_score_function():
    """At the posterior f is log p(x), so the variance is that of (z - m) / s^2 times its square."""
    assert "its variance 10.3 against 2" in note("score function")
    s = 0.5**0.5
    f = Normal(0.0, 2**0.5).log_prob(torch.tensor(2.0)).item()
    assert f**2 / s**2 == pytest.approx(10.3, abs=0.05)
    eps = torch.tensor([1.0], dtype=DOUBLE)
    arguments = (torch.tensor(value, dtype=DOUBLE) for value in (1.0, s, 2.0))
    assert names(7)["score"](*arguments, eps).item() == pytest.approx(f / s, rel=1e-6)


def test_a_weight_below_1_is_no_bound():
    text = note("weight 1/2")
    assert "$-1.69$" in text
    assert "$-2.11$" in text
    variance, beta = 4.0, 0.5
    w = names(9)["best_loading"](variance, 1.0, beta)
    slope, s2 = w / variance, beta / variance
    reconstruction = -(variance * (1 - w * slope) ** 2 + w**2 * s2) / 2 - 0.5 * math.log(2 * math.pi)
    value = reconstruction - beta * 0.5 * (slope**2 * variance + s2 - 1 - math.log(s2))
    evidence = -0.5 * math.log(2 * math.pi * variance) - 0.5  # of the best model, at any data of this variance
    assert evidence == pytest.approx(-2.11, abs=0.005)
    assert value == pytest.approx(-1.69, abs=0.005)
    assert value > evidence


def test_information_of_a_code():
    assert "0.693 nats at weight 1, and 0 from weight 4 on" in note("carries")
    w = names(9)["best_loading"](4.0, 1.0, 1.0)
    assert 0.5 * math.log(1 + w**2) == pytest.approx(0.693, abs=5e-4)  # of a normal channel with noise 1
    assert names(9)["best_loading"](4.0, 1.0, 4.0) == 0


def test_grey_pixels_and_means():
    assert "543 nats for 784 pixels" in note("543")
    assert 784 * math.log(2) == pytest.approx(543, abs=0.5)
    assert "0.99 nats$^2$" in note("sampled form")  # computed in test_theory_of_learning.py
    assert not torch.distributions.Bernoulli(0.1).support.check(torch.tensor(0.1))
    assert "has probability 0 as a value" in note("Bernoulli pixel")
