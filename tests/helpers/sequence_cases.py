"""Pairs with a discrete component or several steps, and the pictures in their figures."""

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import nn

NETS = {"data_dim": 64, "hidden": (8,)}
STEPS = {**NETS, "steps": 8, "state_dim": 6}
COMPONENT_OF = [3, 0, 4, 1]  # of every class; component 2 has none
COUNTS = [4, 3, 2, 1]  # data of every class


class Corners(nn.Module):
    """An image of 2 x 2 pixels, one of them lit by the component. The code is approximately the image."""

    def __init__(self, one_hot=True):
        super().__init__()
        self.one_hot = one_hot

    def component(self, logits):
        fn = (dist.OneHotCategorical if self.one_hot else dist.Categorical)(logits=logits)
        return pyro.sample("y", fn, infer={"enumerate": "parallel"})

    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            y = self.component(x.new_zeros(len(x), 5))
            lit = torch.zeros(5, 4)
            lit[COMPONENT_OF, range(4)] = 1
            z = pyro.sample("z", dist.Normal(y @ lit if self.one_hot else lit[y], 0.01).to_event(1))
            pyro.sample("x", dist.Normal(z, 0.1).to_event(1), obs=x)

    def guide(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            logits = x.new_zeros(len(x), 5)
            logits[:, COMPONENT_OF] = 9 * x
            self.component(logits)
            pyro.sample("z", dist.Normal(x, 0.01).to_event(1))


class Repeats(nn.Module):
    """z_t stays at z_{t-1} and determines the row x_t. The guide infers z_t from row t, or from a later row."""

    def __init__(self, ahead=0, steps=8):
        super().__init__()
        self.ahead, self.steps = ahead, steps

    def rows(self, x):
        return x.reshape(len(x), self.steps, -1)

    def model(self, x, total=None):
        rows = self.rows(x)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = x.new_zeros(len(x), rows.shape[2])
            for t in range(self.steps):
                z = pyro.sample(f"z_{t + 1}", dist.Normal(z, 1e-3).to_event(1))
                pyro.sample(f"x_{t + 1}", dist.Bernoulli(logits=20 * z).to_event(1), obs=rows[:, t])

    def guide(self, x, total=None):
        rows = self.rows(x)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            for t in range(self.steps):
                row = rows[:, min(t + self.ahead, self.steps - 1)]
                pyro.sample(f"z_{t + 1}", dist.Normal(2 * row - 1, 1e-3).to_event(1))


def rows_of(fig):
    """(picture, names of its rows)."""
    (ax,) = fig.axes
    picture = np.ma.filled(ax.images[0].get_array().astype(float), np.nan)
    return picture, [t.get_text().replace("\u2007", " ") for t in ax.get_yticklabels()]


def images_in(picture, side, columns):
    """(rows, columns, side, side), without the gaps of one pixel."""
    rows = (picture.shape[0] + 1) // (side + 1)
    return np.array(
        [[picture[i * (side + 1) :][:side, j * (side + 1) :][:, :side] for j in range(columns)] for i in range(rows)]
    )
