"""The memory of a whole fit, from the file to the pictures: at most twice the data beside what a small fit takes."""

import resource
import subprocess
import sys

import numpy as np
import pytest

COLUMNS, ROWS = 784, 96_000  # 300 MB in float32
FIT = "fit vae --hidden 8 --latent-dim 2 --epochs 1 --batch-size 2000"


def peak(folder, name, rows):
    """Return the largest memory in bytes of all fits so far, this one included, of a file of an ending."""
    values = np.random.default_rng(0).random((rows, COLUMNS), dtype=np.float32)
    np.save(folder / name, values) if name.endswith(".npy") else np.savez(folder / name, x=values)
    command = [sys.executable, "-m", "gallery", *FIT.split(), "--data", f"{name}:grey", "--run", f"run-{name}"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss has other units")
def test_a_fit_needs_twice_its_data_beside_the_base(tmp_path):
    base = peak(tmp_path, "small.npy", 960)
    for name in ("large.npy", "large.npz"):  # an .npz is read whole where an .npy is mapped
        assert peak(tmp_path, name, ROWS) - base < 2 * 4 * COLUMNS * ROWS
