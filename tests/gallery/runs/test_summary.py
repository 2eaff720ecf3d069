"""Discrete latents of every form in a summary: numbers, vectors, one-hot rows, large counts."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import data
from gallery.runs import summary
from gallery.runs.summary import summarise

P = torch.tensor([0.9, 0.2, 0.5])


class Discrete(nn.Module):
    """x ~ Normal(sum of z, 1) with z ~ fn in guide and model, whatever x."""

    def __init__(self, fn, common=False):
        super().__init__()
        self.fn, self.common, self.loc = fn, common, nn.Parameter(torch.zeros(()))

    def latents(self, n):
        z = pyro.sample("z", self.fn.expand([n]))
        return z.reshape(*z.shape[: z.dim() - len(self.fn.event_shape)], -1).sum(-1)

    def model(self, x, total=None):
        pyro.module("pair", self)
        w = pyro.sample("w", dist.Normal(0.0, 1.0)) if self.common else 0.0
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("x", dist.Normal((self.latents(len(x)) + self.loc + w).unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        if self.common:
            pyro.sample("w", dist.Normal(0.0, 1.0))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            self.latents(len(x))


def rows_of(fn, n=100, common=False):
    rows = data.Dataset("cases", "test", torch.zeros(n, 1), (1,))
    torch.manual_seed(0)
    return {row["latent"]: row for row in summarise(Discrete(fn, common), {"train": rows, "test": rows})}


def agrees(shares, expected):
    for share, p in zip(shares, expected, strict=True):
        assert abs(share["mean"] - p) <= 4 * (p * (1 - p) / summary.DRAWS) ** 0.5
        assert share.keys() == {"latent", "mean"}


def test_a_vector_of_bits_has_the_share_of_each_value_of_each_bit():
    rows = rows_of(dist.Bernoulli(P).to_event(1))
    assert list(rows) == [f"z[{i}] = {value}" for i in range(3) for value in (0, 1)]
    agrees([rows[f"z[{i}] = 1"] for i in range(3)], P.tolist())


def test_a_vector_of_classes_has_the_share_of_each():
    rows = rows_of(dist.Categorical(P / P.sum()).expand([2]).to_event(1))
    assert list(rows) == [f"z[{i}] = {value}" for i in range(2) for value in range(3)]
    agrees([rows[f"z[1] = {value}"] for value in range(3)], (P / P.sum()).tolist())


@pytest.mark.parametrize("several", [(), (2,)])
def test_one_hot_rows_are_classes(several):
    rows = rows_of(dist.OneHotCategorical(P / P.sum()).expand(several).to_event(len(several)))
    label = "z[1]" if several else "z"
    assert len(rows) == (6 if several else 3)
    agrees([rows[f"{label} = {value}"] for value in range(3)], (P / P.sum()).tolist())


def test_each_data_point_has_its_class_beside_a_latent_that_all_share():
    rows = rows_of(dist.Bernoulli(0.3), 3, common=True)
    assert list(rows) == ["w", *[f"z[{i}] = {value}" for i in range(3) for value in (0, 1)]]
    agrees([rows[f"z[{i}] = 1"] for i in range(3)], [0.3] * 3)


def test_large_counts_have_a_mean_and_quantiles():
    (row,) = rows_of(dist.Poisson(1e6)).values()
    assert abs(row["mean"] - 1e6) < 4 * 1e3 / summary.DRAWS**0.5
    assert row["5 %"] < row["mean"] < row["95 %"]


def test_one_draw_has_no_standard_deviation(monkeypatch):
    monkeypatch.setattr(summary, "DRAWS", 1)
    assert [row.keys() for row in rows_of(dist.Normal(0.0, 1.0), 1).values()] == [{"latent", "mean"}]


def test_a_model_without_computed_values_is_not_run_on_all_draws(monkeypatch):
    """It is run on two rows, to see whether it computes values: under all draws a wrong shape would fill the memory."""
    sizes, run = [], Discrete.model
    monkeypatch.setattr(Discrete, "model", lambda self, x, total=None: (sizes.append(len(x)), run(self, x, total)))
    rows = rows_of(dist.Bernoulli(0.3), 40, common=True)
    assert abs(rows["w"]["mean"]) < 4 / summary.DRAWS**0.5
    assert set(sizes) == {2}
