"""Denoising autoencoder: a code of a corrupted image that reconstructs the clean one.

    z ~ flat                                         the code, z in R^latent_dim
    x ~ p(x | decoder(z))                            the clean image: the model of autoencoder.py

    u ~ Uniform(0, 1)                                noise, one u per pixel, for every kind of corruption
    x' = corrupt(x, u),  z = encoder(x')             the guide

Corruption is part of the guide, not of the generative process: the noise and the corrupted image are two sites of the
guide alone, `u` and `corrupted`, marked auxiliary, with their densities masked out. So -ELBO is the reconstruction loss
of the clean image, and a trace contains the corrupted one.

    uniform        x' = x + level * u, clamped to [0, 1]
    gaussian       x' = x + level * Phi^-1(u), Phi the normal distribution function; not clamped
    masking        a fixed share, `level`, of the pixels of every image is 0: those of smallest u
    salt_pepper    a pixel is 0 where u < level / 2, and 1 where u > 1 - level / 2

In training mode: the guide encodes x' = corrupt(x, u), with new noise at each call.
In evaluation mode: the guide encodes the mean E[x' | x], as dropout replaces its noise by the mean. A clean x would be
outside the training distribution, since uniform noise raises every pixel of the background. An encoder trained on
uniform noise of level 0.5 reconstructs clean MNIST worse than the mean image does. To reconstruct images corrupted at
any level, 0 included, use `pair.denoise(pair.corrupt(x, level=0.3))`.

    >>> import torch
    >>> pair = DenoisingAutoencoder(data_dim=6, latent_dim=2, corruption="masking", level=0.5)
    >>> (pair.corrupt(torch.ones(2, 6)) == 0).sum(1)
    tensor([3, 3])

    Vincent, Larochelle, Bengio and Manzagol, Extracting and composing robust features with denoising
    autoencoders, 2008.
    Vincent et al., Stacked denoising autoencoders, 2010 (kinds of corruption).
"""

from typing import Any, Literal, get_args

import pyro
import pyro.distributions as dist
import torch
from pyro.poutine.runtime import InferDict
from torch import Tensor
from torch.special import ndtri

from gallery.models.autoencoder import Autoencoder

__all__ = ["Corruption", "DenoisingAutoencoder"]

Corruption = Literal["uniform", "masking", "gaussian", "salt_pepper"]


class DenoisingAutoencoder(Autoencoder):
    """x: (n, data_dim), pixels in [0, 1]. The guide encodes a corrupted x in training mode.

    z: (n, latent_dim).

    :param corruption: uniform, masking, gaussian or salt_pepper
    :param level: width of the uniform noise, standard deviation of the Gaussian, share of the pixels of the others
    :raises ValueError: if the corruption is unknown or level is outside [0, 1]
    """

    capabilities: tuple[str, ...] = ("corrupt",)

    def __init__(self, *, corruption: Corruption = "uniform", level: float = 0.5, **kwargs: Any) -> None:
        if corruption not in get_args(Corruption):
            raise ValueError(f"corruption must be one of {', '.join(get_args(Corruption))}, not {corruption!r}.")
        super().__init__(**kwargs)
        self.corruption, self.level = corruption, _check_level(level)

    def corrupt(self, x: Tensor, u: Tensor | None = None, level: float | None = None) -> Tensor:
        """Return the corrupted input x', (n, data_dim).

        :param x: clean images, (n, data_dim)
        :param u: noise in (0, 1), (n, data_dim); drawn if None
        :param level: level of the corruption; the pair's if None
        :raises ValueError: if level is outside [0, 1]
        """
        u = torch.rand_like(x) if u is None else u
        level = self.level if level is None else _check_level(level)
        if self.corruption == "uniform":
            return (x + level * u).clamp(0, 1)
        if self.corruption == "gaussian":
            edge = torch.finfo(u.dtype).eps  # ndtri is infinite at 0 and 1
            return x + level * ndtri(u.clamp(edge, 1 - edge))
        if self.corruption == "masking":
            rank = u.argsort(dim=1).argsort(dim=1)
            return x * (rank >= round(level * x.shape[1]))
        return torch.where(u < level / 2, 0.0, torch.where(u > 1 - level / 2, 1.0, x))

    def expected(self, x: Tensor) -> Tensor:
        """Compute E[x' | x] over the noise, (n, data_dim), for pixels in [0, 1]."""
        level = self.level
        if self.corruption == "uniform":
            return x + level / 2 - (x + level - 1).clamp(min=0).square() / (2 * level or 1)
        if self.corruption == "gaussian":
            return x
        if self.corruption == "masking":
            return x * (1 - round(level * x.shape[1]) / x.shape[1])
        return (1 - level) * x + level / 2

    def denoise(self, corrupted: Tensor) -> Tensor:
        """Return E[x | z] at z = encoder(corrupted), without further corruption: both (n, data_dim)."""
        with torch.no_grad():
            return self.decoder(self.encoder(corrupted)).mean

    def guide(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("encoder", self.encoder)
        auxiliary: InferDict = {"is_auxiliary": True}
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            zero = torch.zeros_like(x)
            u = pyro.sample("u", dist.Uniform(zero, zero + 1).to_event(1).mask(False), infer=auxiliary)
            corrupted = self.corrupt(x, u) if self.training else self.expected(x)  # (n, data_dim), as u
            corrupted = pyro.sample("corrupted", dist.Delta(corrupted, event_dim=1).mask(False), infer=auxiliary)
            pyro.sample("z", dist.Delta(self.encoder(corrupted), event_dim=1))


def _check_level(level: float) -> float:
    if not 0 <= level <= 1:
        raise ValueError(f"level of the corruption must lie in [0, 1], not {level}.")
    return level
