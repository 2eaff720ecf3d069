# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own model
#
# A model is an `nn.Module` with two methods: `model` defines the generative process, `guide` the approximate posterior
# of its latent variables. The two are enough for fits, bounds, samples and codes.
#
# The example is factor analysis for data with outliers: the noise is Student's t.
#
# $$z \sim \mathrm{Normal}(0, I), \qquad x_j \mid z \sim \mathrm{StudentT}(\nu, (W z + b)_j, \sigma)$$

# %%
# %matplotlib inline
import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import nn

import data
from gallery.figures import samples
from inference import SVI, InferenceError, Settings, check_fit, encode, evaluate, reconstruct, svi


class RobustFactors(nn.Module):
    """x: (n, data_dim).

    :param data_dim: length of x
    :param latent_dim: number of factors
    :param freedom: degrees of freedom of the noise, which is normal in the limit of infinitely many
    """

    def __init__(self, data_dim: int = 3, latent_dim: int = 2, freedom: float = 3.0):
        super().__init__()
        self.latent_dim, self.freedom = latent_dim, freedom
        self.mean = nn.Linear(latent_dim, data_dim)
        self.noise = nn.ParameterDict({"pre_scale": torch.zeros(())})
        self.encoder = nn.Sequential(nn.Linear(data_dim, 32), nn.Tanh(), nn.Linear(32, 2 * latent_dim))

    def model(self, x, total=None):
        pyro.module("mean", self.mean)
        pyro.module("noise", self.noise)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            zero = x.new_zeros(len(x), self.latent_dim)
            z = pyro.sample("z", dist.Normal(zero, zero + 1).to_event(1))
            scale = F.softplus(self.noise["pre_scale"])
            pyro.sample("x", dist.StudentT(self.freedom, self.mean(z), scale).to_event(1), obs=x)

    def guide(self, x, total=None):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            loc, pre_scale = self.encoder(x).chunk(2, dim=-1)
            pyro.sample("z", dist.Normal(loc, F.softplus(pre_scale)).to_event(1))


# %% [markdown]
# Networks and free parameters are registered with `pyro.module`, all sites of a data point are in one plate, and the
# observation is the site `"x"`. That is most of the contract. `gallery check mine.py:RobustFactors` reports violations
# with their place and remedy. `gallery new NAME` writes a file to start from.
#
# ## Fit it, and compare with normal noise
#
# With many degrees of freedom Student's t is close to a normal, so the same class gives the baseline. A twentieth of
# the training data are outliers.

# %%
train, test = data.load("factor_analysis"), data.load("factor_analysis", "test")
generator = torch.Generator().manual_seed(0)
hit = torch.rand(len(train), 1, generator=generator) < 0.05
x = train.x + hit * 10 * torch.randn(train.x.shape, generator=generator)

fitted = {}
for name, freedom in {"Student's t": 3.0, "normal": 1e3}.items():
    torch.manual_seed(0)
    fitted[name] = RobustFactors(freedom=freedom)
    svi(fitted[name], x, settings=Settings(epochs=60, lr=1e-2, lr_schedule="cosine"))
    bound = evaluate(fitted[name], test.x, particles=64)["iwae"]
    print(f"{name}: IWAE-64 {bound['value']:.3f} nats per clean test data point (se {bound['se']:.3f})")

# %% [markdown]
# ## Codes, reconstructions and samples

# %%
pair = fitted["Student's t"]
codes = encode(pair, test.x)["z"]
error = (reconstruct(pair, test.x) - test.x).square().sum(1).mean()
print(f"codes {tuple(codes.shape)}; squared error of a reconstruction {error:.3f}")
samples(pair, test)

# %% [markdown]
# ## In another training loop
#
# `SVI` makes its steps one at a time, with its minibatches, schedules and checks, so another loop can drive it. A
# module of Lightning has the same method; it sets `self.automatic_optimization = False`, since `SVI` updates the
# weights, and calls `self.log("loss", loss)` for its loggers.


# %%
class Module(nn.Module):  # with Lightning: lightning.LightningModule
    def __init__(self, pair, x, settings):
        super().__init__()
        self.pair, self.steps = pair, iter(SVI(pair, x, settings=settings))

    def training_step(self, batch=None, index=None):
        _, loss = next(self.steps)
        return loss  # nats per data point


module = Module(RobustFactors(), x, Settings(epochs=1))
print(f"loss {module.training_step():.2f}, then {module.training_step():.2f} nats per data point")

# %% [markdown]
# ## Errors are one line

# %%
try:
    check_fit(RobustFactors(data_dim=4), test.x)
except InferenceError as error:
    print(error)

# %% [markdown]
# ## Exercise
#
# Learn the degrees of freedom: add an entry to `self.noise`, with `softplus` to keep it positive.
