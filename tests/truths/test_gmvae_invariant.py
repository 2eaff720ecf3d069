"""GMVAE with an invariant classifier: its views, its penalty, and the bound in evaluation mode."""

import math

import pytest
import torch
from cases import SMALL
from vae_cases import C, N, close, loss, small, svi

from gallery.models import gmvae_invariant
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
    penalty = -(q * log_view).sum(-1) - 0.1 * (q * q.log()).sum(-1) + 0.4 * kl
    fits = svi(plain, x, objective=objective), svi(pair, x, objective=objective)
    close(loss(fits[1]), loss(fits[0]) + 100 * penalty.sum())
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


def test_a_view_without_spread_is_the_image(x, monkeypatch):
    monkeypatch.setattr(gmvae_invariant, "SPREAD", ((0.0,) * 3,) * 2)
    close(small(Invariant, rows=ROWS).view(x), x)


def test_views_of_an_image_differ_and_are_moved_by_their_shift(monkeypatch):
    image = torch.zeros(1, 81, dtype=torch.float64)
    image[0, 40] = 1.0  # the centre of 9 x 9 pixels
    pair, images = Invariant(data_dim=81, components=2, latent_dim=1, hidden=(3,)), image.expand(4000, 81)
    views = pair.view(images)
    assert views.unique(dim=0).shape[0] == 4000
    assert 0 <= views.min() <= views.max() <= 1
    monkeypatch.setattr(gmvae_invariant, "SPREAD", ((0.0, 0.0, 0.2), (0.0, 0.0, 0.2)))
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
        ({"data_dim": 7}, "7 pixels do not fill 2 rows"),
        ({"rows": 0}, "rows must divide data_dim"),
    ],
)
def test_what_is_wrong_is_refused(keywords, words):
    with pytest.raises(ValueError, match=words):
        Invariant(**keywords)
