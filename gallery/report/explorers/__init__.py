"""Explorers: interactive figures of a fitted run in a page, without a server and without requests.

    explorer(Path("runs/mine"))    # HTML, or None if no explorer applies

latent_plane    a point on the plane of codes, and the decoder's image there; with a choice of class or component;
                the code and the bound of a drawing
components      q(y | x) of a drawing, and draws of a component
reconstruction  code and reconstruction of a drawing, by its corruption or by k
densities       a slider for x: prior, exact posterior and guide, evidence and ELBO
rows            the rows of an image, one after the other; completions of a drawing
training        a slider over the steps of training: generated and true distribution, evidence

The pair and its data select the explorer. All numbers are computed by the library in float64, or in the page by the
networks in it (network.py). Small fitted pairs of the deep models are committed (weights.py).
"""

from dataclasses import replace
from pathlib import Path

from gallery.models.factor_analysis import FactorAnalysis
from gallery.report.explorers.deep import deep
from gallery.report.explorers.densities import densities
from gallery.report.explorers.training import training
from gallery.runs.training import load

__all__ = ["explorer"]


def explorer(folder: Path) -> str | None:
    """Return the explorer of a fitted run as an HTML fragment.

    :return: None if no explorer applies
    :raises RunError: if the folder holds no fitted run
    :raises DataError: if its test data are missing
    """
    run, pair = load(folder)
    if isinstance(pair, FactorAnalysis):
        return training(run, pair)
    run = replace(run, settings=replace(run.settings, device="cpu", precision="float64"))
    test = run.datasets()["test"]
    pair = pair.to("cpu").double()
    for make in (deep, densities):
        if fragment := make(pair, test):
            return fragment
    return None
