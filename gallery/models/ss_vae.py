"""Semi-supervised variational autoencoder (M2): a few labels, and a class for every image.

    y ~ Uniform over the classes, one-hot          the class; known for some images
    z ~ Normal(0, I)                               style: what varies within a class, z in R^latent_dim
    x ~ p(x | decoder(z, y))                       data_dim pixels, independent given z and y

`given` holds the label of each image, -1 where it is missing. The model conditions on the known labels: the ELBO bounds
log p(x | y) of a labelled image and log p(x) of an unlabelled one. One model and guide cover both. Where the label is
known, prior and guide of y have all their mass on it: its logit is raised by `LABEL_LOGIT`, so that the probability of
the other classes, exp(-LABEL_LOGIT), is zero in floating point. Where it is missing, the prior is uniform and the guide
is the classifier q(y | x). Then y is summed out for every image,

    sum_y q(y | x) [log p(y) + log p(z_y) + log p(x | z_y, y) - log q(y | x) - log q(z_y | x, y)],  z_y ~ q(z | x, y),

in which a labelled image has one term of nonzero weight. It trains the decoder and q(z | x, y), but not the classifier,
which it does not contain. (For a labelled image the paper bounds log p(x, y), which adds the constant
-ln(number of classes).)

In training mode: `alpha` log q(label | x) is added for every label, so that labels train the classifier. It lowers the
objective, which stays a bound. `dropout` hides pixels from the classifier, others at each step, so that it does not
learn the few labelled images by single pixels. The ELBO is a bound whichever pixels are hidden.
In evaluation mode: the term is left out, and the classifier sees all pixels.

    >>> import torch
    >>> pair = SSVAE(data_dim=6, classes=3, latent_dim=2, hidden=(8,))
    >>> pair.classify(torch.ones(5, 6)).sum(1).allclose(torch.ones(5))
    True
    >>> pair.label(torch.tensor([2, -1]), torch.ones(2, 6))  # the second label is missing
    tensor([[0., 0., 1.],
            [0., 0., 0.]])

    Kingma, Rezende, Mohamed and Welling, Semi-supervised learning with deep generative models, 2014.
"""

import math
from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from gallery.models._nn import Dropout, Likelihood, PairEncoder, PixelHead, mlp

__all__ = ["SSVAE"]

LABEL_LOGIT = 1e4
"""What the logit of a known label is raised by: exp(-1e4) is 0 in floating point."""


class SSVAE(nn.Module):
    """x: (n, data_dim); given: (n,), the classes as integers, -1 where the class is unknown.

    y: (n, classes), one-hot, under enumeration (classes, 1, classes); z: ([classes,] n, latent_dim).

    :param data_dim: number of pixels
    :param classes: number of classes
    :param latent_dim: length of the code z
    :param hidden: widths of the hidden layers of the guide; the decoder has them in reverse
    :param likelihood: p(x | z, y) of a pixel: bernoulli for {0, 1}, continuous_bernoulli for [0, 1], gaussian
    :param scale: standard deviation of the Gaussian likelihood; learned if None
    :param alpha: weight of each label in the classifier's log-likelihood; in the paper 0.1 total / number of labels
    :param dropout: probability of hiding a pixel from the classifier in training mode
    :raises ValueError: if alpha is negative or not finite, dropout not in [0, 1), the likelihood unknown, or the scale
        not positive
    """

    capabilities: tuple[str, ...] = ("classify",)
    missing = -1  # the label of an image whose class is unknown

    def __init__(
        self,
        data_dim: int = 784,
        classes: int = 10,
        latent_dim: int = 50,
        hidden: Sequence[int] = (500, 500),
        likelihood: Likelihood = "bernoulli",
        scale: float | None = None,
        alpha: float = 60.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= alpha < math.inf:
            raise ValueError(f"alpha is a weight and must be finite and not negative, not {alpha}.")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is a probability below 1, not {dropout}.")
        self.classes, self.latent_dim, self.alpha = classes, latent_dim, alpha
        self.decoder = nn.Sequential(
            mlp((latent_dim + classes, *reversed(hidden))), PixelHead(hidden[0], data_dim, likelihood, scale)
        )
        hide = [Dropout(dropout)] if dropout else []
        self.classifier = nn.Sequential(*hide, mlp((data_dim, *hidden)), nn.Linear(hidden[-1], classes))
        self.encoder = PairEncoder(data_dim, classes, hidden, latent_dim)

    def label(self, given: Tensor, x: Tensor) -> Tensor:
        """Return the labels one-hot, and zero where they are missing: (n, classes)."""
        return (given.unsqueeze(-1) == torch.arange(self.classes, device=x.device)).to(x.dtype)

    def draw_class(self, logits: Tensor) -> Tensor:
        """Return y one-hot: all values, (classes, 1, classes), under enumeration; else a draw, (n, classes)."""
        return pyro.sample("y", dist.OneHotCategorical(logits=logits), infer={"enumerate": "parallel"})

    def model(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        pyro.module("decoder", self.decoder)
        zero = x.new_zeros(len(x), self.latent_dim)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            y = self.draw_class(LABEL_LOGIT * self.label(given, x))
            z = pyro.sample("z", dist.Normal(zero, zero + 1).to_event(1))  # ([classes,] n, latent_dim)
            code = torch.cat([z, y.expand(*z.shape[:-1], -1)], dim=-1)
            pyro.sample("x", self.decoder(code), obs=x)  # (n, data_dim)

    def guide(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        pyro.module("classifier", self.classifier)
        pyro.module("encoder", self.encoder)
        logits, label = self.classifier(x), self.label(given, x)  # (n, classes)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            y = self.draw_class(logits + LABEL_LOGIT * label)
            pyro.sample("z", self.encoder(x, y))
            if self.training:  # a factor of a guide enters the ELBO with a minus
                log_q = (label * logits.log_softmax(-1)).sum(-1)  # log q(label | x), 0 where it is missing
                pyro.factor("classification", -self.alpha * log_q, has_rsample=True)

    def classify(self, x: Tensor) -> Tensor:
        """Return q(y | x), the probabilities of the classes: (n, classes)."""
        return self.classifier(x).softmax(-1)
