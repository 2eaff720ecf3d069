"""`gallery check`: check a model against the contract, clause by clause: each fault, its site, and its remedy.

The clauses are those of `inference.contract`, checked in stages: after a stage with a broken clause, the stages that
build on it are skipped. An exception of the model, at import or later, is printed as one line, and settings of the
process that the model changes are restored.
"""

import warnings
from dataclasses import replace
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from gallery.catalogue.recipes import recipe_for
from gallery.errors import RunError
from gallery.runs.registry import constructor, format_error, line_of, model_class
from gallery.runs.specification import Run, run_of
from inference import check_fit, eval_mode, param_scope
from inference.contract import STAGES, Case, Clause, Finding, watched
from inference.contract.case import FEW
from inference.errors import UserError
from inference.pairs.properties import distribution_fault, parameter_fault
from inference.pairs.run import arguments
from inference.pairs.sites import Site

__all__ = ["check", "choose_run", "examine", "findings_of", "sentence_of"]

ROWS = 12  # data points; the contract does not need more
DIGITS = ("digits:grey", "digits:threshold")


def check(model: str, /, *, data: str | None = None, objective: str | None = None) -> None:
    """Check a model against the contract of CONTRIBUTING.md: each fault, at which site, and how to correct it.

    :param model: A model in your file, path/to/file.py:CLASS, or one of the gallery's.
    :param data: Data set and pixel transform, or a file [that of its recipe, or data that fit its likelihood].
    :param objective: The objective of the fit [enum where a site is marked for it, else trace].
    :raises RunError: if a clause is broken
    """
    broken: dict[str, Exception | None] = {}
    for name, statement, findings in examine(model, data, objective):
        faults = [finding for finding in findings or [] if not finding.remark]
        if faults:
            broken[name] = faults[0].error
        status = "broken" if faults else "skipped" if findings is None else "ok"
        print(f"{status:8}{name:13}{statement}")
        for finding in findings or []:
            print(f"{'':8}{'remark: ' if finding.remark else ''}{' '.join(sentence_of(finding).split())}")
    if broken:
        count = f"{len(broken)} clauses" if len(broken) > 1 else "a clause"
        cause = next(filter(None, broken.values()), None)
        raise RunError(f"{model} breaks {count} of the contract: {', '.join(broken)}.") from cause


def choose_run(model: str, data_name: str | None = None) -> Run:
    """Return the run to examine: on the data `data_name`, else on those of its recipe, else on data that fit its
    likelihood. Recipes on MNIST are examined on the embedded digits."""
    recipe = recipe_for(model)
    if recipe and data_name is None:
        return run_of(recipe, seed=0, quick=True)
    names = [data_name] if data_name else ["line"] if "given_dim" in constructor(model_class(model)) else DIGITS
    candidates = [Run.of(model, data_name=name) for name in names]
    for run in candidates[:-1]:
        x, given = _rows(run)
        try:
            check_fit(_of_size(run, len(x)).build(), x, given)
        except Exception:  # any error: another candidate may fit
            continue
        return run
    return candidates[-1]


def _of_size(run: Run, n: int) -> Run:
    """Return the run with `total`, where the model has values for each data point, as it follows from n of them."""
    return replace(run, keywords=run.keywords | {"total": n}) if "total" in run.keywords else run


def _rows(run: Run) -> tuple[Tensor, Tensor | None]:
    rows = run.load("train").head(ROWS)
    return rows.scored(), rows.given


def _case(model: str, data_name: str | None, objective: str | None, left: dict[str, Any]) -> tuple[Case, str]:
    """Return the model with its data, and a description of these.

    They are draws of the model itself where it takes no digits, or where its recipe has too few data points.

    :param left: receives the settings of the process that the model changes
    :raises RunError: if `data_name` has too few data points
    """
    run = choose_run(model, data_name)
    run = replace(run, settings=replace(run.settings, device="cpu", precision="float32"))
    x, given = _rows(run)
    few = len(x) <= FEW
    if few and data_name is not None:
        raise RunError(f"{run.data} has {len(x)} training rows: the contract is checked on {FEW + 1} or more.")
    if few:
        again = torch.arange(ROWS) % len(x)
        x, given = x[again], None if given is None else given[again]
    run = _of_size(run, len(x))
    pair, description = run.build(), run.data
    args = arguments(pair, x, given)
    if recipe_for(model):
        objective = objective or run.settings.objective
    if few or not (recipe_for(model) or data_name):
        try:
            with eval_mode(pair):
                sites: dict[str, Site] = poutine.trace(poutine.uncondition(pair.model)).get_trace(*args).nodes
            draws = sites["x"]["value"]
        except Exception:  # any error: the clauses report it
            draws = x
        if (few or draws.shape[1:] != x.shape[1:]) and len(draws) == len(x):
            args, description = (draws, *args[1:]), "draws of the model itself"
    return Case(run.construct, args, objective, left), description


def examine(
    model: str, data_name: str | None = None, objective: str | None = None
) -> list[tuple[str, str, list[Finding] | None]]:
    """Check every clause of the contract.

    :return: for every clause (its name, its statement, its findings; None if it was skipped); the first entry names
        the data
    :raises RunError: if there is no pair to examine
    """
    left: dict[str, Any] = {}
    with warnings.catch_warnings(), torch.random.fork_rng(), param_scope():
        warnings.simplefilter("ignore")  # the clauses report the same faults more clearly
        with watched(left):
            case, description = _case(model, data_name, objective, left)
        results: list[tuple[str, str, list[Finding] | None]]
        results = [("data", f"{len(case.args[0])} rows of {description}", [])]
        holds = True
        for stage in STAGES:
            checked = [findings_of(clause, case) if holds else None for clause in stage]
            results += [(c.__name__, c.__doc__ or "", f) for c, f in zip(stage, checked, strict=True)]
            holds = holds and all(finding.remark for findings in checked for finding in findings or [])
    return results


def findings_of(clause: Clause, case: Case) -> list[Finding]:
    """Return the findings of a clause; an exception of the model is one."""
    findings: list[Finding] = []
    try:
        with watched(case.left):
            findings += clause(case)
    except Exception as error:  # any error of the model
        findings.append(Finding("cannot be checked", error))
    return findings


def sentence_of(finding: Finding) -> str:
    """Return a finding in one line, with the line of the model's file where that is known."""
    if finding.error is None:
        return finding.text
    if isinstance(finding.error, UserError):
        return f"{finding.text.rstrip('.')}: {finding.error}" if finding.text != str(finding.error) else finding.text
    if not isinstance(finding.error, ValueError) and (fault := distribution_fault(finding.error)):
        return f"{finding.text.rstrip('.')}: {fault}"
    if outside := parameter_fault(finding.error):
        return f"{finding.text.rstrip('.')}: {outside}"
    if not finding.text.endswith("."):
        return f"{finding.text}: {format_error(finding.error)}"
    place = line_of(finding.error)
    return f"{finding.text}{f' ({place})' if place else ''}"
