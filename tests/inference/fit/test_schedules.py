"""Learning rates over a run."""

import pytest

from inference import Settings
from inference.fit.schedules import Schedules


@pytest.mark.parametrize(("epochs", "steps_of_epoch"), [(3280, 3000), (3280, 1), (6560, 600)])
def test_stages_are_those_of_the_paper(epochs, steps_of_epoch):
    """Burda, Grosse and Salakhutdinov, 2016: 3^i passes at 0.001 times 10^(-i / 7), for i from 0 to 7."""
    schedule = Schedules(Settings(lr=1e-3, lr_schedule="stages"), epochs * steps_of_epoch, 60_000, 20)
    first = 0
    for i in range(8):
        last = first + 3**i * (epochs // 3280) * steps_of_epoch - 1
        rates = [schedule.lr(step) for step in (first, (first + last) // 2, last)]
        assert rates == pytest.approx([1e-3 * 10 ** (-i / 7)] * 3, rel=1e-12)
        first = last + 1
    assert first == epochs * steps_of_epoch


@pytest.mark.parametrize(
    ("name", "rates"), [("constant", [1, 1, 1]), ("linear", [1, 0.5, 0.1]), ("cosine", [1, 0.5, 0.02447])]
)
def test_a_rate_at_the_start_in_the_middle_and_near_the_end(name, rates):
    schedule = Schedules(Settings(lr=1.0, lr_schedule=name), 10, 10, 1)
    assert [schedule.lr(step) for step in (0, 5, 9)] == pytest.approx(rates, abs=1e-5)
