"""Check a pair against the contract of CONTRIBUTING.md, clause by clause.

    case = Case(lambda: VAE(data_dim=64), (x[:12],))
    for name, clause in CLAUSES.items():
        for finding in clause(case):
            print(name, finding.text)

A clause is a function. Its docstring is data: the statement that `gallery check` prints. It yields a `Finding` for
each breach, and may raise what model and guide raise. The clauses of a stage assume that those of the earlier stages
hold. They leave torch's generators as they were.
"""

import functools
from collections.abc import Callable, Iterator

import torch

from inference.contract.case import Case, Finding, watched
from inference.contract.fit import draws, evaluation, gradients, padding, registered, support, values
from inference.contract.process import device, leftovers, repeatable, state, traceable
from inference.contract.structure import autoguides, capabilities, plate, runs, shapes, signature, sites, vectorised

__all__ = ["CLAUSES", "STAGES", "Case", "Clause", "Finding", "watched"]

Clause = Callable[[Case], Iterator[Finding]]


def _forked(clause: Clause) -> Clause:
    """Let a clause put torch's generators back before its first finding, since it builds pairs from seeds."""

    @functools.wraps(clause)
    def forked(case: Case) -> Iterator[Finding]:
        findings: list[Finding] = []
        raised = None
        with torch.random.fork_rng([a.device for a in case.args if a.is_cuda]):
            try:
                findings += clause(case)
            except Exception as error:  # any error of the model
                raised = error
        yield from findings
        if raised is not None:
            raise raised

    return forked


_STAGES: tuple[tuple[Clause, ...], ...] = (
    (signature, capabilities, autoguides),
    (sites, plate),
    (shapes,),
    (runs,),
    (support,),
    (registered, values, vectorised),
    (draws, repeatable),
    (gradients, padding, evaluation, state, leftovers, device),
    (traceable,),
)
STAGES = tuple(tuple(map(_forked, stage)) for stage in _STAGES)
CLAUSES: dict[str, Clause] = {clause.__name__: clause for stage in STAGES for clause in stage}
