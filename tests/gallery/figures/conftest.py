"""Small data sets for the tests of figures."""

import pytest
import torch
from sequence_cases import COUNTS

import data


@pytest.fixture
def two_pixels():
    return data.Dataset("mine", "test", torch.rand(20, 2), (1, 2))


@pytest.fixture
def corners():
    labels = torch.arange(4).repeat_interleave(torch.tensor(COUNTS))
    return data.Dataset("mine", "test", torch.eye(4)[labels], (2, 2), labels, 4)


@pytest.fixture
def digits():
    return data.load("digits:threshold", "test").head(60)
