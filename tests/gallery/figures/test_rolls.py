"""Sequences of different lengths are drawn large: one of the data, its reconstruction and a draw, without padding."""

import numpy as np
import pytest
import torch
from figure_cases import images_of

from data import Dataset
from gallery.figures import FIGURES, Subject, rolls
from gallery.models import MODELS

STEPS, ENTRIES, ENDS = 6, 7, (4, 6, 3)


@pytest.fixture
def sequences():
    """Three sequences; entries 0 and 6 never are 1."""
    x = torch.zeros(len(ENDS), STEPS, ENTRIES)
    x[:, :, 1:6] = (torch.arange(STEPS).unsqueeze(1) + torch.arange(5)) % 2
    for row, end in zip(x, ENDS, strict=True):
        row[end:] = torch.nan
    return Dataset("mine", "test", x.flatten(1), (STEPS, ENTRIES))


def pair_of(step_dim):
    return MODELS["deep_markov"](step_dim=step_dim, latent_dim=2, hidden=4, state_dim=4)


def applying(pair, dataset):
    subject = Subject(pair, dataset, dataset, [], 0)
    return {name for name, (applies, _) in FIGURES.items() if applies(subject)}


def test_which_data_are_drawn_large(sequences):
    assert applying(pair_of(ENTRIES), sequences) == {"rolls"}  # of three rows: too few for a picture of codes
    many = Dataset("mine", "test", sequences.x.repeat(10, 1), sequences.shape)
    assert applying(pair_of(ENTRIES), many) == {"rolls"}  # codes after the end of a sequence are NaN
    assert "latent" in applying(pair_of(ENTRIES), Dataset("mine", "test", many.x.nan_to_num(), many.shape))
    whole = Dataset("mine", "test", sequences.x.nan_to_num(), sequences.shape)
    assert applying(pair_of(ENTRIES), whole) == {"samples", "reconstructions"}


def test_a_sequence_its_reconstruction_and_a_draw(sequences):
    fig = rolls(pair_of(ENTRIES), sequences)
    x, rebuilt, drawn = images_of(fig)
    assert np.array_equal(x, sequences.x[0].reshape(STEPS, ENTRIES)[: ENDS[0], 1:6].T.numpy())
    assert rebuilt.shape == drawn.shape == x.shape
    assert 0 < rebuilt.min() <= rebuilt.max() < 1
    assert set(np.unique(drawn)) <= {0, 1}
    assert [ax.get_images()[0].get_extent() for ax in fig.axes] == [[0.5, ENDS[0] + 0.5, 1.5, 6.5]] * 3
    assert (fig.axes[-1].get_xlabel(), fig.axes[0].get_ylabel()) == ("step", "entry of a step")
