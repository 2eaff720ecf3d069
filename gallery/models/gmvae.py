"""Gaussian mixture variational autoencoder: a discrete component above a continuous code.

    y ~ Uniform over the components, one-hot       the component
    z ~ Normal(A y + a, softplus(B y + b))         the code given the component, z in R^latent_dim
    x ~ Bernoulli(decoder(z))                      data_dim pixels; x depends on y through z only

y is never observed: the components are learned without labels and need not match the classes. The guide is
q(y | x) q(z | x, y), and the ELBO

    sum_y q(y | x) [log p(y) + log p(z_y | y) + log p(x | z_y) - log q(y | x) - log q(z_y | x, y)],  z_y ~ q(z | x, y).

A draw of y could not be reparametrised, and the score-function gradient would have a high variance. But y takes few
values, so the sum is computed exactly. The site y is marked for enumeration: Pyro runs guide and model with every y at
once, along a new dimension on the left, and there is one z for each (y, x). That costs `components` decodings of each
image, and leaves no Monte Carlo noise of y. The bound includes log p(y) = -ln(components). Some published values omit
this constant, and are higher by ln 10 = 2.303 nats at 10 components.

`gmvae:relaxed` and `gmvae:categorical_kl` draw a relaxed y in training mode instead, `gmvae:straight_through` a one-hot
y with the gradient of the relaxed one (gmvae_relaxed.py). `gmvae:invariant` has a penalty where the component changes
as the image is slanted or moved: the components become the digits (gmvae_invariant.py).

    >>> import torch
    >>> from pyro.infer import TraceEnum_ELBO
    >>> pair, x = GMVAE(data_dim=6, components=3, latent_dim=2, hidden=(8,)), torch.ones(5, 6)
    >>> TraceEnum_ELBO(max_plate_nesting=1).loss(pair.model, pair.guide, x) > 0
    True

    Yang Zhi-Han, Training latent variable models with auto-encoding variational Bayes: a tutorial, 2022.
"""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from gallery.models._nn import GaussianHead, PairEncoder, PixelHead, mlp

__all__ = ["GMVAE"]


class GMVAE(nn.Module):
    """x: (n, data_dim), in {0, 1}. The component is summed out: objective "enum".

    y: (n, components), one-hot; (components, 1, components), every value for all data at once, under enumeration.
    z: (n, latent_dim), or one for each value of y, (components, n, latent_dim).

    :param data_dim: number of pixels
    :param components: number of components
    :param latent_dim: length of the code z
    :param hidden: widths of the hidden layers of the guide; the decoder has them in reverse
    """

    def __init__(
        self, data_dim: int = 784, components: int = 10, latent_dim: int = 64, hidden: Sequence[int] = (512, 512)
    ) -> None:
        super().__init__()
        self.components = components
        self.prior = GaussianHead(components, latent_dim)
        self.decoder = nn.Sequential(mlp((latent_dim, *reversed(hidden))), PixelHead(hidden[0], data_dim, "bernoulli"))
        self.classifier = nn.Sequential(mlp((data_dim, *hidden)), nn.Linear(hidden[-1], components))
        self.encoder = PairEncoder(data_dim, components, hidden, latent_dim)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.xavier_normal_(parameter)

    def component(self, logits: Tensor) -> Tensor:
        """Return y one-hot: all values, (components, 1, components), under enumeration; else a draw, (n, components).

        :param logits: of the components, (n, components)
        """
        return pyro.sample("y", dist.OneHotCategorical(logits=logits), infer={"enumerate": "parallel"})

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("prior", self.prior)
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            y = self.component(x.new_zeros(len(x), self.components))  # uniform
            z = pyro.sample("z", self.prior(y))  # ([components,] n, latent_dim)
            pyro.sample("x", self.decoder(z), obs=x)  # (n, data_dim)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("classifier", self.classifier)
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            y = self.component(self.classifier(x))
            pyro.sample("z", self.encoder(x, y))  # a network of both
