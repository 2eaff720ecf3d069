"""Clauses on the structure of model and guide: arguments, sites, plate and shapes.

They use as much of a run as there is, so that the cause of an error is reported rather than the error.
"""

import inspect
from collections.abc import Iterator

from inference.contract.case import FEW, Case, Finding
from inference.pairs.autoguides import autoguide_fault
from inference.pairs.capabilities import CAPABILITIES, declared, lacking
from inference.pairs.checks import BY_ROWS, misfit_fault, plate_faults, shape_faults, site_faults
from inference.pairs.sites import is_local, latent_sites
from inference.pairs.values import FROM_PLACE, site_from_place
from inference.pairs.vectorised import FROM_OTHERS, row_fault, site_from_others


def signature(case: Case) -> Iterator[Finding]:
    """model and guide take x, the same `given` if any, and total=None"""
    taken = {part: inspect.signature(getattr(case.pair(), part)).parameters for part in ("model", "guide")}
    second = [parameter for of in taken.values() for parameter in list(of.values())[1:2]]
    conditions = any("given" in of for of in taken.values()) or any(one.default is one.empty for one in second)
    expected = ["x", *["given"] * conditions, "total"]
    for part, of in taken.items():
        needed = [name for name, parameter in of.items() if parameter.default is parameter.empty]
        if list(of)[: len(expected)] != expected or needed != expected[:-1]:
            yield Finding(
                f"{part} takes ({', '.join(of)}); expected ({', '.join(expected)}) in model and guide. Write "
                f"`def {part}(self, {', '.join(expected)}=None)`."
            )


def autoguides(case: Case) -> Iterator[Finding]:
    """an autoguide has its parameters from the constructor on, and global latents alone"""
    if fault := autoguide_fault(case.pair()):
        yield Finding(fault)


def sites(case: Case) -> Iterator[Finding]:
    """model and guide have the same latent sites; the data are the site x, or x_1, x_2, ..."""
    yield from map(Finding, site_faults(case.few.model, case.few.guide))


def plate(case: Case) -> Iterator[Finding]:
    """everything that belongs to a data point stands in one plate, "data", and is scaled by total / n"""
    wider = {(part, name): site["value"].shape for part, name, site in case.all.sites}
    varies = {
        (part, name)
        for part, name, site in case.few.sites
        if wider.get((part, name), site["value"].shape) != site["value"].shape
    }
    yield from map(Finding, plate_faults(case.few.model, case.few.guide, FEW, len(case.args[0]), varies))
    if name := site_from_place(case.pair().eval(), case.args):
        yield Finding(FROM_PLACE.format(name))
    elif fault := row_fault(case.pair().eval(), case.args):
        yield Finding(fault)


def shapes(case: Case) -> Iterator[Finding]:
    """each data point has its own log-density; event shapes agree between model and guide"""
    yield from map(Finding, shape_faults(case.few.model, case.few.guide, (case.all.model, case.all.guide)))
    for error in case.few.errors + case.all.errors:
        if text := misfit_fault(error, len(case.args[0])):
            yield Finding(text, error)
            return


def capabilities(case: Case) -> Iterator[Finding]:
    """every capability that the class declares is a known one, and the pair has its attributes"""
    pair = case.pair()
    for name in declared(pair):
        if name not in CAPABILITIES:
            yield Finding(f"no capability {name!r}; expected one of {', '.join(CAPABILITIES)}. Leave it out.")
        elif absent := lacking(pair, name):
            text = f"capability {name!r} is declared, and the pair has no {', '.join(absent)}: {CAPABILITIES[name]}."
            yield Finding(text)
    width = getattr(pair, "step_dim", None) if "step_dim" in declared(pair) else None
    if width is not None and (not isinstance(width, int) or isinstance(width, bool) or width < 1):
        yield Finding(f"step_dim must be an integer of at least 1, the number of entries of a step, not {width!r}.")


def runs(case: Case) -> Iterator[Finding]:
    """model and guide run on a minibatch of the data, in training and in evaluation mode"""
    runs = {"training": [case.few, case.all], "evaluation": [case.run(FEW, training=False)]}
    for mode, each in runs.items():
        errors = [error for ran in each for error in ran.errors]
        if errors:
            few = case.few.errors and not case.all.errors
            remedy = f", on a minibatch and not on all rows. {BY_ROWS}" if few else ""
            yield Finding(f"in {mode} mode{remedy}", errors[0])
            return


def vectorised(case: Case) -> Iterator[Finding]:
    """many values of a latent at once, enumerated or particles, have the log-densities that each has alone"""
    particles = not all(map(is_local, latent_sites(case.few.guide).values()))
    if not (particles or case.few.enumerates):
        return
    remark = not case.few.enumerates  # a fit with one draw needs no particles, and one with several checks them
    try:
        fault = site_from_others(case.pair().eval(), tuple(a[:FEW] for a in case.args), particles)
    except Exception as error:  # any error of the user's code
        text = "an objective of several draws cannot be used: write arithmetic that broadcasts over a dimension of them"
        yield Finding(f"{text}, to the left of the plate", error, remark=remark)
        return
    if fault:
        yield Finding(FROM_OTHERS.format(*fault), remark=remark)
