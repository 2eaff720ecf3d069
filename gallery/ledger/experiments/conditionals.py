"""Three parametrisations of p(x | y) for k bits y: a table, a linear map and a network.

A loaded die is a table of logits with one row. Here the table has a row for each of the 2^k values of y. x is a coin
that is heads with probability HEADS where the first two bits differ, and 1 - HEADS where they are equal. The other
k - 2 bits are irrelevant.

A table represents any conditional, but each row is learned from the data points with its value of y alone, and their
number falls as the number of rows grows. A linear map shares its parameters among all y, and cannot represent "differ",
whatever the number of data points. A network can represent it and shares its parameters. The three models differ in one
line.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from gallery.figures import conditionals as draw
from gallery.figures import save
from inference import SVI, Settings
from inference.files import write_atomically
from inference.pairs.streams import seeded

__all__ = ["BITS", "CONDITIONALS", "Coin", "Table", "all_bits", "conditionals", "heads", "reproduce"]

HEADS, DATA = 0.9, 1000
SETTINGS = Settings(epochs=100, batch_size=100, lr=1e-2, lr_schedule="cosine")
BITS = (2, 4, 6, 8, 10, 12)


class Table(nn.Module):
    """A table with one logit for each value of y: (n, k) bits to (n,)."""

    def __init__(self, k: int):
        super().__init__()
        self.rows = nn.Embedding(2**k, 1)
        nn.init.zeros_(self.rows.weight)  # probability 1/2 for values of y without data
        self.weight_of_bit: Tensor
        self.register_buffer("weight_of_bit", 2 ** torch.arange(k))

    def forward(self, y: Tensor) -> Tensor:
        return self.rows((y.long() * self.weight_of_bit).sum(-1)).squeeze(-1)


def _linear(k: int) -> nn.Module:
    return nn.Sequential(nn.Linear(k, 1), nn.Flatten(0))


def _network(k: int) -> nn.Module:
    return nn.Sequential(nn.Linear(k, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))


CONDITIONALS = {"table": Table, "linear": _linear, "network": _network}


class Coin(nn.Module):
    """A coin x, (n, 1), given bits y, (n, k). The pair has no latent variable, so its ELBO is the log-likelihood."""

    def __init__(self, logit: nn.Module):
        super().__init__()
        self.logit = logit

    def model(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        pyro.module("logit", self.logit)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("x", dist.Bernoulli(logits=self.logit(given).unsqueeze(-1)).to_event(1), obs=x)

    def guide(self, x: Tensor, given: Tensor, total: int | None = None) -> None:
        pass


def all_bits(k: int) -> Tensor:
    """Return every value of y, (2^k, k)."""
    return (torch.arange(2**k).unsqueeze(-1) >> torch.arange(k) & 1).float()


def heads(y: Tensor) -> Tensor:
    """Return the true probability of heads, (n,)."""
    return torch.where(y[:, 0] != y[:, 1], HEADS, 1 - HEADS)


def conditionals(bits: Sequence[int] = BITS, settings: Settings = SETTINGS) -> dict[str, Any]:
    """Fit each conditional for each number of bits, and compute its -log p(x | y), nats per data point.

    :return: "conditionals": {name: {"bits", "parameters", "train": of the DATA data points that it was fitted to,
        "new": the exact expectation over new data points, a sum over all y and both x}}, and "entropy", the lower bound
        of "new"
    """
    results: dict[str, dict[str, list[float]]] = {
        name: {"bits": list(bits), "parameters": [], "train": [], "new": []} for name in CONDITIONALS
    }
    for k in bits:
        with seeded(k, "conditionals"):
            y = torch.randint(2, (DATA, k)).float()
            x = torch.bernoulli(heads(y)).unsqueeze(-1)
            for name, conditional in CONDITIONALS.items():
                logit = conditional(k)
                for _ in SVI(Coin(logit), x, y, settings):
                    pass
                result = results[name]
                result["parameters"].append(sum(p.numel() for p in logit.parameters()))
                result["train"].append(_nats(logit, y, x.squeeze(-1)))
                result["new"].append(_nats(logit, all_bits(k), heads(all_bits(k))))
    entropy = -(HEADS * math.log(HEADS) + (1 - HEADS) * math.log(1 - HEADS))
    return {"unit": "nats per data point", "data": DATA, "entropy": entropy, "conditionals": results}


@torch.no_grad()
def _nats(logit: nn.Module, y: Tensor, p: Tensor) -> float:
    """Return the mean over y of -log p(x | y), where x is 1 with probability p."""
    return nn.functional.binary_cross_entropy_with_logits(logit(y), p).item()


def reproduce(folder: Path, fitted: Path) -> dict[str, Any]:
    """Write conditionals.json and its figure, and return the content of the file.

    :param fitted: not used
    """
    result = conditionals()
    save(draw(result), folder / "conditionals.png")
    write_atomically(folder / "conditionals.json", (json.dumps(result, indent=2) + "\n").encode())
    return result
