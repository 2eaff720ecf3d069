"""The perplexity of held-out words, by document completion."""

from typing import Any

import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor

from inference.errors import InferenceError
from inference.evaluation.estimate import Estimate
from inference.evaluation.predictive import posterior_trace
from inference.pairs.info import inspect_pair
from inference.pairs.pair import Pair
from inference.pairs.run import arguments, eval_mode
from inference.pairs.sites import observed_sites, unwrap

__all__ = ["half_of_words", "perplexity", "word_probabilities"]

DRAWS = 100  # of the guide for each document


def word_probabilities(fn: dist.TorchDistribution) -> Tensor | None:
    """Return the probabilities of the words of a vocabulary, (..., words), of a likelihood of their counts.

    A Multinomial has them as `probs`, another likelihood as the method `word_probabilities()`.

    >>> word_probabilities(dist.Multinomial(4, torch.tensor([0.75, 0.25])))
    tensor([0.7500, 0.2500])

    :return: None for a likelihood of other data
    """
    base: Any = unwrap(fn)
    if isinstance(base, torch.distributions.Multinomial):
        return base.probs
    method = getattr(base, "word_probabilities", None)
    return method() if callable(method) else None


def half_of_words(x: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Deal the words of each document at random into two halves; the second has one more if their number is odd.

    >>> seen, scored = half_of_words(torch.tensor([[3.0, 2.0, 0.0]]))
    >>> seen.sum(1), scored.sum(1), (seen + scored)[0]
    (tensor([2.]), tensor([3.]), tensor([3., 2., 0.]))

    :param x: counts, (n, words)
    :param seed: of the order of the words
    :return: the counts of both halves, (n, words) each
    """
    generator = torch.Generator().manual_seed(seed)
    seen = torch.zeros_like(x)
    for row, counts in zip(seen, x.cpu().long(), strict=True):
        words = torch.arange(len(counts)).repeat_interleave(counts)
        order = torch.randperm(len(words), generator=generator)[: len(words) // 2]
        row += words[order].bincount(minlength=len(counts)).to(row)
    return seen, x - seen


def perplexity(pair: Pair, x: Tensor, given: Tensor | None = None, seed: int = 0, draws: int = DRAWS) -> Estimate:
    """Estimate the perplexity of half of the words of each document, given the other half.

    It is exp(-sum_i log p(w_i | seen words of its document) / number of words w_i), where p(w | seen) is the mean of
    p(w | latents) over draws of the guide, which sees one half; latents that the model sums out are drawn from their
    posterior given that half. No bound enters: it scores model and guide together. A finite number of draws makes it
    larger, by Jensen's inequality. A document of fewer than two words is not scored. The standard error over documents
    is that of a ratio of means.

    Wallach, Murray, Salakhutdinov and Mimno, Evaluation methods for topic models, 2009 (document completion).

    :param pair: its likelihood has `word_probabilities`
    :param x: counts, (n, words)
    :param given: (n, ...) what a conditional model conditions on
    :param seed: of the halves and of the noise
    :param draws: of the guide for each document
    :raises InferenceError: if x has values that are no counts, no document has two words, or the likelihood is not one
        of counts of words
    """
    if not ((x >= 0) & (x == x.round()) & x.isfinite()).all():
        raise InferenceError("perplexity is of counts of words, whole numbers from 0; x has others.", "Pass counts.")
    known = x.sum(1) >= 2
    if not known.any():
        raise InferenceError("no document has two words: there is none to score beside one that is seen.")
    x, given = x[known], None if given is None else given[known]
    seen, scored = half_of_words(x, seed)
    total = torch.zeros_like(x)
    with eval_mode(pair, seed, "perplexity"):
        args = arguments(pair, seen, given)
        summed = inspect_pair(pair, args).enumerated_in_model
        for _ in range(draws):
            guide = posterior_trace(pair, args, summed)
            trace = poutine.trace(poutine.replay(pair.model, guide)).get_trace(*args)
            sites = list(observed_sites(trace).values())
            probs = word_probabilities(sites[0]["fn"]) if len(sites) == 1 else None
            if probs is None:
                names = ", ".join(dict.fromkeys(type(unwrap(site["fn"])).__name__ for site in sites))
                raise InferenceError(f"perplexity is of counts of words, and the likelihood of x is {names}.")
            total += probs
    log_p = (scored * (total / draws).clamp(min=torch.finfo(x.dtype).tiny).log()).sum(1).double()
    words = scored.sum(1).double()
    mean = log_p.sum() / words.sum()
    error = ((log_p - mean * words) / words.mean()).std() / len(x) ** 0.5 if len(x) > 1 else None
    value = (-mean).exp().item()
    errors = {} if error is None else {"se": value * error.item()}
    return Estimate(value=value, **errors, n=len(x), unit="perplexity of half of the words", draws=draws)
