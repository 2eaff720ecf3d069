"""How models are fitted and judged. Functions of a model/guide pair and tensors; no model and no data live here."""

from .checks import check_fit
from .em import em
from .evaluate import evaluate, glance
from .evidence import effective_sample_size, iwae, log_evidence, log_weights
from .objectives import OBJECTIVES, objective
from .pairs import InferenceError, judging, own_store
from .predictive import encode, reconstruct, sample
from .svi import SVI, Settings

__all__ = [
    "OBJECTIVES",
    "SVI",
    "InferenceError",
    "Settings",
    "check_fit",
    "effective_sample_size",
    "em",
    "encode",
    "evaluate",
    "glance",
    "iwae",
    "judging",
    "log_evidence",
    "log_weights",
    "objective",
    "own_store",
    "reconstruct",
    "sample",
]
