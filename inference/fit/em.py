"""Expectation maximisation, for models that know their E and M steps."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from inference.errors import InferenceError
from inference.pairs.run import arguments


def em(pair: nn.Module, x: Tensor, iterations: int, given: Tensor | None = None) -> Iterator[float]:
    """Runs EM on the generative parameters; yields the mean log evidence of x (nats per data point) before each
    iteration and after the last. It never falls (Dempster, Laird and Rubin, 1977).

    :raises InferenceError: if the model has no `e_step` and `m_step`
    """
    if not (hasattr(pair, "e_step") and hasattr(pair, "m_step")):
        raise InferenceError(f"{type(pair).__name__} has no closed E and M steps: it is fitted by SVI.")
    args = arguments(pair, x, given)
    with torch.no_grad():
        for _ in range(iterations):
            yield pair.log_evidence(*args).mean().item()
            pair.m_step(pair.e_step(*args))
        yield pair.log_evidence(*args).mean().item()
