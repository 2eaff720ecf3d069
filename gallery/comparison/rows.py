"""The rows of a comparison: one for every objective with every guide, and for every sampler, of every seed.

All rows of a seed start from the same weights (those of guides that differ apart), take the same minibatches in the
same order, and draw from the same stream of noise: two objectives that draw alike draw the same numbers.
"""

from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch

from data import Dataset
from gallery.catalogue.recipes import recipe_for
from gallery.errors import RunError
from gallery.models import MODELS
from gallery.runs.prepare import check_missing
from gallery.runs.registry import constructor
from gallery.runs.specification import Run
from inference import SVI, Pair
from inference.evaluation.ais import supports_of
from inference.fit.objectives import parse_objective
from inference.fit.pathfinder import shared_latents
from inference.guides.registry import GUIDES, parse_guide, with_guide
from inference.pairs.capabilities import exact
from inference.pairs.info import continuous_latents, inspect_pair
from inference.pairs.run import Batch, eval_mode
from inference.pairs.streams import seeded, stream

__all__ = [
    "DEFAULT_OBJECTIVES",
    "KEYS",
    "NUTS_ROWS",
    "SAMPLERS",
    "Comparison",
    "Row",
    "default_objectives",
    "parse_sampler",
    "refusal",
]

SAMPLERS = {
    "nuts": "NUTS on the model; where it has weights, at those that the first objective fitted",
    "em": "exact EM, one iteration an epoch",
    "ais": "bounds on the evidence by annealed importance sampling, from both sides, for data simulated by the fit",
    "ais:STEPS": "the same through STEPS temperatures",
    "pathfinder": "Pathfinder, four paths: normals along the way of L-BFGS, resampled; for latents that all data share",
    "pathfinder:PATHS": "the same with PATHS paths; the draws of one path are not resampled",
}
DEFAULT_OBJECTIVES = ("trace", "analytic", "enum", "enum_analytic", "score", "iwae:5")
KEYS = {"eval_draws": "judge_draws"}  # fields of Comparison whose keys in files are older
NUTS_ROWS = 10  # data points whose latents NUTS samples, where latents are local
NUMBERS = {"ais": ("STEPS", 500), "pathfinder": ("PATHS", 4)}  # temperatures; paths of the optimiser, by default

LATENTS = {"nuts": continuous_latents, "ais": supports_of, "pathfinder": shared_latents}  # refuse a pair


def parse_sampler(name: str) -> tuple[str, int]:
    """Parse the name of a sampler, such as "ais:200" for "ais:STEPS".

    :return: (sampler, number of temperatures or of paths; 0 of samplers that have none)

    :raises RunError: if there is no sampler of that name, or STEPS or PATHS is not a whole number of at least 1
    """
    kind, colon, number = name.partition(":")
    if kind in NUMBERS and colon:
        what, usual = NUMBERS[kind]
        if not number.isdecimal() or int(number) < 1:
            raise RunError(f"sampler {name!r}: {what} must be a whole number of at least 1, as in {kind}:{usual}.")
        return kind, int(number)
    if name not in SAMPLERS:
        raise RunError(f"there is no sampler {name!r}: it is one of {', '.join(SAMPLERS)}.")
    return name, NUMBERS[name][1] if name in NUMBERS else 0


MOST = {"seeds": 10_000, "eval_draws": 1_000_000, "nuts_draws": 1_000_000}


@dataclass(frozen=True)
class Row:
    """One way to fit a model.

    :param name: of an objective, of a variant with the same weights, or of a sampler
    :param guide: "own", one of GUIDES or a variant of the model; "" of a sampler
    """

    name: str
    guide: str
    seed: int

    @property
    def sampler(self) -> str:
        """The sampler of the row; "" where it has an objective."""
        return "" if self.guide else parse_sampler(self.name)[0]

    @property
    def label(self) -> str:
        """The name of the row in tables: objective and guide, or sampler."""
        return self.name if self.guide in ("", "own") else f"{self.name}, {self.guide}"

    def file(self, folder: Path, suffix: str = ".json") -> Path:
        """Return the file of the row in the folder of its comparison."""
        stem = f"{self.name}-{self.guide or 'sampler'}-{self.seed}".replace(":", "_")
        return folder / "rows" / f"{stem}{suffix}"


@dataclass(frozen=True)
class Comparison:
    """Ways to fit one model to the same data.

    :param run: the model, its data, and the settings that all rows share
    :param objectives: names of `inference.OBJECTIVES`, or variants of the model over the same weights: relaxed of gmvae
    :param guides: "own", names of `inference.guides.GUIDES`, or variants of the model with another guide
    :param samplers: names of SAMPLERS
    :param seeds: number of seeds, from 0
    :param eval_draws: draws of the guide for each data point in the evaluation of rows
    :param nuts_draws: draws of each of the two chains of NUTS, after half that number to adapt. Pathfinder has
        twice this number
    :raises RunError: if a name is not known, or a number out of range
    """

    run: Run
    objectives: tuple[str, ...]
    guides: tuple[str, ...] = ("own",)
    samplers: tuple[str, ...] = ()
    seeds: int = 3
    eval_draws: int = 64
    nuts_draws: int = 500

    def __post_init__(self) -> None:
        for name, least in (("seeds", 1), ("eval_draws", 2), ("nuts_draws", 4)):
            if getattr(self, name) < least:
                raise RunError(f"{name} must be at least {least}, not {getattr(self, name)}.")
            if getattr(self, name) > MOST[name]:
                raise RunError(f"{name} must be at most {MOST[name]}, not {getattr(self, name)}.")
        for parse, names in ((parse_objective, self.objectives), (parse_guide, self.guides)):
            for name in names:
                if not self._variant(name):
                    parse(name)
        for name in self.samplers:
            parse_sampler(name)
        if self.run.settings.until != "epochs":
            raise RunError("rows are compared after the same epochs, not until convergence.", ("until", "epochs"))
        if not self.rows:
            raise RunError("there is nothing to compare: name objectives with guides, or samplers.")

    def _variant(self, name: str) -> str | None:
        """Return the registered variant of the model that the name of an objective or a guide stands for, or None."""
        return f"{self.run.model}:{name}" if f"{self.run.model}:{name}" in MODELS and name not in GUIDES else None

    @property
    def filters(self) -> bool:
        """Whether a row is fitted by a particle filter, so that all are evaluated by one too."""
        return any(name.startswith("fivo:") for name in self.objectives)

    @property
    def ways(self) -> list[tuple[str, str]]:
        """(name, guide) of the rows of one seed: objectives, then samplers."""
        return [*product(self.objectives, self.guides), *((name, "") for name in self.samplers)]

    @property
    def rows(self) -> list[Row]:
        """The rows of all seeds."""
        return [Row(*way, seed) for way in self.ways for seed in range(self.seeds)]

    def run_of(self, row: Row) -> Run:
        """Return the run of a row.

        :raises RunError: if both its objective and its guide are variants of the model
        """
        variant, guided = self._variant(row.name), self._variant(row.guide)
        if variant and guided:
            raise RunError(
                f"{row.name} and {row.guide} are both variants of {self.run.model}: combine one with the guide own."
            )
        settings = replace(self.run.settings, objective=self._objective(row), seed=row.seed)
        model = variant or guided
        if model is None:
            return replace(self.run, settings=settings)
        known = constructor(MODELS[model])
        keywords = {name: value for name, value in self.run.keywords.items() if name in known}
        return Run.of(model, None, self.run.data, keywords, asdict(settings), self.run.validation)

    def _objective(self, row: Row) -> str:
        """Return the objective of a row: that of the recipe, where its name is that of a variant."""
        if variant := self._variant(row.name):
            recipe = recipe_for(variant)
            return recipe.settings.get("objective", "trace") if recipe else "trace"
        return self.run.settings.objective if row.sampler else row.name

    def pair(self, row: Row, train: Dataset) -> Pair:
        """Return the pair of a row before it is fitted."""
        own = replace(self.run, settings=replace(self.run.settings, seed=row.seed))
        pair, run = own.build(), self.run_of(row)
        if run.model != self.run.model:
            weights, pair = pair.state_dict(), run.build()
            shapes = {name: value.shape for name, value in pair.state_dict().items()}
            shared = {name: value for name, value in weights.items() if shapes.get(name) == value.shape}
            if self._variant(row.name) and shared.keys() != shapes.keys():
                raise RunError(
                    f"{run.model} has weights that {self.run.model} lacks, so it is a guide and no objective.",
                    ("guides", row.name),
                )
            pair.load_state_dict(shared, strict=False)
        if row.guide not in ("", "own") and not self._variant(row.guide):
            x = train.scored()
            with seeded(row.seed, "guide"):
                pair = with_guide(pair, row.guide, x, train.given)
        return pair

    def svi(self, row: Row, train: Dataset, weights: dict[str, torch.Tensor] | None = None, **changes: Any) -> SVI:
        """Return the fit of a row before its first step, and seed torch's generator for its noise.

        :param weights: to start from; those of the seed if None
        :param changes: settings to change
        :raises InferenceError: if the objective does not apply
        """
        pair = self.pair(row, train)
        if weights is not None:
            pair.load_state_dict(weights)
        settings = replace(self.run_of(row).settings, **changes)
        torch.manual_seed(stream(row.seed, "noise", 0))  # of all rows of the seed
        return SVI(pair, train.x, train.given, settings, train.transform)


def refusal(comparison: Comparison, row: Row, train: Dataset) -> tuple[Exception | None, bool]:
    """Check whether a row applies to the model.

    :return: (the error if it does not, else None; whether the row infers latents of the training data only)
    """
    train_only = vectorised = False
    try:
        with torch.random.fork_rng():
            if row.sampler:
                pair = comparison.pair(row, train)
                args = Batch(train.x, train.given)[:NUTS_ROWS].args(pair)
                if row.sampler in LATENTS:
                    with eval_mode(pair):
                        LATENTS[row.sampler](pair, args)
                    info = inspect_pair(pair, args)
                    train_only = info.has_global_latent  # whose posterior is that of the training data
                    if not comparison.objectives and info.generative_parameters:
                        raise RunError(f"{comparison.run.model} has weights, to be fitted first: name an objective.")
                elif not (exact(pair, "e_step") and exact(pair, "m_step")):
                    raise RunError(f"{type(pair).__name__} has no closed E and M steps.")
            else:
                svi = comparison.svi(row, train)
                info = inspect_pair(svi.pair, svi.loss.batch(svi.rows(0)))
                train_only = svi.plan.is_per_data_point or info.has_global_latent
                vectorised = svi.loss.estimator.vectorize_particles
                svi.loss(svi.rows(0))  # some objectives refuse a pair at the first step only
    except (ValueError, NotImplementedError) as error:
        return error.with_traceback(None), train_only  # the traceback would keep the pair and its data
    except Exception as error:  # whatever the code of a model raises: the other rows go on
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        advice = "Particles of a global latent come as a new dimension on the left: broadcast over it."
        return RunError(f"the first step fails with {reason.rstrip('.')}.", advice if vectorised else None), train_only
    return None, train_only


def default_objectives(run: Run) -> tuple[str, ...]:
    """Return those of DEFAULT_OBJECTIVES that apply to the model of a run.

    :raises RunError: if x has missing values that the model does not mask
    """
    splits = run.datasets()
    check_missing(run, run.build(), splits)
    return tuple(
        name
        for name in DEFAULT_OBJECTIVES
        if refusal(Comparison(run, (name,)), Row(name, "own", 0), splits["train"])[0] is None
    )
