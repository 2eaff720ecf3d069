"""The gallery as static pages, opened from disk or served by any web server.

    write_site(Path("site"))                        # the committed ledger
    write_site(Path("site"), runs=Path("runs"))     # and your runs, with their explorers

A page loads nothing but the pictures beside it. A Content-Security-Policy forbids every other request, and every script
except those of the explorers.
"""

import inspect
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import data
from gallery.catalogue.elsewhere import ELSEWHERE
from gallery.catalogue.entries import FOLDER, LETTERS, NAMES, corrections, entry, sources_map
from gallery.catalogue.lessons import LESSONS
from gallery.catalogue.recipes import RECIPES
from gallery.catalogue.sections import SECTIONS
from gallery.errors import RunError
from gallery.ledger import tables
from gallery.ledger.reproduce import read
from gallery.ledger.scale import scale_of
from gallery.report.explorers import explorer, no_explorer
from gallery.report.site import svi_example
from gallery.report.site.api import api
from gallery.report.site.course import write_course
from gallery.report.site.diagrams import diagrams
from gallery.report.site.estimators import estimators
from gallery.report.site.folder import replaced
from gallery.report.site.functions import model_and_guide
from gallery.report.site.glossary import TERMS
from gallery.report.site.hero import hero, hero_of
from gallery.report.site.k_hat import k_hat_verdict
from gallery.report.site.lessons import comparisons_of, figure_of
from gallery.report.site.model_page import (
    all_measured,
    definition,
    has_experiments,
    has_numbers,
    plain_step,
    references,
    source,
    variants,
    verdicts_of,
)
from gallery.report.site.numbers import kl_bars
from gallery.report.site.page import write_page
from gallery.report.site.pictures import copy_pictures, rank
from gallery.report.site.run_pages import RunPage, runs_below
from gallery.report.site.sections import PANELS, PATH, card, title
from gallery.report.site.text import markdown
from gallery.runs import training
from gallery.runs.memory import describe_allocation
from gallery.runs.registry import format_error, line_of, model_class
from gallery.runs.report import report_table
from gallery.runs.summary import summarise
from inference import InferenceError

__all__ = ["write_site"]

COPY = Path(__file__).parent / "copy.js"
SOURCES = FOLDER.parent / "sources.md"


def write_site(out: Path, runs: Path | None = None, report: Callable[[str], None] = print, trust: bool = False) -> Path:
    """Write all pages into a folder, and return the path of the first.

    :param out: a new or empty folder, or one that a site was written to. It is unchanged on an error
    :param runs: every finished run below this folder gets a page
    :param report: called with one line for each run without a page, an explorer or a summary, and for each picture that
        is left out
    :param trust: accept models in files that this user has not fitted
    :raises RunError: if `out` holds other files, or if there is no folder `runs`
    :raises InferenceError: if `out` cannot be written
    """
    run_pages, skipped = runs_below(Path(runs), trust) if runs is not None else ([], [])
    for line in skipped:
        report(line)
    with replaced(Path(out)) as site:
        explorers = {run.page: _explorer_of(run, report) for run in run_pages}
        for run in run_pages:
            _write_run(site, run, explorers[run.page], report, trust)
        ledger = read(tables.LEDGER / "ledger.json")
        explored = {run.family for run in run_pages if explorers[run.page]}
        for family in NAMES:
            own = [run for run in run_pages if run.family == family]
            lead = None if family in explored else hero_of(family)
            _write_model(site, family, ledger, own, explorers, lead)
            explored |= {family} if lead else set()
        _write_index(site, ledger, run_pages, explored)
        write_course(site)
        _write_others(site)
    return Path(out) / "index.html"


def _explorer_of(run: RunPage, report: Callable[[str], None]) -> str | None:
    """Return the explorer of a run, or None, with a line that says why, if none applies or its data are missing."""

    def make() -> str:
        fragment = explorer(run.folder)
        if fragment is None:
            raise RunError(no_explorer(run.folder))
        return fragment

    return _part(run, "explorer", make, report)


def _latents(run: RunPage, trust: bool, report: Callable[[str], None]) -> str | None:
    """Return the table of `gallery summary` of a run, or None if its data are missing."""

    def table() -> str:
        fitted, pair = training.load(run.folder, trust)
        return repr(summarise(pair, fitted.datasets(), fitted.settings.seed))

    return _part(run, "summary", table, report)


def _part(run: RunPage, name: str, make: Callable[[], str], report: Callable[[str], None]) -> str | None:
    """Return a part of the page of a run, or None, with a line that says why, if it cannot be made."""
    try:
        return make()
    except (RunError, InferenceError, data.DataError) as error:
        reason = str(error)
    except Exception as error:
        if line_of(error) is None and describe_allocation(error) is None:  # a fault of the gallery
            raise
        reason = format_error(error)
    report(f"{run.name} has no {name}: {reason}")
    return None


def _write_run(site: Path, run: RunPage, fragment: str | None, report: Callable[[str], None], trust: bool) -> None:
    write_page(
        site,
        run.page,
        "run.html.j2",
        [fragment],
        run=run,
        home=f"{run.family}.html" if run.family in NAMES else None,
        numbers=run.numbers(),
        verdicts=verdicts_of(run.metrics),
        undefined=run.undefined(),
        kl=kl_bars(run.metrics),
        k_hat=None if "k_hat_above" in run.metrics["test"] else k_hat_verdict(run.folder),  # in an older run
        latents=_latents(run, trust, report),
        pictures=copy_pictures(
            run.folder / "figures",
            site,
            run.page.removesuffix(".html"),
            f"Run {run.name}",
            report=report,
            classes=run.has_classes,
        ),
        own=_own_source(run),
    )


def _own_source(run: RunPage) -> str | None:
    """Return the source of the file of a user's model, or None if it is missing."""
    if run.family in NAMES:
        return None
    try:
        module = inspect.getmodule(model_class(run.run.model))
        return None if module is None else inspect.getsource(module)
    except (RunError, OSError, TypeError):
        return None


def _write_model(
    site: Path,
    family: str,
    ledger: dict[str, Any],
    runs: list[RunPage],
    explorers: dict[str, str | None],
    lead: str | None = None,
) -> None:
    """Write the page of a model.

    :param lead: the explorer at its top, where no run has one
    """
    explored = next((run for run in runs if explorers[run.page]), None)
    shown, recipes = definition(family), all_measured(family, ledger, tables.LEDGER, site)
    experiments = copy_pictures(
        tables.LEDGER / "experiments" / family, site, f"experiments-{family}", f"Experiments on {family}"
    )
    first = hero(family, title(family)[0], tables.LEDGER, site)
    of_fits = [
        it if recipe.recipe.name == family else replace(it, caption=f"{it.caption} ({recipe.recipe.name})")
        for recipe in recipes
        for it in recipe.pictures
    ]
    curves = [it for it in of_fits if Path(it.src).stem == "learning_curve"]
    chosen = {Path(it.src).stem: it for it in [*reversed(of_fits), *experiments] if it not in curves}
    chosen.pop(Path(first.src).stem if first else "", None)
    pictures = [*sorted(chosen.values(), key=lambda it: rank(Path(it.src))), *curves][:3]
    write_page(
        site,
        f"{family}.html",
        "model.html.j2",
        [explorers[explored.page] if explored else lead, f"<script>{COPY.read_text(encoding='utf-8')}</script>"],
        title=title(family),
        family=family,
        variants=variants(family),
        entry=entry(family),
        titles={name: title(name)[0] for name in NAMES},
        diagrams=diagrams(family),
        source=source(family),
        plain=plain_step(family),
        recipes=recipes,
        hero=first,
        pictures=pictures,
        functions=model_and_guide(shown),
        definition=shown,
        references=references(entry(family).bibtex),
        has_experiments=has_experiments(family, tables.LEDGER),
        has_numbers=has_numbers(family, tables.LEDGER),
        experiments=experiments,
        runs=runs,
        explored=explored,
        lead=lead,
    )


def _write_index(site: Path, ledger: dict[str, Any], runs: list[RunPage], explored: Collection[str] = ()) -> None:
    cards = {
        name: card(name, ledger, tables.LEDGER, [run for run in runs if run.family == name], site, name in explored)
        for name in NAMES
    }
    sections = [
        {"title": section.title, "about": section.about, "cards": [cards[name] for name in section.families]}
        for section in SECTIONS
    ]
    write_page(
        site,
        "index.html",
        "index.html.j2",
        sections=sections,
        runs=runs,
        panels=[(cards[name], words) for name, words in PANELS.items()],
        path=[cards[name] for name in PATH],
    )


def _example() -> str:
    """Return the report of an exact model from the ledger; empty if it was not run."""
    name = "exponential_gaussian"
    for run in read(tables.LEDGER / "ledger.json").get(name, {"runs": {}})["runs"].values():
        test = run["test"] | {"scale": scale_of(RECIPES[name], "ELBO")}
        return "\n".join(report_table({"train": {}, **run, "test": test}, name, name)[:-1])
    return ""


def _write_others(site: Path) -> None:
    write_page(
        site,
        "comparisons.html",
        "comparisons.html.j2",
        lessons=LESSONS,
        comparisons={name: comparisons_of(name, tables.LEDGER, site) for name in LESSONS},
        figures={name: figure_of(name, tables.LEDGER, site) for name in LESSONS},
    )
    write_page(site, "glossary.html", "glossary.html.j2", terms=TERMS)
    write_page(site, "numbers.html", "numbers.html.j2", example=_example())
    performance = markdown(tables.performance_table(), "Milliseconds per step")
    loop = inspect.getsource(svi_example.fit)
    write_page(site, "inference.html", "inference.html.j2", loop=loop, performance=performance, estimators=estimators())
    write_page(site, "api.html", "api.html.j2", packages=api())
    sources: dict[str, list[dict[str, str]]] = {}
    for row in sources_map():
        sources.setdefault(row["source"], []).append(row | {"title": title(row["entry"])[0]})
    write_page(site, "map.html", "map.html.j2", sources=sources, letters=LETTERS, elsewhere=ELSEWHERE)
    about, *_ = SOURCES.read_text(encoding="utf-8").partition("\n|")
    write_page(site, "corrections.html", "corrections.html.j2", about=markdown(about, ""), rows=corrections())
