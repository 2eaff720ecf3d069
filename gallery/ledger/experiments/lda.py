"""Topics by variational inference and by Gibbs sampling: the perplexity of held-out words, by document completion.

Griffiths and Steyvers, Finding scientific topics, 2004 (the collapsed Gibbs sampler).
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import data
from data.reuters import reuters_is_here
from gallery.catalogue.recipes import RECIPES
from gallery.figures import save
from gallery.figures.gibbs import gibbs
from gallery.models.lda import LDA
from gallery.runs.prepare import noise_of
from gallery.runs.specification import run_of
from inference import SVI
from inference.evaluation.perplexity import half_of_words
from inference.files import write_atomically

__all__ = ["Assignment", "collapsed_gibbs", "gibbs_shares", "on_news", "reproduce"]

DOCUMENTS, SWEEPS, STARTS = 200, 200, 3


class Assignment(NamedTuple):
    """One draw of the topics of all words: z, (words,), by document and then by word, and the counts that it makes.

    words: (topics, vocabulary); documents: (n, topics).
    """

    z: Tensor
    words: Tensor
    documents: Tensor


def collapsed_gibbs(
    x: Tensor, topics: int, alpha: float, eta: float, sweeps: int, seed: int = 0
) -> Iterator[Assignment]:
    """Yield the topics of all words after every sweep, drawn from p(z | x) with theta and beta integrated out.

    A word of kind v in document d has topic k with probability proportional to (n_dk + alpha) (n_kv + eta) /
    (n_k + V eta), where the counts n are of all other words.

    :param x: counts, (n, vocabulary)
    :param alpha: concentration of the prior of theta
    :param eta: concentration of the prior of beta
    """
    stream, (n, vocabulary) = np.random.RandomState(seed), x.shape
    counts = x.long().numpy()
    document, kind = (at.repeat(counts[counts > 0]) for at in counts.nonzero())
    z = stream.randint(topics, size=len(kind))
    of_document, of_kind = np.full((n, topics), alpha), np.full((vocabulary, topics), eta)
    np.add.at(of_document, (document, z), 1)
    np.add.at(of_kind, (kind, z), 1)
    in_all = of_kind.sum(0)
    places = list(zip(document.tolist(), kind.tolist(), strict=True))
    for _ in range(sweeps):
        u = stream.uniform(size=len(z))
        for i, (d, v) in enumerate(places):
            here, word, k = of_document[d], of_kind[v], z[i]
            here[k] -= 1
            word[k] -= 1
            in_all[k] -= 1
            p = (here * word / in_all).cumsum()
            z[i] = k = p.searchsorted(u[i] * p[-1])
            here[k] += 1
            word[k] += 1
            in_all[k] += 1
        words, documents = of_kind.T - eta, of_document - alpha
        yield Assignment(*(torch.from_numpy(part.copy()) for part in (z, words, documents)))


def gibbs_shares(x: Tensor, beta: Tensor, alpha: float, sweeps: int, seed: int = 0) -> Tensor:
    """Return the posterior mean of theta, (n, topics), by Gibbs sampling of theta and z, given the topics.

    It is the mean of E[theta | z] over the sweeps after the first fifth.

    :param x: counts, (n, vocabulary)
    :param beta: (topics, vocabulary)
    """
    document, kind = (at.repeat_interleave(x[x > 0].long()) for at in x.nonzero(as_tuple=True))
    generator, total, kept = torch.Generator().manual_seed(seed), x.new_zeros(len(x), len(beta)), 0
    theta = x.new_full((len(x), len(beta)), 1 / len(beta))
    for sweep in range(sweeps):
        z = (theta[document] * beta.T[kind]).multinomial(1, generator=generator)[:, 0]
        concentration = alpha + torch.zeros_like(total).index_put_((document, z), x.new_ones(()), accumulate=True)
        theta = torch._standard_gamma(concentration, generator=generator)
        theta = theta / theta.sum(1, keepdim=True)
        if sweep >= sweeps // 5:
            total, kept = total + concentration / concentration.sum(1, keepdim=True), kept + 1
    return total / kept


def _topics_by_gibbs(x: Tensor, topics: int, alpha: float, eta: float, sweeps: int, seed: int) -> tuple[Tensor, float]:
    """Return the mean topics of a chain after its first half, and the mean log p(x | z) up to a constant."""
    draws = list(collapsed_gibbs(x, topics, alpha, eta, sweeps, seed))[sweeps // 2 :]
    counts = torch.stack([draw.words for draw in draws]) + eta
    beta = counts / counts.sum(-1, keepdim=True)
    log_p = counts.lgamma().sum(-1) - counts.sum(-1).lgamma()  # of the words given their topics, up to a constant
    return beta.mean(0).to(x), log_p.sum(-1).mean().item()


def _log_p(theta: Tensor, beta: Tensor, scored: Tensor) -> Tensor:
    return (scored * (theta @ beta).clamp(min=torch.finfo(beta.dtype).tiny).log()).sum(1).double()


def reproduce(
    folder: Path,
    fitted: Path | None = None,
    documents: int = DOCUMENTS,
    sweeps: int = SWEEPS,
    starts: int = STARTS,
    epochs: int = 150,
) -> dict[str, Any]:
    """Infer topics of few documents in each way, the best of some starts; write gibbs.json and its figure, and
    reuters.json where the documents are on this machine.

    :param fitted: not used
    :return: the content of gibbs.json: in "perplexity", by how the topics and then by how the shares are inferred,
        {"value", "se"}, and by how much shares by coordinate ascent exceed both by Gibbs sampling, with the standard
        error of the paired difference
    """
    x, test = data.load("topics").x[:documents], data.load("topics", "test").x
    found: dict[str, Tensor] = {"true": torch.from_numpy(data.synthetic.TOPICS_BETA).to(x)}
    for name, recipe in (("variational, a point", "lda"), ("variational, smoothed", "lda:smoothed")):
        best = -float("inf")
        for seed in range(starts):
            run = run_of(RECIPES[recipe], seed)
            pair = run.build()
            with noise_of(run):
                losses = [loss for _, loss in SVI(pair, x, settings=replace(run.settings, epochs=epochs))]
            if (bound := -torch.stack(losses[-20:]).mean().item()) > best:
                best, found[name] = bound, pair.topics().detach()
    alpha = pair.alpha
    chains = [_topics_by_gibbs(x, len(found["true"]), alpha, pair.eta, sweeps, seed) for seed in range(starts)]
    found["Gibbs sampling"] = max(chains, key=lambda chain: chain[1])[0]
    perplexity = _perplexities(found, test, alpha, sweeps)
    result = {"documents": documents, "sweeps": sweeps, "starts": starts, "epochs": epochs, "perplexity": perplexity}
    if reuters_is_here():
        write_atomically(folder / "reuters.json", (json.dumps(on_news(sweeps), indent=2) + "\n").encode())
    save(gibbs(result, x.shape[1]), folder / "gibbs.png")
    write_atomically(folder / "gibbs.json", (json.dumps(result, indent=2) + "\n").encode())
    return result


def _perplexities(topics: dict[str, Tensor], x: Tensor, alpha: float, sweeps: int) -> dict[str, dict[str, Any]]:
    """Return the perplexity of half of the words of documents given the other half, by topics and by shares."""
    (seen, scored), first = half_of_words(x), next(iter(topics.values()))
    words, log_p = scored.sum(1).double(), {}
    solver = LDA(x.shape[1], len(first), alpha=alpha, sweeps=100)
    for name, beta in topics.items():
        gamma = solver.ascend(seen, beta)
        by = {"coordinate ascent": gamma / gamma.sum(1, keepdim=True)}
        by["Gibbs sampling"] = gibbs_shares(seen, beta, alpha, sweeps)
        log_p[name] = {way: _log_p(theta, beta, scored) for way, theta in by.items()}
    estimates: dict[str, dict[str, Any]] = {}
    reference = log_p["Gibbs sampling"]["Gibbs sampling"]
    least = _estimate(reference, words)["value"]
    for name, ways in log_p.items():
        estimates[name] = {way: _estimate(of, words) for way, of in ways.items()}
        both, value = ways["coordinate ascent"], estimates[name]["coordinate ascent"]["value"]
        error = _error(value * both - least * reference, words)
        estimates[name]["more than by Gibbs sampling"] = {"value": value - least, "se": error}
    return estimates


def _estimate(log_p: Tensor, words: Tensor) -> dict[str, float]:
    """Return the perplexity of documents of these lengths, with its standard error over documents."""
    value = (-log_p.sum() / words.sum()).exp().item()
    return {"value": value, "se": value * _error(log_p, words)}


def _error(log_p: Tensor, words: Tensor) -> float:
    """Return the standard error of log p per word, a ratio of means."""
    deviations = log_p - log_p.sum() / words.sum() * words
    return (deviations.std() / words.mean()).item() / len(words) ** 0.5


def on_news(sweeps: int = SWEEPS) -> dict[str, Any]:
    """Compare the topics of `lda:reuters` with those of one chain of Gibbs sampling, on held-out documents.

    :return: "sweeps" and "perplexity", as `reproduce` has them
    :raises DataError: if the documents are not on this machine
    """
    run = run_of(RECIPES["lda:reuters"], 0)
    splits, pair = run.datasets(), run.build()
    x, topics = splits["train"].x, {}
    with noise_of(run):
        for _ in SVI(pair, x, settings=run.settings):
            pass
    topics["variational, smoothed"] = pair.topics().detach()
    topics["Gibbs sampling"] = _topics_by_gibbs(x, len(pair.topics()), pair.alpha, pair.eta, sweeps, 0)[0]
    return {"sweeps": sweeps, "perplexity": _perplexities(topics, splits["test"].x, pair.alpha, sweeps)}
