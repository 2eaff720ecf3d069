"""What a process does: one row, from its first weights to a file with what it is worth.

Rows come in two rounds. Fits come first. Then, at the weights that the first objective of a guide came to, the noise of
the gradient of every objective of that guide is measured, over the same minibatches, NUTS samples the model, and AIS
holds its evidence from both sides.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from data import Dataset
from gallery.compare.follow import clock, exact_evidence, final_evaluation, follow, follow_em, posterior_error
from gallery.compare.rows import FEW, Comparison, Row, parse_sampler
from inference.errors import InferenceError
from inference.evaluation.bdmc import bdmc
from inference.files import write_atomically
from inference.fit.checkpoint import load_tensors, save_tensors
from inference.fit.gradients import gradient_noise
from inference.fit.nuts import nuts
from inference.guides.registry import finish
from inference.pairs.capabilities import exact
from inference.pairs.info import inspect_pair
from inference.pairs.run import Batch, arguments, eval_mode

MINIBATCHES, REPEATS = 8, 32  # over which the noise of a gradient is measured
SIMULATED = 100  # data whose evidence is held from both sides
KEPT = ("evidence", "elbo", "iwae", "gap", "kl", "reconstruction", "undefined")


def fit(comparison: Comparison, row: Row, folder: Path, split: str) -> dict:
    """A row of the first round: SVI or EM, followed and judged on a split."""
    splits = comparison.run_of(row).datasets()
    train, x, given = splits["train"], *_values(splits[split])
    if row.name == "em":
        pair = comparison.pair(row, train)
        curve = follow_em(pair, comparison.run.settings.epochs, _values(train), x, given)
        result = {"evidence": exact_evidence(pair, x, given)}
    else:
        svi = comparison.svi(row, train)
        curve, pair = follow(svi, x, given), svi.pair
        save_tensors(row.file(folder, ".safetensors"), pair.state_dict(), {})
        pair = finish(pair, *_values(train))
        found = final_evaluation(pair, x, given, comparison.judge_draws, held_out=split == "test")
        result = {name: found[name] for name in KEPT if name in found}
    if split == "test" and "evidence" in result:
        result["train evidence"] = exact_evidence(pair, *_values(train))
    return {**result, "seconds": curve[-1]["seconds"], "passes": curve[-1]["passes"], "curve": curve}


def noise(comparison: Comparison, row: Row, folder: Path, split: str, at: Row) -> dict:
    """What `gradient_noise` says of a row's objective at the weights that another row came to."""
    train = comparison.run_of(row).datasets()["train"]
    weights, _ = load_tensors(at.file(folder, ".safetensors"))
    svi = comparison.svi(row, train, weights, compile=False, warmup=0.0)
    return {"at": at.name, "noise": gradient_noise(svi, MINIBATCHES, REPEATS, row.seed)}


def sample(comparison: Comparison, row: Row, folder: Path, split: str, at: Row | None) -> dict:
    """NUTS: of all training data where a latent is global, else of the first FEW of the split."""
    pair, x, given, fitted = _fitted(comparison, row, folder, split, at)
    if not inspect_pair(pair, arguments(pair, x, given)).has_global_latent:
        few = Batch(x, given)[:FEW]
        x, given = few.x, few.given
    begun = clock()
    found = nuts(pair, x, given, comparison.nuts_draws, max(1, comparison.nuts_draws // 2), seed=row.seed)
    seconds, gradients = clock() - begun, found["gradients"]
    ess = min(told["ess"].min().item() for told in found["summary"].values())
    result = {
        "r_hat": max(told["r_hat"].max().item() for told in found["summary"].values()),
        "ess": ess,
        "ess_per_gradient": ess / gradients,
        "divergences": found["divergences"],
        "at": fitted,
    }
    if (posterior := exact(pair, "posterior")) and len(found["summary"]) == 1:
        with eval_mode(pair):
            result |= posterior_error(*found["summary"].values(), posterior(*arguments(pair, x, given)))
    return {**result, "n": len(x), "gradients": gradients, "passes": gradients * len(x), "seconds": seconds}


def sides(comparison: Comparison, row: Row, folder: Path, split: str, at: Row | None) -> dict:
    """AIS: the evidence of SIMULATED data from both sides, with as many covariates of the split where there are any."""
    pair, x, given, fitted = _fitted(comparison, row, folder, split, at)
    given = None if given is None else given[:SIMULATED]
    n = SIMULATED if given is None else len(given)
    begun = clock()
    found = bdmc(pair, x, n, given, steps=parse_sampler(row.name)[1], seed=row.seed)
    seconds, gradients = clock() - begun, found["lower"]["gradients"] + found["upper"]["gradients"]
    return {**found, "at": fitted, "n": n, "gradients": gradients, "passes": gradients * n, "seconds": seconds}


def _fitted(
    comparison: Comparison, row: Row, folder: Path, split: str, at: Row | None
) -> tuple[nn.Module, torch.Tensor, torch.Tensor | None, str | None]:
    """(pair, x, given, label): at the weights that the row `at` came to, with its label; None if the model has none."""
    splits = comparison.run_of(row).datasets()
    pair, (x, given) = comparison.pair(at or row, splits["train"]), _values(splits[split])
    if not inspect_pair(pair, arguments(pair, x, given)).generative_parameters:
        return pair, x, given, None
    if at is None:
        raise InferenceError("no fit was finished whose weights could be taken.")
    pair.load_state_dict(load_tensors(at.file(folder, ".safetensors"))[0])
    return pair, x, given, at.label


def _values(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor | None]:
    """(x as it is scored, given): where pixels are drawn afresh, the same draw for all rows."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return dataset.scored(), dataset.given


def asked(comparison: Comparison, row: Row, split: str, data_hash: str) -> dict:
    """All that a row's file is an answer to, as it comes back from JSON."""
    run = asdict(comparison.run_of(row))
    del run["threads"]
    about = asdict(row) | run.pop("settings") | run | {"split": split, "data_hash": data_hash}
    numbers = {name: getattr(comparison, name) for name in ("judge_draws", "nuts_draws")}
    return json.loads(json.dumps(about | numbers))


def carry_out(work: Callable[..., dict], path: Path, about: dict, *args) -> dict:
    """Runs a row on one thread and writes what it gave, or why it failed, beside what was asked; returns that."""
    import torch._inductor.config as inductor

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with inductor.patch(fallback_random=True), torch.random.fork_rng():  # a compiled step draws the same numbers
            outcome = {"status": "finished", **work(*args)}
    except Exception as error:
        outcome = {"status": "failed", "reason": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
    finally:
        torch.set_num_threads(threads)
    content = json.loads(json.dumps({"asked": about, **outcome}), parse_constant=lambda name: None)  # no Infinity, NaN
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
    return content
