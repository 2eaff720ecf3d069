"""What is refused before the first step because its numbers would be meaningless, and what is not."""

import pickle

import pyro
import pyro.distributions as dist
import pytest
import torch
from one_line_changed import Base, Covariates, Known, Shifted, Sign, data
from torch import nn

from inference import SVI, InferenceError, Settings
from inference.pairs.checks import ContractError


class OneDistributionForAll(Base):
    def noise(self, x, mean):
        return dist.Normal(mean, 1.0)


class NoEventOfLatent(Base):
    def posterior(self, loc, scale):
        return dist.Normal(loc, scale)


class BatchInEvent(Base):
    def noise(self, x, mean):
        return dist.Normal(mean, 1.0).to_event(2)


class BatchInEventOfBoth(Base):
    def prior(self, x):
        return super().prior(x).to_event(1)

    def posterior(self, loc, scale):
        return dist.Normal(loc, scale).to_event(2)


class WidthsDiffer(Base):
    def posterior(self, loc, scale):
        return dist.Normal(loc[:, :1], scale[:, :1]).to_event(1)


class Loose(Base):
    def __init__(self, data_dim=2):
        super().__init__(data_dim)
        self.shift = nn.Parameter(torch.zeros(data_dim))

    def noise(self, x, mean):
        return dist.Normal(mean + self.shift, 1.0).to_event(1)


class LooseNetwork(Base):
    def __init__(self, data_dim=2):
        super().__init__(data_dim)
        self.more = nn.Linear(2, 2)

    def posterior(self, loc, scale):
        return dist.Normal(self.more(loc), scale).to_event(1)


class InAList(Base):
    """Parameters that nn.Module does not see."""

    def __init__(self, data_dim=2):
        super().__init__(data_dim)
        self.shifts = [nn.Parameter(torch.zeros(data_dim))]

    def noise(self, x, mean):
        return dist.Normal(mean + self.shifts[0], 1.0).to_event(1)


class PlainTensor(Base):
    """Of the guide, and a leaf that is no nn.Parameter."""

    def __init__(self, data_dim=2):
        super().__init__(data_dim)
        self.width = torch.zeros((), requires_grad=True)

    def posterior(self, loc, scale):
        return dist.Normal(loc, scale * self.width.exp()).to_event(1)


class NetworksInAList(Base):
    def __init__(self, data_dim=2):
        super().__init__(data_dim)
        self.more = [nn.Linear(2, 2)]

    def posterior(self, loc, scale):
        return dist.Normal(self.more[0](loc), scale).to_event(1)


OUTSIDE = torch.zeros(3, requires_grad=True)


class OfTheModule(Base):
    def noise(self, x, mean):
        return dist.Normal(mean + OUTSIDE.sum(), 1.0).to_event(1)


class StoreInTraining(Base):
    def noise(self, x, mean):
        shift = pyro.param("shift", x.new_zeros(())) if self.training else 0.0
        return dist.Normal(mean + shift, 1.0).to_event(1)


class StoreInTrainingOfGuide(Base):
    def posterior(self, loc, scale):
        more = pyro.param("more", torch.ones(()), constraint=dist.constraints.positive) if self.training else 1.0
        return dist.Normal(loc, scale * more).to_event(1)


class LatentInTraining(Base):
    def noise(self, x, mean):
        if self.training:
            pyro.sample("w", dist.Normal(x.new_zeros(len(x)), 1.0))
        return super().noise(x, mean)


class ObsMask(Base):
    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", self.prior(x))
            pyro.sample("x", self.likelihood(x, z), obs=x, obs_mask=torch.ones(len(x), dtype=torch.bool))


class Columns(Base):
    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", self.prior(x))
            with pyro.plate("columns", x.shape[1]):
                pyro.sample("x", dist.Normal(self.decoder(z), 1.0), obs=x)


REFUSED = [
    (Shifted, "values", "computes x from the values of x"),
    (Sign, "values", "computes z from the values of x"),
    (OneDistributionForAll, "shapes", r"to_event\(1\)"),
    (NoEventOfLatent, "shapes", r"to_event\(1\)"),
    (BatchInEvent, "shapes", "the batch is part of the event"),
    (BatchInEventOfBoth, "shapes", "the batch is part of the event"),
    (WidthsDiffer, "shapes", "expected the same"),
    (Loose, "registered", "shift would not be learnt: used but not registered"),
    (LooseNetwork, "registered", r"more.weight, more.bias .*pyro.module\('more', self.more\)"),
    (InAList, "registered", "self.shifts would not be learnt: .* no parameter of the pair"),
    (NetworksInAList, "registered", "self.more would not be learnt: .* nn.ModuleList"),
    (PlainTensor, "registered", "self.width would not be learnt"),
    (OfTheModule, "registered", r"a tensor of shape \(3,\) would not be learnt"),
    (StoreInTraining, "registered", r"pyro.param\('shift'\)"),
    (StoreInTrainingOfGuide, "registered", r"pyro.param\('more'\)"),
    (LatentInTraining, "sites", "w is latent in the model"),
    (ObsMask, "sites", "obs_mask makes of x .*poutine.mask"),
    (Columns, "plate", "'columns'"),
]


@pytest.mark.parametrize("data_dim", [1, 2, 3])
@pytest.mark.parametrize(("cls", "clause", "words"), REFUSED, ids=lambda value: getattr(value, "__name__", ""))
def test_a_fit_is_refused_with_the_clause(cls, clause, words, data_dim):
    if data_dim == 1 and cls in (Shifted, Sign):
        return  # nothing before the only column; one column for two latents is another fault
    with pytest.raises(ContractError, match=words) as refused:
        SVI(cls() if data_dim == 2 else cls(data_dim), data(data_dim))
    assert (refused.value.clause, str(refused.value).count("\n")) == (clause, 0)


def test_what_may_be_fitted_is():
    for pair, args in ((Base(), [data()]), (Known(), [data()]), (Covariates(), [data(), data(3)])):
        assert SVI(pair, *args, settings=Settings(epochs=1)).train_step().isfinite()


class LeafOfTheRun(Base):
    """A leaf that each run makes anew, as for a Jacobian, is nothing to learn; nor are data that require a gradient."""

    def likelihood(self, x, z):
        with torch.enable_grad():
            point = z.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.decoder(point).sum(), point, create_graph=True)
        return self.noise(x, self.decoder(z) + 0 * (slope + point).sum(1, keepdim=True) + 0 * self.own["phi"])


class Unused(Base):
    def __init__(self, data_dim=2):
        super().__init__(data_dim)
        self.head, self.constant = nn.Linear(2, 2), nn.Parameter(torch.ones(()), requires_grad=False)

    def noise(self, x, mean):
        return dist.Normal(mean, self.constant).to_event(1)


def test_what_is_unused_or_constant_or_made_within_a_run_need_not_be_registered():
    SVI(Unused(), data())
    SVI(LeafOfTheRun(), data().requires_grad_())


def test_the_refusal_can_be_sent_to_another_process():
    error = pickle.loads(pickle.dumps(ContractError("plate", "wrong.")))
    assert (error.clause, str(error)) == ("plate", 'clause "plate" of the contract: wrong.')
    assert isinstance(error, InferenceError)


class GuideWithoutTotal(Base):
    def guide(self, x):
        super().guide(x)


class ModelWithoutTotal(Base):
    def model(self, x, size=None):
        super().model(x, size)


class GuideWithoutX(Base):
    def guide(self, total=None):
        raise AssertionError


@pytest.mark.parametrize("kind", [GuideWithoutTotal, ModelWithoutTotal, GuideWithoutX])
def test_a_signature_that_a_fit_cannot_call_is_refused(kind):
    with pytest.raises(ContractError, match=r"cannot be called .* Write `def (model|guide)\(self, x, total"):
        SVI(kind(), torch.randn(6, 2), settings=Settings(epochs=1))
