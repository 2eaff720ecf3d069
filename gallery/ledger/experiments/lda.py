"""Topics by variational inference and by Gibbs sampling: the perplexity of held-out words, by document completion.

Griffiths and Steyvers, Finding scientific topics, 2004 (the collapsed Gibbs sampler).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Assignment", "collapsed_gibbs"]


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
