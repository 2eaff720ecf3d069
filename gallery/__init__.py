"""The models, their recipes, runs, figures, pages and the command line.

    import gallery

    fitted = gallery.fit("vae", data="digits:threshold", epochs=20)
    fitted.evaluate()                          # bounds with their errors, and what they say
    fitted.plot()

The names below are imported on first use, and torch with them.
"""

import importlib
from typing import TYPE_CHECKING

from gallery import _own_packages  # noqa: F401

if TYPE_CHECKING:
    from gallery.models import MODELS
    from gallery.models.autoencoder import Autoencoder
    from gallery.models.contractive_autoencoder import ContractiveAutoencoder
    from gallery.models.cvae import CVAE
    from gallery.models.deep_markov import DeepMarkov
    from gallery.models.denoising_autoencoder import DenoisingAutoencoder
    from gallery.models.eight_schools import EightSchools
    from gallery.models.exponential_gaussian import ExponentialGaussian
    from gallery.models.factor_analysis import FactorAnalysis
    from gallery.models.gaussian_mixture import GaussianMixture
    from gallery.models.gmvae import GMVAE
    from gallery.models.hmm import HMM
    from gallery.models.item_response import ItemResponse
    from gallery.models.k_sparse_autoencoder import KSparseAutoencoder
    from gallery.models.lda import LDA
    from gallery.models.linear_regression import LinearRegression
    from gallery.models.loaded_die import LoadedDie
    from gallery.models.logistic_regression import LogisticRegression
    from gallery.models.ppca import PPCA
    from gallery.models.prod_lda import ProdLDA
    from gallery.models.sparse_autoencoder import SparseAutoencoder
    from gallery.models.squared_gaussian import SquaredGaussian
    from gallery.models.ss_vae import SSVAE
    from gallery.models.state_space import StateSpace
    from gallery.models.vae import VAE
    from gallery.models.vrnn_vectorised import VectorisedVRNN as VRNN  # noqa: N814
    from gallery.python.comparing import compare
    from gallery.python.fit import fit, load
    from gallery.python.fitted import Fit

__all__ = [
    "CVAE",
    "GMVAE",
    "HMM",
    "LDA",
    "MODELS",
    "PPCA",
    "SSVAE",
    "VAE",
    "VRNN",
    "Autoencoder",
    "ContractiveAutoencoder",
    "DeepMarkov",
    "DenoisingAutoencoder",
    "EightSchools",
    "ExponentialGaussian",
    "FactorAnalysis",
    "Fit",
    "GaussianMixture",
    "ItemResponse",
    "KSparseAutoencoder",
    "LinearRegression",
    "LoadedDie",
    "LogisticRegression",
    "ProdLDA",
    "SparseAutoencoder",
    "SquaredGaussian",
    "StateSpace",
    "compare",
    "fit",
    "load",
]

_MODELS = {
    "ExponentialGaussian": "exponential_gaussian",
    "SquaredGaussian": "squared_gaussian",
    "LinearRegression": "linear_regression",
    "LogisticRegression": "logistic_regression",
    "EightSchools": "eight_schools",
    "ItemResponse": "item_response",
    "LoadedDie": "loaded_die",
    "GaussianMixture": "gaussian_mixture",
    "HMM": "hmm",
    "StateSpace": "state_space",
    "FactorAnalysis": "factor_analysis",
    "PPCA": "ppca",
    "LDA": "lda",
    "ProdLDA": "prod_lda",
    "Autoencoder": "autoencoder",
    "DenoisingAutoencoder": "denoising_autoencoder",
    "SparseAutoencoder": "sparse_autoencoder",
    "KSparseAutoencoder": "k_sparse_autoencoder",
    "ContractiveAutoencoder": "contractive_autoencoder",
    "VAE": "vae",
    "CVAE": "cvae",
    "SSVAE": "ss_vae",
    "GMVAE": "gmvae",
    "VRNN": "vrnn",
    "DeepMarkov": "deep_markov",
}
_MODULES = {
    "Fit": "python.fitted",
    "MODELS": "models",
    "compare": "python.comparing",
    "fit": "python.fit",
    "load": "python.fit",
}


def __getattr__(name: str) -> object:
    if name in _MODELS:
        from gallery.models import MODELS

        return MODELS[_MODELS[name]]
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
