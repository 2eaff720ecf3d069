"""How models are fitted and judged. Functions of a model/guide pair and tensors; no model and no data live here."""

from .annealed import ais, reverse_ais, sandwich
from .checks import check_fit
from .compare import follow, judged, passes
from .diagnostics import calibration_ranks, gradient_noise, pareto_k, predictive_check, tails, uniformity
from .em import em
from .evaluate import collapsed, evaluate, glance
from .evidence import effective_sample_size, iwae, log_evidence, log_weights
from .gap import gap
from .guides import GUIDES, finish, with_guide
from .mcmc import nuts
from .objectives import OBJECTIVES, objective
from .pairs import InferenceError, judging, own_store
from .predictive import encode, reconstruct, sample
from .settings import Settings
from .svi import SVI, svi

__all__ = [
    "GUIDES",
    "OBJECTIVES",
    "SVI",
    "InferenceError",
    "Settings",
    "ais",
    "calibration_ranks",
    "check_fit",
    "collapsed",
    "effective_sample_size",
    "em",
    "encode",
    "evaluate",
    "finish",
    "follow",
    "gap",
    "glance",
    "gradient_noise",
    "iwae",
    "judged",
    "judging",
    "log_evidence",
    "log_weights",
    "nuts",
    "objective",
    "own_store",
    "pareto_k",
    "passes",
    "predictive_check",
    "reconstruct",
    "reverse_ais",
    "sample",
    "sandwich",
    "svi",
    "tails",
    "uniformity",
    "with_guide",
]
