"""A short run to export, and ArviZ."""

import warnings

import pytest

from gallery.cli.main import main

TINY = ["--hidden", "16", "--latent-dim", "2", "--epochs", "2", "--batch-size", "400"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a run: a VAE of binary digits."""
    path = tmp_path_factory.mktemp("export") / "vae"
    assert main(["fit", "vae", "--data", "digits:threshold", *TINY, "--run", str(path)]) == 0
    return path


@pytest.fixture
def az():
    pytest.importorskip("xarray", reason="pip install latent-gallery[arviz]")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations in ArviZ
        return pytest.importorskip("arviz", reason="pip install latent-gallery[arviz]")
