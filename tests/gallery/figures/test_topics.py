"""The picture of topics: their most probable words, or their probabilities on the grid of the words."""

from dataclasses import replace

import numpy as np
import torch

import data
from gallery.figures import topics
from gallery.models.lda import LDA


def test_bars_are_the_most_probable_words_in_their_order():
    pair, names = LDA(data_dim=25, topics=3), tuple(f"word {j}" for j in range(25))
    dataset = replace(data.load("topics", "test"), shape=(25,), column_names=names)
    axes = topics(pair, dataset).axes[:3]
    for ax, beta in zip(axes, pair.topics().detach(), strict=True):
        order = beta.argsort(descending=True)[:10]
        assert [label.get_text() for label in ax.get_yticklabels()] == [names[j] for j in order]
        assert np.allclose([bar.get_width() for bar in ax.patches], beta[order])


def test_words_on_a_grid_are_a_picture_of_their_probabilities():
    pair = LDA(data_dim=25, topics=2)
    with torch.no_grad():
        pair.beta["logits"].copy_(torch.eye(25)[[0, 24]])
    (ax,) = topics(pair, data.load("topics", "test")).axes
    shown = ax.images[0].get_array()
    assert shown.shape[0] >= 5
    assert np.isclose(shown[0, 0], pair.topics()[0, 0].item())
    assert np.isclose(shown[4, -1], pair.topics()[1, 24].item())
