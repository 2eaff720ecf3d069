"""The committed experiment on the information of a code: from the cap to 0 in two ways."""

import json
from itertools import pairwise
from math import log

from gallery.ledger.tables import LEDGER

RESULT = json.loads((LEDGER / "experiments" / "vae" / "information.json").read_text())


def _by_beta(context):
    fits = (point for point in RESULT["points"] if point["context"] == context)
    return {point["beta"]: point["mutual_information"] for point in sorted(fits, key=lambda point: point["beta"])}


def test_information_falls_from_its_cap_to_0_with_the_weight_of_the_kl():
    widest = max(point["context"] for point in RESULT["points"])
    for context in (0, widest):
        found = [*_by_beta(context).values()]
        assert all(of["value"] < of["cap"] == log(RESULT["n"]) for of in found)
        assert found[0]["value"] > 0.9 * found[0]["cap"]
        assert all(one["value"] > other["value"] - 4 * one["se"] for one, other in pairwise(found))
        assert found[-1]["value"] < 0.001


def test_a_decoder_of_earlier_pixels_gives_up_the_code_at_a_smaller_weight():
    alone, strong = _by_beta(0), _by_beta(783)
    assert alone[4.0]["value"] > 8
    assert strong[4.0]["value"] < 0.001
