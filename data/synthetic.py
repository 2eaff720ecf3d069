"""Sets drawn from a known model, so that a fit can be compared with the truth, and small tables that are printed.

They are drawn by numpy's legacy generator, whose streams numpy guarantees never to change: the numbers are the same on
every machine. The second argument of a univariate Normal below is the standard deviation.

    factor_analysis       z ~ Normal(0, I_2);  x | z ~ Normal(W z, diag(sigma^2)), x in R^3
                          log p(x) = log Normal(0, W W' + diag(sigma^2)); mean -3.9348 (train), -3.9705 (test) nats
    factor_analysis_missing
                          the rows of factor_analysis; each entry is missing (NaN) with probability 0.3, independently
    exponential_gaussian  z ~ Exponential(1);  x | z ~ Normal(z, 1), x in R
                          log p(x) = 1/2 - x + log Phi(x - 1)
    line                  x ~ Normal(intercept + slope * c, sigma), covariate c ~ Uniform(0, 5)
                          (c is not centred, so that slope and intercept are correlated a posteriori)
    logistic              x ~ Bernoulli(sigmoid(intercept + slope * c)), covariate c ~ Uniform(0, 5)
    squared_gaussian      z ~ Normal(0, 1);  x | z ~ Normal(z^2, 0.5), x in R
    loaded_die            x ~ Categorical(p), one-hot; half of the throws show the last face
    gaussian_mixture      y ~ Categorical(weights);  x | y ~ Normal(mean_y, scale_y), x in R^2; y is the label
    hmm                   y_t a Markov chain of three states, x_t | y_t ~ Normal(mean_{y_t}, scale_{y_t}), x in R^10
    state_space           z_1 ~ Normal((1, 0), I), z_t ~ Normal(A z_{t-1}, 0.3^2 I), A a turn by 1/8 and a shrinking by
                          0.95; x_t ~ Normal(first coordinate of z_t, 0.5), x in R^10
                          log p(x) by the Kalman filter; mean -12.0452 (train), -11.8515 (test) nats
    topics                theta ~ Dirichlet(0.5, ..., 0.5); each of 100 words from one of ten topics, drawn by theta;
                          x counts the 25 words, which lie on a grid of 5 x 5. A topic is a row or a column, uniformly:
                          the bars of Griffiths and Steyvers, Finding scientific topics, 2004, whose draw has
                          concentration 1

    eight_schools         not drawn: the effects of coaching in eight schools as estimated, x, and their standard
                          errors, the covariate; Rubin, Estimation in parallel randomized experiments, 1981, table 1.
                          No school is held out: the test split has the same rows
    lsat6                 not drawn: right (1) and wrong (0) answers of 1,000 persons to the five items of section 6 of
                          the Law School Admission Test, sorted by the pattern of answers from 00000 to 11111; Bock and
                          Lieberman, Fitting a response model for n dichotomously scored items, 1970.
                          No person is held out: the test split has the same rows
    nile                  not drawn: the annual flow of the Nile at Aswan, 1871 to 1970, in 10^8 m^3, a row of 100;
                          Cobb, The problem of the Nile: conditional solution to a change-point problem, 1978.
                          It is one sequence: the test split has the same row

factor_analysis is the draw of Yang Zhi-Han, Training latent variable models with auto-encoding variational Bayes: A
tutorial, 2022. The other sets are the gallery's.

    >>> import data
    >>> data.synthetic.FA_W.shape, data.synthetic.LINE_SLOPE
    ((3, 2), 1.5)
    >>> data.load("line", "train").covariates.shape
    torch.Size([200, 1])
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from data.dataset import Source, split_slices

__all__ = [
    "DIE_P",
    "FA_MISSING",
    "FA_SIGMA",
    "FA_W",
    "HMM_INITIAL",
    "HMM_MEAN",
    "HMM_SCALE",
    "HMM_TRANSITION",
    "LINE_INTERCEPT",
    "LINE_SIGMA",
    "LINE_SLOPE",
    "LOGISTIC_W",
    "LSAT6_COUNTS",
    "MIXTURE_MEAN",
    "MIXTURE_SCALE",
    "MIXTURE_WEIGHTS",
    "NILE_FLOW",
    "SCHOOLS_EFFECT",
    "SCHOOLS_ERROR",
    "STATE_A",
    "STATE_NOISE",
    "STATE_START",
    "SYNTHETIC",
    "TOPICS_ALPHA",
    "TOPICS_BETA",
    "TRUTH",
]

FA_W = np.array([[-0.5, -1.0], [-1.0, -1.0], [2.0, 0.5]])
FA_SIGMA = np.array([0.4, 0.2, 0.3])
FA_MISSING = 0.3  # the probability of a missing entry in factor_analysis_missing
LINE_INTERCEPT, LINE_SLOPE, LINE_SIGMA = 0.5, 1.5, 0.8
LOGISTIC_W = np.array([-3.0, 1.2])
SCHOOLS_EFFECT = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
SCHOOLS_ERROR = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
DIE_P = np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.5])
MIXTURE_WEIGHTS = np.array([0.5, 0.3, 0.2])
MIXTURE_MEAN = np.array([[-2.0, 0.0], [1.5, 1.5], [1.0, -2.0]])
MIXTURE_SCALE = np.array([[0.6, 1.2], [0.8, 0.5], [1.0, 0.6]])
HMM_INITIAL = np.array([0.6, 0.3, 0.1])
HMM_TRANSITION = np.array([[0.8, 0.15, 0.05], [0.1, 0.7, 0.2], [0.2, 0.1, 0.7]])
HMM_MEAN, HMM_SCALE = np.array([-2.0, 0.0, 2.5]), np.array([0.5, 0.8, 0.6])
STATE_START, STATE_NOISE = np.array([1.0, 0.0]), (0.3, 0.5)  # the mean of z_1; standard deviations of z_t and x_t
STATE_A = 0.95 * np.sqrt(0.5) * np.array([[1.0, -1.0], [1.0, 1.0]])
TOPICS_BETA = np.concatenate([np.eye(5).repeat(5, axis=1), np.tile(np.eye(5), 5)]) / 5  # (10, 25): rows, then columns
TOPICS_ALPHA = 0.5
_NILE = (
    "1120 1160 963 1210 1160 1160 813 1230 1370 1140 995 935 1110 994 1020 960 1180 799 958 1140 "
    "1100 1210 1150 1250 1260 1220 1030 1100 774 840 874 694 940 833 701 916 692 1020 1050 969 "
    "831 726 456 824 702 1120 1100 832 764 821 768 845 864 862 698 845 744 796 1040 759 "
    "781 865 845 944 984 897 822 1010 771 676 649 846 812 742 801 1040 860 874 848 890 "
    "744 749 838 1050 918 986 797 923 975 815 1020 906 901 1170 912 746 919 718 714 740"
)
LSAT6_COUNTS = np.array(
    [3, 6, 2, 11, 1, 1, 3, 4, 1, 8, 0, 16, 0, 3, 2, 15, 10, 29, 14, 81, 3, 28, 15, 80, 16, 56, 21, 173, 11, 61, 28, 298]
)  # of persons with each pattern of answers: 00000, 00001, 00010, ... 11111
NILE_FLOW = np.array(_NILE.split(), dtype=float)


def factor_analysis() -> Source:
    """Draw x (2000, 3), train then test: z of both first, then the noise of both."""
    stream = np.random.RandomState(42)
    z = stream.standard_normal((2000, 2))
    noise = stream.standard_normal((2000, 3))
    return Source(_float32(z @ FA_W.T + noise * FA_SIGMA), splits=split_slices(train=1000, test=1000))


def factor_analysis_missing() -> Source:
    """Draw which entries of factor_analysis are missing, (2000, 3), from another stream than its values."""
    complete = factor_analysis()
    missing = torch.from_numpy(np.random.RandomState(7).uniform(size=(2000, 3)) < FA_MISSING)
    return replace(complete, x=complete.x.masked_fill(missing, torch.nan))


def exponential_gaussian() -> Source:
    """Draw x (3500, 1)."""
    stream = np.random.RandomState(0)
    z = stream.exponential(size=(3500, 1))
    return Source(_float32(z + stream.standard_normal(z.shape)), splits=split_slices(2000, 500, 1000))


def line() -> Source:
    """Draw covariates (400, 1) and x (400, 1)."""
    stream = np.random.RandomState(1)
    c = stream.uniform(0, 5, size=(400, 1))
    x = LINE_INTERCEPT + LINE_SLOPE * c + LINE_SIGMA * stream.standard_normal(c.shape)
    return Source(_float32(x), covariates=_float32(c), splits=split_slices(train=200, test=200))


def logistic() -> Source:
    """Draw covariates (240, 1) and x (240, 1) in {0, 1}."""
    stream = np.random.RandomState(6)
    c = stream.uniform(0, 5, size=(240, 1))
    p = 1 / (1 + np.exp(-LOGISTIC_W[0] - LOGISTIC_W[1] * c))
    x = stream.uniform(size=c.shape) < p
    return Source(_float32(x), covariates=_float32(c), splits=split_slices(train=40, test=200))


def eight_schools() -> Source:
    """Return x (8, 1), and the standard errors (8, 1) as covariates."""
    rows = slice(0, 8)
    return Source(
        _float32(SCHOOLS_EFFECT[:, None]),
        covariates=_float32(SCHOOLS_ERROR[:, None]),
        splits={"train": rows, "test": rows, "all": rows},
    )


def lsat6() -> Source:
    """Return x (1000, 5) in {0, 1}, a row for each person."""
    patterns = np.arange(32)[:, None] >> np.arange(4, -1, -1) & 1
    rows = slice(0, 1000)
    x = _float32(patterns.repeat(LSAT6_COUNTS, axis=0))
    return Source(x, splits={"train": rows, "test": rows, "all": rows})


def squared_gaussian() -> Source:
    """Draw x (3500, 1)."""
    stream = np.random.RandomState(2)
    z = stream.standard_normal((3500, 1))
    return Source(_float32(z**2 + 0.5 * stream.standard_normal(z.shape)), splits=split_slices(2000, 500, 1000))


def loaded_die() -> Source:
    """Draw x (400, 6), one-hot."""
    throws = np.random.RandomState(3).uniform(size=400)
    return Source(_float32(np.eye(6)[_invert(DIE_P, throws)]), splits=split_slices(train=200, test=200))


def gaussian_mixture() -> Source:
    """Draw x (2000, 2), and the components (2000,) as labels."""
    stream = np.random.RandomState(4)
    y = _invert(MIXTURE_WEIGHTS, stream.uniform(size=2000))
    x = MIXTURE_MEAN[y] + MIXTURE_SCALE[y] * stream.standard_normal((2000, 2))
    return Source(_float32(x), labels=torch.from_numpy(y), classes=3, splits=split_slices(train=1000, test=1000))


def hmm() -> Source:
    """Draw x (800, 10), a row for each chain."""
    stream = np.random.RandomState(5)
    u, noise = stream.uniform(size=(10, 800)), stream.standard_normal((10, 800))
    y, x = _invert(HMM_INITIAL, u[0]), []
    for t in range(10):
        y = _invert(HMM_TRANSITION[y], u[t]) if t else y
        x.append(HMM_MEAN[y] + HMM_SCALE[y] * noise[t])
    return Source(_float32(np.stack(x, 1)), splits=split_slices(train=400, test=400))


def state_space() -> Source:
    """Draw x (800, 10), a row for each sequence."""
    stream = np.random.RandomState(8)
    noise, error = stream.standard_normal((10, 800, 2)), stream.standard_normal((10, 800))
    z, x = STATE_START + noise[0], []
    for t in range(10):
        z = z @ STATE_A.T + STATE_NOISE[0] * noise[t] if t else z
        x.append(z[:, 0] + STATE_NOISE[1] * error[t])
    return Source(_float32(np.stack(x, 1)), splits=split_slices(train=400, test=400))


def topics() -> Source:
    """Draw x (1500, 5, 5), the counts of the words of a document on their grid."""
    stream = np.random.RandomState(9)
    theta = stream.dirichlet([TOPICS_ALPHA] * 10, size=1500)
    topic = _invert(theta.repeat(100, axis=0), stream.uniform(size=150_000))
    word = _invert(TOPICS_BETA[topic], stream.uniform(size=150_000))
    x = np.bincount(np.arange(1500).repeat(100) * 25 + word, minlength=1500 * 25)
    return Source(_float32(x.reshape(1500, 5, 5)), splits=split_slices(train=1000, test=500))


def nile() -> Source:
    """Return x (1, 100)."""
    row = slice(0, 1)
    return Source(_float32(NILE_FLOW[None]), splits={"train": row, "test": row, "all": row})


def _invert(p: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Map uniforms (n,) to categories (n,) by the inverse of the distribution function of p, (k,) or (n, k)."""
    return (u[:, None] >= p.cumsum(-1)[..., :-1]).sum(-1)


def _float32(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))


TRUTH = {
    "line": {"w": np.array([LINE_INTERCEPT, LINE_SLOPE]), "noise": np.array(LINE_SIGMA)},
    "logistic": {"w": LOGISTIC_W},
    "loaded_die": {"p": DIE_P},
}
"""The values of the latents that all data of a set share, by set and by site of the gallery's model of it."""

SYNTHETIC: dict[str, Callable[[], Source]] = {
    "factor_analysis": factor_analysis,
    "factor_analysis_missing": factor_analysis_missing,
    "exponential_gaussian": exponential_gaussian,
    "line": line,
    "logistic": logistic,
    "eight_schools": eight_schools,
    "lsat6": lsat6,
    "squared_gaussian": squared_gaussian,
    "loaded_die": loaded_die,
    "gaussian_mixture": gaussian_mixture,
    "hmm": hmm,
    "state_space": state_space,
    "topics": topics,
    "nile": nile,
}
