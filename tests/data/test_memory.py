"""Peak memory of reading the user's data, in a separate process: at most about twice the data beside the base."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
MEBIBYTE = 2**20
SCRIPT = """
import resource, sys, torch, data
data.load("line")
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
base = peak()
splits = data.load_splits(sys.argv[1], dtype=getattr(torch, sys.argv[2]))
assert set(splits) == {"train", "validation", "test"}
splits["train"].hash, data.summary(splits)
print(peak() - base)
"""


def peak(name: str, dtype: str = "float32") -> int:
    """Return the bytes by which reading a data set raises the peak memory of a process."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-c", SCRIPT, name, dtype]
    return int(subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True).stdout)


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("npz of two sets", 60),
        *(
            pytest.param(kind, 300, marks=pytest.mark.slow)
            for kind in ("npy", "npz", "npz of two sets", "npy of float64", "npy of bytes")
        ),
    ],
)
def test_reading_takes_twice_the_data(tmp_path, kind, size):
    ending = kind[:3]
    n, path = size * MEBIBYTE // 4000, tmp_path / f"x.{ending}"  # rows of 1000 float32
    x = np.random.default_rng(0).random((n, 1000), dtype=np.float32)
    stored = x.nbytes
    if kind.endswith("two sets"):
        np.savez(path, x_train=x[n // 3 :], x_test=x[: n // 3])
    elif ending == "npz":
        np.savez(path, x=x)
    else:
        np.save(path, (255 * x).astype(np.uint8) if "bytes" in kind else x.astype(np.float64) if "64" in kind else x)
    del x
    transform = "grey" if "bytes" in kind else "real"
    limit = 3 if "float64" in kind else 2  # of the data in float32: the file itself is twice that
    assert peak(f"{path}:{transform}") < limit * stored + 12 * MEBIBYTE
    if kind == "npz":
        assert peak(f"{path}:threshold") < 2 * stored + 12 * MEBIBYTE
