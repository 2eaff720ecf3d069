"""The models, their recipes, runs, figures, pages and the command line.

The classes below are imported on first use, and torch with them.
"""

from typing import TYPE_CHECKING

from gallery import _own_packages  # noqa: F401

if TYPE_CHECKING:
    from gallery.models import MODELS
    from gallery.models.cvae import CVAE
    from gallery.models.exponential_gaussian import ExponentialGaussian
    from gallery.models.factor_analysis import FactorAnalysis
    from gallery.models.linear_regression import LinearRegression
    from gallery.models.vae import VAE

__all__ = ["CVAE", "MODELS", "VAE", "ExponentialGaussian", "FactorAnalysis", "LinearRegression"]

_NAMES = {
    "CVAE": "cvae",
    "VAE": "vae",
    "ExponentialGaussian": "exponential_gaussian",
    "FactorAnalysis": "factor_analysis",
    "LinearRegression": "linear_regression",
}


def __getattr__(name: str) -> object:
    from gallery.models import MODELS

    if name == "MODELS":
        return MODELS
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return MODELS[_NAMES[name]]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
