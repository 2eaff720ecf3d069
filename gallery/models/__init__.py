"""The registry of models: `family` is the model of the file `family.py`, `family:variant` a variant of it.

A variant stands below its base class in `family.py`, or in a file `family_*.py`. The module docstring of `family.py`
is the story of the family: its first line is the title in lists and pages.
"""

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # no model needs the engine
    from inference import Pair

__all__ = ["MODELS", "Models", "family_module", "registered_name", "title"]

_CLASSES = {
    "exponential_gaussian": "exponential_gaussian.ExponentialGaussian",
    "exponential_gaussian:per_datum": "exponential_gaussian.PerDatum",
    "exponential_gaussian:exponential": "exponential_gaussian.Exponential",
    "exponential_gaussian:gamma": "exponential_gaussian.Gamma",
    "exponential_gaussian:log_normal": "exponential_gaussian.LogNormal",
    "exponential_gaussian:normal": "exponential_gaussian.PlainNormal",
    "squared_gaussian": "squared_gaussian.SquaredGaussian",
    "linear_regression": "linear_regression.LinearRegression",
    "linear_regression:mean_field": "linear_regression.MeanField",
    "linear_regression:map": "linear_regression.MaximumAPosteriori",
    "linear_regression:unknown_noise": "linear_regression.UnknownNoise",
    "logistic_regression": "logistic_regression.LogisticRegression",
    "logistic_regression:mean_field": "logistic_regression.MeanField",
    "eight_schools": "eight_schools.EightSchools",
    "eight_schools:mean_field": "eight_schools.MeanField",
    "eight_schools:centred": "eight_schools.Centred",
    "item_response": "item_response.ItemResponse",
    "item_response:rasch": "item_response.Rasch",
    "item_response:bayesian": "item_response.Bayesian",
    "loaded_die": "loaded_die.LoadedDie",
    "loaded_die:softmax": "loaded_die.SoftmaxGuide",
    "gaussian_mixture": "gaussian_mixture.GaussianMixture",
    "hmm": "hmm.HMM",
    "state_space": "state_space.StateSpace",
    "state_space:local_level": "state_space.LocalLevel",
    "factor_analysis": "factor_analysis.FactorAnalysis",
    "factor_analysis:diagonal": "factor_analysis.DiagonalGuide",
    "factor_analysis:fixed_variance": "factor_analysis.FixedVarianceGuide",
    "factor_analysis:flow": "factor_analysis_flow.FlowGuide",
    "factor_analysis:missing": "factor_analysis_missing.MissingValues",
    "ppca": "ppca.PPCA",
    "lda": "lda.LDA",
    "lda:smoothed": "lda.Smoothed",
    "prod_lda": "prod_lda.ProdLDA",
    "autoencoder": "autoencoder.Autoencoder",
    "autoencoder:map": "autoencoder.MaximumAPosteriori",
    "denoising_autoencoder": "denoising_autoencoder.DenoisingAutoencoder",
    "sparse_autoencoder": "sparse_autoencoder.SparseAutoencoder",
    "sparse_autoencoder:deep": "sparse_autoencoder.Deep",
    "k_sparse_autoencoder": "k_sparse_autoencoder.KSparseAutoencoder",
    "contractive_autoencoder": "contractive_autoencoder.ContractiveAutoencoder",
    "contractive_autoencoder:deep": "contractive_autoencoder.Deep",
    "vae": "vae.VAE",
    "vae:full_covariance": "vae.FullCovarianceVAE",
    "vae:flow": "vae_flow.FlowVAE",
    "vae:vamp_prior": "vae_vamp_prior.VampPriorVAE",
    "vae:two_layers": "vae_two_layers.TwoLayerVAE",
    "cvae": "cvae.CVAE",
    "cvae:standard": "cvae.StandardCVAE",
    "cvae:z_given_y": "cvae.ZGivenY",
    "ss_vae": "ss_vae.SSVAE",
    "gmvae": "gmvae.GMVAE",
    "gmvae:relaxed": "gmvae_relaxed.Relaxed",
    "gmvae:categorical_kl": "gmvae_relaxed.CategoricalKL",
    "gmvae:straight_through": "gmvae_relaxed.StraightThrough",
    "gmvae:invariant": "gmvae_invariant.Invariant",
    "vrnn": "vrnn_vectorised.VectorisedVRNN",
    "vrnn:steps": "vrnn.VRNN",
    "vrnn:smoothing": "vrnn_smoothing.SmoothingVRNN",
    "deep_markov": "deep_markov.DeepMarkov",
}


class Models(Mapping[str, "type[Pair]"]):
    """The classes of the models by name; the file of a class, and torch with it, is imported when it is read."""

    def __getitem__(self, name: str) -> "type[Pair]":
        file, _, cls = _CLASSES[name].partition(".")
        return getattr(importlib.import_module(f"{__name__}.{file}"), cls)

    def __contains__(self, name: object) -> bool:
        return name in _CLASSES

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)


MODELS = Models()
"""The classes of the models, by the name that `gallery fit` takes."""


def family_module(cls: "type[Pair]") -> ModuleType:
    """Return the file with the story of a model: that of its family if it is registered, else the one it is defined in.

    :param cls: the class of a model
    """
    name = registered_name(cls)
    return sys.modules[cls.__module__] if name is None else importlib.import_module(f"{__name__}.{name.split(':')[0]}")


def registered_name(cls: type) -> str | None:
    """Return the name of a class in MODELS; None if it is another class."""
    written = f"{cls.__module__}.{cls.__qualname__}".removeprefix(f"{__name__}.")
    return next((name for name, known in _CLASSES.items() if known == written and MODELS[name] is cls), None)


def title(name: str) -> str:
    """Return the title of a model, read off its source without importing it: the first line of its family's docstring.

    That of a variant is what its class adds after the first sentence.

    :param name: in the registry
    """
    file, _, cls = _CLASSES[name].partition(".")
    family, _, variant = name.partition(":")
    spec = importlib.util.find_spec(f"{__name__}.{file if variant else family}")
    assert spec is not None
    assert spec.origin is not None
    tree: ast.Module | ast.ClassDef = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    if variant:
        tree = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == cls)
    text = ast.get_docstring(tree) or ""
    return (text.partition(". ")[2] if variant else text).strip().partition("\n")[0]
