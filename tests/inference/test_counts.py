"""Numbers of draws, steps and rows, and x of integers, at every function that takes them."""

import numpy as np
import pytest
import torch
from cases import build

from inference import (
    InferenceError,
    ais,
    calibration_ranks,
    em,
    encode,
    evaluate,
    gap,
    log_weights,
    nuts,
    reconstruct,
    sample,
)
from inference.examples import LinearGaussian

X = torch.randn(30, 1, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("score", [evaluate, encode, reconstruct, lambda pair, x: sample(pair, x, 2)])
def test_integers_are_not_scored(score):
    """Reconstructed in their type, means are rounded."""
    for x in (X.long(), X.numpy()):
        with pytest.raises(InferenceError, match="expected a dense tensor of floats"):
            score(LinearGaussian(), x)


def test_counts_are_integers_of_python_or_numpy_from_a_least_one_on():
    for value in (0, -1, 2.5, True):
        for name, function in (
            ("particles", evaluate),
            ("n", sample),
            ("k", log_weights),
            ("chains", ais),
            ("steps", ais),
            ("warmup", nuts),
            ("fit_draws", gap),
            ("simulations", calibration_ranks),
        ):
            with pytest.raises(InferenceError, match=rf"^{name}.* is {value}; expected an integer from 1 on\.$"):
                function(LinearGaussian(), X, **{name: value})
    with pytest.raises(InferenceError, match=r"^the number of rows of x is 0; expected an integer from 1 on\.$"):
        evaluate(LinearGaussian(), X[:0])
    pair = LinearGaussian()
    numbers = [ais(pair, X, chains=kind(2), steps=kind(3), leapfrog=kind(2)) for kind in (int, np.int64)]
    assert torch.equal(*numbers)
    assert evaluate(LinearGaussian(), X, particles=np.int64(2))["iwae"]["k"] == 2


def test_em_takes_no_iterations_but_not_less():
    pair, x = build("factor_analysis"), torch.randn(9, 6)
    assert len(list(em(pair, x, 0))) == 1
    with pytest.raises(InferenceError, match="iterations is -1; expected an integer from 0 on"):
        list(em(pair, x, -1))
