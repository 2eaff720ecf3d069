"""GMVAE with an invariant classifier: its views, its penalty, and the bound in evaluation mode."""

import math

import pytest
import torch
from cases import SMALL
from vae_cases import C, N, close, gradient, loss, small, svi

from gallery.models.gmvae import GMVAE
from gallery.models.gmvae_invariant import Invariant
from inference import evaluate

ROWS = SMALL["rows"]


@pytest.fixture
def x():
    return (torch.rand(N, SMALL["data_dim"], dtype=torch.float64) > 0.5).double()


@pytest.fixture
def pairs():
    """GMVAE, and the invariant pair of the same weights."""
    plain, pair = small(GMVAE), small(Invariant, rows=ROWS)
    pair.load_state_dict(plain.state_dict())
    return plain, pair


@pytest.mark.parametrize("objective", ["enum", "enum_analytic"])
def test_the_objective_is_that_of_gmvae_with_the_penalty(x, pairs, objective, monkeypatch):
    plain, pair = pairs
    monkeypatch.setattr(Invariant, "view", lambda _, images: images.flip(1))
    q, log_view = plain.classifier(x).softmax(-1), plain.classifier(x.flip(1)).log_softmax(-1)
    mean = q.mean(0)
    kl = (mean * (mean * C).log()).sum()
    penalty = -(q.detach() * log_view).sum(-1) - 0.1 * (q * q.log()).sum(-1) + 0.4 * kl
    fits = svi(plain, x, objective=objective), svi(pair, x, objective=objective)
    expected = loss(fits[0]) + 100 * penalty.sum()
    value, found = gradient(fits[1])
    close(value, expected)
    close(found, torch.cat([g.flatten() for g in torch.autograd.grad(expected, list(plain.parameters()))]))
    assert fits[1].is_bound


def test_the_metrics_are_those_of_gmvae(x, pairs):
    plain, pair = pairs
    assert evaluate(pair, x, particles=2) == evaluate(plain, x, particles=2)


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        (1000.0 * torch.eye(C).repeat(N // C, 1), 0.0),
        (1000.0 * torch.eye(C)[:1].repeat(N, 1), 0.4 * math.log(C)),
        (torch.zeros(N, C), 1.1 * math.log(C)),
    ],
    ids=["sure and balanced", "one component", "unsure"],
)
def test_the_penalty_is_least_for_sure_components_of_equal_size(x, logits, expected):
    pair, logits = small(Invariant, rows=ROWS), logits.double()
    pair.classifier.forward = lambda _: logits
    close(pair.penalty(x, logits), torch.full((N,), expected, dtype=torch.float64))


def test_its_gradient_is_finite_where_a_component_is_empty(x):
    pair = small(Invariant, rows=ROWS)
    with torch.no_grad():
        pair.classifier[-1].bias.copy_(torch.tensor([0.0, -1e4, 0.0]))
    gradients = torch.autograd.grad(pair.penalty(x, pair.classifier(x)).sum(), list(pair.classifier.parameters()))
    assert all(g.isfinite().all() for g in gradients)


def test_a_view_without_spread_is_the_image(x):
    pair = small(Invariant, rows=ROWS)
    pair.spread.zero_()
    close(pair.view(x), x)


def of_a_column(entry, value):
    """Views, (1000, 5, 9), of an image of 5 x 9 pixels with a line at its central column, where one entry varies."""
    pair, image = Invariant(data_dim=45, components=2, latent_dim=1, hidden=(3,), rows=5).double(), torch.zeros(5, 9)
    image[:, 4] = 1.0
    pair.spread.zero_()[entry] = value
    return pair.view(image.double().reshape(1, 45).expand(1000, 45)).reshape(-1, 5, 9)


def test_the_entries_of_the_spread_are_shifts_and_slants_by_half_widths_and_heights():
    columns, rows = torch.arange(9.0).double() - 4, torch.arange(5.0).double() - 2
    moved = of_a_column((0, 2), 0.4) @ columns  # every row by the same, at most 0.4 * 9 / 2 columns
    close(moved, moved[:, :1].expand(-1, 5))
    assert 1.7 < moved.abs().max() <= 1.8
    fewer = of_a_column((1, 2), 0.4)  # by at most 0.4 * 5 / 2 rows: a row is lost, the column is the same
    assert 0.95 < (5 - fewer.sum((1, 2))).max() <= 1.0
    close(fewer @ columns, torch.zeros(1000, 5).double())
    slanted = of_a_column((0, 1), 0.4) @ columns  # by row times at most 0.4 * 9 / 5 columns
    close(slanted, slanted[:, -1:] * rows / 2)
    assert 1.4 < slanted[:, -1].abs().max() <= 1.44
    close(of_a_column((1, 0), 0.4)[:, :, 4], torch.ones(1000, 5).double())  # by column: none at the central one


def test_views_of_an_image_differ_and_are_moved_by_their_shift():
    image = torch.zeros(1, 81, dtype=torch.float64)
    image[0, 40] = 1.0  # the centre of 9 x 9 pixels
    pair, images = Invariant(data_dim=81, components=2, latent_dim=1, hidden=(3,)), image.expand(4000, 81)
    views = pair.view(images)
    assert views.unique(dim=0).shape[0] == 4000
    assert 0 <= views.min() <= views.max() <= 1
    pair.spread = torch.tensor([[0.0, 0.0, 0.2], [0.0, 0.0, 0.2]])
    views = pair.view(images).reshape(-1, 9, 9)
    close(views.sum((1, 2)), torch.ones(4000, dtype=torch.float64))
    place = torch.arange(9.0, dtype=torch.float64) - 4
    for axis in (1, 2):  # a shift is uniform on +- 0.2 of half a width: 0.9 pixels
        moved = (views.sum(3 - axis) * place).sum(1)
        assert moved.abs().max() < 0.9
        sd = 0.9 / math.sqrt(3)
        assert abs(moved.mean()) < 4 * sd / math.sqrt(4000)
        assert abs(moved.square().mean() - sd**2) < 4 * sd**2 * math.sqrt(0.8 / 4000)  # the kurtosis is 1.8


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"weight": -1.0}, "weight, of the penalty, must be finite and not negative, not -1.0"),
        ({"weight": math.inf}, "must be finite"),
        ({"data_dim": 6, "rows": 4}, "rows must divide data_dim: 6 pixels do not fill 4 rows"),
        ({"data_dim": 12}, "an image of 12 pixels is not square: set rows"),
        ({"rows": 0}, "rows must divide data_dim"),
    ],
)
def test_what_is_wrong_is_refused(keywords, words):
    with pytest.raises(ValueError, match=words):
        Invariant(**keywords)
