"""Objectives by name: Pyro's own estimators of the ELBO."""

from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.infer import ELBO, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from pyro.ops import packed
from torch.distributions import kl_divergence

from .pairs import InferenceError, latent_sites


class TraceEnumMeanField_ELBO(TraceEnum_ELBO):  # noqa: N801 (Pyro's way)
    """TraceEnum_ELBO with the KL of sampled sites in closed form where Pyro knows it."""

    def _get_trace(self, model, guide, args, kwargs) -> tuple[poutine.Trace, poutine.Trace]:
        model, guide = super()._get_trace(model, guide, args, kwargs)
        for name, q in latent_sites(guide).items():
            if q["infer"].get("_enumerate_dim") is None and q["fn"].has_rsample:
                try:
                    kl = scale_and_mask(kl_divergence(q["fn"], model.nodes[name]["fn"]), q["scale"], q["mask"])
                except NotImplementedError:
                    continue
                symbols = q["infer"]["_dim_to_symbol"]
                model.nodes[name]["packed"]["log_prob"] = packed.pack(-kl, symbols)
                q["packed"]["log_prob"] = packed.pack(kl.new_zeros(kl.shape), symbols)
        return model, guide


OBJECTIVES: dict[str, tuple[type[ELBO], str]] = {
    "trace": (Trace_ELBO, "every term of the ELBO sampled"),
    "analytic": (TraceMeanField_ELBO, "KL(guide || prior) in closed form where Pyro knows it"),
    "enum": (TraceEnum_ELBO, "discrete latent sites marked for enumeration summed out"),
    "enum_analytic": (TraceEnumMeanField_ELBO, "the same, with KL(guide || prior) of the others in closed form"),
}


def objective(name: str, particles: int = 1, vectorize: bool = False) -> ELBO:
    """The estimator called `name`, averaging over that many draws of the guide.

    :param vectorize: make the draws at once, along a new dimension to the left, which the pair has to broadcast over
    :raises InferenceError: if there is none of that name
    """
    if name not in OBJECTIVES:
        raise InferenceError(f"no objective {name!r}: it is one of {', '.join(OBJECTIVES)}.")
    return OBJECTIVES[name][0](num_particles=particles, max_plate_nesting=1, vectorize_particles=vectorize)
