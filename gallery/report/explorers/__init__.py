"""Explorers: interactive figures of a fitted run in a page, without a server and without requests.

    explorer(Path("runs/mine"))                     # HTML, or None if no explorer applies
    hero_explorer(run_of(recipe_for("hmm"), 0))     # of a model that is exact before any fit

die             counts of the faces of a die that are dragged: prior, exact posterior, evidence
line            points that are dragged: the posterior of a line, and the gap of a mean-field guide
mixture         means that are dragged: responsibilities, and steps of EM
states          measurements that are dragged: filtering, smoothing and the most probable path of a Markov chain
densities       a slider for x: prior, exact posterior and a guide of a chosen family, both KLs, evidence and ELBO
training        a slider over the steps of training: generated and true distribution, covariance, evidence and gap
latent_plane    a point on the plane of codes, and the decoder's image there; with a choice of class or component
rows            the rows of an image, one after the other

The pair and its data select the explorer. What is heavy is computed by the library in float64;
the page draws it, and computes closed forms, in doubles too.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from data import Dataset
from gallery.models.factor_analysis import FactorAnalysis
from gallery.models.hmm import HMM
from gallery.report.explorers.densities import densities
from gallery.report.explorers.die import die
from gallery.report.explorers.latent_plane import latent_plane
from gallery.report.explorers.line import line
from gallery.report.explorers.mixture import mixture
from gallery.report.explorers.rows import rows
from gallery.report.explorers.states import states
from gallery.report.explorers.training import training
from gallery.runs.registry import model_class
from gallery.runs.specification import Run
from gallery.runs.training import load
from inference import Pair, em
from inference.pairs.capabilities import exact

__all__ = ["explorer", "hero_explorer"]

EM_STEPS = 60

EXACT: tuple[Callable[[Pair, dict[str, Dataset]], str | None], ...] = (
    lambda pair, splits: densities(pair, splits["test"], fitted=False),
    lambda pair, splits: die(pair, splits["train"]),
    lambda pair, splits: line(pair, splits["train"]),
    lambda pair, splits: mixture(pair, splits["train"]),
    lambda pair, splits: states(pair, splits["test"]),
)
"""The explorers of a model that computes its evidence, of a pair in float64 on the CPU and its data."""


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
    for make in (latent_plane, densities, rows):
        if fragment := make(pair, splits["test"]):
            return fragment
    return _exact(pair, splits)


def hero_explorer(run: Run) -> str | None:
    """Return the explorer of a model that computes its evidence, without a fitted run, as an HTML fragment.

    :param run: the specification of a fit, whose data and initial parameters are used
    :return: None if no explorer applies
    :raises DataError: if its data are missing
    """
    if exact(model_class(run.model), "log_evidence") is None:
        return None
    run = _in_float64(run)
    pair, splits = run.build(), run.datasets()
    if isinstance(pair, FactorAnalysis):
        return training(run)
    if isinstance(pair, HMM):  # a mixture starts unfitted, since its page has the steps
        deque(em(pair, splits["train"].x, EM_STEPS), maxlen=0)
    return _exact(pair, splits)


def _in_float64(run: Run) -> Run:
    return replace(run, settings=replace(run.settings, device="cpu", precision="float64"))


def _exact(pair: Pair, splits: dict[str, Dataset]) -> str | None:
    """Return the first explorer of `EXACT` that applies."""
    return next(filter(None, (make(pair, splits) for make in EXACT)), None)
