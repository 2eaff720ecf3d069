"""No clause leaves torch's generator where it drew its pairs and noise."""

import pytest
import torch
from cases import arguments, build

from inference.contract import CLAUSES, STAGES, Case

CASE = Case(lambda: build("vae"), arguments("vae"))


@pytest.mark.parametrize("name", CLAUSES)
def test_a_clause_puts_the_generator_back(name):
    state = torch.get_rng_state()
    assert list(CLAUSES[name](CASE)) == []
    assert torch.equal(torch.get_rng_state(), state)


def failing():
    torch.rand(())
    raise LookupError("no weights")


@pytest.mark.parametrize("name", ["signature", "repeatable", "state"])
def test_one_that_fails_puts_it_back_too(name):
    state = torch.get_rng_state()
    with pytest.raises(LookupError, match="no weights"):
        list(CLAUSES[name](Case(failing, arguments("vae"))))
    assert torch.equal(torch.get_rng_state(), state)


def test_names_and_statements_are_those_of_the_clauses():
    assert [clause.__name__ for stage in STAGES for clause in stage] == list(CLAUSES)
    assert all(clause.__doc__ for clause in CLAUSES.values())
