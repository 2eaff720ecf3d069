"""The syllabus: lessons by week and by sections of the sources, and the notation of the sources side by side.

Sources: [T] Yang Zhi-Han's tutorial on AEVB, [L] the lecture from autoencoders to the CVAE, [V] the lecture slides on
variational inference, [B] the notes on Bernoulli VAEs.
"""

from dataclasses import dataclass

__all__ = ["MISCONCEPTIONS", "NOTATION", "OUTLINE", "SECTIONS", "WEEKS", "Misconception", "Outlined", "Week"]

SECTIONS = {
    1: "[V] latent from observed, Bayes' rule, the evidence; [T] Latent variable models; [B] the motivation",
    2: "[B] the affine function, SSE against KL",
    3: "[V] log p = ELBO + KL, over functions; [L] the lower bound; [T] Expectation maximization (Jensen, the gap)",
    4: "[L] the KL is not symmetric; [T] approximate E-step as variational inference",
    5: "[T] Expectation maximization; [L] the optimal parameter; [B] p_theta close to p_true; [L] variable elimination",
    6: "[T] Amortized variational inference, Stochastic optimization of ELBO, Approximate M-step, Factor analysis",
    7: "[V] and [L] the reparametrisation trick; [T] What exactly is the AEVB algorithm?",
    8: "[L] autoencoder to VAE; [V] the VAE's loss; [T] Variational autoencoder; [B] the loss of a Bernoulli VAE",
    9: "[B] mutual information and the KL; [V] the weighted loss L1 + alpha L2; [T] guides with a fixed covariance",
    10: "[T] CVAE, GMVAE, VRNN; [L] CVAE, belief propagation and evaluation in the course outline",
}
"""By lesson: the sections of the sources that it covers."""


@dataclass(frozen=True)
class Week:
    """A week of a course.

    :param lessons: the numbers of its lessons
    :param pages: models of the gallery to show, by name
    """

    topic: str
    lessons: tuple[int, ...]
    pages: tuple[str, ...] = ()


WEEKS = (
    Week("Probability as a model; a latent variable and its posterior", (1,), ("loaded_die",)),
    Week("Regression: least squares, MAP, the posterior of a line", (2,), ("linear_regression",)),
    Week("The evidence and its lower bound", (3,), ("exponential_gaussian",)),
    Week("Families of guides, and two directions of the KL", (4,), ("squared_gaussian",)),
    Week("Discrete latent variables: mixtures and EM", (5,), ("gaussian_mixture",)),
    Week("Factor analysis: approximate E and M steps, amortisation", (6,), ("factor_analysis",)),
    Week("Gradients through samples", (7,), ("factor_analysis", "vae")),
    Week("Autoencoders: codes without probability", (8,), ("autoencoder", "denoising_autoencoder")),
    Week("The VAE; bits", (8,), ("vae", "cvae")),
    Week("What goes wrong: collapse, gaps, weights, grey pixels", (9,), ("vae",)),
    Week("Classes: enumeration, relaxation, few labels", (10,), ("gmvae", "ss_vae")),
    Week("Sequences, and how good is a posterior", (10,), ("hmm", "vrnn")),
    Week("Projects: a model of your choice, checked by `gallery check`", (), ()),
)
"""Thirteen weeks, a lecture and a laboratory each."""

NOTATION = (
    ("data set", "$\\mathcal{D}$", "$\\mathcal{D}$", "-", "-", "`Dataset`"),
    ("data point", "$\\mathbf{x}_i$", "$\\mathbf{x}^{(i)}$, $\\mathbf{x}$", "$x$", "$x$, $X$", "$x_i$, $x$"),
    ("number of data points", "$N$", "$n$", "-", "-", "$n$, `total`"),
    ("length of a data point", "$D$", "$d$", "-", "$D$", "$D$, `data_dim`"),
    ("latent variable, code", "$\\mathbf{z}$", "$\\mathbf{z}$", "$z$", "$z$, $Z$", "$z$; $y$ if discrete"),
    ("length of a code", "$L$", "-", "$k$", "-", "$k$, `latent_dim`"),
    ("parameters of the model", "$\\boldsymbol{\\theta}$", "$\\theta$", "$\\theta$", "$\\theta$", "$\\theta$"),
    (
        "parameters of the guide",
        "$\\boldsymbol{\\phi}$",
        "$\\phi$",
        "$\\theta$; $\\phi$ of the VAE",
        "$\\theta$, $\\phi$, $\\lambda$",
        "$\\phi$",
    ),
    (
        "encoder, guide",
        "$q_\\phi(\\mathbf{z} \\mid \\mathbf{x})$",
        "$g_\\phi$, $q_\\phi(\\mathbf{z} \\mid \\mathbf{x})$",
        "$q_\\theta(z)$, $q_\\phi(z \\mid x)$",
        "$\\mathrm{Encoder}(X; \\theta)$, $q(z \\mid x)$",
        "$q(z \\mid x)$, `guide`",
    ),
    (
        "guide of one data point",
        "$q_i(\\mathbf{z}_i)$",
        "$q(\\mathbf{z})$",
        "$q(z)$",
        "$q(z; \\lambda)$",
        "$q_i(z)$",
    ),
    (
        "decoder",
        "$p_\\theta(\\mathbf{x} \\mid \\mathbf{z})$",
        "$f_\\theta$, $p_\\theta(\\mathbf{x} \\mid \\mathbf{z})$",
        "$p_\\theta(x \\mid z)$",
        "$\\mathrm{Decoder}(Z; \\theta)$, $p(x \\mid z)$",
        "$p(x \\mid z)$, `model`",
    ),
    (
        "reconstruction",
        "$\\mathbf{x}_i^s$",
        "$\\mathbf{x}^{\\prime}$, $\\hat{\\mathbf{x}}$",
        "$\\mu_\\theta(z)$",
        "$X_\\mathrm{recon}$",
        "$\\hat{x}$, a mean",
    ),
    ("corrupted input", "-", "$\\tilde{\\mathbf{x}}$", "-", "-", "`corrupt(x)`"),
    ("activation of unit j of layer l", "-", "$a_j^{(l)}$", "-", "-", "$z_j$ of a code"),
    ("noise of a draw", "$\\boldsymbol{\\varepsilon}$", "$\\epsilon$", "$\\epsilon$", "`eps`", "$\\epsilon$"),
    ("divergence", "$D_{\\mathbb{KL}}$", "$D_{\\mathrm{KL}}$", "$D$", "$\\mathrm{KL}$", "$\\mathrm{KL}$"),
    ("weight of the KL, or of a penalty", "-", "$\\beta$", "$\\alpha$", "-", "$\\beta$, `beta`; `weight`"),
    ("log evidence", "$\\log p_\\theta(\\mathbf{x})$", "$\\log p(\\mathbf{x})$", "$\\log p(x)$", "-", "$\\log p(x)$"),
    ("bound", "$\\mathrm{ELBO}$", "$\\mathrm{ELBO}(q)$", "$\\mathcal{L}_q$", "$-L$", "$\\mathrm{ELBO}$"),
    ("size of a minibatch", "$N_B$", "`batch_size`", "-", "-", "$n_B$, `batch_size`"),
)
"""What each source and this course call the same thing: [T], [L], [V], [B], course."""


@dataclass(frozen=True)
class Outlined:
    """A week in the course outline of [L], and where its topic is here.

    :param lessons: the numbers of lessons
    :param pages: models of the gallery, by name
    :param words: what else the gallery has of it, or that it has nothing
    """

    topic: str
    lessons: tuple[int, ...] = ()
    pages: tuple[str, ...] = ()
    words: str = ""


OUTLINE = (
    Outlined("Introduction, probability theory", (1, 2), ("loaded_die", "linear_regression")),
    Outlined(
        "Directed and undirected networks",
        (1,),
        ("hmm",),
        "directed alone: the diagram of each model has its factorisation",
    ),
    Outlined("Variable elimination", (5, 10), ("gaussian_mixture", "gmvae"), "the objective `enum`"),
    Outlined("Belief propagation", (10,), ("hmm", "state_space"), "on chains: forward and backward, Kalman"),
    Outlined("Message passing, graph neural networks", words="not in the gallery"),
    Outlined("Sampling", (10,), ("eight_schools", "logistic_regression"), "`nuts`, `ais`, importance weights"),
    Outlined("Variational inference", (3, 4, 6, 7), ("exponential_gaussian", "squared_gaussian")),
    Outlined("Autoregressive models", (10,), ("vrnn",), "with a latent variable behind each row"),
    Outlined("Variational autoencoders", (8, 9), ("autoencoder", "vae", "cvae")),
    Outlined("GANs", words="not in the gallery"),
    Outlined("Energy-based models", words="not in the gallery"),
    Outlined("Evaluating generative models", (9, 10), ("vae", "cvae"), "IWAE, AIS, k-hat, calibration, a classifier"),
)
"""The teaching weeks of the outline in [L], in its order."""


@dataclass(frozen=True)
class Misconception:
    """What students say, and the number that dispels it.

    :param number: the sentence with the number, which a test computes
    """

    claim: str
    number: str
    lesson: int


MISCONCEPTIONS = (
    Misconception(
        "A face that has not come up in seven throws has probability 0.",
        "Under a uniform prior it has probability $1/13 = 0.077$ at the next throw.",
        1,
    ),
    Misconception(
        "A gap of 0.003 nats per data point means that the guide is right.",
        "On the line the mean-field gap is 0.00315 nats per data point, and the standard deviations are too small by a "
        "factor of 1.88. All 200 points share one latent: the gap is 0.630 nats.",
        2,
    ),
    Misconception(
        "With more training the ELBO reaches the evidence.",
        "An exponential guide stays 0.2462 nats below it at $x = 2$, at the best rate there is.",
        3,
    ),
    Misconception(
        "The KL is a distance, so its direction is a detail.",
        "At $x = 9$ the moment-matched normal has forward KL 2.87 and reverse KL 270; the best normal in reverse KL "
        "has 0.694, close to $\\log\\,2$, and misses half of the posterior.",
        4,
    ),
    Misconception(
        "EM finds the maximum of the likelihood.",
        "Started at three equal components it stays there, at $-3.85$ nats per point; other starts reach $-3.26$. And "
        "the maximum does not exist: one component on one point gains without limit.",
        5,
    ),
    Misconception(
        "Amortisation is what makes the posterior approximate.",
        "The guide $\\mathrm{Normal}(x/2, 1)$ of the smallest model has amortisation gap 0 and approximation gap 0.153 "
        "nats: the family, not the network, is at fault.",
        9,
    ),
    Misconception(
        "One cannot differentiate through a sample.",
        "The score function does: at $x = 2$, $m = 1$ its mean is right, and its variance 10.3 against 2 for the "
        "reparametrised estimator.",
        7,
    ),
    Misconception(
        "A closed-form KL always lowers the variance.",
        "At the posterior the sampled form of the bound has variance 0; with the closed KL it is 0.99 nats$^2$ per "
        "data point, for factor analysis at its true parameters.",
        7,
    ),
    Misconception(
        "With a weight other than 1 on the KL the objective is no bound.",
        "Above 1 it is a looser bound. Below 1 it is none: in the smallest VAE with variance 4 and noise 1 the "
        "objective with weight 1/2 reaches $-1.69$, above the evidence, $-2.11$.",
        9,
    ),
    Misconception(
        "The KL term makes codes informative.",
        "It charges for information: in the same VAE a code carries 0.693 nats at weight 1, and 0 from weight 4 on.",
        9,
    ),
    Misconception(
        "Cross-entropy on grey pixels is a log-likelihood.",
        "At $p = 1/2$ its density has mass $1/2$: 543 nats for 784 pixels are missing.",
        9,
    ),
    Misconception(
        "The decoder's output is a sample of the model.",
        "It is a mean. For a Bernoulli pixel with $p = 0.1$ the mean, 0.1, has probability 0 as a value.",
        8,
    ),
)
"""The instructor's notes."""
