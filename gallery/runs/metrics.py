"""The metrics of a fitted pair: which apply to it and its data, and what each computes.

A table has a row for each metric: its name, whether it applies, and a function that returns entries of metrics.json.
METRICS is the evaluation of a run; `gallery.ledger.extra_metrics` adds the rows of the ledger. A metric that fails
costs itself alone: under its name stands the reason as "undefined".
"""

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyro
from torch import Tensor

from data import Dataset
from inference import InferenceError, Pair, eval_mode, evaluate, pareto_k_summary, reconstruct
from inference.counts import whole_number
from inference.evaluation.classification import accuracy, class_bounds, label_metrics
from inference.evaluation.clustering import cluster, component_probabilities
from inference.evaluation.estimate import Estimate
from inference.evaluation.kl_decomposition import kl_decomposition
from inference.evaluation.log_weights import MAX_ROWS
from inference.evaluation.particle_filter import estimate_fivo
from inference.evaluation.perplexity import perplexity, word_probabilities
from inference.pairs.capabilities import capability, count
from inference.pairs.handlers import FittedRows
from inference.pairs.info import PairInfo, inspect_pair
from inference.pairs.run import Batch

__all__ = [
    "METRICS",
    "PERPLEXITY",
    "Metric",
    "Subject",
    "compute",
    "evaluate_split",
    "has_reconstructions",
    "k_hat",
    "labels_of",
    "monitor_clustering",
    "reconstruction_error",
    "squared_error",
]

K_HAT_ROWS = 50  # held-out data points for k-hat


@dataclass(frozen=True, eq=False)
class Subject:
    """A fitted pair beside the data that it is evaluated on.

    :param particles: draws of the guide for each data point
    :param at_a_time: rows, data points times draws, that are evaluated together: what bounds the memory
    :param seed: of the noise
    :param train: the data that the pair was fitted to, where a metric needs them
    :param grey: "train" and "test" as grey images, where a metric needs them
    """

    pair: Pair
    dataset: Dataset
    particles: int = 16
    at_a_time: int = MAX_ROWS
    seed: int = 0
    train: Dataset | None = None
    grey: dict[str, Dataset] | None = None

    @cached_property
    def info(self) -> PairInfo:
        """The structure of the pair in evaluation mode."""
        few = self.dataset.head(2)
        with eval_mode(self.pair), pyro.validation_enabled(False):
            return inspect_pair(self.pair, Batch(few.scored(), few.given).args(self.pair))

    @property
    def held_out(self) -> bool:
        """Whether the data are other data than the pair was fitted to."""
        return self.dataset.first_row is None

    @property
    def guide_applies(self) -> bool:
        """Whether the guide applies to these data: it is amortised, or has values for these data points."""
        return not (self.held_out and self.info.is_per_data_point)

    @cached_property
    def x(self) -> Tensor:
        """The data as the likelihood scores them: one draw for all metrics where pixels are drawn."""
        return self.dataset.scored()

    @property
    def has_elbo(self) -> bool:
        """Whether the pair has a bound on the evidence of these data."""
        return self.guide_applies and not self.info.delta_sites


@dataclass(frozen=True)
class Metric:
    """A metric of the table: when it applies, and the function that computes it.

    :param name: the key that has the reason under "undefined" if the function raises
    :param applies: whether the metric applies to the pair and the data
    :param function: returns entries of metrics.json, by key
    """

    name: str
    applies: Callable[[Subject], bool]
    function: Callable[[Subject], dict[str, Any]]


def compute(table: tuple[Metric, ...], subject: Subject) -> dict[str, Any]:
    """Return the entries of all metrics of a table that apply.

    An exception in a metric is named in a warning of one line, and stands under the metric's name as {"undefined":
    reason}.
    """
    entries: dict[str, Any] = {}
    for metric in table:
        try:
            if metric.applies(subject):
                entries |= metric.function(subject)
        except Exception as error:  # whatever the code of a model can raise
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            warnings.warn(f"metric {metric.name} is undefined: {reason.rstrip('.')}.", stacklevel=2)
            entries[metric.name] = {"undefined": reason}
    return entries


def labels_of(dataset: Dataset) -> Tensor:
    """Return the labels of data that have them."""
    assert dataset.labels is not None
    return dataset.labels


def k_hat(pair: Pair, dataset: Dataset, seed: int = 0) -> dict[str, Any]:
    """Return `inference.pareto_k_summary` of the first K_HAT_ROWS data points: "k_hat" and "k_hat_above".

    Where the pair has none, "k_hat" has the reason as "undefined".
    """
    few = dataset.head(K_HAT_ROWS)
    try:
        return pareto_k_summary(pair, few.scored(), few.given, seed=seed)
    except InferenceError as error:
        return {"k_hat": {"undefined": str(error)}}


def _bounds(s: Subject) -> dict[str, Any]:
    return evaluate(s.pair, s.x, s.dataset.given, s.particles, s.seed, s.held_out, at_a_time=s.at_a_time)


def _has_label_bounds(s: Subject) -> bool:
    classes = count(s.pair, "classes") or 1
    return s.info.conditions_on_class and classes > 1 and s.dataset.labelled() is not None and s.has_elbo


def _labels(s: Subject) -> dict[str, Any]:
    classes = count(s.pair, "classes") or 1
    x, labels = _labelled(s)
    return label_metrics(class_bounds(s.pair, x, classes, seed=s.seed), labels)


def _classifier(s: Subject) -> dict[str, Any]:
    with eval_mode(s.pair):
        x, labels = _labelled(s)
        return {"classifier_accuracy": accuracy(capability(s.pair, "classify")(x), labels)}


def _clustering(s: Subject) -> dict[str, Any]:
    part = s.dataset.labelled() or s.dataset
    probabilities = component_probabilities(s.pair, part.scored(), part.given, s.seed)
    return {} if probabilities is None else {"clustering": cluster(probabilities, part.labels)}


def _has_classes(dataset: Dataset) -> bool:
    part = dataset.labelled()
    return part is not None and part.labels is not None and part.labels.unique().numel() > 1


def _labelled(s: Subject) -> tuple[Tensor, Tensor]:
    """Return x and the labels of the data points whose label the file holds."""
    labels = s.dataset.labels
    assert labels is not None
    rows = labels >= 0
    return (s.x, labels) if rows.all() else (s.x[rows], labels[rows])


def _has_unseen_words(s: Subject) -> bool:
    """Whether the data are held-out counts of words, two or more in a document, that the guide applies to in parts."""
    likelihood = s.info.likelihood
    words = len(likelihood) == 1 and word_probabilities(likelihood[0]) is not None
    return words and s.held_out and s.guide_applies and bool((s.x.sum(1) >= 2).any())


def has_reconstructions(s: Subject) -> bool:
    """Whether images can be decoded as a whole; in steps, the early rows would be drawn, and fed back."""
    return s.dataset.is_image and not s.info.generates_rows(s.dataset.shape)


def reconstruction_error(s: Subject) -> dict[str, Any]:
    """Return the squared error of reconstructions, with one draw of the code, as "reconstruction_error"."""
    test = s.dataset
    return {"reconstruction_error": squared_error(test.x, reconstruct(s.pair, test.x, test.given, s.seed))}


def squared_error(x: Tensor, other: Tensor) -> Estimate:
    """Return the mean over data points of the squared error of two sets of images (n, d)."""
    error = (x - other).square().where(~x.isnan(), 0.0)  # of the pixels that are known
    return Estimate.of_mean(error.sum(1), "squared error summed over pixels, per data point")


PERPLEXITY = Metric(
    "perplexity", _has_unseen_words, lambda s: {"perplexity": perplexity(s.pair, s.x, s.dataset.given, s.seed)}
)

METRICS: tuple[Metric, ...] = (
    Metric("bounds", lambda s: True, _bounds),
    Metric("scale", lambda s: bool(s.info.likelihood), lambda s: {"scale": s.info.scale}),
    Metric("reconstruction_error", lambda s: bool(s.info.delta_sites) and has_reconstructions(s), reconstruction_error),
    Metric("accuracy", _has_label_bounds, _labels),
    Metric(
        "classifier_accuracy",
        lambda s: capability(s.pair, "classify") is not None and s.dataset.labelled() is not None,
        _classifier,
    ),
    Metric("clustering", lambda s: _has_classes(s.dataset) and s.guide_applies, _clustering),
    PERPLEXITY,
    Metric("k_hat", lambda s: s.held_out, lambda s: k_hat(s.pair, s.dataset, s.seed)),
)


def evaluate_split(
    pair: Pair,
    dataset: Dataset,
    particles: int = 16,
    at_a_time: int = MAX_ROWS,
    seed: int = 0,
    filtered: bool = False,
    kl_parts: bool = False,
) -> dict[str, Any]:
    """Return all METRICS of a pair on a split that apply: bounds, what labels and components are worth, k-hat.

    :param particles: draws of the guide for each data point, and the k of IWAE-k
    :param at_a_time: rows, data points times draws, that are evaluated together: what bounds the memory
    :param seed: of the noise
    :param filtered: whether to add "fivo", the bound of a particle filter
    :param kl_parts: whether to add "kl_parts", what `kl_decomposition` returns
    :raises InferenceError: if there is none: the pair has no bound on these data, no steps, or no such codes; or if
        `particles` is no integer from 1 on
    """
    particles = whole_number(particles, "particles")
    with nullcontext() if dataset.first_row is None else FittedRows(dataset.first_row):
        subject = Subject(pair, dataset, particles, at_a_time, seed)
        entries = compute(METRICS, subject)
        if filtered and (reason := entries.get("undefined", {}).get("iwae")):
            raise InferenceError(f"there is no bound of a particle filter, as there is no IWAE: {reason}.")
        if filtered:
            entries["fivo"] = estimate_fivo(pair, subject.x, dataset.given, particles, seed, at_a_time)
        if kl_parts:
            entries["kl_parts"] = kl_decomposition(pair, subject.x, dataset.given, seed=seed)
    return entries


def monitor_clustering(pair: Pair, dataset: Dataset, seed: int = 0) -> dict[str, float]:
    """Return "entropy" of the component probabilities, in nats, and "accuracy" of the components, for the history of a
    fit; nothing for a pair without components or data of one class."""
    row = next(metric for metric in METRICS if metric.name == "clustering")
    entry = compute((row,), Subject(pair, dataset, seed=seed)).get("clustering", {})
    if not entry or "undefined" in entry:
        return {}
    return {"entropy": entry["entropy_of_q"]["value"], "accuracy": entry["accuracy"]["value"]}
