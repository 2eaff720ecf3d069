"""Denoising autoencoder: the code is read off a corrupted image and has to tell the clean one.

    z ~ flat                                         the code, z in R^latent_dim
    x ~ p(x | decoder(z))                            the clean image: the model of autoencoder.py

    u ~ Uniform(0, 1)                                noise, one u a pixel, whatever the corruption
    x' = corrupt(x, u),  z = encoder(x')             how the guide finds the code

Corruption belongs to how the code is found, not to the story of x: the noise and what it makes of the image are two
sites of the guide alone, `u` and `corrupted`, marked auxiliary with their densities masked out. So -ELBO is the
reconstruction loss of the clean image, and a trace shows the corrupted one beside it.

    uniform        x' = x + level * u, clamped to [0, 1]
    gaussian       x' = x + level * Phi^-1(u), Phi the normal distribution function; not clamped
    masking        a fixed share, `level`, of the pixels of every image is 0: those of smallest u
    salt_pepper    a pixel is 0 where u < level / 2, and 1 where u > 1 - level / 2

The guide corrupts in training mode only. In evaluation mode the noise stands at its mean, as dropout's does: the guide
reads E[x' | x]. A clean x would be the wrong thing to read: under noise that darkens the whole background an encoder
has never seen a white one (trained on uniform noise of level 0.5 it rebuilds clean MNIST worse than the mean image
does). What it makes of images corrupted at any level, 0 included, is `pair.denoise(pair.corrupt(x, level=0.3))`.

    Vincent, Larochelle, Bengio and Manzagol, Extracting and composing robust features with denoising
    autoencoders, 2008.
    Vincent et al., Stacked denoising autoencoders, 2010 (kinds of corruption).
"""

from typing import Literal, get_args

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.special import ndtri

from gallery.models.autoencoder import Autoencoder

__all__ = ["DenoisingAutoencoder"]

Corruption = Literal["uniform", "masking", "gaussian", "salt_pepper"]


def check_level(level: float) -> float:
    if not 0 <= level <= 1:
        raise ValueError(f"level, how much is corrupted, lies in [0, 1] and is {level}.")
    return level


class DenoisingAutoencoder(Autoencoder):
    """x: (n, data_dim), pixels in [0, 1]. The guide reads a corrupted x while training.

    :param corruption: uniform, masking, gaussian or salt_pepper
    :param level: width of the uniform noise, standard deviation of the Gaussian, share of the pixels of the others
    """

    capabilities = ("corrupt",)

    def __init__(self, *, corruption: Corruption = "uniform", level: float = 0.5, **kwargs):
        if corruption not in get_args(Corruption):
            raise ValueError(f"corruption is one of {', '.join(get_args(Corruption))}, not {corruption!r}.")
        super().__init__(**kwargs)
        self.corruption, self.level = corruption, check_level(level)

    def corrupt(self, x: Tensor, u: Tensor | None = None, level: float | None = None) -> Tensor:
        """What the noise u in (0, 1) makes of x, both (n, data_dim); u is drawn, and level the pair's, if not given."""
        u = torch.rand_like(x) if u is None else u
        level = self.level if level is None else check_level(level)
        if self.corruption == "uniform":
            return (x + level * u).clamp(0, 1)
        if self.corruption == "gaussian":
            edge = torch.finfo(u.dtype).eps  # of (0, 1), where the noise is infinite
            return x + level * ndtri(u.clamp(edge, 1 - edge))
        if self.corruption == "masking":
            rank = u.argsort(dim=1).argsort(dim=1)
            return x * (rank >= round(level * x.shape[1]))
        return torch.where(u < level / 2, 0.0, torch.where(u > 1 - level / 2, 1.0, x))

    def expected(self, x: Tensor) -> Tensor:
        """E[x' | x] over the noise, for pixels in [0, 1]."""
        level = self.level
        if self.corruption == "uniform":
            return x + level / 2 - (x + level - 1).clamp(min=0).square() / (2 * level or 1)
        if self.corruption == "gaussian":
            return x
        if self.corruption == "masking":
            return x * (1 - round(level * x.shape[1]) / x.shape[1])
        return (1 - level) * x + level / 2

    def denoise(self, corrupted: Tensor) -> Tensor:
        """E[x | z] at the code z of an image corrupted already, read as it is: both (n, data_dim)."""
        with torch.no_grad():
            return self.decoder(self.encoder(corrupted)).mean

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("encoder", self.encoder)
        aside = {"is_auxiliary": True}
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            zero = torch.zeros_like(x)
            u = pyro.sample("u", dist.Uniform(zero, zero + 1).to_event(1).mask(False), infer=aside)  # (n, data_dim)
            corrupted = self.corrupt(x, u) if self.training else self.expected(x)
            corrupted = pyro.sample("corrupted", dist.Delta(corrupted, event_dim=1).mask(False), infer=aside)
            pyro.sample("z", dist.Delta(self.encoder(corrupted), event_dim=1))
