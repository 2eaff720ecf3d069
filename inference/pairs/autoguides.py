"""Autoguides and PyroSample within a pair: which can be fitted, and what to write for the others."""

from pyro import poutine
from pyro.infer.autoguide import AutoGuide
from torch import Tensor

from inference.pairs.pair import Pair
from inference.pairs.sites import is_local, latent_sites
from inference.pairs.values import distribution_tensors

__all__ = ["autoguide_fault", "pyro_sample_fault"]


def autoguide_fault(pair: Pair) -> str | None:
    """Return a sentence if the pair has an autoguide that cannot be fitted or saved, else None.

    One of global latents can, once its parameters exist: they are made at its first call.
    """
    for path, module in pair.named_modules():
        if not isinstance(module, AutoGuide) or (module.master is not None and module.master() is not None):
            continue
        kind = type(module).__name__
        if module.prototype_trace is None:
            return (
                f"self.{path}, an {kind}, has no parameters before its first call. Call it at the end of the "
                f"constructor: `with pyro.get_param_store().scope(): self.{path}(torch.zeros(2, data_dim))`, with "
                "`given` after x if the model takes it."
            )
        if names := [name for name, site in module.prototype_trace.iter_stochastic_nodes() if is_local(site)]:
            return (
                f"self.{path}, an {kind}, has values of {', '.join(names)} for the rows of its first call alone, and "
                f"each step of a fit takes other rows. Sample {names[0]} in the guide, in pyro.plate('data', ...), "
                "from a network of x, or from nn.Embedding(total, ...) at the rows of the plate."
            )
    return None


def pyro_sample_fault(pair: Pair, model: poutine.Trace, x: Tensor) -> str | None:
    """Return a sentence if a PyroSample of the model has another dtype or device than x, else None."""
    names = {name for module in pair.modules() for name in vars(module).get("_pyro_samples", ())}
    for name, site in latent_sites(model).items():
        if name.rpartition(".")[2] not in names:
            continue
        for prior in filter(Tensor.is_floating_point, distribution_tensors(site["fn"]).values()):
            if (prior.dtype, prior.device) != (x.dtype, x.device):
                return (
                    f"{name} is a PyroSample whose prior stays in {prior.dtype} on {prior.device}, and x is in "
                    f"{x.dtype} on {x.device}. Write PyroSample(lambda self: ...), with a prior made from a buffer of "
                    "the module, such as dist.Normal(self.zero, 1.0)."
                )
    return None
