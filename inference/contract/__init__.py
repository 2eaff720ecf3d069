"""The contract of a pair (CONTRIBUTING.md), clause by clause: what is broken, at which site, and how is it mended?

    case = Case(lambda: VAE(data_dim=64), (x[:12],))
    for name, clause in CLAUSES.items():
        for finding in clause(case):
            print(name, finding.text)

A clause is a function whose docstring says what holds, and which yields a `Finding` for all that does not; it may also
raise what model and guide raise. The clauses of a stage take for granted that those of the stages before hold. They
seed torch's generator.
"""

from collections.abc import Callable, Iterator

from inference.contract.case import Case, Finding, watched
from inference.contract.fit import draws, evaluation, gradients, registered, support
from inference.contract.process import device, leftovers, repeatable, state, traceable
from inference.contract.structure import capabilities, plate, runs, shapes, signature, sites

__all__ = ["CLAUSES", "STAGES", "Case", "Clause", "Finding", "watched"]

Clause = Callable[[Case], Iterator[Finding]]
STAGES: tuple[tuple[Clause, ...], ...] = (
    (signature, capabilities),
    (sites, plate),
    (shapes,),
    (runs,),
    (support,),
    (registered,),
    (draws, gradients, evaluation, repeatable, state, leftovers, device),
    (traceable,),
)
CLAUSES: dict[str, Clause] = {clause.__name__: clause for stage in STAGES for clause in stage}
