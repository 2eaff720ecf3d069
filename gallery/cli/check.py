"""`gallery check`: the contract held against a model, in sentences; what breaks it, at which site, and what to do.

The clauses are those of `inference.conformance`, asked in stages: where one is broken, those that build on it are not
asked. Nothing that the model does, at import or later, is a traceback here, nor does it stay.
"""

import warnings
from dataclasses import replace
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

import data
from gallery.catalogue.recipes import recipe_for
from gallery.errors import RunError
from gallery.runs.registry import constructor, format_error, line_of, model_class
from gallery.runs.specification import Run, run_of
from inference import check_fit, eval_mode, param_scope
from inference.contract import STAGES, Case, Clause, Finding, watched
from inference.contract.case import FEW
from inference.pairs.run import arguments

ROWS = 12  # of the data: the contract does not need more
DIGITS = ("digits:grey", "digits:threshold")


def suited(model: str, data_name: str | None = None) -> Run:
    """The run that is examined: on these data, or those of its recipe, or on what suits it; on digits, not on MNIST."""
    recipe = recipe_for(model)
    if recipe and data_name is None:
        return run_of(recipe, seed=0, quick=True)
    names = [data_name] if data_name else ["line"] if "given_dim" in constructor(model_class(model)) else DIGITS
    candidates = [Run.of(model, data_name=name) for name in names]
    for run in candidates[:-1]:
        x, given = _rows(run)
        try:
            check_fit(run.build(), x, given)
        except Exception:  # whatever it is: another may do
            continue
        return run
    return candidates[-1]


def _rows(run: Run) -> tuple[Tensor, Tensor | None]:
    few = data.load(run.data, "train").head(ROWS)
    if len(few) <= FEW:
        raise RunError(f"{run.data} has {len(few)} training rows: the contract is checked on {FEW + 1} or more.")
    return few.scored(), few.given


def _case(model: str, data_name: str | None, objective: str | None, left: dict[str, Any]) -> tuple[Case, str]:
    """The model with its data, and what they are: draws of the model itself where it takes no digits."""
    run = suited(model, data_name)
    run = replace(run, settings=replace(run.settings, device="cpu", precision="float32"))
    pair, what = run.build(), run.data
    x, given = _rows(run)
    args = arguments(pair, x, given)
    if recipe_for(model):
        objective = objective or run.settings.objective
    elif data_name is None:
        try:
            with eval_mode(pair):
                own = poutine.trace(poutine.uncondition(pair.model)).get_trace(*args).nodes["x"]["value"]
        except Exception:  # whatever it is: the clauses say it
            own = x
        if own.shape[1:] != x.shape[1:] and len(own) == len(x):
            args, what = (own, *args[1:]), "draws of the model itself"
    return Case(run.build, args, objective, left), what


def examine(
    model: str, data_name: str | None = None, objective: str | None = None
) -> list[tuple[str, str, list[Finding] | None]]:
    """For every clause: (its name, what it says, what was found; None if it was not asked). The first names the data.

    :raises RunError: if there is no pair to examine
    """
    left: dict[str, Any] = {}
    with warnings.catch_warnings(), torch.random.fork_rng(), param_scope():
        warnings.simplefilter("ignore")  # what they warn of is said better here
        with watched(left):
            case, what = _case(model, data_name, objective, left)
        answers: list[tuple[str, str, list[Finding] | None]] = [("data", f"{len(case.args[0])} rows of {what}", [])]
        holds = True
        for stage in STAGES:
            found = [_ask(clause, case) if holds else None for clause in stage]
            answers += [(c.__name__, c.__doc__, f) for c, f in zip(stage, found, strict=True)]
            holds = holds and all(finding.remark for findings in found for finding in findings)
    return answers


def _ask(clause: Clause, case: Case) -> list[Finding]:
    found = []
    try:
        with watched(case.left):
            found += clause(case)
    except Exception as error:  # whatever it is
        found.append(Finding("cannot be asked", error))
    return found


def sentence(finding: Finding) -> str:
    """What was found in one line, with the line of the model's file where that is known."""
    if finding.error is None:
        return finding.text
    if not finding.text.endswith("."):
        return f"{finding.text}: {format_error(finding.error)}"
    place = line_of(finding.error)
    return f"{finding.text}{f' ({place})' if place else ''}"


def command(model: str, data_name: str | None, objective: str | None) -> None:
    """Prints what `examine` finds.

    :raises RunError: if a clause is broken
    """
    broken: dict[str, Exception | None] = {}
    for name, statement, found in examine(model, data_name, objective):
        faults = [finding for finding in found or [] if not finding.remark]
        if faults:
            broken[name] = faults[0].error
        print(f"{'broken' if faults else '-' if found is None else 'ok':8}{name:12}{statement}")
        for finding in found or []:
            print(f"{'':8}{'remark: ' if finding.remark else ''}{' '.join(sentence(finding).split())}")
    if broken:
        kept = f"{len(broken)} clauses" if len(broken) > 1 else "a clause"
        cause = next(filter(None, broken.values()), None)
        raise RunError(f"{model} breaks {kept} of the contract: {', '.join(broken)}.") from cause
