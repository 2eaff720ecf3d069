"""What a model observes is x, and what belongs to a data point does not depend on others: else a fit does not begin."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from inference import SVI, InferenceError, check_fit, evaluate, sample
from inference.contract import CLAUSES
from inference.contract.case import Case

X = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))


class Line(nn.Module):
    """z ~ Normal(0, 1), x ~ Normal(W z + b, 1) in R^2."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(2, 2), nn.Linear(1, 2)

    def read(self, x: Tensor) -> Tensor:
        return x

    def code(self, z: Tensor) -> Tensor:
        return z

    def after(self, z: Tensor) -> None:
        pass

    def observe(self, mean: Tensor, x: Tensor) -> None:
        pyro.sample("x", dist.Normal(mean, 1.0).to_event(1), obs=x)

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
            self.observe(self.decoder(self.code(z)[..., None]), x)
        self.after(z)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            loc, pre_scale = self.encoder(self.read(x)).unbind(-1)
            pyro.sample("z", dist.Normal(loc, softplus(pre_scale)))


def observing(*columns: tuple[str, int, int]) -> type[Line]:
    """Return a pair whose sites, (name, coordinate of the mean, column of x), are in that order."""

    class Columns(Line):
        def observe(self, mean, x):
            for name, k, column in columns:
                pyro.sample(name, dist.Normal(mean[..., k], 1.0), obs=x[:, column])

    return Columns


class Scaled(Line):
    def observe(self, mean, x):
        super().observe(mean, x / x.std())


class Residual(Line):
    """With the density of the residuals at 0, and not that of x at its mean."""

    def observe(self, mean, x):
        super().observe(torch.zeros_like(mean), (x - mean) / 2)


class Reversed(Line):
    def observe(self, mean, x):
        super().observe(mean, x.flip(1))


class Rounded(Line):
    def observe(self, mean, x):
        super().observe(mean, x.round())


class CentredCodes(Line):
    def code(self, z):
        return z - z.mean()


class LargestCode(Line):
    def code(self, z):
        return z + (z == z.max())


class CentredRows(Line):
    def read(self, x):
        return x - x.mean(0)


class CentredRowsBesideItems(CentredRows):
    """It has as many items as the check has rows."""

    def after(self, z):
        with pyro.plate("items", 8):
            pyro.sample("difficulty", dist.Normal(z.new_zeros(8), 1.0), infer={"is_auxiliary": True})


class Points(Line):
    """The prior of a code is centred at those of all rows; its guide is a point, which has no density."""

    def model(self, x, total=None):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            a = pyro.sample("a", dist.Normal(x.new_zeros(len(x)), 1.0))
            b = pyro.sample("b", dist.Normal(a.mean(), 1.0).expand([len(x)]))
            self.observe(self.decoder((a + b)[..., None]), x)

    def guide(self, x, total=None):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            a, b = self.encoder(x).unbind(-1)
            pyro.sample("a", dist.Delta(a))
            pyro.sample("b", dist.Delta(b))


class Dequantised(Line):
    """E log p(x + u) is a bound on the log probability of x."""

    def observe(self, mean, x):
        super().observe(mean, x + torch.rand_like(x) / 256)


class DequantisedCentredCodes(CentredCodes):
    def observe(self, mean, x):
        super().observe(mean, x + torch.rand_like(x) / 256)


class NarrowAtOneRow(Line):
    """The rounding of one data point excuses none of the others."""

    def guide(self, x, total=None):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            loc, is_narrow = self.encoder(x)[..., 0], x[:, 0].float() == X[0, 0]
            loc = loc.where(is_narrow, loc + 0.01 * (x[:, 0] - x[:, 0].mean()))
            pyro.sample("z", dist.Normal(loc, torch.where(is_narrow, 1e-14, 1.0)))


class Unknown(Line):
    def observe(self, mean, x):
        super().observe(mean, x.where(x > 0, torch.nan))


class Turned(Line):
    """Its guide has a transform that keeps the inverse of what it has drawn."""

    def __init__(self):
        super().__init__()
        self.turns = nn.ModuleList([dist.transforms.matrix_exponential(4) for _ in range(6)])
        self.from_four = nn.Linear(4, 1)

    def model(self, x, total=None):
        pyro.module("decoder", self.decoder)
        pyro.module("from_four", self.from_four)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 4), 1.0).to_event(1))
            self.observe(self.decoder(self.from_four(z)), x)

    def guide(self, x, total=None):
        pyro.module("encoder", self.encoder)
        pyro.module("turns", self.turns)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            base = dist.Normal(self.encoder(x).repeat(1, 2), 1.0).to_event(1)
            pyro.sample("z", dist.TransformedDistribution(base, list(self.turns)))


class Normalised(Line):
    """The running mean of evaluation mode is that of no minibatch."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)

    def read(self, x):
        return self.norm(x)


class Penalty(Line):
    """Of what all data points share, outside the plate."""

    def after(self, z):
        pyro.factor("penalty", -self.decoder.weight.square().sum())


class PenaltyOfRows(Line):
    def after(self, z):
        pyro.factor("penalty", -z.square().sum())


class PenaltyInAnotherPlate(Line):
    def after(self, z):
        with pyro.plate("other", len(z)):
            pyro.factor("penalty", -z.square())


OTHER = "the likelihood of x observes other values than x"
ORDER = r"the observed sites x_1, x_2, \.\.\. are not the columns of x from left to right"
REFUSED = {
    Scaled: OTHER,
    Residual: OTHER,
    Reversed: OTHER,
    Rounded: OTHER,
    observing(("x_2", 1, 1), ("x_1", 0, 0)): ORDER,
    observing(("x_1", 0, 0), ("x_2", 1, 0)): ORDER,
    observing(("x_1", 0, 0)): "the observed sites have 1 values of each data point, and the data 2",
    CentredCodes: "x of the model has another log-density at a data point where other data points stand beside it",
    LargestCode: "x of the model has another log-density",
    CentredRows: "z of the guide has another log-density",
    CentredRowsBesideItems: "z of the guide has another log-density",
    DequantisedCentredCodes: "x of the model has another log-density",
    NarrowAtOneRow: "z of the guide has another log-density",
    Unknown: OTHER,
    Points: "b of the model has another log-density",
    PenaltyOfRows: "the factor penalty stands outside the plate 'data' and changes with the rows",
    PenaltyInAnotherPlate: "the factor penalty stands outside the plate 'data' and changes with the rows",
}


@pytest.mark.parametrize(("cls", "words"), REFUSED.items())
def test_what_is_not_a_model_of_each_row_of_x_is_not_fitted(cls, words):
    with pytest.raises(InferenceError, match=words) as refused:
        check_fit(cls(), X)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "cls", [Line, Normalised, Penalty, Turned, Dequantised, observing(("x_1", 0, 0), ("x_2", 1, 1))]
)
def test_models_of_each_row_are_fitted_and_evaluated_alike_in_any_parts(cls):
    check_fit(pair := cls(), X)
    assert not list(CLAUSES["plate"](Case(cls, (X,))))
    whole, parts = (evaluate(pair, X, particles=64, at_a_time=n)["elbo"] for n in (30, 4))
    assert abs(whole["value"] - parts["value"]) < 4 * 2**0.5 * whole["mc_se"]


@pytest.mark.parametrize("cls", [CentredCodes, LargestCode, CentredRows])
def test_the_checker_names_the_clause(cls):
    (finding,) = CLAUSES["plate"](Case(cls, (X,)))
    assert "another log-density at a data point" in finding.text


def test_x_that_is_no_dense_tensor_of_floats_is_refused():
    other = (X.numpy(), X.long(), X > 0, X.to_sparse(), X.to("meta"))
    for x in other:
        with pytest.raises(InferenceError, match=r"^x is a .*; expected a dense tensor of floats\. Use torch\."):
            SVI(Line(), x)
    for x, pair in ((X.double(), Line()), (X, Line().double()), (X.half(), Line())):
        with pytest.raises(InferenceError, match=r"^x is float\d\d, and Line has parameters in float\d\d\. Use x\.to"):
            SVI(pair, x)


class Means(Line):
    """With a latent of the name that `sample` gives to E[x | latents]."""

    def model(self, x, total=None):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("mean", dist.Normal(x.new_zeros(len(x)), 1.0))
            self.observe(self.decoder(z[..., None]), x)

    def guide(self, x, total=None):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("mean", dist.Normal(self.encoder(x)[:, 0], 1.0))


def test_a_latent_has_no_name_of_a_result():
    with pytest.raises(InferenceError, match="a latent is named mean, as E"):
        check_fit(Means(), X)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (torch.ones(4, 3), "conditions on 2 covariates of each data point; got 3 covariates"),
        (torch.ones(4), "conditions on 2 covariates of each data point; got labels"),
        (torch.ones(3, 2), "`given` has 3 rows and x has 4"),
        (torch.ones(()), "`given` has 0 rows and x has 4"),
    ],
)
def test_given_of_another_shape_is_refused_before_a_draw(given, words):
    from gallery.models.linear_regression import LinearRegression

    with pytest.raises(InferenceError, match=words):
        sample(LinearRegression(given_dim=2), torch.zeros(4, 1), 4, given)
