"""The two experiments on factor analysis of the tutorial (arXiv 2208.07818), with further exact comparisons.

The KL is in closed form, as in the tutorial. Beside them are the same with a sampled KL and its gradient variance,
exact EM, guides of several fixed variances, and the evidence estimated from draws of the prior.

Exact references are the evidence log Normal(x; 0, W W' + Phi), the exact ELBO log p(x) - KL(q(z | x) || p(z | x)), and
the evidence of the parameters that generated the data.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal, kl_divergence

import data
from gallery.catalogue.recipes import RECIPES
from gallery.figures import factor_analysis as draw
from gallery.figures import save
from gallery.ledger.experiments.prior_samples import prior_samples
from gallery.models.factor_analysis import FactorAnalysis, FixedVarianceGuide
from gallery.models.ppca import PPCA
from inference import SVI, Settings, em, eval_mode, monitor_elbo, sample
from inference.files import write_atomically
from inference.fit.gradients import gradient_noise
from inference.pairs.handlers import SetRows
from inference.pairs.run import importance_traces
from inference.pairs.sites import latent_sites

__all__ = [
    "alternating",
    "exact_em",
    "exact_gap",
    "fixed_variances",
    "gradient_noises",
    "noise_seeds",
    "reproduce",
    "seeds",
    "simultaneous",
    "true_evidence",
]

STEPS_PER_PHASE = 1000
Schedule = Literal["constant", "cosine"]
SCHEDULES: tuple[Schedule, ...] = ("constant", "cosine")
OBJECTIVES = {"in closed form": "analytic", "sampled": "trace"}  # the KL
VARIANCES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


@contextmanager
def _published_start(seed: int) -> Iterator[None]:
    """Run a block after `torch.manual_seed(seed)`, as the tutorial does: seed 42 draws its initial weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def exact_gap(pair: FactorAnalysis | PPCA, x: Tensor) -> float:
    """Return KL(q(z | x) || p(z | x)) averaged over x, nats per data point: the evidence minus the exact ELBO."""
    with eval_mode(pair), SetRows(torch.arange(len(x))):
        q = latent_sites(importance_traces(pair, (x,))[1])["z"]["fn"]
        return kl_divergence(q, cast(Distribution, pair.posterior(x))).mean().item()


def true_evidence(x: Tensor) -> float:
    """Return the mean evidence of x under the parameters that generated the data, nats per data point."""
    W, sigma = (torch.as_tensor(value, dtype=torch.float64) for value in (data.synthetic.FA_W, data.synthetic.FA_SIGMA))
    truth = MultivariateNormal(torch.zeros(len(W), dtype=torch.float64), W @ W.T + sigma.square().diag())
    return truth.log_prob(x.double()).mean().item()


def _settings(seed: int, steps: int, schedule: Schedule = "constant", objective: str = "analytic") -> Settings:
    epochs = -(-steps * 32 // 1000)  # minibatches of 32 of 1000 data points
    return Settings(epochs, batch_size=32, lr=1e-2, lr_schedule=schedule, seed=seed, shuffle=False, objective=objective)


def _record(curve: dict[str, list[float]], pair: FactorAnalysis, x: Tensor, step: int, gap: bool = False) -> None:
    numbers = {"step": step, **monitor_elbo(pair, x, seed=step)}
    if gap:
        numbers["gap"] = exact_gap(pair, x)
    for name, value in numbers.items():
        curve.setdefault(name, []).append(value)


def simultaneous(
    steps: int = 1000,
    seed: int = 42,
    snapshots: tuple[int, ...] = (5, 100, 800),
    every: int = 1,
    objective: str = "analytic",
    noise: int | None = None,
) -> tuple[FactorAnalysis, dict[str, list[float]], dict[int, Tensor]]:
    """Run experiment 1: fit model and guide together, from the published start, with minibatches in file order.

    Every minibatch has 32 rows. A DataLoader would end each epoch with one of 8 rows, so its steps differ from these
    after the first epoch.

    :param seed: seed of the start; 42 is the published one
    :param snapshots: steps at which data are drawn from the model
    :param every: number of steps between points of the curve
    :param objective: of the fit
    :param noise: seed of the draws of z; those that follow on the initial weights if None
    :return: the pair; the curve {"step", "elbo" (one draw for each data point), "evidence" (exact)} on the test set, in
        nats per data point; 1000 draws from the model at each snapshot
    """
    train, test = data.load("factor_analysis").x, data.load("factor_analysis", "test").x
    with _published_start(seed):
        pair = FactorAnalysis()
        svi = SVI(pair, train, settings=_settings(seed, steps, objective=objective))
        if noise is not None:
            torch.manual_seed(noise)
        curve: dict[str, list[float]] = {}
        drawn: dict[int, Tensor] = {}
        for step, _ in islice(svi, steps):
            if step % every == 0 or step == steps:
                _record(curve, pair, test, step)
            if step in snapshots:
                drawn[step] = sample(pair, test, 1000, seed=step)["x"]
    return pair, curve, drawn


def alternating(
    seed: int = 42, steps: int = STEPS_PER_PHASE, every: int = 1, objective: str = "analytic"
) -> tuple[FactorAnalysis, dict[str, list[float]], list[tuple[int, int, str]]]:
    """Run experiment 2, a variational EM: fit the guide alone (E step), then the model alone (M step), twice.

    :param seed: seed of the start
    :param steps: number of steps of a phase
    :param every: number of steps between points of the curve
    :param objective: of the fits
    :return: the pair; the curve of `simultaneous` with the exact "gap"; the phases (first step, last step, "guide" or
        "model")
    """
    train, test = data.load("factor_analysis").x, data.load("factor_analysis", "test").x
    with _published_start(seed):
        pair = FactorAnalysis()
        settings = _settings(seed, 2 * steps, objective=objective)
        order: tuple[Literal["guide", "model"], ...] = ("guide", "model")
        loops = {part: iter(SVI(pair, train, settings=settings, only=part)) for part in order}
        curve: dict[str, list[float]] = {}
        phases = []
        _record(curve, pair, test, 0, gap=True)
        for number, part in enumerate(order * 2):
            phases.append((number * steps, (number + 1) * steps, str(part)))
            for step, _ in enumerate(islice(loops[part], steps), start=number * steps + 1):
                if step % every == 0:
                    _record(curve, pair, test, step, gap=True)
    return pair, curve, phases


def exact_em(iterations: int = 400, seed: int = 42) -> tuple[FactorAnalysis, dict[str, list[float]]]:
    """Run exact EM in float64 from the start of `simultaneous`.

    :return: the pair; the mean evidence {"train": before each iteration and after the last, "test"}, in nats per data
        point
    """
    train, test = (data.load("factor_analysis", split).x.double() for split in ("train", "test"))
    with _published_start(seed):
        pair = FactorAnalysis().double()
        curve: dict[str, list[float]] = {"train": [], "test": []}
        for evidence in em(pair, train, iterations):
            curve["train"].append(evidence)
            with torch.no_grad():
                curve["test"].append(pair.log_evidence(test).mean().item())
    return pair, curve


def seeds(count: int = 10, steps: int = 3200, schedule: Schedule = "constant") -> list[dict[str, float]]:
    """Fit with SVI from seeds 0, 1, ..., and compute the exact mean evidence at the end, nats per data point.

    :return: for each seed {"seed", "train", "test"}
    """
    train, test = data.load("factor_analysis").x, data.load("factor_analysis", "test").x
    ends = []
    for seed in range(count):
        with _published_start(seed):
            pair = FactorAnalysis()
            for _ in islice(SVI(pair, train, settings=_settings(seed, steps, schedule)), steps):
                pass
            with torch.no_grad():
                ends.append(
                    {
                        "seed": seed,
                        "train": pair.log_evidence(train).mean().item(),
                        "test": pair.log_evidence(test).mean().item(),
                    }
                )
    return ends


def noise_seeds(count: int = 30, steps: int = 999) -> dict[str, list[float]]:
    """Run experiment 1 from the published start with several seeds of the noise and both forms of the KL.

    :return: by form of the KL, the exact evidence of test data after `steps` steps for noise seeds 0, 1, ..., nats per
        data point
    """
    return {
        form: [
            simultaneous(steps, snapshots=(), every=steps, objective=objective, noise=noise)[1]["evidence"][-1]
            for noise in range(count)
        ]
        for form, objective in OBJECTIVES.items()
    }


def fixed_variances(variances: Sequence[float] = VARIANCES, count: int = 3) -> list[dict[str, Any]]:
    """Fit guides of several fixed variances by their recipe, each from seeds 0, 1, ....

    :return: for each variance {"variance", "elbo", "evidence"}, lists over seeds of exact means over test data, nats
        per data point
    """
    train, test = data.load("factor_analysis").x, data.load("factor_analysis", "test").x
    points = []
    for variance in variances:
        point: dict[str, Any] = {"variance": variance, "elbo": [], "evidence": []}
        for seed in range(count):
            with _published_start(seed):
                pair = FixedVarianceGuide(variance=variance)
                settings = Settings(**RECIPES["factor_analysis:fixed_variance"].settings, seed=seed)
                for _ in SVI(pair, train, settings=settings):
                    pass
                with torch.no_grad():
                    evidence = pair.log_evidence(test).mean().item()
            point["evidence"].append(evidence)
            point["elbo"].append(evidence - exact_gap(pair, test))
        points.append(point)
    return points


def gradient_noises(pair: FactorAnalysis) -> dict[str, dict[str, Any]]:
    """Compute the noise of the guide's gradient under the two estimators of Kingma and Welling.

    :return: the results of `gradient_noise` with KL(q || p) sampled ("trace") and in closed form ("analytic"), over the
        same minibatches
    """
    train, settings = data.load("factor_analysis").x, _settings(0, 1000)
    kinds = {name: SVI(pair, train, settings=replace(settings, objective=name)) for name in ("trace", "analytic")}
    return {name: gradient_noise(svi)["guide"] for name, svi in kinds.items()}


def reproduce(folder: Path, fitted: Path | None = None, count: int = 10) -> dict[str, Any]:
    """Write factor_analysis.json and the tutorial's figures, redrawn, and return the content of the file.

    :param fitted: not used
    :param count: number of seeds, 0, 1, ..., that are fitted for 3200 steps, with a constant rate and a cosine schedule
    """
    train, test = data.load("factor_analysis").x, data.load("factor_analysis", "test").x
    truth = {"train": true_evidence(train), "test": true_evidence(test)}
    trained, curve, drawn = simultaneous()
    with _published_start(42):
        noises = {"at the start": gradient_noises(FactorAnalysis()), "after 1000 steps": gradient_noises(trained)}
    by_prior = prior_samples()
    _, phased, phases = alternating()
    ends_of_phases = {
        form: alternating(every=STEPS_PER_PHASE, objective=objective)[1]["gap"][1::2]
        for form, objective in OBJECTIVES.items()
    }
    by_variance = fixed_variances()
    _, by_em = exact_em()
    at = {step: i for i, step in enumerate(phased["step"])}
    result = {
        "unit": "nats per data point, exact evidence unless stated otherwise",
        "data": {"name": "factor_analysis", "train_hash": data.load("factor_analysis").hash},
        "true_parameters": truth,
        "experiment_1": {"test_step_999": curve["evidence"][998], "test_step_1000": curve["evidence"][999]},
        "experiment_2": [
            {
                "phase": part,
                "steps": [first, last],
                "test": [phased["evidence"][at[first]], phased["evidence"][at[last]]],
                "exact_gap": [phased["gap"][at[first]], phased["gap"][at[last]]],
            }
            for first, last, part in phases
        ],
        "noise_seeds_step_999": noise_seeds(),
        "gap_after_the_guide": ends_of_phases,
        "fixed_variances": by_variance,
        "em": {"iterations": len(by_em["train"]) - 1, "train": by_em["train"][-1], "test": by_em["test"][-1]},
        "gradient_of_the_guide": noises,
        "prior_samples": by_prior,
        "seeds_3200_steps": {schedule: seeds(count, schedule=schedule) for schedule in SCHEDULES},
        "published": {"test_step_999": -4.033, "alternating_4000_steps": -4.494, "true_parameters_test": -3.9705},
    }
    save(draw.fa_data(train), folder / "data.png")
    save(draw.fa_experiment_1(curve, test, drawn, truth["test"]), folder / "experiment_1.png")
    save(draw.fa_experiment_2(phased, phases, truth["test"], by_em["test"]), folder / "experiment_2.png")
    _, longer, _ = simultaneous(4 * STEPS_PER_PHASE, snapshots=(), every=10)
    save(draw.fa_one_axis(longer, phased, phases, truth["test"]), folder / "one_axis.png")
    save(draw.fa_prior_samples(by_prior), folder / "prior_samples.png")
    save(draw.fa_fixed_variance(by_variance, truth["test"]), folder / "fixed_variance.png")
    write_atomically(folder / "factor_analysis.json", (json.dumps(result, indent=2) + "\n").encode())
    return result
