"""Runs: one fit in one folder, from which it resumes to the bit after any interruption.

    specification.py  Run: model, keywords, data, settings; the content of run.json
    registry.py       model classes by name: of the gallery, of installed packages, of a user's file
    parse.py          JSON as typed dataclasses, with a message for each wrong field
    memory.py         sizes that no memory holds
    trust.py          files of models that this user has fitted
    folder.py         the files of a run: lock, clearing, reading, writing
    prepare.py        the fit of a run at its first step
    interrupt.py      SIGINT and SIGTERM between two steps
    training.py       start, resume, load
    monitoring.py     held-out metrics after an epoch
    divergence.py     fits that have diverged
    finish.py         weights, metrics and figures of a finished fit
    summary.py        mean, sd and quantiles of the latents of a fit
    report.py         the metrics of a fit as a table, with verdicts
    table.py          aligned tables of text
    progress.py       progress on a terminal, in a log, in TensorBoard
    system.py         the processor and the allocator

The names below are imported on first use.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gallery.runs.specification import Run
    from gallery.runs.training import load, resume, start

__all__ = ["Run", "load", "resume", "start"]

_MODULES = {"Run": "specification", "load": "training", "resume": "training", "start": "training"}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
