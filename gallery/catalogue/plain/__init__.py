"""The losses of the recipes in plain PyTorch: one function per model, over the networks of the model/guide pair.

    torch.manual_seed(0)
    LOSSES["vae"](pair, x)    # the estimate of SVI's objective with the same noise, in nats per data point

Each file is one model: its first variant, in training mode. Pyro is not called: sites, scales and plates are written
out as formulas, and enumeration of a discrete variable as a sum.
"""

from collections.abc import Callable
from importlib import import_module

from torch import Tensor

from gallery.models import MODELS

__all__ = ["LOSSES"]

LOSSES: dict[str, Callable[..., Tensor]] = {
    name: import_module(f".{name}", __name__).loss for name in MODELS if ":" not in name
}
"""The loss of each model by its name: (pair, x) or (pair, x, given) -> scalar, in nats per data point."""
