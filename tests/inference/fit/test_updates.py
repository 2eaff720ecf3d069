"""Updates by every optimiser of torch."""

import copy

import pytest
import torch
from fits import tiny_fit

from inference import InferenceError, Settings
from inference.fit.settings import OPTIMISERS
from inference.fit.updates import Updates


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adam_s_kernel_alone_makes_the_bits_of_torch_s_adam(dtype):
    draws = torch.Generator().manual_seed(0)
    shapes = (3, 5), (40,), (2,)
    ours, theirs = ([torch.nn.Parameter(torch.ones(shape, dtype=dtype)) for shape in shapes] for _ in range(2))
    failed = torch.zeros(())
    updates, adam = Updates(Settings(), ours, failed), torch.optim.Adam(theirs, fused=True)
    vars(adam).update(found_inf=failed, grad_scale=None)
    for step in range(12):
        if step == 7:  # from a checkpoint
            updates.set_state({name: value.clone() for name, value in updates.state().items()})
        failed.fill_(step == 4)
        gradients = [torch.randn(shape, generator=draws, dtype=dtype) for shape in shapes]
        if step > 8:  # the last one counts fewer steps from here on
            gradients[2] = None
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient
        adam.param_groups[0]["lr"] = 0.1 / (step + 1)
        adam.step()
        updates.apply(gradients, 0.1 / (step + 1))
        assert gradients == []
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)
    expected = {f"{i}.{name}": v for i, kept in adam.state_dict()["state"].items() for name, v in kept.items()}
    assert {name: value.tolist() for name, value in updates.state().items()} == {
        name: value.tolist() for name, value in expected.items()
    }
    assert [expected[f"{i}.step"].item() for i in range(3)] == [11, 11, 8]


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "RMSprop"])
def test_gradients_and_states_of_another_layout_in_memory_than_their_parameters(name):
    """Torch's fused kernels read both in the order of the memory."""
    square, tall = torch.arange(1.0, 7.0).view(2, 3), torch.tensor([[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
    p = torch.nn.Parameter(square.t().clone(memory_format=torch.preserve_format))
    row_major = torch.nn.Parameter(p.detach().clone(memory_format=torch.contiguous_format))
    fits = [Updates(Settings(optimiser=name), [of], torch.zeros(())) for of in (p, row_major)]
    for step in range(4):
        fits[0].apply([tall * (step + 1)], 0.1)
        fits[1].apply([(tall * (step + 1)).t().contiguous().t()], 0.1)
        states = [{key: value.contiguous() for key, value in fit.state().items()} for fit in fits]
        for fit, state in zip(fits, states, strict=True):
            fit.set_state(state)  # as a file has it
        assert torch.equal(p, row_major)
        assert torch.equal((square.t() - p).sign(), tall.sign())
    assert (p.stride(), row_major.stride()) == ((1, 3), (2, 1))


def test_no_subnormal_numbers_are_kept_and_no_weight_changes_by_that(monkeypatch):
    least = torch.finfo(torch.float32).tiny
    torch.set_flush_denormal(False)  # a library that was loaded before may have changed it

    def fitted():
        made = tiny_fit("vae", "graph", double=False, epochs=1000)
        made.x[:, 0] = 1.0
        made.run(3)
        made.x[:, 0] = 0.0  # its weights have no gradient any more
        made.run(997)
        state = [value for name, value in made.state()[0].items() if name.startswith("optimiser.")]
        return made.parameters, sum(int(((value != 0) & (value.abs() < least)).sum()) for value in state)

    weights, subnormal = fitted()
    monkeypatch.setattr(Updates, "drop_subnormal", lambda self: None)
    others, before = fitted()
    assert subnormal == 0 < before
    assert all(torch.equal(a, b) for a, b in zip(weights, others, strict=True))


def test_an_optimiser_that_cannot_take_the_parameters_is_refused():
    with pytest.raises(InferenceError, match=r'optimiser Muon cannot fit this pair: .* Use optimiser="Adam"'):
        tiny_fit("vae", "graph", optimiser="Muon")
    with pytest.raises(InferenceError, match=r"one of ASGD, .*SGD, not 'LBFGS', which evaluates the loss"):
        Settings(optimiser="LBFGS")
