"""One thread, so that parallel workers do not spin against each other; no test leaves Pyro's store or seeds behind."""

import pyro
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def clean():
    pyro.clear_param_store()
    torch.manual_seed(0)
    yield
    pyro.clear_param_store()
