"""The information I(x; z) of a VAE's code about its image, from its cap to 0: by beta, and by a strong decoder.

I is at most ln n for n images, the entropy of the index of an image. It is estimated on all training images, so that
the cap is ln 55000 = 10.9 on MNIST. Two ways lead to 0, where q(z | x) = p(z) and z is independent of x:

    beta      the weight of the KL, which charges for information: the larger, the less is worth its price
    context   a decoder that also sees the pixels before each pixel, in raster order: what it predicts from them is not
              worth the price of a code, so that the code is given up at a smaller beta (posterior collapse)

    Bowman, Vilnis, Vinyals, Dai, Jozefowicz and Bengio, Generating sentences from a continuous space, 2016.
    Chen, Kingma, Salimans, Duan, Dhariwal, Schulman, Sutskever and Abbeel, Variational lossy autoencoder, 2017.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import constraints

from gallery.figures import save
from gallery.figures.information import information
from gallery.models.vae import VAE
from gallery.runs import training
from gallery.runs.prepare import noise_of
from inference import SVI, Pair, evaluate
from inference.evaluation.mutual_information import mutual_information
from inference.files import write_atomically

__all__ = ["BETAS", "CONTEXTS", "STRONG", "PixelByPixel", "StrongDecoder", "reproduce"]

BETAS = (1.0, 4.0, 10.0, 20.0, 40.0, 100.0)
CONTEXTS = (1, 28, 112, 783)  # pixels before each pixel
STRONG = (2.0, 4.0, 10.0)  # beta of the last of them
ALL = 60_000


class PixelByPixel(dist.TorchDistribution):
    """Binary pixels in raster order: the logit of a pixel is `logits` plus a linear function of the pixels before it.

    :param logits: (n, d)
    :param weight: (d, d), strictly lower triangular
    """

    arg_constraints: ClassVar = {"logits": constraints.real_vector}
    support = constraints.independent(constraints.boolean, 1)

    def __init__(self, logits: Tensor, weight: Tensor, validate_args: bool | None = None) -> None:
        self.logits, self.weight = logits, weight
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        logits = self.logits + F.linear(value, self.weight)
        return -F.binary_cross_entropy_with_logits(logits, value.expand_as(logits), reduction="none").sum(-1)

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = torch.Size()) -> Tensor:
        x = self.logits.new_zeros(self.shape(sample_shape))
        for i in range(x.shape[-1]):
            x[..., i] = torch.bernoulli((self.logits[..., i] + x @ self.weight[i]).sigmoid())
        return x


class StrongDecoder(nn.Module):
    """A VAE of binary images whose decoder sees the `context` pixels before each pixel beside z.

    :param vae: encoder, prior and the decoder of the rest
    :param context: number of pixels before each pixel
    """

    def __init__(self, vae: VAE, data_dim: int, context: int) -> None:
        super().__init__()
        self.vae = vae
        self.links = nn.Linear(data_dim, data_dim, bias=False)
        nn.init.zeros_(self.links.weight)  # at the start the VAE
        rows = torch.arange(data_dim)
        back = rows.unsqueeze(1) - rows  # how far before pixel i pixel j lies
        self.seen: Tensor
        self.register_buffer("seen", ((back > 0) & (back <= context)).float())

    def model(self, x: Tensor, total: int | None = None) -> None:
        pyro.module("decoder", self.vae.decoder)
        pyro.module("links", self.links)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", self.vae.prior(x))
            logits = self.vae.decoder(z).base_dist.logits
            pyro.sample("x", PixelByPixel(logits, self.links.weight * self.seen), obs=x)

    def guide(self, x: Tensor, total: int | None = None) -> None:
        self.vae.guide(x, total)


def reproduce(
    folder: Path,
    fitted: Path,
    betas: tuple[float, ...] = BETAS,
    contexts: tuple[int, ...] = CONTEXTS,
    strong: tuple[float, ...] = STRONG,
    n: int = ALL,
) -> dict[str, Any]:
    """Refit a run with each beta and with each context, and write information.json and its figure.

    :param fitted: folder of a run of a VAE with Bernoulli pixels
    :param strong: further weights of the KL for the last context
    :param n: number of training images that the information is estimated on
    :return: the content of the file: for each fit "beta", "context", the information with its cap, KL(q(z) || p(z)),
        in nats; KL and ELBO of test data, nats per data point
    """
    run, _ = training.load(fitted)
    splits = run.datasets()
    train, test = splits["train"], splits["test"]
    points = []
    fits = [(beta, 0) for beta in betas] + [(1.0, context) for context in contexts]
    for beta, context in fits + [(beta, contexts[-1]) for beta in strong]:
        pair = run.build()
        assert isinstance(pair, VAE)
        model: Pair = StrongDecoder(pair, train.x.shape[1], context) if context else pair
        with noise_of(run):
            for _ in SVI(model, train.x, settings=replace(run.settings, beta=beta), transform=train.transform):
                pass
        metrics = evaluate(model, test.scored(), particles=1)
        found = mutual_information(pair, train.scored(), n=n)
        point = {"beta": beta, "context": context, **{name: metrics[name]["value"] for name in ("kl", "elbo")}}
        points.append(point | {name: found[name] for name in ("mutual_information", "marginal_kl")})
    result = {"unit": "nats", "data": run.data, "n": min(n, len(train)), "points": points}
    save(information(result), folder / "information.png")
    write_atomically(folder / "information.json", (json.dumps(result, indent=2) + "\n").encode())
    return result
