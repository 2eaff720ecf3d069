"""A file of the user for the tests of data."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., str]:
    """save(x=..., labels=...) -> path of an .npz file."""

    def save(**arrays: np.ndarray) -> str:
        path = tmp_path / "user.npz"
        np.savez(path, **arrays)
        return str(path)

    return save
