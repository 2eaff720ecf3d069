"""Explorers: pieces of a page that a fitted run can be moved about in, without a server and without a request.

    explorer(Path("runs/mine"))    # HTML, or None where there is nothing to explore

latent_plane    a point on the plane of codes, and the decoder's image there; with a class or component to choose
densities       a slider for x: prior, exact posterior and guide, evidence and ELBO
rows            the rows of an image as they appear in time
training        a slider over the steps of training: generated and true distribution, evidence

What applies is read off the pair and its data. All numbers come from the library, in float64; a page draws them.
"""

from dataclasses import replace
from pathlib import Path

from gallery.models.factor_analysis import FactorAnalysis
from gallery.report.explorers.densities import densities
from gallery.report.explorers.latent_plane import latent_plane
from gallery.report.explorers.rows import rows
from gallery.report.explorers.training import training
from gallery.runs import training as runs

__all__ = ["explorer"]


def explorer(folder: Path) -> str | None:
    """The explorer of a fitted run as a fragment of HTML, to stand in the text of a page; None where none applies.

    :raises RunError: if the folder holds no run, or one that is not fitted
    :raises DataError: if its test data are not here
    """
    run, pair = runs.load(folder)
    if isinstance(pair, FactorAnalysis):
        return training(run, pair)
    run = replace(run, settings=replace(run.settings, device="cpu", precision="float64"))
    test = run.datasets()["test"]
    pair = pair.to("cpu").double()
    for make in (latent_plane, densities, rows):
        if found := make(pair, test):
            return found
    return None
