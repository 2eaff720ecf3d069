"""Pictures of sequences of numbers: the smoothed sequence, and draws beside data."""

import pytest
import torch

import data
from gallery.figures import draw, paths, smoothed
from gallery.models.hmm import HMM
from gallery.models.state_space import StateSpace

DRAWS = 400


def rows():
    few = data.load("state_space", "test").head(3).to(dtype=torch.float64)
    few.x[1, 4] = torch.nan
    return few


@pytest.fixture
def pair():
    torch.manual_seed(1)
    pair = StateSpace().double()
    pair.phi.load_state_dict(pair.theta.state_dict())  # the guide is the posterior
    return pair


def test_the_curve_is_the_posterior_mean_and_the_band_wider_where_x_is_missing(pair):
    few = rows()
    fig = smoothed(pair, few, draws=DRAWS)
    with torch.no_grad():
        posterior, c = pair.posterior(few.x), pair.theta["c"]
        at = torch.eye(few.x.shape[1], dtype=c.dtype).unsqueeze(-1) * c  # (T, T, latent_dim): c' z_t
        maps = at.flatten(1)
        mean = posterior.mean @ maps.T
        sd = torch.einsum("ti,nij,tj->nt", maps, posterior.covariance_matrix, maps).sqrt()
    for i, ax in enumerate(fig.axes):
        curve, dots = (torch.tensor(line.get_ydata()) for line in ax.lines)
        assert ((curve - mean[i]).abs() <= 4 * sd[i] / DRAWS**0.5).all()
        torch.testing.assert_close(dots, few.x[i], equal_nan=True)
    assert sd[1, 4] > sd[0, 4]


def test_as_many_draws_as_sequences_of_data(pair):
    few = rows()
    (ax,) = paths(pair, few).axes
    assert ax.get_title(loc="left") == "3 sequences of data, and 3 draws from the model"
    drawn = [torch.tensor(line.get_ydata()) for line in ax.lines]
    assert len(drawn) == 6
    assert all(line.isfinite().all() for line in drawn[:3])
    torch.testing.assert_close(torch.stack(drawn[3:]), few.x, equal_nan=True)
    (ax,) = paths(pair, few.head(1)).axes
    assert ax.get_title(loc="left") == "One sequence of data, and one draw from the model"


@pytest.mark.integration
@pytest.mark.parametrize(("cls", "name", "more"), [(StateSpace, "state_space", {"kl.png"}), (HMM, "hmm", set())])
def test_draw_has_sequences_in_place_of_planes(cls, name, more, tmp_path):
    few = data.load(name, "test").head(20)
    drawn = draw(cls(), {"train": few, "test": few}, [], tmp_path)
    assert {path.name for path in drawn} == {"smoothed.png", "paths.png"} | more
