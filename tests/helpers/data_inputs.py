"""Inputs of the tests of data: pixels, and the message of a name or file that cannot be loaded."""

import numpy as np
import pytest

import data


def fault(*words: str, name: str, split: str = "train", **keywords) -> str:
    """Return the message of the DataError that loading raises: one line with all the words, and no flag."""
    with pytest.raises(data.DataError) as caught:
        data.load(name, split, **keywords)
    message = str(caught.value)
    assert message
    assert len(message.splitlines()) == 1
    assert message.endswith(".")
    assert " --" not in message
    for word in words:
        assert word in message
    return message


def pixels(n: int = 40, h: int = 4, w: int = 5, seed: int = 0) -> np.ndarray:
    """Draw images (n, h, w), uint8."""
    return np.random.RandomState(seed).randint(0, 256, (n, h, w)).astype(np.uint8)
