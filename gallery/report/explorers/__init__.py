"""Explorers: interactive figures of a fitted run in a page, without a server and without requests.

    explorer(Path("runs/mine"))                     # HTML, or None if no explorer applies
    hero_explorer(run_of(recipe_for("hmm"), 0))     # of a model before any fit

die             counts of the faces of a die that are dragged: prior, exact posterior, evidence
line            points that are dragged: the posterior of a line, and the gap of a mean-field guide
odds            a slider for the number of answers: the posterior of a logistic regression, exact and by Laplace
hierarchy       a slider for the spread between schools: how far each estimate is shrunk
mixture         means that are dragged: responsibilities, and steps of EM
spectrum        the noise that is dragged: which units of probabilistic PCA live, its evidence, a reconstruction
items           items whose difficulty is dragged, and the posterior of an ability given answers
states          measurements that are dragged: filtering, smoothing and the most probable path of a Markov chain
densities       a slider for x: prior, exact posterior and a guide of a chosen family, both KLs, evidence and ELBO
training        a slider over the steps of training: generated and true distribution, covariance, evidence and gap
latent_plane    a point on the plane of codes, and the decoder's image there; with a choice of class or component;
                the code and the bound of a drawing
topics          a document whose words are added and removed: its posterior over topics, by coordinate ascent
components      q(y | x) of a drawing, and draws of a component
reconstruction  code and reconstruction of a drawing, by its corruption or by k
rows            the rows of an image, one after the other; completions of a drawing

The pair and its data select the explorer. What is heavy is computed by the library in float64; the page draws it,
and computes closed forms in doubles and what its networks give (network.py). Small fitted pairs of models without exact
evidence are committed (weights.py).
"""

import html
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from data import Dataset
from gallery.models.eight_schools import EightSchools
from gallery.models.factor_analysis import FactorAnalysis
from gallery.models.gaussian_mixture import GaussianMixture
from gallery.models.hmm import HMM
from gallery.models.item_response import ItemResponse
from gallery.models.lda import LDA
from gallery.models.linear_regression import LinearRegression
from gallery.models.loaded_die import LoadedDie
from gallery.models.logistic_regression import LogisticRegression
from gallery.models.ppca import PPCA
from gallery.report.explorers.components import components
from gallery.report.explorers.densities import densities
from gallery.report.explorers.die import die
from gallery.report.explorers.hierarchy import hierarchy
from gallery.report.explorers.items import items
from gallery.report.explorers.latent_plane import latent_plane
from gallery.report.explorers.line import line
from gallery.report.explorers.mixture import mixture
from gallery.report.explorers.odds import odds
from gallery.report.explorers.reasons import reason
from gallery.report.explorers.reconstruction import reconstruction
from gallery.report.explorers.rows import rows
from gallery.report.explorers.spectrum import spectrum
from gallery.report.explorers.states import states
from gallery.report.explorers.topics import topics
from gallery.report.explorers.training import training
from gallery.report.explorers.weights import committed, describe
from gallery.runs.specification import Run
from gallery.runs.training import load
from inference import Pair, em

__all__ = ["committed_explorer", "explorer", "hero_explorer", "no_explorer"]

EM_STEPS = 60

FITTED: tuple[Callable[[Pair, Dataset], str | None], ...] = (components, reconstruction, latent_plane, densities, rows)
"""The explorers of a fitted pair in float64 on the CPU and its test data."""

OF_A_CLASS: dict[type[Any], Callable[[Any, dict[str, Dataset]], str | None]] = {
    LoadedDie: lambda pair, splits: die(pair, splits["train"]),
    LinearRegression: lambda pair, splits: line(pair, splits["train"]),
    LogisticRegression: lambda pair, splits: odds(pair, splits["train"]),
    EightSchools: lambda pair, splits: hierarchy(pair, splits["train"]),
    ItemResponse: lambda pair, splits: items(pair, splits["train"]),
    GaussianMixture: lambda pair, splits: mixture(pair, splits["train"]),
    HMM: lambda pair, splits: states(pair, splits["test"]),
    PPCA: lambda pair, splits: spectrum(pair, splits["train"], splits["test"]),
    LDA: lambda pair, splits: topics(pair, splits["test"]),
}
"""The explorers of one class of models each, of a pair in float64 on the CPU and its data. That of `FactorAnalysis` is
`training`, of a whole run."""


def explorer(folder: Path) -> str | None:
    """Return the explorer of a fitted run as an HTML fragment.

    :return: None if no explorer applies
    :raises RunError: if the folder holds no fitted run
    :raises DataError: if its test data are missing
    """
    run, pair = load(folder)
    if isinstance(pair, FactorAnalysis):
        return training(run, pair)
    splits = _in_float64(run).datasets()
    pair = pair.to("cpu").double()
    return _fitted(pair, splits["test"]) or _exact(pair, splits)


def no_explorer(folder: Path) -> str:
    """Return the reason why no explorer applies to a fitted run, for which `explorer` returns None.

    :raises RunError: if the folder holds no fitted run
    :raises DataError: if its test data are missing
    """
    run, pair = load(folder)
    return reason(pair.to("cpu").double(), _in_float64(run).datasets()["test"], (FactorAnalysis, *OF_A_CLASS))


def hero_explorer(run: Run) -> str | None:
    """Return the explorer of a model that computes its evidence, at its initial parameters, as an HTML fragment.

    That of other models is `committed_explorer`.

    :param run: the specification of a fit, whose model and data are used
    :return: None if no explorer applies
    :raises DataError: if its data are missing
    """
    run = _in_float64(run)
    pair, splits = run.build(), run.datasets()
    if isinstance(pair, FactorAnalysis):
        return training(run)
    if isinstance(pair, HMM | ItemResponse):  # a mixture starts unfitted, since its page has the steps
        deque(em(pair, splits["train"].x, EM_STEPS), maxlen=0)
    return _exact(pair, splits)


def committed_explorer(family: str) -> str | None:
    """Return the explorer of the committed weights of a family, and below it a sentence on their fit. It needs no data.

    :param family: name of a file of `gallery.models`
    :return: None for a family without committed weights
    """
    kept = committed(family)
    fragment = None if kept is None else _fitted(*kept) or _of_a_class(kept[0], {"test": kept[1]})
    return fragment and f'{fragment}<p class="quiet">{html.escape(describe(family))}</p>\n'


def _fitted(pair: Pair, test: Dataset) -> str | None:
    """Return the first explorer of `FITTED` that applies."""
    return next(filter(None, (make(pair, test) for make in FITTED)), None)


def _in_float64(run: Run) -> Run:
    return replace(run, settings=replace(run.settings, device="cpu", precision="float64"))


def _exact(pair: Pair, splits: dict[str, Dataset]) -> str | None:
    """Return the explorer of a pair whose posterior is exact, whatever its guide."""
    return densities(pair, splits["test"], fitted=False) or _of_a_class(pair, splits)


def _of_a_class(pair: Pair, splits: dict[str, Dataset]) -> str | None:
    """Return the explorer of the class of the pair, if it has one in `OF_A_CLASS` that applies to these data."""
    return next((make(pair, splits) for cls, make in OF_A_CLASS.items() if isinstance(pair, cls)), None)
