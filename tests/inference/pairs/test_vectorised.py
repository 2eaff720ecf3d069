"""Many values of a latent at once have the log-densities of each alone: enumerated values, and particles."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from cases import FITTED, arguments, build
from torch import Tensor, nn

from inference import SVI, Settings
from inference.contract import CLAUSES, Case
from inference.pairs.checks import ContractError
from inference.pairs.info import inspect_pair
from inference.pairs.run import eval_mode
from inference.pairs.vectorised import row_fault, site_from_others

K = 4


class Mixture(nn.Module):
    """y ~ Categorical, summed out in the guide; x ~ Normal(loc[y], 1) in R^2."""

    def __init__(self):
        super().__init__()
        self.own = nn.ParameterDict({"loc": torch.arange(2.0 * K).view(K, 2)})
        self.classifier = nn.Linear(2, K)

    def model(self, x: Tensor, total: int | None = None):
        pyro.module("own", self.own)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            y = pyro.sample("y", dist.Categorical(logits=x.new_zeros(K)), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(self.mean(y), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor, total: int | None = None):
        pyro.module("classifier", self.classifier)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("y", dist.Categorical(logits=self.classifier(x)), infer={"enumerate": "parallel"})

    def mean(self, y: Tensor) -> Tensor:
        return self.own["loc"][y]


class FirstValue(Mixture):
    def mean(self, y):
        return self.own["loc"][y[0]]


class FlatValue(Mixture):
    def mean(self, y):
        return self.own["loc"][y.flatten()[-1]]


class SharedCentre(Mixture):
    def mean(self, y):
        loc = self.own["loc"][y]
        return loc - loc.mean(0)


class PointForEach(Mixture):
    """z is a point for each y, computed by a product that rounds otherwise for many y at once."""

    def __init__(self):
        super().__init__()
        self.code = nn.Linear(2 + K, 2)

    def model(self, x: Tensor, total: int | None = None):
        pyro.module("own", self.own)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            y = pyro.sample("y", dist.Categorical(logits=x.new_zeros(K)), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1).mask(False))
            pyro.sample("x", dist.Normal(self.mean(y) + z, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor, total: int | None = None):
        pyro.module("classifier", self.classifier)
        pyro.module("code", self.code)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            q = dist.Categorical(logits=self.classifier(x))
            y = pyro.sample("y", q, infer={"enumerate": "parallel"})
            pyro.sample("z", self.posterior(x, nn.functional.one_hot(y, K).to(x)))

    def posterior(self, x: Tensor, y: Tensor) -> dist.TorchDistribution:
        rows = torch.broadcast_shapes(x.shape[:-1], y.shape[:-1])
        return dist.Delta(self.code(torch.cat([x.expand(*rows, 2), y.expand(*rows, K)], -1)), event_dim=1)


class OwnDraws(PointForEach):
    """A guide whose density is known at its own draws alone."""

    def __init__(self):
        super().__init__()
        self.flow = dist.transforms.Planar(2)

    def posterior(self, x: Tensor, y: Tensor) -> dist.TorchDistribution:
        base = dist.Normal(super().posterior(x, y).v, 1.0).to_event(1)
        return dist.TransformedDistribution(base, [self.flow])


class Narrow(PointForEach):
    """A guide so narrow that the last digits of its location move its density."""

    def __init__(self):
        super().__init__()
        self.code = nn.Sequential(nn.Linear(2 + K, 512), nn.ReLU(), nn.Linear(512, 2))

    def posterior(self, x: Tensor, y: Tensor) -> dist.TorchDistribution:
        return dist.Normal(super().posterior(x, y).v, 1e-10).to_event(1)


class NarrowCentre(Narrow):
    def posterior(self, x: Tensor, y: Tensor) -> dist.TorchDistribution:
        return super().posterior(x, y - 1e-3 * y.mean(0))


class Line(nn.Module):
    """w ~ Normal(0, I) in R^2 for all data, x ~ Normal(w_0 + w_1 row, 1) in R^2."""

    def __init__(self):
        super().__init__()
        self.own = nn.ParameterDict({"loc": torch.tensor([1.0, -1.0]), "pre": torch.zeros(2)})

    def model(self, x: Tensor, total: int | None = None):
        w = pyro.sample("w", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        with pyro.plate("data", total or len(x), subsample_size=len(x)) as rows:
            pyro.sample(
                "x", dist.Normal(self.mean(w, rows).unsqueeze(-1).expand(*w.shape[:-2], -1, 2), 1.0).to_event(1), obs=x
            )

    def guide(self, x: Tensor, total: int | None = None):
        pyro.module("own", self.own)
        pyro.sample("w", dist.Normal(self.own["loc"], self.own["pre"].exp()).to_event(1))

    def mean(self, w: Tensor, rows: Tensor) -> Tensor:
        return w[..., 0] + w[..., 1] * rows


class FirstParticle(Line):
    def mean(self, w, rows):
        return w.flatten()[0] + w.flatten()[1] * rows


class LastParticle(Line):
    def mean(self, w, rows):
        w = w.view(-1, 2)[-1]
        return w[0] + w[1] * rows


WRONG = {FirstValue: "y", FlatValue: "y", SharedCentre: "y", FirstParticle: "w", LastParticle: "w"}
X = torch.arange(12.0).view(6, 2)


@pytest.mark.parametrize("cls", [PointForEach, OwnDraws, Narrow])
@pytest.mark.parametrize("n", [2, 4, 7])
def test_points_and_densities_of_own_draws_and_rounding_are_no_sign(cls, n):
    args = (torch.randn(n, 2),)
    with eval_mode(pair := cls()):
        assert site_from_others(pair, args) is row_fault(pair, args) is None
    with eval_mode(pair := NarrowCentre()):
        assert site_from_others(pair, args) == ("z of the guide", "y")
    assert list(CLAUSES["vectorised"](Case(cls, (X,)))) == []


@pytest.mark.parametrize("cls", [Mixture, Line, *WRONG])
def test_what_takes_one_value_for_all_is_named_and_not_fitted(cls):
    objective, particles = ("enum", 1) if issubclass(cls, Mixture) else ("trace", 2)
    settings = Settings(objective=objective, particles=particles)
    (*findings,) = CLAUSES["vectorised"](Case(cls, (X,)))
    if cls not in WRONG:
        assert not findings
        assert SVI(cls(), X, settings=settings).train_step().isfinite()
        return
    (finding,) = findings
    assert f"x of the model has another log-density where {WRONG[cls]} has many values" in finding.text
    assert finding.remark == (particles > 1)  # a fit with one draw is right
    with pytest.raises(ContractError, match=r'clause "(vectorised|plate)" of the contract: x of the model'):
        SVI(cls(), X, settings=settings)


def test_a_fit_with_one_draw_needs_no_particles():
    assert SVI(FirstParticle(), X).train_step().isfinite()


@pytest.mark.parametrize("name", FITTED)
def test_each_model_of_the_gallery_treats_many_values_as_each_alone(name):
    pair, args = build(name), tuple(a[:3] for a in arguments(name))
    with eval_mode(pair):
        particles = inspect_pair(pair, args).has_global_latent
        assert site_from_others(pair, args, particles) is None


class OneDimensionMore(Line):
    """Particles stand at dimension -3, and not where the plate of particles is."""

    def mean(self, w, rows):
        return w[..., None, 0] + w[..., None, 1] * rows


class OneValue(Line):
    def mean(self, w, rows):
        return w.view(2)[0] + 0 * rows


@pytest.mark.parametrize("cls", [OneValue, OneDimensionMore])
def test_what_refuses_many_values_is_a_remark(cls):
    (finding,) = CLAUSES["vectorised"](Case(cls, (X,)))
    assert "broadcasts" in finding.text
    assert finding.remark
    assert isinstance(finding.error, RuntimeError | ValueError)
