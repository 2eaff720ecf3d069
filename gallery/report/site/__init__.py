"""The gallery as static pages: opened from disk, or put on any web server.

    write_site(Path("site"))                        # the committed ledger
    write_site(Path("site"), runs=Path("runs"))     # and runs of one's own, with what can be moved in them

No page asks for anything but the pictures beside it: a Content-Security-Policy forbids the rest, and every script but
those of the explorers.
"""

import inspect
from collections.abc import Callable
from pathlib import Path

import data
from gallery.catalogue.entries import FOLDER, LETTERS, NAMES, corrections, entry, sources_map
from gallery.catalogue.lessons import LESSONS
from gallery.errors import RunError
from gallery.ledger import tables
from gallery.ledger.reproduce import read
from gallery.report.explorers import explorer
from gallery.report.site import svi_example as loop
from gallery.report.site.diagrams import diagrams
from gallery.report.site.folder import replaced
from gallery.report.site.k_hat import trust
from gallery.report.site.lessons import compared
from gallery.report.site.model_page import all_measured, plain_step, source, variants
from gallery.report.site.numbers import kl_bars
from gallery.report.site.page import write_page
from gallery.report.site.pictures import hang
from gallery.report.site.run_pages import Found, runs_below
from gallery.report.site.sections import ROOMS, card, room_of, title
from gallery.report.site.text import markdown
from gallery.runs.registry import format_error, line_of, model_class
from inference import InferenceError

__all__ = ["write_site"]
SOURCES = FOLDER.parent / "sources.md"


def write_site(out: Path, runs: Path | None = None, say: Callable[[str], None] = print) -> Path:
    """Writes all pages into a folder; returns the first of them.

    :param out: a new or empty folder, or one that a site was written to; on an error it stays as it was
    :param runs: every finished run below it gets a page
    :param say: is told of what cannot be shown
    :raises RunError: if `out` holds files of somebody else or cannot be written, or there is no folder `runs`
    """
    found, skipped = runs_below(Path(runs)) if runs is not None else ([], [])
    for line in skipped:
        say(line)
    with replaced(Path(out)) as site:
        explored = {run.page: _explored(run, say) for run in found}
        for run in found:
            _write_run(site, run, explored[run.page])
        ledger = read(tables.LEDGER / "ledger.json")
        for family in NAMES:
            _write_model(site, family, ledger, [run for run in found if run.family == family], explored)
        _write_index(site, ledger, found)
        _write_others(site)
    return Path(out) / "index.html"


def _explored(run: Found, say: Callable[[str], None]) -> str | None:
    """The explorer of a run, where there is one and what it needs is here."""
    try:
        explored, reason = explorer(run.folder), "there is none for such a model"
    except (RunError, InferenceError, data.DataError) as error:
        explored, reason = None, error
    except Exception as error:
        if line_of(error) is None:  # a fault of the gallery
            raise
        explored, reason = None, format_error(error)
    if explored is None:
        say(f"{run.name} has nothing to explore: {reason}")
    return explored


def _write_run(site: Path, run: Found, explored: str | None) -> None:
    write_page(
        site,
        run.page,
        "run.html.j2",
        [explored],
        run=run,
        home=f"{run.family}.html" if run.family in NAMES else None,
        numbers=run.numbers(),
        undefined=run.undefined(),
        kl=kl_bars(run.metrics),
        trust=trust(run.folder),
        pictures=hang(run.folder / "figures", site, run.page.removesuffix(".html"), f"Run {run.name}"),
        own=_own_source(run),
    )


def _own_source(run: Found) -> str | None:
    """The file of the reader's own model, if it is still where it was."""
    if run.family in NAMES:
        return None
    try:
        return inspect.getsource(inspect.getmodule(model_class(run.run.model)))
    except (RunError, OSError, TypeError):
        return None


def _write_model(site: Path, family: str, ledger: dict, runs: list[Found], explored: dict[str, str | None]) -> None:
    moved = next((run for run in runs if explored[run.page]), None)
    write_page(
        site,
        f"{family}.html",
        "model.html.j2",
        [explored[moved.page]] if moved else [],
        title=title(family),
        family=family,
        variants=variants(family),
        entry=entry(family),
        titles={name: title(name)[0] for name in NAMES},
        diagrams=diagrams(family),
        source=source(family),
        plain=plain_step(family),
        recipes=all_measured(family, ledger, tables.LEDGER, site),
        experiments=hang(
            tables.LEDGER / "experiments" / family, site, f"experiments-{family}", f"Experiments on {family}"
        ),
        runs=runs,
        moved=moved,
    )


def _write_index(site: Path, ledger: dict, found: list[Found]) -> None:
    cards = {
        name: card(name, ledger, tables.LEDGER, [run for run in found if run.family == name], site) for name in NAMES
    }
    rooms = [
        {"title": room, "about": about, "cards": [cards[name] for name in NAMES if room_of(name) == room]}
        for room, about in ROOMS.items()
    ]
    write_page(site, "index.html", "index.html.j2", rooms=rooms, runs=found)


def _write_others(site: Path) -> None:
    experiments = markdown(tables.experiments_table(), "Experiments")
    write_page(
        site,
        "comparisons.html",
        "comparisons.html.j2",
        lessons=LESSONS,
        compared={name: compared(name, tables.LEDGER, site) for name in LESSONS},
        experiments=experiments,
    )
    performance = markdown(tables.performance_table(), "Milliseconds of a step")
    write_page(site, "inference.html", "inference.html.j2", loop=inspect.getsource(loop.fit), performance=performance)
    sources: dict[str, list[dict[str, str]]] = {}
    for row in sources_map():
        sources.setdefault(row["source"], []).append(row | {"title": title(row["entry"])[0]})
    write_page(site, "map.html", "map.html.j2", sources=sources, letters=LETTERS)
    about, *_ = SOURCES.read_text(encoding="utf-8").partition("\n|")
    write_page(site, "wrong.html", "wrong.html.j2", about=markdown(about, ""), rows=corrections())
