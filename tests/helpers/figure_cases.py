"""Pairs and data for the tests of figures."""

from dataclasses import replace

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import nn

import data
from gallery.models import MODELS
from gallery.models.exponential_gaussian import ExponentialGaussian
from inference import SVI, Settings, monitor_elbo

ROWS = 200  # of the training data
SMALL = {"data_dim": 64, "hidden": (16,)}
GREYS = {"likelihood": "continuous_bernoulli"}


def fitted(name, data_name, steps=6, **keywords):
    """(pair after a few steps, its splits, a history)."""
    torch.manual_seed(0)
    splits = {split: head(data.load(data_name, split), n) for split, n in {"train": ROWS, "test": 60}.items()}
    pair, train = MODELS[name](**keywords), splits["train"]
    svi, history = SVI(pair, train.x, train.given, Settings(lr=1e-2), train.transform), []
    for _, (step, loss) in zip(range(steps), svi, strict=False):
        line = {"epoch": step, "loss": loss.item(), "loss_is_bound": True, "lr": svi.lr, "beta": 1.0, "seconds": 0.1}
        if not svi.plan.is_per_data_point:
            line["test"] = monitor_elbo(pair, splits["test"].x, splits["test"].given)
        history.append(line)
    return pair, splits, history


def head(dataset, n):
    kept = {name: getattr(dataset, name) for name in ("x", "labels", "covariates")}
    return replace(dataset, **{name: None if rows is None else rows[:n] for name, rows in kept.items()})


def images_of(fig):
    return [np.ma.filled(ax.images[0].get_array().astype(float), np.nan) for ax in fig.axes]


def histogram(fig):
    return [patch.get_xy() for patch in fig.axes[0].patches]


class Plane(nn.Module):
    """z in R^2; two pixels with means Phi(z_1) and Phi(z_2). The guide is a point."""

    def __init__(self, scale=1.0, masked=False, site="z", width=2):
        super().__init__()
        self.scale, self.masked, self.site, self.width = scale, masked, site, width

    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            prior = dist.Normal(x.new_zeros(len(x), self.width), self.scale).to_event(1).mask(not self.masked)
            z = pyro.sample(self.site, prior if self.masked else prior.base_dist)
            pyro.sample("x", dist.Normal(torch.special.ndtr(z[:, :2]), x.new_ones(2)).to_event(1), obs=x)

    def guide(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample(self.site, dist.Delta(x[:, [0, 1, 0][: self.width]], event_dim=1))


class ExactGuide(ExponentialGaussian):
    """The guide is the posterior."""

    def guide(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", self.posterior(x))


class PriorGuide(ExponentialGaussian):
    """The guide is the prior, whatever x."""

    def guide(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Exponential(x.new_ones(len(x))))


def history_of(elbos, **more):
    return [{"epoch": i + 1, "loss": -v - 1, "test": {"elbo": v}, **more} for i, v in enumerate(elbos)]
