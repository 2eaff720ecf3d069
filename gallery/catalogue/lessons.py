"""Six comparisons of inference algorithms, each with its command and a summary of the result.

    gallery compare --lesson score

The results are in gallery/ledger/results/lessons. A test holds every statement of this file against them.
"""

from dataclasses import dataclass

__all__ = ["LESSONS", "Lesson"]


@dataclass(frozen=True)
class Lesson:
    """A comparison and its result.

    :param commands: model -> the flags of `gallery compare MODEL`
    :param text: the summary of the result
    """

    title: str
    commands: dict[str, str]
    text: str


LESSONS: dict[str, Lesson] = {
    "score": Lesson(
        "Reparametrised against score-function gradients, on factor analysis",
        {"factor_analysis": "--objectives trace,score --seeds 3 --epochs 90"},
        "Both objectives are the ELBO with one sample per data point, and the rows of a seed share weights, "
        "minibatches and noise. They differ only in the gradient estimator of the guide. At the same weights "
        "the guide's gradient has more than ten times the variance without reparametrisation; the model's gradient "
        "is the same. After equally many passes the score function gives every seed a lower ELBO and a larger gap.",
    ),
    "enumeration": Lesson(
        "Enumeration against Gumbel-Softmax, on the Gaussian mixture VAE",
        {
            "gmvae": "--data digits:threshold --objectives enum,enum_analytic,relaxed,categorical_kl --seeds 2 "
            "--latent-dim 8 --hidden 64 64 --epochs 60 --precision float32"
        },
        "The component y has ten values. Enumeration needs ten passes for each image and adds no noise from y. "
        "Relaxation to a point of the simplex needs one pass, but more than a tenth of the seconds. All rows are "
        "evaluated with y summed out, and the relaxed fits end at a lower ELBO. At the same weights the variance of "
        "their guide's gradient is several times larger. The relaxed objective and the mean of its gradient belong "
        "to another model, so its high signal-to-noise ratio is not an advantage.",
    ),
    "iwae": Lesson(
        "ELBO against IWAE, on the VAE",
        {
            "vae": "--data digits:threshold --objectives trace,iwae:5,iwae:50,dreg:5,dreg:50 --seeds 2 "
            "--latent-dim 8 --hidden 64 64 --dropout 0.0 --epochs 60 --batch-size 100 --lr 0.002"
        },
        "By the metric IWAE-64, fits with more samples K, and so with more passes, are better. With dreg the gain "
        "from K = 5 to 50 is within the Monte Carlo error in one seed of two. At K = 50 the ELBO is worse, because "
        "the guide is fitted for 50 samples jointly and not for one. At the same weights the signal-to-noise ratio "
        "of the model's gradient grows with K, and that of the guide's gradient falls. With double "
        "reparametrisation (dreg) the guide's ratio is higher than with the ELBO, and far higher than with iwae at "
        "the same K. It falls from 5 to 50 too, but the fits are better than with iwae.",
    ),
    "em": Lesson(
        "EM against AEVB, on factor analysis",
        {"factor_analysis": "--objectives trace,analytic --samplers em --seeds 3 --epochs 90"},
        "Both start from the same weights and use every data point equally often. EM, whose E step is the exact "
        "posterior, ends at a higher log p(x), nearly the same from every initialisation, in far fewer seconds. AEVB "
        "has an amortised guide and noisy gradients instead, and its final log p(x) still depends on the "
        "initialisation. The guide is not the main cause: where log p(x) is far below that of EM, the gap is much "
        "smaller than the difference.",
    ),
    "families": Lesson(
        "Mean field against full covariance against NUTS",
        {
            "exponential_gaussian": "--objectives trace --guides own,gamma,normal --samplers nuts --seeds 2 "
            "--epochs 800 --batch-size 2000 --lr 0.05",
            "linear_regression": "--objectives trace --guides own,multivariate,normal --samplers nuts --seeds 2",
        },
        "On exponential_gaussian z is one positive number without covariances, so only the family matters. The "
        "truncated normal (own) contains the posterior and has nearly no gap. The gamma has a larger gap. A normal "
        "of log z (normal) has the largest, although it has free parameters for each data point where the others "
        "are amortised. On linear_regression intercept and slope are correlated: mean field (normal) has a gap of "
        "many Monte Carlo errors, full covariance (own, multivariate) closes it. NUTS has no family: its sample "
        "means differ from the exact means by less than three Monte Carlo errors. Compare its passes, on ten data "
        "points of the first model, with those of the others on all data points.",
    ),
    "latents": Lesson(
        "Which gradient estimator for which latent?",
        {
            "factor_analysis": "--objectives trace,stl,reinforce,loo:4 --seeds 2 --epochs 60",
            "inference/examples.py:BinaryCauses": "--data digits:threshold --objectives enum,disarm,loo:2,vimco:4 "
            "--seeds 2 --causes 6 --epochs 20 --lr 0.02",
            "vae": "--data digits:threshold --objectives trace,iwae:16,miwae:4:4,piwae:4:4 --seeds 2 --latent-dim 8 "
            "--hidden 64 64 --dropout 0.0 --epochs 15 --batch-size 100 --lr 0.002",
        },
        "For a continuous latent, stl: on factor analysis, at a guide near the posterior, its guide gradient has less "
        "than a fiftieth of the variance of trace from the same draws, and the fits end with a smaller gap. Without "
        "reparametrisation one draw (reinforce) has more than twenty times the variance of trace, and four draws, each "
        "with the others as its baseline (loo:4), less than a tenth. For a few binary latents, enum: the sum has no "
        "noise and the highest ELBO, at more than three times the seconds. Where it is too long, disarm: at the same "
        "weights and passes its gradient has less variance than that of loo:2, although which of the two ends higher "
        "depends on the seed. vimco:4 fits the bound of four draws: log p(x) is the highest, and the gap too. For a "
        "bound of several draws, piwae: of 16 draws, piwae:4:4 gives the model the gradient of iwae:16, and the guide "
        "three to five times its signal-to-noise ratio, as miwae:4:4 does. After these few epochs it is the best of "
        "the three by the metrics IWAE-64 and ELBO.",
    ),
}
