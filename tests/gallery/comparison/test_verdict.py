"""The sentence on a comparison, for results written by hand: a winner, a tie, seeds that differ, failed rows."""

import pytest

from gallery.comparison.verdict import verdict


def row(label, elbo, passes=100, mc_se=0.01, seed=0, **more):
    known = {"name": "trace", "guide": "own", "label": label, "seed": seed, "status": "finished", "passes": passes}
    return known | {"elbo": {"value": elbo, "mc_se": mc_se}} | more


def gap(value, mc_se=0.01):
    return {"gap": {"value": value, "mc_se": mc_se}}


def nuts(**more):
    return {"name": "nuts", "guide": "", "label": "nuts", "seed": 0, "status": "finished", "r_hat": 1.001} | more


FAILED = {"name": "trace", "guide": "own", "label": "broken", "seed": 0, "status": "failed", "reason": "no"}


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([row("a", -1.0)], None),
        ([row("a", -1.0), FAILED], None),
        ([row("a", -2.0), row("b", -1.0), FAILED], "take b: its ELBO is the highest, 1 nats above a."),
        (
            [row("a", -1.0), row("b", -1.02, passes=25)],
            "take b: its ELBO is that of a within the error, for 0.25 of the passes.",
        ),
        (
            [row("a", -1.0), row("b", -1.02)],
            "take a: its ELBO is the highest, and b, within the error of it, costs no fewer passes.",
        ),
        ([row("a", -1.0), row("b", -1.04, passes=25)], "take a: its ELBO is the highest, 0.04 nats above b."),
        (  # seeds that differ by more than the draws
            [row("a", -1.0), row("a", -1.2, seed=1), row("b", -1.15, passes=50)],
            "take b: its ELBO is that of a within the error, for 0.5 of the passes.",
        ),
        ([row("a", -1.0, **gap(0.01)), row("b", -2.0, **gap(1.01))], "above b. It has reached the posterior, within"),
        ([row("a", -1.0, **gap(0.5)), row("b", -2.0, **gap(1.5))], "above b. A gap of 0.5 nats remains."),
        (
            [row("a", -1.0, **gap(0.5)), row("b", -2.0, **gap(1.5)), nuts()],
            "A gap of 0.5 nats remains; the draws of nuts, without a guide, have none.",
        ),
        ([row("a", -1.0, **gap(0.5)), row("b", -2.0, **gap(1.5)), nuts(divergences=3)], "nats remains."),
        ([row("a", -1.0, **gap(0.5)), row("b", -2.0, **gap(1.5)), nuts(r_hat=1.2)], "nats remains."),
    ],
)
def test_the_sentence(rows, sentence):
    found = verdict({"rows": rows})
    assert found is sentence is None or sentence in found
