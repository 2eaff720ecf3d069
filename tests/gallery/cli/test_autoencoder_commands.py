"""Autoencoders from the command line."""

import pytest
import torch

from gallery.cli.main import main
from gallery.models import MODELS
from inference import InferenceError, check_fit


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("k_sparse_autoencoder --k 145", "between 1 and latent_dim = 144, not 145"),
        ("k_sparse_autoencoder --latent-dim 20", "between 1 and latent_dim = 20, not 44"),
        ("k_sparse_autoencoder --k 0", "not 0"),
        ("denoising_autoencoder --level 1.5", "lie in [0, 1], not 1.5"),
        ("denoising_autoencoder --level nan", "level is nan; expected a finite number"),
        ("denoising_autoencoder --corruption rain", "salt_pepper"),
        ("sparse_autoencoder --rho 0", "between 0 and 1, not 0"),
        ("sparse_autoencoder --rho 1", "between 0 and 1, not 1"),
        ("sparse_autoencoder --weight -1", "not negative"),
        ("contractive_autoencoder --weight inf", "finite"),
        ("autoencoder --scale 0", "positive"),
        ("contractive_autoencoder:deep --hidden 0", "at least 1"),
        ("autoencoder --likelihood bernoulli", "digits:threshold"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, words, capsys, tmp_path):
    code = main(["fit", *arguments.split(), "--data", "digits:grey", "--run", str(tmp_path / "run")])
    err = capsys.readouterr().err
    assert code == 2
    assert err.count("\n") == 1
    assert words in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["autoencoder", "denoising_autoencoder", "contractive_autoencoder"])
def test_what_are_no_pixels_is_refused(name):
    pair = MODELS[name](data_dim=4)
    check_fit(pair, torch.tensor([[0.0, 1.0, 0.5, 0.5]]))
    with pytest.raises(InferenceError, match=r"expects values in \[0, 1\]; x has others, between -1 and 2: rescale"):
        check_fit(pair, torch.tensor([[-1.0, 2.0, 0.5, 0.5]]))


def test_one_fit_from_the_command_line_to_its_pictures(capsys, tmp_path):
    small = ["--k", "1", "--latent-dim", "2", "--data", "digits:grey", "--epochs", "1"]
    assert main(["fit", "k_sparse_autoencoder", *small, "--run", str(tmp_path / "run")]) == 0
    assert "no ELBO, IWAE, KL: the guide of z is a point" in capsys.readouterr().out
    pictures = {path.stem for path in (tmp_path / "run" / "figures").iterdir()}
    assert pictures == {"learning_curve", "reconstructions", "latent"}
