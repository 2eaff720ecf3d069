"""Five comparisons worth seeing, each with the command that makes it and words on what is to be seen.

    gallery compare --lesson score

What they gave is in gallery/ledger/lessons; a test reads there whether all that is said here is so.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Lesson:
    """A comparison and what it shows.

    :param commands: model -> the flags of `gallery compare MODEL`
    """

    title: str
    commands: dict[str, str]
    text: str


LESSONS: dict[str, Lesson] = {
    "score": Lesson(
        "Reparametrised against score-function gradients, on factor analysis",
        {"factor_analysis": "--objectives trace,score --seeds 3 --epochs 90"},
        "Both objectives are the ELBO with one draw for each datum, and the rows of a seed share weights, "
        "minibatches and noise; only the way differs in which the gradient reaches the guide. At the same weights "
        "the guide's gradient has more than ten times the variance without reparametrisation; the model's gradient "
        "is the same. After as many passes every seed is left with a lower ELBO by the score function, and a larger "
        "gap.",
    ),
    "enumeration": Lesson(
        "Enumeration against Gumbel-Softmax, on the Gaussian mixture VAE",
        {
            "gmvae": "--data digits:threshold --objectives enum,enum_analytic,relaxed,categorical_kl --seeds 2 "
            "--latent-dim 8 --hidden 64 64 --epochs 60 --precision float32"
        },
        "The component y has ten values. Summed out, it costs ten passes for each image and leaves no noise of y; "
        "relaxed to a point of the simplex it costs one, and more than a tenth of the seconds. All rows are judged "
        "with y summed out, and the relaxed ones end lower. At the same weights the variance of their guide's "
        "gradient is several times larger. A relaxed objective is that of another model, and so is the mean of its "
        "gradient: a high signal-to-noise ratio is no merit of it.",
    ),
    "iwae": Lesson(
        "ELBO against IWAE, on the VAE",
        {
            "vae": "--data digits:threshold --objectives trace,iwae:5,iwae:50,dreg:5,dreg:50 --seeds 2 "
            "--latent-dim 8 --hidden 64 64 --dropout 0.0 --epochs 60 --batch-size 100 --lr 0.002"
        },
        "Judged by IWAE-64, fits with more draws K, and so of more passes, are better; from 5 to 50 with dreg by no "
        "more than the Monte Carlo error in one seed of two. Their ELBO is worse at K = 50, for their guide is made "
        "for 50 draws together and not for one. At the same weights the signal-to-noise ratio of the model's "
        "gradient grows with K, and that of the guide's falls. Doubly reparametrised (dreg) it is higher than that "
        "of the ELBO, and far higher than with iwae at the same K, though it too falls from 5 to 50; and the fits "
        "are better for it.",
    ),
    "em": Lesson(
        "EM against AEVB, on factor analysis",
        {"factor_analysis": "--objectives trace,analytic --samplers em --seeds 3 --epochs 90"},
        "Both start from the same weights and see every datum as often. EM, whose E step is the exact posterior, "
        "ends higher, at nearly the same log p(x) from every start, in far fewer seconds. AEVB has an amortised "
        "guide and noisy gradients instead, and its end still depends on the start. What it lacks is mostly not for "
        "want of a better guide: where log p(x) is far from that of EM, the gap is much smaller than the distance.",
    ),
    "families": Lesson(
        "Mean field against full covariance against NUTS",
        {
            "exponential_gaussian": "--objectives trace --guides own,gamma,normal --samplers nuts --seeds 2 "
            "--epochs 800 --batch-size 2000 --lr 0.05",
            "linear_regression": "--objectives trace --guides own,multivariate,normal --samplers nuts --seeds 2",
        },
        "On exponential_gaussian z is one positive number: there is no covariance to be missed, and the family alone "
        "counts. The truncated normal (own) contains the posterior and has nearly no gap; the gamma has one; a "
        "normal of log z (normal) has a larger one, although it is free for each datum where the others are "
        "amortised. On linear_regression intercept and slope are correlated: mean field (normal) keeps a gap of many "
        "Monte Carlo errors, full covariance (own, multivariate) closes it. NUTS has no family: the means of its "
        "draws differ from the exact ones by less than three of their Monte Carlo errors. Compare its passes, on ten "
        "data of the first model, with what the others take for all of them.",
    ),
}
