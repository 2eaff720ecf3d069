"""Numbers in the answers of exercises, computed by a function for each model."""

import re

import torch

from gallery.catalogue.entries import entry

__all__ = ["OF_CODES", "check_answers", "close", "least"]

OF_CODES = (
    "factor_analysis",
    "ppca",
    "autoencoder",
    "denoising_autoencoder",
    "sparse_autoencoder",
    "k_sparse_autoencoder",
    "contractive_autoencoder",
    "vae",
    "cvae",
    "ss_vae",
    "gmvae",
    "vrnn",
    "deep_markov",
)
"""Models whose answers are computed in test_exercises_of_codes.py; those of the others are in test_exercises.py."""


def close(a, b, tolerance=1e-8):
    torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b), rtol=tolerance, atol=tolerance)


def least(f, at):
    """f(at), which is less than f on either side."""
    assert f(at) < min(f(0.99 * at), f(1.01 * at))
    return f(at)


def check_answers(name, computed):
    """Check that the answers of a model have the numbers that are computed, and no others.

    :param computed: (number of the exercise, text of its answer)
    """
    answers = [exercise["answer"].replace("\n", " ") for exercise in entry(name).exercises]
    for i, words in computed:
        assert words in answers[i]
    for i, answer in enumerate(answers):
        numbers = re.findall(r"-?\d*\.\d+", answer)
        assert set(numbers) == {n for j, words in computed if j == i for n in re.findall(r"-?\d*\.\d+", words)}, i
