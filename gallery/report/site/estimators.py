"""The tables of estimators and samplers on the page on inference: what each is, its latents, what its test holds."""

from typing import Any

from pyro.infer import TraceEnum_ELBO

from gallery.comparison.rows import LATENTS, SAMPLERS
from gallery.report.site.text import words
from inference.fit.objectives import OBJECTIVES

__all__ = ["EQUALITIES", "estimators", "latents_of"]

NEEDS = {
    "_require_bernoulli": "Bernoulli, independent given x",
    "_require_steps": "at each step of a sequence",
    "continuous_latents": "continuous; discrete ones of the model are summed out",
    "require_closed_kl": "continuous",
    "require_density": "without point guides",
    "require_inferred": "drawn by the guide",
    "require_no_enumeration": "",  # as for every objective that neither sums out nor samples them
    "require_order_of_model": "in the order of the model",
    "require_reparametrised": "reparametrised",
    "shared_latents": "continuous, at least one of them shared by all data",
    "supports_of": "continuous, each of one data point",
}
"""By the name of the function that refuses other pairs: the latents that it accepts."""

EQUALITIES = {
    "inference/fit/objectives/test_baselines.py": {
        "enum": "the gradient of the guide is that of the sum over all values, without noise",
        "loo": "mean gradient as by enumeration; variance 0 where the guide is the posterior",
        "disarm": "mean gradient as by enumeration, with less variance than ARM",
        "vimco": "mean gradient of `iwae:K` as by enumeration",
    },
    "inference/fit/objectives/test_filtering.py": {"fivo": "its estimate of p(x) is unbiased; `fivo:1` is the ELBO"},
    "inference/fit/objectives/test_identities.py": {
        "graph": "it is `trace` where all draws are reparametrised",
        "reinforce": "it is `trace` where no draw is reparametrised",
        "iwae": "`iwae:1` is `trace`, and `iwae:K` Pyro's bound of order 0",
        "dreg": "value, and gradient of the model, of `iwae:K`",
        "wake-sleep": "value, and gradient of the model, of `iwae:K`",
        "miwae": "`miwae:1:K` is `iwae:K`, and `miwae:M:1` the ELBO of M draws",
        "ciwae": "linear in BETA, from `iwae:K` to the ELBO of K draws",
        "piwae": "gradient of the model as of `iwae:K` with M K draws, of the guide as of `miwae:M:K`",
        "renyi": "order 0 is `iwae:K`; towards order 1 it becomes the ELBO",
    },
    "inference/fit/objectives/test_mean_field.py": {
        "free-bits": "each dimension costs its KL or NATS, the larger of the two",
        "enum_analytic": "it is `enum` where no KL has a closed form",
    },
    "inference/fit/objectives/test_path_gradients.py": {
        "stl": "variance 0 of the guide's gradient where the guide is the posterior; it is `dreg:1`",
    },
    "inference/fit/test_nuts.py": {"nuts": "mean and variance of a conjugate posterior"},
    "inference/evaluation/test_ais.py": {"ais": "the weights have the mean p(x), reversed ones 1 / p(x)"},
    "truths/test_em.py": {"em": "log p(x) never falls, and ends where its gradient is 0"},
    "truths/test_factor_analysis.py": {
        "trace": "its mean is log p(x) minus the KL of the guide from the posterior",
        "analytic": "its mean is log p(x) minus the KL of the guide from the posterior",
    },
    "truths/test_pathfinder.py": {
        "pathfinder": "exact for a normal density of d coordinates, after at most d + 1 steps",
    },
}
"""By the file of the test below tests/: the equality of an objective or a sampler, its name without numbers."""


def estimators() -> list[dict[str, Any]]:
    """Return the tables of objectives and of samplers, each with "head", "rows" and "caption"."""
    known = {kind: text for of in EQUALITIES.values() for kind, text in of.items()}
    described = {"objective": {form: text for form, (_, text) in OBJECTIVES.items()}, "sampler": SAMPLERS}
    captions = {
        "objective": "Capital letters stand for numbers, as in iwae:5. The tests hold equalities of one draw to "
        "rounding, and equalities of means within 4 standard errors.",
        "sampler": "Samplers are rows of gallery compare.",
    }
    return [
        {
            "head": [what, "what it is", "for which latents", "equality in its test"],
            "rows": [
                [words(f"`{form}`"), text, latents_of(form), words(known[form.partition(":")[0]])]
                for form, text in rows.items()
            ],
            "caption": captions[what],
        }
        for what, rows in described.items()
    ]


def latents_of(form: str) -> str:
    """Return the latents that an objective or a sampler is for, from the functions that refuse others.

    >>> latents_of("stl"), latents_of("enum"), latents_of("pathfinder")[:10]
    ('without point guides, reparametrised, none summed out', 'some summed out', 'continuous')

    :param form: a name in `OBJECTIVES` or `SAMPLERS`
    """
    if form in SAMPLERS:
        refuses = LATENTS.get(form.partition(":")[0])
        return NEEDS[refuses.__name__] if refuses else "those of a model with an exact E step"
    kind, _ = OBJECTIVES[form]
    needs = [NEEDS[require.__name__] for require in getattr(kind, "requirements", ())]
    other = "none summed out"
    if isinstance(kind, type) and issubclass(kind, TraceEnum_ELBO):
        other = "some summed out"
    elif getattr(kind, "samples_enumerated", False):
        other = "those that others sum out are sampled"
    return ", ".join(filter(None, [*needs, other]))
