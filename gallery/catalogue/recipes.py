"""Recipes: which model, on which data, fitted how, and what was published of it. One row, one entry of the gallery.

The first recipe of a model is what `gallery fit MODEL` starts from; every flag overrides it. `data_dim`, `classes`,
`given_dim`, `total` and `likelihood` come from the data unless a recipe or a flag says otherwise.
"""

from dataclasses import dataclass, field
from typing import Any

TUTORIAL = "Yang Zhi-Han, Training latent variable models with auto-encoding variational Bayes, arXiv 2208.07818"
VARIATIONAL = "Lecture slides on variational inference"
BERNOULLI = "Notes on Bernoulli VAEs"
AUTOENCODERS = "Lecture slides on autoencoders and VAEs"


@dataclass(frozen=True)
class Recipe:
    """A row of the table.

    :param name: of the recipe, `model` or `model:variant`
    :param model: name in the registry of models
    :param data: name for `data.load`
    :param keywords: of the model's constructor
    :param settings: of the fit, where they differ from the defaults of `inference.Settings`
    :param validation: are the last training images kept back? The published runs trained on all
    :param judges: names of `gallery.judges.JUDGES`, whose numbers the ledger holds beside the usual ones
    :param published: what a source reports: meaning -> number, nats per data point on the test set
    :param source: where the entry comes from
    """

    name: str
    model: str
    data: str
    source: str
    keywords: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    validation: bool = True
    published: dict[str, float] = field(default_factory=dict)
    extra_metrics: tuple[str, ...] = ()


def _exponential_gaussian(variant: str) -> Recipe:
    name = f"exponential_gaussian{variant}"
    settings = {"epochs": 40, "batch_size": 50, "lr": 1e-2, "lr_schedule": "cosine"}
    extra_metrics = ("k_hat",) if variant else ("k_hat", "sandwich")  # the model is one and the same
    if variant == ":per_datum":  # an update of each datum at every step
        settings |= {"epochs": 800, "batch_size": 2000, "lr": 5e-2}
        extra_metrics = ()
    return Recipe(name, name, "exponential_gaussian", VARIATIONAL, settings=settings, extra_metrics=extra_metrics)


def _linear_regression(variant: str) -> Recipe:
    name = f"linear_regression{variant}"
    settings = {"epochs": 200, "batch_size": 20, "lr": 3e-2, "lr_schedule": "cosine", "adam_beta2": 0.99}
    settings["particles"] = 32
    return Recipe(name, name, "line", BERNOULLI, settings=settings)


def _factor_analysis(variant: str) -> Recipe:
    name = f"factor_analysis{variant}"
    settings = {"epochs": 200, "batch_size": 32, "lr": 1e-2, "lr_schedule": "cosine"}
    return Recipe(name, name, "factor_analysis", TUTORIAL, settings=settings, extra_metrics=("k_hat", "sandwich"))


def _loaded_die(variant: str) -> Recipe:
    name = f"loaded_die{variant}"
    settings = {"epochs": 60, "batch_size": 20, "lr": 1e-1, "lr_schedule": "cosine", "adam_beta2": 0.99}
    settings["particles"] = 32
    return Recipe(name, name, "loaded_die", BERNOULLI, settings=settings)


def _autoencoder(
    name: str, model: str | None = None, data: str = "mnist:grey", epochs: int = 20, **keywords: Any
) -> Recipe:
    """A Gaussian likelihood on grey pixels, where from_data would choose the continuous Bernoulli."""
    settings = {"epochs": epochs, "batch_size": 100, "lr": 1e-3}
    return Recipe(name, model or name, data, AUTOENCODERS, {"likelihood": "gaussian"} | keywords, settings)


def _vae(name: str, source: str, data: str, keywords: dict[str, Any], **settings: Any) -> Recipe:
    settings = {"epochs": 20, "batch_size": 100, "lr": 1e-3} | settings
    return Recipe(name, "vae", data, source, {"dropout": 0.0} | keywords, settings, extra_metrics=("k_hat",))


def _importance_weighted(name: str, objective: str, published: float) -> Recipe:
    """The paper's one-layer model, by the ELBO and by IWAE-50. 3280 passes are its 1 + 3 + ... + 3^7; it lets the rate
    fall from 1e-3 to 1e-4 in seven steps over them, and here it stays."""
    source = "Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2016"
    keywords = {"latent_dim": 50, "hidden": (200, 200), "activation": "tanh", "dropout": 0.0}
    settings = {"epochs": 3280, "batch_size": 20, "lr": 1e-3, "objective": objective}
    about = {"validation": False, "published": {"IWAE-5000": published}, "extra_metrics": ("k_hat", "iwae_5000")}
    return Recipe(name, "vae", "mnist:dynamic", source, keywords, settings, **about)


def _gmvae(name: str, objective: str, published: dict[str, float], **settings: Any) -> Recipe:
    """Matrix products in bfloat16, twice as fast where the processor has it."""
    settings = {"epochs": 78, "batch_size": 100, "lr": 1e-3, "objective": objective, "precision": "bfloat16"} | settings
    model = "gmvae" if name == "gmvae:cosine" else name.removesuffix(":annealed")
    about = {"validation": False, "published": published, "extra_metrics": ("k_hat",)}
    return Recipe(name, model, "mnist:threshold", TUTORIAL, {}, settings, **about)


def _vrnn(variant: str, published: dict[str, float]) -> Recipe:
    settings = {"epochs": 7, "batch_size": 100, "lr": 1e-3}
    name = f"vrnn{variant}"
    about = {"validation": False, "published": published, "extra_metrics": ("k_hat",)}
    return Recipe(name, name, "mnist:threshold", TUTORIAL, {}, settings, **about)


def _ss_vae(name: str, labels: int, law: str = "threshold", **published: float) -> Recipe:
    """The paper has alpha = 0.1 x data / labels. Beside the sum over all images that leaves labels too little: after an
    epoch with 100 of them q(y | x) errs on half of the images. Here it weighs the mean over labels against the mean
    over images, so a label has 0.1 x (data / labels)^2, for 60,000 images. Where pixels are drawn afresh for every
    minibatch, the classifier never sees the same few images twice."""
    source = "Kingma, Rezende, Mohamed and Welling, Semi-supervised learning with deep generative models, 2014"
    settings = {"epochs": 30, "batch_size": 100, "lr": 1e-3, "lr_schedule": "cosine", "objective": "enum_analytic"}
    settings["precision"] = "bfloat16"
    data, keywords = f"mnist:{law}:{labels}-labels", {"alpha": 0.1 * (60_000 / labels) ** 2}
    about = {"validation": False, "published": published, "extra_metrics": ("k_hat",)}
    return Recipe(name, "ss_vae", data, source, keywords, settings, **about)


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in [
        *map(_exponential_gaussian, ("", ":per_datum", ":exponential", ":gamma", ":log_normal", ":normal")),
        *map(_linear_regression, ("", ":mean_field", ":map", ":unknown_noise")),
        Recipe(
            "squared_gaussian",
            "squared_gaussian",
            "squared_gaussian",
            AUTOENCODERS,
            settings={"epochs": 100, "batch_size": 100, "lr": 3e-2, "lr_schedule": "cosine"},
            extra_metrics=("k_hat", "sandwich"),
        ),
        *map(_loaded_die, ("", ":softmax")),
        Recipe(
            "gaussian_mixture",
            "gaussian_mixture",
            "gaussian_mixture",
            "Bishop, Pattern Recognition and Machine Learning, 2006",
            settings={"epochs": 60, "batch_size": 50, "lr": 3e-2, "lr_schedule": "cosine", "objective": "enum"},
        ),
        Recipe(
            "hmm",
            "hmm",
            "hmm",
            "Bishop, Pattern Recognition and Machine Learning, 2006",
            settings={"epochs": 60, "batch_size": 50, "lr": 3e-2, "lr_schedule": "cosine", "objective": "enum"},
        ),
        *map(_factor_analysis, ("", ":diagonal", ":fixed_variance")),
        _autoencoder("autoencoder"),
        _autoencoder("autoencoder:map"),
        _autoencoder("denoising_autoencoder"),
        _autoencoder("denoising_autoencoder:masking", "denoising_autoencoder", corruption="masking"),
        _autoencoder("denoising_autoencoder:gaussian", "denoising_autoencoder", corruption="gaussian"),
        _autoencoder("denoising_autoencoder:salt_pepper", "denoising_autoencoder", corruption="salt_pepper"),
        _autoencoder("sparse_autoencoder"),
        _autoencoder("sparse_autoencoder:slides", "sparse_autoencoder", weight=3.0 * 784),
        _autoencoder("sparse_autoencoder:deep"),
        _autoencoder("k_sparse_autoencoder"),
        _autoencoder("k_sparse_autoencoder:10", "k_sparse_autoencoder", k=10),
        _autoencoder("contractive_autoencoder"),
        _autoencoder("contractive_autoencoder:deep", data="digits:grey", epochs=200),
        Recipe(
            "vae",
            "vae",
            "mnist:dequantized",
            TUTORIAL,
            settings={"epochs": 46, "batch_size": 32, "lr": 3e-4},
            validation=False,
            published={
                "ELBO, epoch 1": 1655.0,
                "ELBO, epoch 10": 1777.0,
                "ELBO, last five epochs": 1785.2,
                "ELBO, epoch 46": 1788.4,
                "ELBO of the published weights": 1792.8,
            },
            extra_metrics=("k_hat",),
        ),
        Recipe(
            "vae:cosine",
            "vae",
            "mnist:dequantized",
            TUTORIAL,
            settings={"epochs": 100, "batch_size": 100, "lr": 1e-3, "lr_schedule": "cosine"},
            validation=False,
            extra_metrics=("k_hat",),
        ),
        _vae("vae:slides", AUTOENCODERS, "mnist:threshold", {"latent_dim": 2, "hidden": (144,)}),
        _vae("vae:notes", BERNOULLI, "mnist:threshold", {"latent_dim": 32, "hidden": (256,)}),
        _vae(
            "vae:gaussian",
            VARIATIONAL,
            "mnist:grey",
            {"latent_dim": 2, "likelihood": "gaussian"},
            objective="analytic",
        ),
        _importance_weighted("vae:iwae", "trace", -86.76),
        _importance_weighted("vae:iwae:50", "iwae:50", -84.78),
        Recipe(
            "cvae",
            "cvae",
            "mnist:dequantized",
            TUTORIAL,
            settings={"epochs": 69, "batch_size": 100, "lr": 3e-4},
            validation=False,
            published={
                "ELBO, epoch 1": 1458.5,
                "ELBO, epoch 10": 1772.9,
                "ELBO, epoch 50": 1816.1,
                "ELBO, epoch 69": 1820.1,
                "accuracy by Bayes' rule": 0.9095,
                "cost of a wrong label": 42.5,
                "draws classified as intended": 0.821,
            },
            extra_metrics=("k_hat",),
        ),
        Recipe(
            "cvae:standard",
            "cvae:standard",
            "mnist:dequantized",
            "Lecture slides on autoencoders and VAEs",
            settings={"epochs": 69, "batch_size": 100, "lr": 3e-4},
            validation=False,
            extra_metrics=("k_hat",),
        ),
        _ss_vae("ss_vae", 100, **{"error of q(y | x)": 0.1197, "error, enumerated, in Pyro's example": 0.068}),
        _ss_vae("ss_vae:dynamic", 100, "dynamic"),
        _ss_vae("ss_vae:1000", 1000, **{"error of q(y | x)": 0.0360}),
        _ss_vae("ss_vae:1000:dynamic", 1000, "dynamic"),
        _gmvae(
            "gmvae",
            "enum_analytic",
            {
                "ELBO, epoch 78": -83.14,
                "ELBO, last ten epochs": -83.0,
                "ELBO, best epoch": -81.76,
                "ELBO, epoch 78, printed without -ln 10": -80.84,
                "accuracy, components matched to classes": 0.833,
                "entropy of q(y | x)": 0.106,
            },
        ),
        _gmvae("gmvae:cosine", "enum_analytic", {}, lr_schedule="cosine"),
        _gmvae("gmvae:relaxed", "trace", {}),
        _gmvae("gmvae:relaxed:annealed", "trace", {}, final_temperature=0.1),
        _gmvae("gmvae:categorical_kl", "trace", {}),
        _vrnn(
            "",
            {
                "ELBO, epoch 1, no gradient through z": -93.0,
                "ELBO, epoch 7, no gradient through z": -78.3,
                "ELBO, epoch 1": -80.2,
                "ELBO, epoch 2": -71.2,
            },
        ),
        _vrnn(":steps", {}),
        _vrnn(":smoothing", {}),
    ]
}


def recipe_for(model: str) -> Recipe | None:
    """The first recipe of a model, by its name in the registry."""
    return next((recipe for recipe in RECIPES.values() if recipe.model == model), None)
