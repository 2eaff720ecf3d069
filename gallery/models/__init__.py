"""The registry of models: `family` is the model of the file `family.py`, `family:variant` a variant of it.

A variant stands below its base class in `family.py`, or in a file `family_*.py`. The module docstring of `family.py`
is the story of the family: its first line is the title in lists and pages.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from gallery.models import (
    autoencoder,
    contractive_autoencoder,
    cvae,
    denoising_autoencoder,
    exponential_gaussian,
    factor_analysis,
    gaussian_mixture,
    gmvae,
    gmvae_relaxed,
    hmm,
    k_sparse_autoencoder,
    linear_regression,
    loaded_die,
    sparse_autoencoder,
    squared_gaussian,
    ss_vae,
    vae,
    vrnn,
    vrnn_smoothing,
    vrnn_vectorised,
)

if TYPE_CHECKING:  # no model needs the engine
    from inference import Pair

__all__ = ["MODELS", "family_module"]

MODELS: "dict[str, type[Pair]]" = {
    "exponential_gaussian": exponential_gaussian.ExponentialGaussian,
    "exponential_gaussian:per_datum": exponential_gaussian.PerDatum,
    "exponential_gaussian:exponential": exponential_gaussian.Exponential,
    "exponential_gaussian:gamma": exponential_gaussian.Gamma,
    "exponential_gaussian:log_normal": exponential_gaussian.LogNormal,
    "exponential_gaussian:normal": exponential_gaussian.PlainNormal,
    "squared_gaussian": squared_gaussian.SquaredGaussian,
    "linear_regression": linear_regression.LinearRegression,
    "linear_regression:mean_field": linear_regression.MeanField,
    "linear_regression:map": linear_regression.MaximumAPosteriori,
    "linear_regression:unknown_noise": linear_regression.UnknownNoise,
    "loaded_die": loaded_die.LoadedDie,
    "loaded_die:softmax": loaded_die.SoftmaxGuide,
    "gaussian_mixture": gaussian_mixture.GaussianMixture,
    "hmm": hmm.HMM,
    "factor_analysis": factor_analysis.FactorAnalysis,
    "factor_analysis:diagonal": factor_analysis.DiagonalGuide,
    "factor_analysis:fixed_variance": factor_analysis.FixedVarianceGuide,
    "autoencoder": autoencoder.Autoencoder,
    "autoencoder:map": autoencoder.MaximumAPosteriori,
    "denoising_autoencoder": denoising_autoencoder.DenoisingAutoencoder,
    "sparse_autoencoder": sparse_autoencoder.SparseAutoencoder,
    "sparse_autoencoder:deep": sparse_autoencoder.Deep,
    "k_sparse_autoencoder": k_sparse_autoencoder.KSparseAutoencoder,
    "contractive_autoencoder": contractive_autoencoder.ContractiveAutoencoder,
    "contractive_autoencoder:deep": contractive_autoencoder.Deep,
    "vae": vae.VAE,
    "cvae": cvae.CVAE,
    "cvae:standard": cvae.StandardCVAE,
    "ss_vae": ss_vae.SSVAE,
    "gmvae": gmvae.GMVAE,
    "gmvae:relaxed": gmvae_relaxed.Relaxed,
    "gmvae:categorical_kl": gmvae_relaxed.CategoricalKL,
    "vrnn": vrnn_vectorised.VectorisedVRNN,
    "vrnn:steps": vrnn.VRNN,
    "vrnn:smoothing": vrnn_smoothing.SmoothingVRNN,
}
"""The classes of the models, by the name that `gallery fit` takes."""


def family_module(cls: "type[Pair]") -> ModuleType:
    """Return the file with the story of a model: that of its family if it is registered, else the one it is defined in.

    :param cls: the class of a model
    """
    for name, registered in MODELS.items():
        if registered is cls:
            return sys.modules[f"{__name__}.{name.partition(':')[0]}"]
    return sys.modules[cls.__module__]
