"""Comparisons of inference algorithms: a question, its answer, the command and a summary of the result.

    gallery compare --lesson score

The results are in gallery/ledger/results/lessons. A test holds every statement of this file against them.
"""

from dataclasses import dataclass, field

__all__ = ["LESSONS", "Lesson"]

ELBO, VARIANCE = "ELBO, nats per data point", "variance of the guide's gradient"


@dataclass(frozen=True)
class Lesson:
    """A comparison and its result.

    :param title: the question
    :param answer: in one sentence
    :param commands: model -> the flags of `gallery compare MODEL`
    :param text: the summary of the result
    :param shown: the quantities of the figure: path of the number in a row of compare.json -> words
    :param names: label of a row -> the algorithm in words
    """

    title: str
    answer: str
    commands: dict[str, str]
    text: str
    shown: dict[str, str] = field(default_factory=lambda: {"elbo/value": ELBO, "noise/guide/variance": VARIANCE})
    names: dict[str, str] = field(default_factory=dict)


LESSONS: dict[str, Lesson] = {
    "score": Lesson(
        "Why are gradients reparametrised?",
        "The score function has more than ten times the variance, and ends lower after the same passes.",
        {"factor_analysis": "--objectives trace,score --seeds 3 --epochs 90"},
        "Both objectives are the ELBO with one sample per data point, and the rows of a seed share weights, "
        "minibatches and noise. They differ only in the gradient estimator of the guide. At the same weights "
        "the guide's gradient has more than ten times the variance without reparametrisation; the model's gradient "
        "is the same. After equally many passes the score function gives every seed a lower ELBO and a larger gap.",
        names={"trace": "reparametrised", "score": "score function"},
    ),
    "enumeration": Lesson(
        "Should a discrete latent be summed out or relaxed?",
        "Summed out, where it has few values: ten passes cost less than ten times the seconds, for a higher bound.",
        {
            "gmvae": "--data digits:threshold --objectives enum,enum_analytic,relaxed,categorical_kl --seeds 2 "
            "--latent-dim 8 --hidden 64 64 --epochs 60 --precision float32"
        },
        "The component y has ten values. Enumeration needs ten passes for each image and adds no noise from y. "
        "Relaxation to a point of the simplex needs one pass, but more than a tenth of the seconds. All rows are "
        "evaluated with y summed out, and the relaxed fits end at a lower ELBO. At the same weights the variance of "
        "their guide's gradient is several times larger. The relaxed objective and the mean of its gradient belong "
        "to another model, so its high signal-to-noise ratio is not an advantage.",
        {"elbo/value": ELBO, "seconds": "seconds of fitting"},
        {
            "enum": "y summed out",
            "enum_analytic": "y summed out, KL of z exact",
            "relaxed": "Gumbel-Softmax",
            "categorical_kl": "Gumbel-Softmax, KL of y exact",
        },
    ),
    "iwae": Lesson(
        "Do more samples make a better fit?",
        "Of the model, yes; of the guide, no: its gradient loses its signal, unless it is reparametrised twice.",
        {
            "vae": "--data digits:threshold --objectives trace,iwae:5,iwae:50,dreg:5,dreg:50 --seeds 2 "
            "--latent-dim 8 --hidden 64 64 --dropout 0.0 --epochs 60 --batch-size 100 --lr 0.002"
        },
        "By IWAE-64, which evaluates all fits alike, those with more samples K, and so with more passes, are better. "
        "With double reparametrisation (dreg) the gain from K = 5 to 50 is within the Monte Carlo error in one seed of "
        "two. At K = 50 the ELBO is worse, because the guide is fitted for 50 samples jointly and not for one. At the "
        "same weights the signal-to-noise ratio of the model's gradient grows with K, and that of the guide's gradient "
        "falls. Double reparametrisation gives the guide a higher ratio than the ELBO does, and a far higher one than "
        "IWAE at the same K. It falls from 5 to 50 too, but the fits are better than those of IWAE.",
        {"iwae/value": "IWAE-64, nats per data point", "noise/guide/snr": "signal-to-noise ratio, guide's gradient"},
        {
            "trace": "ELBO, 1 sample",
            "iwae:5": "IWAE, 5 samples",
            "iwae:50": "IWAE, 50 samples",
            "dreg:5": "doubly reparametrised, 5",
            "dreg:50": "doubly reparametrised, 50",
        },
    ),
    "em": Lesson(
        "If EM is exact, why amortise?",
        "Where EM applies, it is better and faster; amortisation is for models whose E step has no closed form.",
        {"factor_analysis": "--objectives trace,analytic --samplers em --seeds 3 --epochs 90"},
        "Both start from the same weights and use every data point equally often. EM, whose E step is the exact "
        "posterior, ends at a higher log p(x), nearly the same from every initialisation, in far fewer seconds. AEVB "
        "has an amortised guide and noisy gradients instead, and its final log p(x) still depends on the "
        "initialisation. The guide is not the main cause: where log p(x) is far below that of EM, the gap is much "
        "smaller than the difference.",
        {"evidence/value": "log p(x), nats per data point", "seconds": "seconds of fitting"},
        {"em": "exact EM", "trace": "AEVB, KL sampled", "analytic": "AEVB, KL exact"},
    ),
    "families": Lesson(
        "What does the family of the guide cost?",
        "What the posterior has and the family lacks: a shape, or correlations.",
        {
            "exponential_gaussian": "--objectives trace --guides own,gamma,normal --samplers nuts --seeds 2 "
            "--epochs 800 --batch-size 2000 --lr 0.05",
            "linear_regression": "--objectives trace --guides own,multivariate,normal --samplers nuts --seeds 2",
        },
        "On exponential_gaussian z is one positive number without covariances, so only the family matters. The "
        "truncated normal, which contains the posterior, has nearly no gap. The gamma has a larger one. A normal of "
        "log z has the largest, although it has free parameters for each data point where the others are amortised. "
        "On linear_regression intercept and slope are correlated: a normal with independent coordinates has a gap of "
        "more than four Monte Carlo errors; full covariance closes it. NUTS has no family and no bound, and stands in "
        "the tables alone: its sample means differ from the exact means by less than three Monte Carlo errors. Its "
        "passes are on ten data points of the first model, those of the others on all.",
        {"gap/value": "gap to log p(x), nats per data point"},
        {
            "trace": "contains the posterior",
            "trace, gamma": "gamma",
            "trace, normal": "normal, independent coordinates",
            "trace, multivariate": "normal, full covariance",
            "nuts": "NUTS",
        },
    ),
    "amortisation": Lesson(
        "What does one network for all data points cost?",
        "A quarter of a nat here: ten gradient steps on each data point's own parameters win it back.",
        {
            "vae": "--data digits:threshold --objectives analytic --guides own,semi:10,semi:100 --seeds 2 "
            "--latent-dim 4 --hidden 32 --dropout 0.0 --epochs 40 --batch-size 100 --lr 0.005"
        },
        "All rows have the same weights. In the first the encoder's output is the guide; in the others it is where a "
        "gradient ascent on the parameters of each data point starts, in the same family. What that gains in ELBO is "
        "the amortisation gap, or a part of it, and the first 10 steps gain more than three times what 90 further ones "
        "do. More than 0.2 nats are left to IWAE-64, which itself moves by less than a fifth of what the ELBO does.",
        {"elbo/value": ELBO, "iwae/value": "IWAE-64, nats per data point"},
        {
            "analytic": "one network for all",
            "analytic, semi:10": "10 steps for each",
            "analytic, semi:100": "100 steps for each",
        },
    ),
    "collapse": Lesson(
        "Is a code that says nothing a failure of the fit?",
        "Not here: with this much noise an unused code is the better model, and free bits pay for using it.",
        {
            "vae": "--data digits:grey --objectives analytic,free-bits:0.1,free-bits:0.5 --seeds 2 --latent-dim 8 "
            "--hidden 32 --dropout 0.0 --likelihood gaussian --scale 1.0 --epochs 40 --batch-size 100 --lr 0.005"
        },
        "The pixels, in [0, 1], have a noise with the standard deviation 1. Then no direction of the images has a "
        "variance above that of the noise, and what a code explains is worth less than the KL that it costs. The ELBO "
        "leads to a KL below a hundredth of a nat: posterior collapse. Free bits, which leave some KL in each of the 8 "
        "dimensions without a charge, keep the code in use, and end at a lower ELBO and a lower IWAE-64: the more "
        "bits, the lower. Less noise is the remedy, and not another objective.",
        {"elbo/value": ELBO, "kl/value": "KL of the code, nats per data point"},
        {
            "analytic": "ELBO",
            "free-bits:0.1": "0.1 nats free a dimension",
            "free-bits:0.5": "0.5 nats free a dimension",
        },
    ),
    "two_kls": Lesson(
        "Which of the two KLs should a guide minimise?",
        "KL(q || p) for a high ELBO; KL(p || q) for importance weights that miss nothing.",
        {"squared_gaussian": "--objectives trace,wake-sleep --seeds 2 --epochs 60"},
        "The posterior of z has two modes, at plus and minus the root of x, and the guide is one normal. The ELBO "
        "minimises KL(q || p), whose expectation is over the guide, which chooses one mode. Wake-sleep minimises "
        "KL(p || q), whose expectation is over the posterior, by importance weights; it covers both modes and the "
        "valley between them: the masses of its modes overlap with those of the posterior by more than 0.95, of the "
        "first guide by less than 0.7. Its ELBO is lower by several nats, but as a proposal it is better: its "
        "IWAE-64 is within 0.05 nats of log p(x), while that of the guide with one mode stays more than 0.2 below. "
        "Its gradient is noisier.",
        {"elbo/value": ELBO, "iwae/value": "IWAE-64, nats per data point"},
        {"trace": "KL(q || p), the ELBO", "wake-sleep": "KL(p || q), wake-sleep"},
    ),
    "coordinates": Lesson(
        "Does it matter in which coordinates a hierarchy is written?",
        "Yes: where the scale of one latent depends on another, NUTS slows down and Pathfinder misses the mean.",
        dict.fromkeys(
            ("eight_schools", "eight_schools:centred"),
            "--objectives trace --samplers nuts,pathfinder:20 --seeds 2",
        ),
        "The effects of eight schools share a mean mu and a spread tau. The latent of a school is either its effect "
        "theta (eight_schools:centred), or eta, with theta = mu + tau eta (eight_schools): one model in two "
        "coordinates. With eta, both samplers have the posterior mean of every effect to within a tenth of its sd, "
        "Pathfinder with less than a twentieth of the gradients of NUTS, and its k-hat is below 0.7. With theta, a "
        "small tau ties all effects to mu: the posterior is a funnel, which no normal and no single step size fits. "
        "Pathfinder is off by more than a whole sd, and its k-hat, above 0.7, warns of it. NUTS needs more than twice "
        "the gradients for less than a fifth of the effective draws, and its R-hat stays above 1.01.",
        {"largest_error": "error of the posterior mean, in its sds", "gradients": "gradient evaluations"},
        {"nuts": "NUTS", "pathfinder:20": "Pathfinder, 20 paths"},
    ),
    "latents": Lesson(
        "Which gradient estimator for which latent?",
        "Sticking the landing for a continuous latent, enumeration for few binary ones, then DisARM.",
        {
            "factor_analysis": "--objectives trace,stl,reinforce,loo:4 --seeds 2 --epochs 60",
            "inference/examples.py:BinaryCauses": "--data digits:threshold --objectives enum,disarm,loo:2,vimco:4 "
            "--seeds 2 --causes 6 --epochs 20 --lr 0.02",
            "vae": "--data digits:threshold --objectives trace,iwae:16,miwae:4:4,piwae:4:4 --seeds 2 --latent-dim 8 "
            "--hidden 64 64 --dropout 0.0 --epochs 15 --batch-size 100 --lr 0.002",
        },
        "Continuous latent, factor analysis: near the posterior the gradient of sticking the landing (stl) has less "
        "than a fiftieth of the variance of the reparametrised one (trace) from the same draws, and its fits end with "
        "a smaller gap. Without reparametrisation, one draw (reinforce) has more than twenty times the variance of "
        "trace; four draws, each with the mean of the others as its baseline (loo:4), have less than a tenth. A few "
        "binary latents: their sum (enum) has no noise and the highest ELBO, for more than three times the seconds. "
        "Where the sum has too many terms, take DisARM: at the same weights and passes its gradient has less variance "
        "than that of two draws (loo:2), although which of the two ends higher depends on the seed. VIMCO (vimco:4) "
        "maximises the bound of four draws, so its log p(x) is the highest, and its gap too. A bound of 16 draws, for "
        "a VAE: PIWAE (piwae:4:4) gives the model the gradient of IWAE, and the guide three to five times its "
        "signal-to-noise ratio, as MIWAE does. After these few epochs it is the best of the three, by IWAE-64 and by "
        "ELBO.",
        names={
            "trace": "reparametrised",
            "stl": "sticking the landing",
            "reinforce": "score function",
            "loo:4": "score function, 4 draws, leave-one-out",
            "enum": "enumerated",
            "disarm": "DisARM",
            "loo:2": "score function, 2 draws, leave-one-out",
            "vimco:4": "VIMCO, 4 draws",
            "iwae:16": "IWAE, 16 draws",
            "miwae:4:4": "MIWAE, 4 times 4 draws",
            "piwae:4:4": "PIWAE, 4 times 4 draws",
        },
    ),
}
