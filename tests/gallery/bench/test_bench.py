"""The benchmark compares equal work: contestants estimate the same loss, and the floor has the products of the step."""

import math
import sys
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gallery.bench import Case, floor, growth, measure, plain_pytorch, stock, table, timing
from gallery.bench.evaluation import products, time_iwae
from gallery.bench.timing import LABELS, ONEDNN, _peak
from gallery.catalogue import plain
from gallery.cli.results import bench
from gallery.errors import RunError
from inference import SVI, Settings, eval_mode
from inference.products import decide

pytestmark = pytest.mark.integration

N = 12
SIZES = {"data_dim": 6, "latent_dim": 2, "hidden": (5, 4)}
VAE = Case("vae", SIZES | {"dropout": 0.0}, {"batch_size": 8}, "binary")
GREY = Case("vae", SIZES | {"likelihood": "continuous_bernoulli", "dropout": 0.3}, {"batch_size": 8}, "grey")
SMALL = {
    "factor_analysis": Case("factor_analysis", settings={"batch_size": 8, "lr": 1e-2}),
    "vae": VAE,
    "vae:continuous_bernoulli": GREY,
    "gmvae": Case("gmvae", SIZES | {"components": 3}, {"batch_size": 8, "objective": "enum_analytic"}, "binary"),
    "vrnn": Case("vrnn", SIZES | {"steps": 3, "state_dim": 4}, {"batch_size": 8}, "binary"),
}


def fit(case):
    (x, _), pair = case.load(), case.build().double()
    return SVI(pair, x[:N].double(), settings=replace(case.fit(), precision="float64"))


@pytest.mark.parametrize("name", SMALL)
def test_twins_have_the_loss_and_the_gradients_of_svi(name):
    svi = fit(SMALL[name])
    rows = svi.rows(0)
    torch.manual_seed(1)
    expected = svi.loss(rows) / N
    torch.manual_seed(1)
    loss = plain_pytorch.LOSSES[SMALL[name].model](svi.pair, svi.x[rows])
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=0)
    gradients = (torch.autograd.grad(value, svi.parameters) for value in (loss, expected))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SMALL)
def test_stock_pyro_has_the_loss_of_svi(name):
    svi = fit(SMALL[name])
    take_steps = stock.stepper(svi.pair, svi.x, None, replace(svi.settings, batch_size=N))
    torch.manual_seed(1)
    expected = svi.loss(torch.arange(N)).item() / N
    torch.manual_seed(1)
    assert take_steps(1)[0] == pytest.approx(expected, rel=1e-9)


def test_contestants_with_the_products_of_onednn_run_under_the_switch(monkeypatch):
    case = replace(VAE, settings=VAE.settings | {"engine": "pyro"})
    assert not ONEDNN & timing.contestants("vae", case).keys() or decide() == "onednn"
    used = []
    monkeypatch.setattr(timing, "choose_products", lambda *_: "onednn")
    monkeypatch.setattr(timing, "using_products", lambda products: nullcontext(used.append(products)))
    made = timing.contestants("vae", case)
    assert made.keys() >= ONEDNN
    take_steps = made["pyro_onednn"]()
    assert len(take_steps(2)) == 2
    assert used == ["onednn", "onednn"]


@pytest.mark.parametrize("batches", [stock.minibatches, stock.minibatches_of_loader])
def test_a_pass_visits_every_row_once(batches):
    source = batches(4, torch.arange(N), -torch.arange(N))
    for _ in range(2):
        rows, others = (torch.cat(parts) for parts in zip(*(next(source) for _ in range(3)), strict=True))
        assert rows.sort().values.tolist() == list(range(N))
        assert torch.equal(others, -rows)


@pytest.mark.parametrize(("name", "steps"), [("factor_analysis", 50), ("vae", 1)])
def test_numpyro_has_the_same_mean_loss(name, steps):
    numpyro_svi = pytest.importorskip("gallery.bench.numpyro_svi", exc_type=ImportError)
    torch.manual_seed(0)
    case = replace(VAE, keywords=VAE.keywords | {"hidden": (5,)}) if name == "vae" else SMALL[name]
    (x, _), pair, n = case.load(), case.build(), 100
    settings = Settings(lr=1e-12, batch_size=N)
    draws = torch.stack([plain_pytorch.LOSSES[name](pair, x[:N]).detach() for _ in range(n)])
    theirs = torch.tensor([float(loss) for loss in numpyro_svi.stepper(name, pair, x[:N], settings, steps)(n)])
    error = math.hypot(draws.std() / n**0.5, theirs.std() / n**0.5)
    assert abs(draws.mean() - theirs.mean()) < 4 * error


def test_floor_has_the_products_of_the_step_and_no_others():
    result = floor.products(fit(replace(VAE, keywords=VAE.keywords | {"hidden": (5,)})))
    d, z, h, b = 6, 2, 5, 8
    layers = [(d, h), (h, 2 * z), (z, h), (h, d)]
    forward = sum(2 * b * n_in * n_out for n_in, n_out in layers)
    to_inputs = forward - 2 * b * d * h  # x needs no gradient
    assert len(result) == 11
    assert floor.operations(result) == 2 * forward + to_inputs
    assert len(floor.stepper(result)(3)) == 3


def test_the_guide_of_many_draws_is_run_once_for_each_data_point():
    case, n, k = replace(VAE, keywords=VAE.keywords | {"hidden": (5,)}), 4, 7
    pair, d, z, h = case.build(), 6, 2, 5
    with eval_mode(pair):
        result = products(pair, (case.load()[0][:n],), k)
    assert floor.operations(result) == 2 * n * (d * h + h * 2 * z) + 2 * k * n * (z * h + h * d)


def test_a_bound_of_many_draws_is_timed_beside_its_products(monkeypatch):
    """By a clock that advances 7 s at the start and 3 s a data point of draws, and 2 s a data point of products."""
    module, now = sys.modules["gallery.bench.evaluation"], [0.0]

    def passes(start, each):
        now[0] += start + each

    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(module, "importance_terms", lambda pair, x, given, k, at_a_time: passes(7, 3 * len(x)))
    monkeypatch.setattr(module, "products", lambda *args: [])
    monkeypatch.setattr(module.floor, "stepper", lambda products: lambda steps: passes(0, 2 * steps))
    result = time_iwae(replace(VAE, iwae=7))
    spread = {"iwae": [3000.0, 3000.0], "iwae_floor": [2000.0, 2000.0]}
    expected = {"ms_iwae": 3000.0, "ms_iwae_floor": 2000.0, "iwae_times_floor": 1.5, "iwae_k": 7}
    assert result == expected | {"iwae_spread": spread}


@pytest.mark.parametrize("name", SMALL)
def test_floor_counts_what_pyro_multiplies(name):
    svi = fit(SMALL[name])
    rows = svi.rows(0)
    with FlopCounterMode(display=False) as counter:
        torch.autograd.grad(svi.loss(rows), svi.parameters)
    assert floor.operations(floor.products(svi)) == counter.get_total_flops() > 0


def test_contestants_are_measured_side_by_side():
    result = measure("vae", VAE, 0.02, ("pyro", "pyro_loader", "graph", "torch", "floor"))
    assert {f"ms_{key}" for key in LABELS} <= result.keys()
    assert result["ms_compiled"] is None
    assert result["speedup_over_pyro"] is None
    for key in ("pyro", "pyro_loader", "graph", "torch", "floor"):
        low, high = result["spread"][key]
        assert 0 < low <= result[f"ms_{key}"] <= high
    assert result["peak_mib_pyro"] > 0
    grown = growth("vae", VAE, 0.01, ("floor",))
    assert {what: list(values) for what, values in grown.items()} == {
        "batch_size": ["2", "8", "32"],
        "particles": ["1", "2", "4"],
    }


def test_the_parts_of_compiling_are_measured_apart(monkeypatch):
    monkeypatch.setattr("inference.fit.step.fused", lambda graph, args: graph)  # compiles nothing
    monkeypatch.setattr("inference.fit.step.compile_whole_steps", lambda *_: None)
    result = measure("vae", VAE, 0.01, ("compiled",))
    parts = [result[key] for key in ("trace_s", "compiler_s", "first_call_s")]
    assert sum(parts) == pytest.approx(result["compile_s"])
    assert 0 < result["compiler_s"] < result["trace_s"]


def test_peak_is_that_of_the_tensors_of_a_step():
    def take_steps(steps):
        return [(torch.ones(2**18) + 1).sum() for _ in range(steps)]  # two tensors of 1 MiB at once

    assert 2 * 2**20 <= _peak(take_steps) < 2 * 2**20 + 1024


def test_a_contestant_that_skips_work_is_refused(monkeypatch):
    monkeypatch.setitem(plain_pytorch.LOSSES, "vae", lambda pair, x: plain.LOSSES["vae"](pair, x) / 2)
    with pytest.raises(RunError, match=r"losses of plain PyTorch and of SVI.* differ by"):
        measure("vae", VAE, 0.01, ("graph", "torch"))


def test_table_is_written_from_the_file():
    content = {
        "hardware": {"processor": "Abacus", "cores": 2, "threads": 2, "device": "cpu"},
        "versions": {"torch": "2.11"},
        "how": {"rounds": 7, "seconds": 2.0, "started": "2026-01-01", "first_compile_s": 3.21},
        "vae": {"ms_pyro": 7.2184, "ms_compiled": 2.8, "speedup_over_pyro": 2.578, "pays_after_steps": 1300},
        "vrnn": {"ms_pyro": 223.4, "ms_compiled": None, "times_floor": 1.2},
    }
    lines = table(content).splitlines()
    assert "| compiled step, in times of its products alone | - | 1.20x |" in lines
    assert lines[0] == "|  | vae | vrnn |"
    assert "| pyro.infer.SVI, data in memory | 7.22 | 223 |" in lines
    assert "| SVI, the graph compiled | 2.8 | - |" in lines
    assert "| compiled over Pyro | 2.58x | - |" in lines
    assert "| steps until that has paid, against the graph | 1300 | - |" in lines
    assert not any("NumPyro" in line for line in lines)
    assert lines[-1].endswith(
        "Abacus, 2 cores, 2 threads, device cpu; torch 2.11; 2026-01-01. Compiling is that of a "
        "model's step; the first in a process takes 3.2 s more."
    )


def test_spread_and_the_library_of_the_products_are_in_the_table():
    content = {
        "hardware": {"processor": "Abacus", "cores": 2, "threads": 2, "device": "cpu"},
        "versions": {"torch": "2.11"},
        "how": {"rounds": 7, "started": "2026-01-01", "first_compile_s": 3.21, "products": "default"},
        "vae": {"ms_pyro": 7.2, "spread": {"pyro": [7.1, 8.25]}, "iwae_spread": {"iwae": [1.0, 2.0]}},
        "vrnn": {"ms_pyro": 223.4, "spread": {"pyro": [200.0, 301.2]}},
        "whole_fits": {
            "factor_analysis": {"cold": 9.0, "warm": 5.0, "spread": {"cold": [9.0, 9.0], "warm": [4.0, 6.0]}}
        },
    }
    text = table(content)
    assert "| pyro.infer.SVI, data in memory | 7.1 to 8.25 | 200 to 301 |" in text
    assert "| IWAE-k of one data point, compiled | 1 to 2 | - |" in text
    assert "| factor_analysis | 9 | 5 (4 to 6) | - | - |" in text
    assert "Pyro and plain PyTorch as users have them and with the same products coincide" in text
    content["how"]["products"] = "onednn"
    assert "rows that name oneDNN's products" in table(content)


def test_requests_that_cannot_be_measured_are_refused_in_one_line(tmp_path):
    with pytest.raises(RunError, match=r"^there is no model 'vea'. Did you mean 'vae'\?.*$"):
        bench("vea")
    with pytest.raises(RunError, match="there is no folder"):
        bench("vae", json=tmp_path / "missing" / "bench.json")
    with pytest.raises(RunError, match="must be positive"):
        bench("vae", seconds=0.0)
