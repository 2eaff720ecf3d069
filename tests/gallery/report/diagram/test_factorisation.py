"""Factorisations, and the general step of a sequence."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from diagram_cases import drawn, in_plate, pair_of, texts
from torch import nn

from gallery.report.diagram import factorisation, relations, svg
from gallery.report.diagram.factorisation import fold

FOLDED = {
    ("vrnn", "model"): "product over t = 1, ..., 3 of p(h_t | h_t-1, z_t-1, x_t-1; recurrence) p(z_t | h_t; prior) "
    "p(x_t | h_t, z_t; decoder)",
    ("vrnn", "guide"): "product over t = 1, ..., 3 of q(h_t | x_t-1, h_t-1, z_t-1; recurrence) "
    "q(z_t | x_t, h_t; encoder)",
    ("vrnn:smoothing", "guide"): "product over t = 1, ..., 3 of q(h_t | x_t-1, h_t-1, z_t-1; recurrence) "
    "q(z_t | x_t:T, h_t; encoder, backward_recurrence, C)",
    ("hmm", "model"): "product over t = 1, ..., 6 of p(y_t | y_t-1; theta) p(x_t | y_t; theta)",
    ("hmm", "guide"): "1",
    ("state_space", "model"): "product over t = 1, ..., 6 of p(z_t | z_t-1; theta) p(x_t | z_t; theta)",
    ("state_space", "guide"): "product over t = 1, ..., 6 of q(z_t | x_t:T, z_t-1; phi)",
    ("denoising_autoencoder", "guide"): "q(u) q(corrupted | x, u) q(z | corrupted; encoder)",
    ("contractive_autoencoder", "guide"): "q(z | x; encoder) exp(contraction(z; encoder))",
    ("cvae", "model"): "p(z | given; prior) p(x | z, given; decoder)",
}


@pytest.mark.parametrize(("name", "of"), FOLDED)
def test_factorisations(name, of):
    assert factorisation(drawn(name, of)) == FOLDED[name, of]


def chain(first, later):
    """A sequence z_1, ..., z_4 of such networks, in which z_3 may skip a step."""

    def model(self, x, total=None):
        pyro.module("first", self.first)
        pyro.module("later", self.later)
        with in_plate(x):
            past = [x.new_zeros(len(x), 1)]
            for t in range(1, 5):
                mean = self.first(past[0]) if t == 1 else self.later(past[first if t == 3 else later])
                past.append(pyro.sample(f"z_{t}", dist.Normal(mean, 1).to_event(1)))
            pyro.sample("x", dist.Normal(past[-1], 1).to_event(1), obs=x)

    return relations(pair_of(model, first=nn.Linear(1, 1), later=nn.Linear(1, 1)), (torch.ones(3, 1),))


def test_steps_are_folded_only_where_they_are_alike():
    regular, irregular = chain(-1, -1), chain(-2, -1)
    assert factorisation(regular) == ("p(x | z_4) p(z_1; first) product over t = 2, ..., 4 of p(z_t | z_t-1; later)")
    assert "z4" not in texts(svg(regular, ""))
    assert fold(irregular) is None
    assert factorisation(irregular).startswith("p(z_1; first) p(z_2 | z_1; later) p(z_3 | z_1; later)")
    assert {"z1", "z2", "z3", "z4"} <= set(texts(svg(irregular, "")))
