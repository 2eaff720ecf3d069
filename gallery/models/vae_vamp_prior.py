"""VAE whose prior is the mean of the guide over learned pseudo-inputs: the pair of vae.py, with another prior.

    p(z) = 1/K sum_k q(z | u_k),   u_1, ..., u_K in [0, 1]^data_dim learned   the code
    x ~ p(x | decoder(z))                                                     as in vae.py

On average over data the KL of the ELBO is I(x; z) + KL(q(z) || p(z)), with the aggregate posterior q(z), the mean of
q(z | x) over all images (`inference.mutual_information`). The prior that leaves the first term alone is q(z) itself, a
mixture with one component for each image. It costs a pass of the encoder over all images in every step, and for each
image of the fit it has that image as a component. K pseudo-inputs are a cheaper mixture of the same kind, learned with
the rest. They pass through the encoder at every step, beside the minibatch.

The encoder is a part of the model here, since the prior is made of it: the model registers it, and the guide borrows
it. log q(z | x) - log p(z) has no mean in closed form, so the objective is `trace`. The guide is that of vae.py, with
one normal for each x, and so has a mean.

A pseudo-input is the sigmoid of a parameter, where the paper clips to [0, 1]. They start nearly black, u near 0.05,
each with other noise. With K = 1 the prior is one normal, learned. They are images: rescale data that are not in
[0, 1], or the prior does not reach their codes.

Nothing holds the scale of a code: the KL is the same in other units of z. At the start of a fit the decoder learns the
mean image, and noise of z does harm. Where Normal(0, I) keeps sigma(x) near 1, here it drifts, mu(x) varies less and
less beside it, and the KL draws the codes of all images, and of pseudo-inputs, onto each other. There they stay: on
static MNIST for all of 1800 steps, where the VAE needs 450. Two measures prevent it. The initial
weights are larger than torch's (here Glorot and Bengio's), so that codes differ from the start. And the weight of the
KL rises from 0 over the first epochs (`warmup`).

    >>> import torch
    >>> from pyro import poutine
    >>> pair, x = VampPriorVAE(data_dim=6, latent_dim=2, hidden=(8,), pseudo_inputs=3), torch.ones(5, 6)
    >>> prior = poutine.trace(pair.model).get_trace(x).nodes["z"]["fn"]
    >>> prior.batch_shape, prior.loc.shape  # a component for each pseudo-input
    (torch.Size([5]), torch.Size([3, 2]))

    Tomczak and Welling, VAE with a VampPrior, 2018.
    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010.
    Hoffman and Johnson, ELBO surgery: yet another way to carve up the variational evidence lower bound, 2016.
"""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from gallery.models._nn import Activation, Likelihood
from gallery.models._normal_mixture import NormalMixture
from gallery.models.vae import VAE

__all__ = ["VampPriorVAE"]


class VampPriorVAE(VAE):
    """x: (n, data_dim); z: (n, latent_dim). The prior is the mean of q(z | u) over learned pseudo-inputs u.

    >>> import torch
    >>> from inference import evaluate
    >>> pair, x = VampPriorVAE(data_dim=6, latent_dim=2, hidden=(8,), pseudo_inputs=3), torch.ones(5, 6)
    >>> evaluate(pair, x)["elbo"]["unit"]
    'nats per data point'

    :param pseudo_inputs: their number, K
    :raises ValueError: as VAE; or if pseudo_inputs is not positive
    """

    def __init__(
        self,
        data_dim: int = 784,
        latent_dim: int = 20,
        hidden: Sequence[int] = (500, 500),
        dropout: float = 0.1,
        likelihood: Likelihood = "bernoulli",
        scale: float | None = None,
        activation: Activation = "relu",
        pseudo_inputs: int = 500,
    ) -> None:
        super().__init__(data_dim, latent_dim, hidden, dropout, likelihood, scale, activation)
        if pseudo_inputs < 1:
            raise ValueError(f"the prior needs one pseudo-input or more, not {pseudo_inputs}.")
        for parameter in self.parameters():
            if parameter.dim() > 1:  # a matrix of weights
                nn.init.xavier_normal_(parameter)
        self.theta = nn.ParameterDict({"pre_u": nn.Parameter(torch.randn(pseudo_inputs, data_dim) / 5 - 3)})

    def prior(self, x: Tensor) -> dist.TorchDistribution:
        """Return 1/K sum_k q(z | u_k), batch shape (n,)."""
        u = self.theta["pre_u"].sigmoid()  # (K, data_dim)
        q = self.encoder(u).base_dist  # batch shape (K, latent_dim)
        return NormalMixture(q.loc, q.scale).expand([len(x)])

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("encoder", self.encoder)
        pyro.module("theta", self.theta)
        super().model(x, total)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", self.encoder(x))
