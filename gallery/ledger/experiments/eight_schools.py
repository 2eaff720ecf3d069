"""The funnel of a hierarchy: the exact posterior in centred and in non-centred coordinates."""

from pathlib import Path
from typing import Any

import data
from gallery.figures import funnel, save
from gallery.models.eight_schools import EightSchools

__all__ = ["reproduce"]


def reproduce(folder: Path, fitted: Path | None = None) -> dict[str, Any]:
    """Draw the density of the spread and of the effect of the first school, in both coordinates. Nothing is fitted.

    :param fitted: not used
    :return: empty: the numbers are in the picture
    """
    schools = data.load("eight_schools")
    assert schools.covariates is not None
    save(funnel(EightSchools().posterior(schools.x, schools.covariates)), folder / "funnel.png")
    return {}
