"""Fit and evaluate model/guide pairs in Pyro. All functions take a pair and tensors; models and data are elsewhere.

    import torch
    from inference import Settings, evaluate, svi

    losses = svi(pair, x, settings=Settings(epochs=20))     # (steps,) nats per data point
    metrics = evaluate(pair, x)                              # ELBO, IWAE, exact evidence where the model has it

Each folder imports from the ones above it only:

    pairs       handlers, sites, and the structure of a pair
    fit         SVI, its settings and objectives; EM; NUTS; Pathfinder; gradients; checkpoints; several processes
    guides      guides by name, for a given model
    evaluation  bounds on the evidence, their gaps, diagnostics, predictions
    contract    the checker of the contract of a pair

The names below are imported on first use, and torch and Pyro with them.
"""

import importlib
import os
import runpy
from typing import TYPE_CHECKING

from inference.errors import InferenceError

if TYPE_CHECKING:
    from inference.evaluation.ais import ais, reverse_ais
    from inference.evaluation.bdmc import bdmc
    from inference.evaluation.diagnostics import calibration_ranks, pareto_k_summary, predictive_check, uniformity
    from inference.evaluation.estimate import Estimate
    from inference.evaluation.gap import gap
    from inference.evaluation.log_weights import effective_sample_size, iwae, log_evidence, log_weights
    from inference.evaluation.metrics import collapsed, evaluate, monitor_elbo
    from inference.evaluation.predictive import encode, reconstruct, sample
    from inference.fit.em import em
    from inference.fit.gradients import gradient_noise
    from inference.fit.nuts import nuts
    from inference.fit.objectives import OBJECTIVES, objective
    from inference.fit.pareto import pareto_k
    from inference.fit.pathfinder import pathfinder
    from inference.fit.settings import Settings
    from inference.fit.svi import SVI, svi
    from inference.guides.registry import GUIDES, finish, with_guide
    from inference.pairs.data_checks import check_fit
    from inference.pairs.handlers import FittedRows
    from inference.pairs.pair import Pair
    from inference.pairs.run import eval_mode, param_scope

__all__ = [
    "GUIDES",
    "OBJECTIVES",
    "SVI",
    "Estimate",
    "FittedRows",
    "InferenceError",
    "Pair",
    "Settings",
    "ais",
    "bdmc",
    "calibration_ranks",
    "check_fit",
    "collapsed",
    "effective_sample_size",
    "em",
    "encode",
    "eval_mode",
    "evaluate",
    "finish",
    "gap",
    "gradient_noise",
    "iwae",
    "log_evidence",
    "log_weights",
    "monitor_elbo",
    "nuts",
    "objective",
    "param_scope",
    "pareto_k",
    "pareto_k_summary",
    "pathfinder",
    "predictive_check",
    "reconstruct",
    "reverse_ais",
    "sample",
    "svi",
    "uniformity",
    "with_guide",
]

_MODULES = {
    "evaluation.ais": "ais reverse_ais",
    "evaluation.bdmc": "bdmc",
    "evaluation.diagnostics": "calibration_ranks pareto_k_summary predictive_check uniformity",
    "evaluation.estimate": "Estimate",
    "evaluation.gap": "gap",
    "evaluation.log_weights": "effective_sample_size iwae log_evidence log_weights",
    "evaluation.metrics": "collapsed evaluate monitor_elbo",
    "evaluation.predictive": "encode reconstruct sample",
    "fit.em": "em",
    "fit.gradients": "gradient_noise",
    "fit.nuts": "nuts",
    "fit.objectives": "OBJECTIVES objective",
    "fit.pareto": "pareto_k",
    "fit.pathfinder": "pathfinder",
    "fit.settings": "Settings",
    "fit.svi": "SVI svi",
    "guides.registry": "GUIDES finish with_guide",
    "pairs.data_checks": "check_fit",
    "pairs.handlers": "FittedRows",
    "pairs.pair": "Pair",
    "pairs.run": "eval_mode param_scope",
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}
_FOLDERS = ("contract", "evaluation", "fit", "guides", "pairs")


def __getattr__(name: str) -> object:
    if name in _FOLDERS:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_NAMES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "_names.py")
runpy.run_path(_NAMES)["check_names"](("data", "gallery"), needed=False)
