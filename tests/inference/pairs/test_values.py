"""A model that reads x, a guide that reads the place in the minibatch, and a pair that seeds torch are refused."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from cases import FITTED, arguments, build
from one_line_changed import Base, Covariates, InTraining, Known, Shifted, Sign, SpreadOfBatch, Totals, data
from torch import nn

from gallery.models.lda import LDA
from inference import SVI, Settings, check_fit
from inference.contract import CLAUSES, Case
from inference.pairs.checks import ContractError
from inference.pairs.values import site_from_x


@pytest.mark.parametrize("cls", [Shifted, SpreadOfBatch, Sign, Totals, InTraining])
@pytest.mark.parametrize("zeros", [False, True])
def test_a_model_that_reads_x_is_named_with_its_site(cls, zeros):
    x = data() * (not zeros)
    found = [site_from_x(cls().train(mode), (x,)) for mode in (True, False)]
    assert found == ["z" if cls is Sign else "x", None if cls is InTraining else "z" if cls is Sign else "x"]


@pytest.mark.parametrize("name", FITTED)
def test_no_model_of_the_gallery_reads_x(name):
    for training in (True, False):
        assert site_from_x(build(name).train(training), tuple(a[:3] for a in arguments(name))) is None


def test_covariates_masks_and_what_sample_returns_may_be_read():
    assert site_from_x(Covariates(), (data(), data(3))) is None
    assert site_from_x(Known(), (data(),)) is None


def test_the_pair_and_the_generators_are_left_as_they_were():
    pair, x = Shifted(), data()
    pair.norm = nn.BatchNorm1d(2)
    pair.likelihood = lambda x, z: pair.noise(x, pair.norm(pair.decoder(z)))
    before, state = {k: v.clone() for k, v in pair.state_dict().items()}, torch.get_rng_state()
    for training in (True, False):
        assert site_from_x(pair.train(training), (x,)) is None
    assert all(torch.equal(value, before[name]) for name, value in pair.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


class SeedInGuide(Base):
    def guide(self, x, total=None):
        torch.manual_seed(3)
        super().guide(x, total)


class SeedInLikelihood(Base):
    def noise(self, x, mean):
        pyro.set_rng_seed(len(x))
        return super().noise(x, mean)


@pytest.mark.parametrize(("kind", "part"), [(SeedInGuide, "guide"), (SeedInLikelihood, "model")])
def test_a_pair_that_seeds_torch_is_refused(kind, part):
    with pytest.raises(ContractError, match=f"{part} seeds torch's generator"):
        SVI(kind(), torch.randn(6, 2), settings=Settings(epochs=1))


class FirstRows(Base):
    """Values for each data point, those of the first rows in every minibatch; they start alike."""

    def __init__(self):
        super().__init__()
        self.table = nn.ParameterDict({"loc": torch.zeros(20, 2)})

    def guide(self, x, total=None):
        pyro.module("table", self.table)
        with pyro.plate("data", total or len(x), subsample_size=len(x)) as rows:
            pyro.sample("z", self.posterior(self.table["loc"][self.places(x, rows)], x.new_ones(len(x), 2)))

    def places(self, x, rows):
        return slice(len(x))


class CountedRows(FirstRows):
    def places(self, x, rows):
        return torch.arange(len(x)).flip(0)


class RowsOfThePlate(FirstRows):
    def places(self, x, rows):
        return rows


class CumulativeCode(Base):
    def posterior(self, loc, scale):
        return dist.Normal(loc.cumsum(0), scale).to_event(1)


@pytest.mark.parametrize("kind", [FirstRows, CountedRows, CumulativeCode])
def test_a_guide_that_depends_on_the_place_in_the_minibatch_is_refused(kind):
    with pytest.raises(ContractError, match="z of the guide depends on the place"):
        SVI(kind(), torch.randn(20, 2), settings=Settings(epochs=1))
    assert "depends on the place" in str(list(CLAUSES["plate"](Case(kind, (torch.randn(20, 2),)))))


def test_a_guide_that_indexes_by_the_plate_is_fitted():
    SVI(RowsOfThePlate(), torch.randn(20, 2), settings=Settings(epochs=1))


@pytest.mark.parametrize("most", [5, 20_000])
def test_large_counts_do_not_depend_on_the_place(most):
    """In float32 log-densities of a Dirichlet with concentrations of 10^5 differ between places by their rounding."""
    x = torch.randint(0, most, (40, 25), generator=torch.Generator().manual_seed(0)).float()
    check_fit(LDA(), x)
