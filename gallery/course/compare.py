"""Comparisons of an answer with the exact value. `WrongError` names the first value that differs, and what to check."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.contract import STAGES, Case
from inference.pairs.pair import Pair

__all__ = ["WrongError", "expect", "expect_contract", "expect_mean", "number_of"]

TOLERANCE = 1e-5
"""Relative: answers in float32 constants are accepted, slips of a sign or a factor are not."""

STANDARD_ERRORS = 4


class WrongError(Exception):
    """An answer with a wrong value; the message names it, the expected one, and what to check."""


def number_of(answer: Any, what: str) -> Tensor:
    """Return an answer in float64.

    :raises WrongError: if it is no number and no array of numbers
    """
    if answer is None:
        raise WrongError(f"{what} is None: does the function end with `return`?")
    try:
        if isinstance(answer, Tensor):
            return answer.detach().double()
        return torch.as_tensor(np.asarray(answer, dtype=np.float64))
    except (TypeError, ValueError):
        raise WrongError(f"{what} is {type(answer).__name__!r}, expected a number or numbers") from None


def _format(value: float) -> str:
    return f"{value:.6g}".rstrip(".")


def expect(answer: Any, expected: Any, what: str, source: str, hint: str = "", tolerance: float = TOLERANCE) -> None:
    """Compare an answer with the exact value, entry by entry.

    :param what: the name of the value, such as "the ELBO at rate 1"
    :param source: how the exact value is known
    :param hint: what to check
    :raises WrongError: if an entry or the shape differs
    """
    got, exact, hint = number_of(answer, what), number_of(expected, what), f": {hint}" if hint else ""
    if got.shape != exact.shape:
        if got.numel() != exact.numel() or exact.dim() > 1:
            raise WrongError(f"{what} has shape {tuple(got.shape)}, expected {tuple(exact.shape)}{hint}")
        got = got.reshape(exact.shape)
    off = ~torch.isclose(got, exact, rtol=tolerance, atol=tolerance)
    if off.any():
        first = [int(i) for i in off.nonzero()[0]]
        where = f"{what}{first if first else ''}"
        raise WrongError(
            f"{where} is {_format(got[tuple(first)].item())}, expected {_format(exact[tuple(first)].item())} "
            f"({source}){hint}"
        )


def expect_mean(draws: Any, expected: float, what: str, source: str, hint: str = "") -> None:
    """Check that independent draws, (n,), have a mean within four standard errors of the exact one.

    :raises WrongError: if they have not
    """
    values = number_of(draws, what)
    mean, error = values.mean().item(), (values.std() / len(values) ** 0.5).item()
    if not abs(mean - expected) <= STANDARD_ERRORS * error + TOLERANCE:
        raise WrongError(
            f"{what} is {_format(mean)} +- {_format(error)}, expected {_format(expected)} ({source})"
            f"{f': {hint}' if hint else ''}"
        )


def expect_contract(build: Callable[[], Pair], args: tuple[Tensor, ...], objective: str | None = None) -> None:
    """Check a pair against the clauses of the contract, up to the first that is broken.

    :param build: builds a new pair
    :param args: what model and guide take, five rows or more
    :raises WrongError: if a clause is broken
    """
    case = Case(build, args, objective)
    for stage in STAGES[:-1]:  # the last one is about speed
        for clause in stage:
            for finding in clause(case):
                if "NotImplementedError" in repr(finding.error) and "exercise " in str(finding.error):
                    raise finding.error  # type: ignore[misc]  # a hole, which the caller reports
                if not finding.remark:
                    cause = f": {finding.error}" if finding.error and str(finding.error) != finding.text else ""
                    raise WrongError(f"the clause {clause.__name__!r} of the contract is broken: {finding.text}{cause}")
