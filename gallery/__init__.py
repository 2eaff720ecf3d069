"""What is shown: the models, their recipes, their pictures, the command line."""

from .models import MODELS
from .models.cvae import CVAE
from .models.exponential_gaussian import ExponentialGaussian
from .models.factor_analysis import FactorAnalysis
from .models.linear_regression import LinearRegression
from .models.vae import VAE

__all__ = ["CVAE", "MODELS", "VAE", "ExponentialGaussian", "FactorAnalysis", "LinearRegression"]
