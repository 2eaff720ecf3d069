"""What a model observes is x, and what belongs to a data point does not depend on others: else a fit does not begin."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from inference import InferenceError, check_fit, evaluate
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

    def observe(self, mean: Tensor, x: Tensor) -> None:
        pyro.sample("x", dist.Normal(mean, 1.0).to_event(1), obs=x)

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
            self.observe(self.decoder(self.code(z)[..., None]), x)

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


class Normalised(Line):
    """The running mean of evaluation mode is that of no minibatch."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)

    def read(self, x):
        return self.norm(x)


OTHER = "the likelihood of x observes other values than x"
ORDER = r"the observed sites x_1, x_2, \.\.\. are not the columns of x from left to right"
REFUSED = {
    Scaled: OTHER,
    Reversed: OTHER,
    Rounded: OTHER,
    observing(("x_2", 1, 1), ("x_1", 0, 0)): ORDER,
    observing(("x_1", 0, 0), ("x_2", 1, 0)): ORDER,
    observing(("x_1", 0, 0)): "the observed sites have 1 values of each data point, and the data 2",
    CentredCodes: "x of the model has another log-density at a data point where other data points stand beside it",
    LargestCode: "x of the model has another log-density",
    CentredRows: "z of the guide has another log-density",
}


@pytest.mark.parametrize(("cls", "words"), REFUSED.items())
def test_what_is_not_a_model_of_each_row_of_x_is_not_fitted(cls, words):
    with pytest.raises(InferenceError, match=words) as refused:
        check_fit(cls(), X)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("cls", [Line, Normalised, observing(("x_1", 0, 0), ("x_2", 1, 1))])
def test_models_of_each_row_are_fitted_and_evaluated_alike_in_any_parts(cls):
    check_fit(pair := cls(), X)
    assert not list(CLAUSES["plate"](Case(cls, (X,))))
    whole, parts = (evaluate(pair, X, particles=64, at_a_time=n)["elbo"] for n in (30, 4))
    assert abs(whole["value"] - parts["value"]) < 4 * 2**0.5 * whole["mc_se"]


@pytest.mark.parametrize("cls", [CentredCodes, LargestCode, CentredRows])
def test_the_checker_names_the_clause(cls):
    (finding,) = CLAUSES["plate"](Case(cls, (X,)))
    assert "another log-density at a data point" in finding.text
