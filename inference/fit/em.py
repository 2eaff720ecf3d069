"""Expectation maximisation, for models that know their E and M steps."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from inference.errors import InferenceError
from inference.pairs.capabilities import exact
from inference.pairs.run import arguments


def em(pair: nn.Module, x: Tensor, iterations: int, given: Tensor | None = None) -> Iterator[float]:
    """Runs EM on the generative parameters; yields the mean log evidence of x (nats per data point) before each
    iteration and after the last. It never falls (Dempster, Laird and Rubin, 1977).

    :raises InferenceError: if the model has no `e_step` and `m_step`
    """
    log_evidence, e_step, m_step = exact(pair, "log_evidence"), exact(pair, "e_step"), exact(pair, "m_step")
    if not (log_evidence and e_step and m_step):
        raise InferenceError(f"{type(pair).__name__} has no closed E and M steps: it is fitted by SVI.")
    args = arguments(pair, x, given)
    with torch.no_grad():
        for _ in range(iterations):
            yield log_evidence(*args).mean().item()
            m_step(e_step(*args))
        yield log_evidence(*args).mean().item()
