"""The parts of a compiled step, by the names of the profiler's records."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from gallery.bench import CASES, step_profile
from gallery.bench.step_profile import PARTS, part_of, profile_step
from inference.fit import library


@pytest.mark.parametrize(
    ("record", "part"),
    [
        ("aoti_torch_cpu_mm_out", "products"),
        ("aten::addmm", "products"),
        ("graph_0_cpp_fused_addmm_bernoulli_relu_3", "other kernels"),
        ("aoti_torch_cpu_uniform", "noise"),
        ("aten::normal_", "noise"),
        ("aten::randn", "noise"),
        ("aten::_fused_adam_", "update"),
        ("Optimizer.step#Adam.step", "update"),
        ("aten::index_select", "other calls"),
    ],
)
def test_a_record_belongs_to_the_first_part_that_its_name_has(record, part):
    assert part_of(record) == part


def test_shares_are_of_the_time_of_the_steps_and_sum_to_one(monkeypatch):
    """By a clock that advances 1 s a step, and records of 0.25 s of products and 0.125 s of noise a step."""
    now, events = [0.0], []

    class Profiled:
        def __init__(self, activities):
            self.before = now[0]

        def __enter__(self):
            return self

        def __exit__(self, *_):
            steps = now[0] - self.before
            events.extend([("mm", 0.25 * steps), ("uniform", 0.125 * steps), ("copy", 0.0)])

        def key_averages(self):
            return [SimpleNamespace(key=key, self_cpu_time_total=1e6 * seconds) for key, seconds in events]

    def run(fit, steps):
        now[0] += steps

    options = dict(library.OPTIONS)
    monkeypatch.setattr(step_profile, "profile", Profiled)
    monkeypatch.setattr(step_profile, "_run", run)
    monkeypatch.setattr(step_profile.time, "perf_counter", lambda: now[0])
    shares = profile_step(replace(CASES["factor_analysis"]), seconds=7.0)
    assert shares == {
        **dict.fromkeys([*PARTS, "other calls"], 0.0),
        **{"products": 0.25, "noise": 0.125, "Python and calls": 0.625},
    }
    assert options == library.OPTIONS


@pytest.mark.slow
def test_the_records_of_a_compiled_step_have_its_products_its_noise_and_its_update(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    case = replace(CASES["vae"], keywords={"hidden": (40,), "dropout": 0.5})
    shares = profile_step(case, 0.1)
    assert all(shares[part] > 0 for part in (*PARTS, "Python and calls"))
    assert sum(shares.values()) == pytest.approx(1)
