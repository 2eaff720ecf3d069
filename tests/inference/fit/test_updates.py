"""Updates by every optimiser of torch."""

import copy

import pytest
import torch
from fits import tiny_fit

from inference import InferenceError, Settings
from inference.fit.settings import OPTIMISERS


@pytest.mark.parametrize("name", [name for name in OPTIMISERS if name != "Muon"])
def test_every_optimiser_makes_the_update_of_torch_and_goes_on_from_its_state(name):
    made = tiny_fit("vae", "graph", optimiser=name, lr=1e-3)
    other = copy.deepcopy(made.pair)
    theirs = OPTIMISERS[name](list(other.parameters()), lr=1e-3)
    by_name = dict(other.named_parameters())
    named = {id(parameter): name for name, parameter in made.pair.named_parameters()}
    for step in range(3):
        torch.manual_seed(step)
        loss = made.loss(made.rows(step))
        for parameter, gradient in zip(made.parameters, torch.autograd.grad(loss, made.parameters), strict=True):
            by_name[named[id(parameter)]].grad = gradient
        theirs.step()
        torch.manual_seed(step)
        made.train_step()
    for key, parameter in made.pair.named_parameters():
        torch.testing.assert_close(parameter, by_name[key], rtol=1e-6, atol=1e-9)

    kept = made.state()
    for _ in range(3):
        made.train_step()
    again = tiny_fit("vae", "graph", optimiser=name, lr=1e-3)
    again.set_state(*kept)
    for _ in range(3):
        again.train_step()
    for a, b in zip(made.parameters, again.parameters, strict=True):
        assert torch.equal(a, b)


def test_an_optimiser_that_cannot_take_the_parameters_is_refused():
    with pytest.raises(InferenceError, match=r'optimiser Muon cannot fit this pair: .* Use optimiser="Adam"'):
        tiny_fit("vae", "graph", optimiser="Muon")
    with pytest.raises(InferenceError, match=r"one of ASGD, .*SGD, not 'LBFGS', which evaluates the loss"):
        Settings(optimiser="LBFGS")
