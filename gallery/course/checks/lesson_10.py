"""Checks of lesson 10: enumeration, the forward algorithm, importance weighting, calibration and Gibbs sampling."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from gallery.course.compare import WrongError, expect, expect_mean, number_of

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4", "exercise_5"]

WEIGHTS = torch.tensor([[-3.0, -1.0, -2.5], [-4.0, -4.0, -0.5]], dtype=torch.float64)
INITIAL = torch.tensor([0.7, 0.3], dtype=torch.float64).log()
TRANSITION = torch.tensor([[0.9, 0.1], [0.4, 0.6]], dtype=torch.float64).log()
EMISSION = torch.tensor([[-1.0, -2.0], [-3.0, -0.5], [-0.7, -0.9]], dtype=torch.float64)


def all_paths() -> Tensor:
    """Return log p(x) by the sum over all paths of states."""
    terms = []
    for path in itertools.product(range(2), repeat=3):
        term = INITIAL[path[0]] + sum(EMISSION[t, y] for t, y in enumerate(path))
        terms.append(term + sum(TRANSITION[i, j] for i, j in itertools.pairwise(path)))
    return torch.stack(terms).logsumexp(0)


def exercise_1(enumerated_elbo: Callable[[Tensor, Tensor], Tensor]) -> None:
    """The bound with a discrete latent summed out."""
    log_q = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]], dtype=torch.float64).log()
    exact = (log_q.exp() * (WEIGHTS - log_q)).sum(1)
    hint = "an average over y with the probabilities q, of log weight minus log q: the entropy of q counts"
    expect(enumerated_elbo(log_q, WEIGHTS), exact, "the bound of data point", "the sum over y", hint)
    best = enumerated_elbo(WEIGHTS.log_softmax(1), WEIGHTS)
    expect(best, WEIGHTS.logsumexp(1), "the bound at the best q of data point", "logsumexp of the weights", hint)


def exercise_2(forward: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """The forward algorithm."""
    answer = forward(INITIAL, TRANSITION, EMISSION)
    hint = "sum over the earlier state, the first index of the transitions; the first emission counts too"
    expect(answer, all_paths(), "log p(x) of three steps", "by the sum over all 8 paths", hint)
    one = forward(INITIAL, TRANSITION, EMISSION[:1])
    expect(one, (INITIAL + EMISSION[0]).logsumexp(0), "log p(x) of one step", "no transition", hint)
    far = forward(INITIAL, TRANSITION, EMISSION - 1000)
    expect(far, all_paths() - 3000, "log p(x) of improbable data", "in logarithms", "exp underflows")


def exercise_3(importance_bound: Callable[[Tensor, int], Tensor]) -> None:
    """The importance weighted bound."""
    log_w = torch.tensor([-3.0, -1.0, -2.0, -7.0, 0.5, -0.1], dtype=torch.float64)
    for K in (1, 2, 3, 6):
        exact = (log_w.reshape(-1, K).logsumexp(1) - torch.tensor(float(K)).log()).mean()
        hint = "the mean of K weights inside the logarithm: subtract log K; then the mean over groups"
        expect(importance_bound(log_w, K), exact, f"IWAE-{K} of six weights", "by definition", hint)
    far = importance_bound(log_w - 900, 2)
    expect(far, importance_bound(log_w, 2) - 900, "IWAE-2 of weights near e^-900", "in logarithms", hint)


def exercise_4(ranks: Callable[[Callable[[Tensor, int], Tensor], int, int], Tensor]) -> None:
    """Ranks for calibration by simulation."""
    L, n = 9, 4000

    def posterior(x: Tensor, size: int) -> Tensor:
        return x / 2 + 0.5**0.5 * torch.randn(size, len(x), dtype=torch.float64)

    found = number_of(ranks(posterior, n, L), "the ranks")
    if found.shape != (n,):
        raise WrongError(f"the ranks have shape {tuple(found.shape)}, expected ({n},): count over the samples, dim 0")
    if found.min() < 0 or found.max() > L:
        raise WrongError(f"a rank is {found.max().item():g}, expected 0 to {L}: the number of samples below z")
    hint = "z from Normal(0, 1), x from Normal(z, 1), and the samples given this x"
    expect_mean(found, L / 2, "the mean rank under the posterior", "uniform on 0 to 9", hint)
    square = (found - L / 2).square()
    expect_mean(square, L * (L + 2) / 12, "the variance of the rank under the posterior", "uniform on 0 to 9", hint)
    low = number_of(ranks(lambda x, size: posterior(x, size) - 50, n, L), "the ranks")
    expect(low.mean(), L, "the rank where all samples are below z", "by definition", "count the samples below z")


def exercise_5(sweep: Callable[[Tensor, Tensor, Tensor, float], Tensor]) -> None:
    """A sweep of Gibbs sampling: its mean and its variance, in closed form."""
    theta, x, alpha = torch.tensor([0.7, 0.3], dtype=torch.float64), torch.tensor([3.0, 5.0, 0.0]).double(), 0.5
    beta = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]], dtype=torch.float64)
    drawn = [number_of(sweep(theta, x, beta, alpha), "the new shares") for _ in range(1500)]
    if drawn[0].shape != (2,) or not (torch.stack(drawn).sum(1) - 1).abs().max() < 1e-4:
        raise WrongError(f"the new shares are {drawn[0].tolist()}, expected 2 numbers that add up to 1")
    phi = theta[0] * beta[0] / (theta @ beta)  # of the first topic, given the word
    mean, variance, total = x @ phi, x @ (phi * (1 - phi)), x.sum() + 2 * alpha
    square = (variance + mean**2 + (2 * alpha + 1) * mean + alpha * (alpha + 1)) / (total * (total + 1))
    first, expected = torch.stack(drawn)[:, 0], ((alpha + mean) / total).item()
    hint = "topics with probability proportional to theta_k beta_kw, one for each word; then Dirichlet(alpha + counts)"
    expect_mean(first, expected, "the mean of the first share", "in closed form", hint)
    hint = "draw the topics and then the shares; do not take their means"
    spread = square.item() - expected**2
    expect_mean((first - expected).square(), spread, "the variance of the first share", "in closed form", hint)
