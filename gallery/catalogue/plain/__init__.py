"""The same step in plain PyTorch: for every model the loss that its recipe fits, over the networks of the pair itself.

    torch.manual_seed(0)
    LOSSES["vae"](pair, x)    # what SVI's objective estimates with the same noise, in nats per datum

A file of this folder is one model, its first variant in training mode. Nothing of Pyro is called: what a trace would
say of sites, scales and plates is written out as a formula, and the sum over a discrete variable as a sum.
"""

from collections.abc import Callable
from importlib import import_module

from torch import Tensor

from gallery.models import MODELS

LOSSES: dict[str, Callable[..., Tensor]] = {
    name: import_module(f".{name}", __name__).loss for name in MODELS if ":" not in name
}
"""(pair, x) or (pair, x, given) to the loss in nats per datum, a scalar, by the model's name."""
