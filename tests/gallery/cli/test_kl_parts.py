"""The parts of the KL in `gallery evaluate`; one line where a code has none by coordinate."""

import json
import math

import pytest


def test_the_parts_of_the_kl_are_printed_and_sum_to_it(run):
    assert run("fit", "ppca", "--latent-dim", 3, "--epochs", 1, "--run", "run")[0] == 0
    code, out, _ = run("evaluate", "run", "--kl-parts")
    assert code == 0
    for label in ("KL of the codes", "= information", "+ total correlation", "+ KL by coordinate"):
        assert f"  {label}  " in out
    assert "KL of the codes" not in run("evaluate", "run")[1]
    parts = json.loads(run("evaluate", "run", "--kl-parts", "--as-json")[1])["test"]["kl_parts"]
    values = {name: part["value"] for name, part in parts.items()}
    assert values.pop("kl") == pytest.approx(sum(values.values()), abs=1e-4)  # in float32
    assert parts["mutual_information"]["cap"] == math.log(parts["kl"]["n"])


def test_a_code_without_independent_coordinates_is_refused_in_one_line(run):
    assert run("fit", "factor_analysis", "--epochs", 1, "--run", "run")[0] == 0
    code, out, err = run("evaluate", "run", "--kl-parts")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "FactorAnalysis has no parts by coordinate: z is MultivariateNormal in the guide" in err
