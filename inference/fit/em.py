"""Expectation maximisation, for models with an E and an M step in closed form.

Dempster, Laird and Rubin, Maximum likelihood from incomplete data via the EM algorithm, 1977.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from inference.counts import whole_number
from inference.errors import InferenceError
from inference.pairs.capabilities import exact
from inference.pairs.pair import Pair
from inference.pairs.run import arguments

__all__ = ["em"]


def em(pair: Pair, x: Tensor, iterations: int, given: Tensor | None = None) -> Iterator[float]:
    """Fit the generative parameters by EM, in closed form; yields the mean of log p(x), in nats per data point.

    It yields the mean before each iteration and after the last: iterations + 1 numbers, which never decrease. A pair
    without the methods `e_step` and `m_step` is refused:

    >>> import torch
    >>> from inference import InferenceError, em
    >>> from inference.examples import LinearGaussian
    >>> try:
    ...     list(em(LinearGaussian(), torch.zeros(4, 1), iterations=3))
    ... except InferenceError as error:
    ...     print(error)
    LinearGaussian has no E and M steps in closed form. Fit it by SVI.

    Dempster, Laird and Rubin, Maximum likelihood from incomplete data via the EM algorithm, 1977.

    :param pair: a model with methods `e_step`, `m_step` and `log_evidence`
    :param x: (n, ...) all the data
    :param iterations: number of E and M steps
    :param given: (n, ...) labels or covariates, for a conditional model
    :raises InferenceError: if one of the three methods is missing, or a conditional model has no `given`
    """
    log_evidence, e_step, m_step = exact(pair, "log_evidence"), exact(pair, "e_step"), exact(pair, "m_step")
    if not (log_evidence and e_step and m_step):
        raise InferenceError(f"{type(pair).__name__} has no E and M steps in closed form.", "Fit it by SVI.")
    args = arguments(pair, x, given)
    with torch.no_grad():
        for _ in range(whole_number(iterations, "iterations", least=0)):
            yield log_evidence(*args).mean().item()
            m_step(e_step(*args))
        yield log_evidence(*args).mean().item()
