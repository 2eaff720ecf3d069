"""The recipes: model, data, settings of the fit and published numbers of each entry of the gallery.

`gallery fit MODEL` starts from the first recipe of a model; a flag overrides a value of the recipe. Unless one of them
sets them, `data_dim`, `steps`, `step_dim`, `classes`, `given_dim`, `total` and `likelihood` are derived from the data.

Where a source derives KL(guide || prior) in closed form, the first recipe uses it (objective "analytic"). A recipe
called `...:sampled` is the same with the KL sampled, so that the difference is a number.
"""

from dataclasses import replace
from typing import Any

from gallery.catalogue.recipe import Recipe, sampled

__all__ = ["AUTOENCODERS", "BERNOULLI", "RECIPES", "TUTORIAL", "VARIATIONAL", "recipe_for"]

TUTORIAL = "Yang Zhi-Han, Training latent variable models with auto-encoding variational Bayes, arXiv 2208.07818"
VARIATIONAL = "Lecture slides on variational inference"
BERNOULLI = "Notes on Bernoulli VAEs"
BAYESIAN = "Gelman, Carlin, Stern, Dunson, Vehtari and Rubin, Bayesian data analysis, 2013"
SCHOOLS = "Rubin, Estimation in parallel randomized experiments, 1981"
ITEMS = "Bock and Lieberman, Fitting a response model for n dichotomously scored items, 1970"
PRODUCTS = "Srivastava and Sutton, Autoencoding variational inference for topic models, 2017"
WORDS = "Blei, Ng and Jordan, Latent Dirichlet allocation, 2003"
STATE_SPACE = "Durbin and Koopman, Time series analysis by state space methods, 2012"
MISSING = "Williams, Nash and Nazábal, Autoencoders and probabilistic inference with missing data, arXiv 1801.03851"
STRUCTURED = "Krishnan, Shalit and Sontag, Structured inference networks for nonlinear state space models, 2017"
FLOWS = "Altosaar, variational-autoencoder, github.com/altosaar/variational-autoencoder"
INFORMATION = "Hu et al., Learning discrete representations via information maximizing self-augmented training, 2017"
VAMP_PRIOR = "Tomczak and Welling, VAE with a VampPrior, 2018"
LINEAR_VAE = "Lucas, Tucker, Grosse and Norouzi, A linear VAE perspective on posterior collapse, 2019"
AUTOENCODERS = "Lecture slides on autoencoders and VAEs"
MEAN_ERROR = 3.0 * 784  # weight 3 beside an error that is a mean over pixels, in nats per data point


def _exponential_gaussian(variant: str) -> Recipe:
    """Build the recipe of one guide family; the bounds from both sides of the first are those of the model of all."""
    name = f"exponential_gaussian{variant}"
    settings = {"epochs": 40, "batch_size": 50, "lr": 1e-2, "lr_schedule": "flat_cosine"}
    extra_metrics: tuple[str, ...] = ("k_hat",) if variant else ("k_hat", "sandwich")
    if variant in (":exponential", ":gamma", ":log_normal"):
        settings |= {"adam_beta2": 0.95}  # a draw from a tail has a large gradient, which Adam then soon forgets
    if variant == ":per_datum":  # full-batch steps update the parameters of every data point
        settings |= {"epochs": 800, "batch_size": 2000, "lr": 5e-2}
        extra_metrics = ()
    return Recipe(name, name, "exponential_gaussian", VARIATIONAL, settings=settings, extra_metrics=extra_metrics)


def _linear_regression(variant: str) -> Recipe:
    name = f"linear_regression{variant}"
    settings = {"epochs": 200, "batch_size": 20, "lr": 3e-2, "lr_schedule": "flat_cosine", "adam_beta2": 0.99}
    return Recipe(name, name, "line", BERNOULLI, settings=settings | {"particles": 32})


def _logistic_regression(variant: str) -> Recipe:
    name = f"logistic_regression{variant}"
    settings = {"epochs": 400, "batch_size": 20, "lr": 3e-2, "lr_schedule": "flat_cosine", "adam_beta2": 0.99}
    return Recipe(name, name, "logistic", BAYESIAN, settings=settings | {"particles": 32})


def _eight_schools(variant: str) -> Recipe:
    name = f"eight_schools{variant}"
    settings = {"epochs": 800, "batch_size": 8, "lr": 3e-2, "lr_schedule": "flat_cosine", "adam_beta2": 0.99}
    return Recipe(name, name, "eight_schools", SCHOOLS, settings=settings | {"particles": 64})


def _item_response(variant: str) -> Recipe:
    name = f"item_response{variant}"
    settings = {"epochs": 200, "batch_size": 100, "lr": 3e-2, "lr_schedule": "flat_cosine", "objective": "analytic"}
    metrics: tuple[str, ...] = ("k_hat",)
    if variant == ":bayesian":  # a draw of the items serves all persons of a step
        settings, metrics = settings | {"epochs": 1500, "batch_size": 1000, "particles": 8}, ()
    return Recipe(name, name, "lsat6", ITEMS, settings=settings, extra_metrics=metrics)


def _enumerated(name: str) -> Recipe:
    settings = {"epochs": 120, "batch_size": 50, "lr": 3e-2, "lr_schedule": "flat_cosine", "objective": "enum"}
    return Recipe(name, name, name, "Bishop, Pattern Recognition and Machine Learning, 2006", settings=settings)


def _lda(name: str, **settings: Any) -> Recipe:
    fit = {"epochs": 60, "batch_size": 100, "lr": 3e-2, "lr_schedule": "flat_cosine", "objective": "analytic"}
    return Recipe(name, name, "topics", WORDS, settings=fit | settings, extra_metrics=("k_hat",))


def _prod_lda() -> Recipe:
    settings = {"epochs": 100, "batch_size": 100, "lr": 1e-2, "lr_schedule": "flat_cosine", "objective": "analytic"}
    return Recipe("prod_lda", "prod_lda", "topics", PRODUCTS, settings=settings, extra_metrics=("k_hat",))


def _lda_reuters() -> Recipe:
    """Build the recipe whose settings, and the start of the topics, were chosen by the validation documents."""
    smoothed, keywords = _lda("lda:smoothed", epochs=60, batch_size=79, lr=1e-1), {"topics": 20, "alpha": 0.1}
    return replace(smoothed, name="lda:reuters", data="reuters", keywords=keywords | {"length": 213})


def _state_space(name: str) -> Recipe:
    settings = {"epochs": 240, "batch_size": 100, "lr": 1e-1, "lr_schedule": "flat_cosine", "objective": "analytic"}
    return Recipe(name, name, name, STATE_SPACE, settings=settings, extra_metrics=("k_hat",))


def _local_level() -> Recipe:
    settings = {"epochs": 180, "batch_size": 1, "lr": 1e-1, "lr_schedule": "flat_cosine", "objective": "analytic"}
    return Recipe("state_space:local_level", "state_space:local_level", "nile", STATE_SPACE, settings=settings)


def _deep_markov(name: str) -> Recipe:
    sizes = {"latent_dim": 64, "hidden": 128, "state_dim": 200}
    fit = {"epochs": 800, "batch_size": 20, "lr": 2e-3, "lr_schedule": "cosine"}
    return Recipe(name, name, "jsb_chorales", STRUCTURED, sizes, fit, extra_metrics=("k_hat", "elbo_per_step"))


def _deep_markov_rows(name: str) -> Recipe:
    """Build the recipe of digits, whose steps are the rows of an image, from the top."""
    sizes = {"step_dim": 8, "latent_dim": 16, "hidden": 64, "state_dim": 64}
    fit = {"epochs": 200, "batch_size": 50, "lr": 2e-3, "lr_schedule": "cosine", "warmup": 20}
    return Recipe(name, "deep_markov", "digits:threshold", STRUCTURED, sizes, fit, extra_metrics=("k_hat",))


def _factor_analysis(variant: str, data: str = "factor_analysis", source: str = TUTORIAL, epochs: int = 240) -> Recipe:
    name = f"factor_analysis{variant}"
    settings = {"epochs": epochs, "batch_size": 32, "lr": 3e-2, "lr_schedule": "flat_cosine", "objective": "analytic"}
    return Recipe(name, name, data, source, settings=settings, extra_metrics=("k_hat", "sandwich"))


def _ppca() -> Recipe:
    settings = {"epochs": 1200, "batch_size": 300, "lr": 3e-2, "lr_schedule": "flat_cosine", "objective": "analytic"}
    return Recipe("ppca", "ppca", "digits:grey", LINEAR_VAE, settings=settings, extra_metrics=("k_hat",))


def _loaded_die(variant: str) -> Recipe:
    name = f"loaded_die{variant}"
    settings = {"epochs": 60, "batch_size": 20, "lr": 1e-1, "lr_schedule": "flat_cosine", "adam_beta2": 0.99}
    return Recipe(name, name, "loaded_die", BERNOULLI, settings=settings | {"particles": 32})


def _autoencoder(
    name: str, model: str | None = None, data: str = "mnist:grey", epochs: int = 20, **keywords: Any
) -> Recipe:
    """Build a recipe with a Gaussian likelihood of grey pixels, in place of the continuous Bernoulli."""
    settings = {"epochs": epochs, "batch_size": 100, "lr": 1e-3}
    return Recipe(name, model or name, data, AUTOENCODERS, {"likelihood": "gaussian"} | keywords, settings)


def _sparse_slides(name: str, latent_dim: int) -> Recipe:
    """Build the recipe of the slides' program, whose penalty is infinite where a ReLU is 0 for a whole minibatch."""
    units: dict[str, Any] = {"activation": "relu", "weight": MEAN_ERROR, "latent_dim": latent_dim}
    return replace(_autoencoder(name, "sparse_autoencoder", epochs=5, **units), validation=False)


def _vae(name: str, source: str, data: str, keywords: dict[str, Any], **settings: Any) -> Recipe:
    settings = {"epochs": 20, "batch_size": 100, "lr": 1e-3, "objective": "analytic"} | settings
    return Recipe(name, "vae", data, source, {"dropout": 0.0} | keywords, settings, extra_metrics=("k_hat",))


def _importance_weighted(name: str, objective: str, data: str = "mnist:dynamic", **settings: Any) -> Recipe:
    """Build the recipe of the paper's VAE with one stochastic layer.

    3280 epochs are the paper's 1 + 3 + ... + 3^7, at its rates; the shorter fits to static pixels have a cosine.
    """
    source = "Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2016"
    keywords = {"latent_dim": 50, "hidden": (200, 200), "activation": "tanh", "dropout": 0.0}
    fit = {"epochs": 3280, "batch_size": 20, "lr": 1e-3, "lr_schedule": "stages", "objective": objective}
    metrics = ("k_hat", "iwae_5000")
    return Recipe(name, "vae", data, source, keywords, fit | settings, validation=False, extra_metrics=metrics)


def _short(name: str, model: str) -> Recipe:
    """Build the recipe of the same VAE, or of a variant, in a length that a quarter of an hour allows."""
    like = _importance_weighted(name, "trace", "static_mnist", epochs=60, **_COSINE)
    return replace(like, model=model, extra_metrics=("k_hat", "iwae_1000"))


def _vamp_prior(like: Recipe) -> Recipe:
    """Build the recipe with a KL whose weight rises, without which the prior and the code collapse onto each other."""
    return replace(like, source=VAMP_PRIOR, settings=like.settings | {"warmup": 10})


def _two_layers(like: Recipe, name: str) -> Recipe:
    """Build the recipe of the paper's VAE with two stochastic layers, 784-200-200-100-100-100-50."""
    keywords = like.keywords | {"middle_dim": 100, "middle_hidden": (100, 100)}
    return replace(like, name=name, model="vae:two_layers", keywords=keywords)


def _gmvae(name: str, objective: str, **settings: Any) -> Recipe:
    """Build a recipe with matrix products in bfloat16, which take half the time on processors that support it."""
    return Recipe(
        name,
        "gmvae" if name == "gmvae:cosine" else name.removesuffix(":annealed"),
        "mnist:threshold",
        TUTORIAL,
        settings={"epochs": 78, "batch_size": 100, "lr": 1e-3, "objective": objective, "precision": "bfloat16"}
        | settings,
        validation=False,
        extra_metrics=("k_hat",),
    )


def _tutorial(name: str, data: str, epochs: int, batch_size: int = 100, lr: float = 3e-4) -> Recipe:
    """Build the recipe of a network of the tutorial, which is trained on all images."""
    settings = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "objective": "analytic"}
    return Recipe(name, name, data, TUTORIAL, settings=settings, validation=False, extra_metrics=("k_hat",))


def _vrnn(variant: str) -> Recipe:
    return _tutorial(f"vrnn{variant}", "mnist:threshold", epochs=7, lr=1e-3)


def _ss_vae(name: str, labels: int, binarisation: str = "threshold", **keywords: float) -> Recipe:
    """Build the recipe of M2 with `labels` labelled images.

    The paper sets alpha = 0.1 x data / labels, beside a sum over all images. That weight is too small: after an epoch
    with 100 labels q(y | x) misclassifies half of the images. Here alpha multiplies the mean over labelled images and
    is added to the mean over all images, so a labelled image has the weight 0.1 x (data / labels)^2, for 60,000 images.

    With dynamic binarisation the classifier sees no labelled image twice. Dropout of 0.2 of the pixels (Hinton et al.,
    Improving neural networks by preventing co-adaptation of feature detectors, 2012) does so for thresholded ones.
    """
    settings = {"epochs": 30, "batch_size": 100, "lr": 1e-3, "lr_schedule": "cosine", "objective": "enum_analytic"}
    return Recipe(
        name,
        "ss_vae",
        f"mnist:{binarisation}:{labels}-labels",
        "Kingma, Rezende, Mohamed and Welling, Semi-supervised learning with deep generative models, 2014",
        keywords={"alpha": 0.1 * (60_000 / labels) ** 2 if labels else 0.0} | keywords,
        settings=settings | {"precision": "bfloat16"},
        validation=False,
        extra_metrics=("k_hat",),
    )


_SQUARED = "squared_gaussian"
_SQUARED_FIT = {"epochs": 300, "batch_size": 100, "lr": 3e-2, "lr_schedule": "flat_cosine"}
_COSINE: dict[str, Any] = {"batch_size": 100, "lr_schedule": "cosine"}
_VAE = _tutorial("vae", "mnist:dequantized", epochs=46, batch_size=32)
_CVAE = _tutorial("cvae", "mnist:dequantized", epochs=69)
_CVAE_STANDARD = replace(_CVAE, name="cvae:standard", model="cvae:standard", source=AUTOENCODERS)
_VAE_SLIDES = _vae("vae:slides", AUTOENCODERS, "mnist:threshold", {"latent_dim": 2, "hidden": (144,)}, epochs=40)
_VAE_NOTES = _vae("vae:notes", BERNOULLI, "mnist:threshold", {"latent_dim": 32, "hidden": (256,)})

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in [
        *map(_exponential_gaussian, ("", ":per_datum", ":exponential", ":gamma", ":log_normal", ":normal")),
        *map(_linear_regression, ("", ":mean_field", ":map", ":unknown_noise")),
        Recipe(_SQUARED, _SQUARED, _SQUARED, AUTOENCODERS, {}, _SQUARED_FIT, extra_metrics=("k_hat", "sandwich")),
        *map(_logistic_regression, ("", ":mean_field")),
        *map(_eight_schools, ("", ":mean_field", ":centred")),
        *map(_item_response, ("", ":rasch", ":bayesian")),
        *map(_loaded_die, ("", ":softmax")),
        *map(_enumerated, ("gaussian_mixture", "hmm")),
        _state_space("state_space"),
        _local_level(),
        _factor_analysis(""),
        sampled(_factor_analysis("")),
        *map(_factor_analysis, (":diagonal", ":fixed_variance", ":flow")),
        _factor_analysis(":missing", "factor_analysis_missing", MISSING, epochs=960),
        _ppca(),
        _lda("lda"),
        _lda("lda:smoothed", lr=1e-1),
        _lda_reuters(),
        _prod_lda(),
        _autoencoder("autoencoder"),
        _autoencoder("autoencoder:map"),
        _autoencoder("denoising_autoencoder"),
        _autoencoder("denoising_autoencoder:masking", "denoising_autoencoder", corruption="masking"),
        _autoencoder("denoising_autoencoder:gaussian", "denoising_autoencoder", corruption="gaussian"),
        _autoencoder("denoising_autoencoder:salt_pepper", "denoising_autoencoder", corruption="salt_pepper"),
        _autoencoder("sparse_autoencoder"),
        _autoencoder("sparse_autoencoder:mean_error", "sparse_autoencoder", weight=MEAN_ERROR),
        _sparse_slides("sparse_autoencoder:slides", latent_dim=128),
        _sparse_slides("sparse_autoencoder:slides:144", latent_dim=144),
        _autoencoder("sparse_autoencoder:deep"),
        _autoencoder("k_sparse_autoencoder"),
        _autoencoder("k_sparse_autoencoder:10", "k_sparse_autoencoder", k=10),
        _autoencoder("contractive_autoencoder"),
        _autoencoder("contractive_autoencoder:deep", data="digits:grey", epochs=200),
        _VAE,
        sampled(_VAE),
        replace(_VAE, name="vae:full_covariance", model="vae:full_covariance", source=VARIATIONAL),
        replace(_VAE, name="vae:cosine", settings={"epochs": 100, "lr": 1e-3} | _COSINE),
        _VAE_SLIDES,
        sampled(_VAE_SLIDES),
        _VAE_NOTES,
        sampled(_VAE_NOTES),
        _vae("vae:gaussian", VARIATIONAL, "mnist:grey", {"latent_dim": 2, "likelihood": "gaussian"}),
        _importance_weighted("vae:iwae", "trace"),
        _importance_weighted("vae:iwae:50", "iwae:50"),
        _importance_weighted("vae:static_mnist", "trace", "static_mnist", epochs=400, **_COSINE),
        _importance_weighted("vae:static_mnist:iwae", "iwae:50", "static_mnist", epochs=100, **_COSINE),
        _short("vae:static_mnist:short", "vae"),
        replace(_short("vae:static_mnist:flow", "vae:flow"), source=FLOWS),
        _vamp_prior(_short("vae:static_mnist:vamp_prior", "vae:vamp_prior")),
        _two_layers(_short("vae:static_mnist:short", "vae"), "vae:static_mnist:two_layers"),
        _two_layers(_importance_weighted("vae:iwae", "trace"), "vae:two_layers"),
        _two_layers(_importance_weighted("vae:iwae:50", "iwae:50"), "vae:two_layers:iwae"),
        _CVAE,
        sampled(_CVAE),
        _CVAE_STANDARD,
        sampled(_CVAE_STANDARD),
        replace(_CVAE, name="cvae:z_given_y", model="cvae:z_given_y"),
        replace(_CVAE, name="cvae:random_labels", data="mnist:dequantized:random-labels"),
        _ss_vae("ss_vae", 100),
        _ss_vae("ss_vae:dynamic", 100, "dynamic"),
        _ss_vae("ss_vae:dropout", 100, dropout=0.2),
        _ss_vae("ss_vae:1000", 1000),
        _ss_vae("ss_vae:1000:dynamic", 1000, "dynamic"),
        _ss_vae("ss_vae:unlabelled", 0),
        _gmvae("gmvae", "enum_analytic"),
        _gmvae("gmvae:cosine", "enum_analytic", lr_schedule="cosine"),
        _gmvae("gmvae:relaxed", "trace"),
        _gmvae("gmvae:relaxed:annealed", "trace", final_temperature=0.1),
        _gmvae("gmvae:categorical_kl", "trace"),
        _gmvae("gmvae:straight_through", "trace"),
        replace(_gmvae("gmvae:invariant", "enum_analytic", epochs=40, lr_schedule="cosine"), source=INFORMATION),
        _vrnn(""),
        sampled(_vrnn("")),
        replace(_vrnn(":steps"), extra_metrics=("k_hat", "filtered")),
        _vrnn(":smoothing"),
        _deep_markov("deep_markov"),
        _deep_markov_rows("deep_markov:rows"),
    ]
}
"""The recipes by name, in the order of the gallery's tables."""


def recipe_for(model: str) -> Recipe | None:
    """Return the first recipe of a model, None if it has none.

    :param model: name in the registry of models
    """
    return next((recipe for recipe in RECIPES.values() if recipe.model == model), None)
