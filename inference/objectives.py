"""Objectives by name: Pyro's own estimators of the ELBO."""

from pyro.infer import ELBO, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO

from .pairs import InferenceError

OBJECTIVES: dict[str, tuple[type[ELBO], str]] = {
    "trace": (Trace_ELBO, "every term of the ELBO sampled"),
    "analytic": (TraceMeanField_ELBO, "KL(guide || prior) in closed form where Pyro knows it"),
    "enum": (TraceEnum_ELBO, "discrete latent sites marked for enumeration summed out"),
}


def objective(name: str, particles: int = 1, vectorize: bool = False) -> ELBO:
    """The estimator called `name`, averaging over that many draws of the guide.

    :param vectorize: make the draws at once, along a new dimension to the left, which the pair has to broadcast over
    :raises InferenceError: if there is none of that name
    """
    if name not in OBJECTIVES:
        raise InferenceError(f"no objective {name!r}: it is one of {', '.join(OBJECTIVES)}.")
    return OBJECTIVES[name][0](num_particles=particles, max_plate_nesting=1, vectorize_particles=vectorize)
