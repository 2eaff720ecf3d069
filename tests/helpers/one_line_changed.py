"""A pair, and the same with one line changed, so that its model reads x or may seem to; data for both."""

import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import nn


class Bare(dist.TorchDistribution):
    """A normal distribution that knows how to draw and to score, and nothing else."""

    arg_constraints = {}
    has_rsample = True

    def __init__(self, loc):
        self.loc = loc
        super().__init__(loc.shape, validate_args=False)

    def expand(self, batch_shape, _instance=None):
        return Bare(self.loc.expand(batch_shape))

    def rsample(self, sample_shape=()):
        return self.loc + torch.randn(*sample_shape, *self.loc.shape)

    def log_prob(self, value):
        return dist.Normal(self.loc, 1.0).log_prob(value)


class Base(nn.Module):
    """z ~ Normal(0, I) in R^2, x ~ Normal(decoder(z), 1); each test changes one line."""

    def __init__(self, data_dim=2):
        super().__init__()
        self.decoder, self.encoder = nn.Linear(2, data_dim), nn.Linear(data_dim, 4)
        self.own = nn.ParameterDict({"phi": torch.zeros(())})

    def model(self, x, total=None):
        pyro.module("decoder", self.decoder)
        pyro.module("own", self.own)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", self.prior(x))
            pyro.sample("x", self.likelihood(x, z), obs=x)

    def prior(self, x):
        return dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1)

    def likelihood(self, x, z):
        return self.noise(x, self.decoder(z) + 0 * self.own["phi"])

    def noise(self, x, mean):
        return dist.Normal(mean, 1.0).to_event(1)

    def guide(self, x, total=None):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            loc, pre = self.encoder(x).chunk(2, -1)
            pyro.sample("z", self.posterior(loc, F.softplus(pre)))

    def posterior(self, loc, scale):
        return dist.Normal(loc, scale).to_event(1)


class Shifted(Base):
    """An autoregression whose coefficient starts at 0, so that nothing shows at the first weights."""

    def likelihood(self, x, z):
        return self.noise(x, self.decoder(z) + self.own["phi"] * F.pad(x[:, :-1], (1, 0)))


class SpreadOfBatch(Base):
    def noise(self, x, mean):
        return dist.Normal(mean, x.std() + 0.1).to_event(1)


class Sign(Base):
    """No gradient passes from x."""

    def prior(self, x):
        return dist.Normal((x[:, :1] > 0).float().expand(-1, 2), 1.0).to_event(1)


class Totals(Base):
    """A count by the data's own total, as of words in a document; its parameter is an integer."""

    def noise(self, x, mean):
        total = x.sum(1).abs().round().int() + 1
        return dist.Binomial(total.unsqueeze(1).expand(-1, x.shape[1]), logits=mean).to_event(1)


class InTraining(Base):
    """Teacher forcing, in training mode alone."""

    def noise(self, x, mean):
        return dist.Normal(mean + x * self.training, 1.0).to_event(1)


class Covariates(Base):
    def __init__(self):
        super().__init__()
        self.slope = nn.Linear(3, 2)

    def model(self, x, given, total=None):
        pyro.module("slope", self.slope)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", self.prior(x))
            mean = pyro.sample("x", dist.Normal(z + self.slope(given), 1.0).to_event(1), obs=x)
            pyro.deterministic("squared", mean.square(), event_dim=1)

    def guide(self, x, given, total=None):
        super().guide(x, total)


class Known(Base):
    """Which entries are known is read off x; what is drawn does not depend on it."""

    def noise(self, x, mean):
        return dist.Normal(mean, 1.0).mask(x != 0).to_event(1)


def data(data_dim=2):
    return torch.randn(8, data_dim, generator=torch.Generator().manual_seed(0))
