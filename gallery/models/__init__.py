"""The models by name. A file of this folder holds one story; its variants are named `file:variant`."""

from torch import nn

from . import cvae, exponential_gaussian, factor_analysis, linear_regression, vae

MODELS: dict[str, type[nn.Module]] = {
    "exponential_gaussian": exponential_gaussian.ExponentialGaussian,
    "exponential_gaussian:per_datum": exponential_gaussian.PerDatum,
    "exponential_gaussian:exponential": exponential_gaussian.Exponential,
    "exponential_gaussian:gamma": exponential_gaussian.Gamma,
    "exponential_gaussian:log_normal": exponential_gaussian.LogNormal,
    "exponential_gaussian:normal": exponential_gaussian.PlainNormal,
    "linear_regression": linear_regression.LinearRegression,
    "linear_regression:mean_field": linear_regression.MeanField,
    "linear_regression:map": linear_regression.MaximumAPosteriori,
    "linear_regression:unknown_noise": linear_regression.UnknownNoise,
    "factor_analysis": factor_analysis.FactorAnalysis,
    "factor_analysis:diagonal": factor_analysis.DiagonalGuide,
    "factor_analysis:fixed_variance": factor_analysis.FixedVarianceGuide,
    "vae": vae.VAE,
    "cvae": cvae.CVAE,
    "cvae:standard": cvae.StandardCVAE,
}
