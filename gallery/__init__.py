"""The models, their recipes, runs, figures, pages and the command line."""

from gallery import _own_packages  # noqa: F401
from gallery.models import MODELS
from gallery.models.cvae import CVAE
from gallery.models.exponential_gaussian import ExponentialGaussian
from gallery.models.factor_analysis import FactorAnalysis
from gallery.models.linear_regression import LinearRegression
from gallery.models.vae import VAE

__all__ = ["CVAE", "MODELS", "VAE", "ExponentialGaussian", "FactorAnalysis", "LinearRegression"]
