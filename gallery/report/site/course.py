"""The pages of the course: the syllabus, a page and two notebooks for each lesson, and the instructor's notes."""

import re
from pathlib import Path
from typing import Any

from markupsafe import Markup

from gallery.catalogue.entries import LETTERS
from gallery.course import LESSONS, Cell, Lesson, lesson
from gallery.course.grade import exercises_of
from gallery.course.pictures import HEROES
from gallery.course.source import HOLE
from gallery.course.syllabus import MISCONCEPTIONS, NOTATION, OUTLINE, SECTIONS, WEEKS
from gallery.figures.style import save
from gallery.report.site.page import write_page
from gallery.report.site.pictures import Picture
from gallery.report.site.sections import title
from gallery.report.site.text import followed, markdown, mathematics
from gallery.report.site.thumbnails import bare
from inference.files import make_folder, write_atomically

__all__ = ["prose", "write_course"]

MATHEMATICS = re.compile(r"\$\$(.+?)\$\$|\$([^$]+)\$([.,;:?!)]*)", flags=re.DOTALL)


def prose(text: str, of: str) -> Markup:
    """Convert Markdown with $mathematics$ and $$display mathematics$$ to HTML.

    :param of: the accessible name of a table
    """
    formulas: list[Markup] = []

    def taken(match: re.Match[str]) -> str:
        latex = " ".join((match[1] or match[2]).split())
        formulas.append(mathematics(latex, "block") if match[1] else followed(latex, match[3]))
        return f"⟦{len(formulas) - 1}⟧"

    html = markdown(MATHEMATICS.sub(taken, text), of)
    return Markup(re.sub(r"⟦(\d+)⟧", lambda match: str(formulas[int(match[1])]), html))


def _picture(number: int, site: Path) -> Picture:
    """Draw the first picture of a lesson into the site, and its thumbnail."""
    draw, caption = HEROES[number]
    src = f"pictures/course/lesson-{number}.png"
    make_folder((site / src).parent)
    figure = draw()
    save(figure, site / src)
    width, height = (round(inches * 110) for inches in figure.get_size_inches())
    save(bare(figure), site / _card(number))
    return Picture(src, caption, f"Lesson {number}: {caption}", width, height)


def _card(number: int) -> str:
    """Return the path of the thumbnail of a lesson relative to the pages."""
    return f"pictures/course/card-{number}.png"


def _blocks(it: Lesson) -> list[dict[str, Any]]:
    """Return the parts of a lesson's page after its title: HTML, or code with a solution where there is a hole."""
    blocks: list[dict[str, Any]] = []
    for cell, student, solution in zip(it.cells, it.student(), it.solution(), strict=True):
        if cell.kind == "markdown":
            blocks.append({"html": prose(_without_title(cell), f"Table of lesson {it.number}")})
        else:
            shown = re.sub(r"^# %matplotlib inline\n", "", student.source)
            blocks.append({"code": shown, "solution": solution.source if HOLE.search(cell.source) else ""})
    return blocks


def _without_title(cell: Cell) -> str:
    """Return the text of a cell; of the first one without title and lead, which the page shows above its picture."""
    if not cell.source.startswith("# "):
        return cell.source
    return cell.source.split("\n\n", 2)[2]


def write_course(site: Path) -> None:
    """Write the pages of the course and its notebooks into the folder of a site."""
    lessons = [lesson(number) for number in LESSONS]
    pictures = {it.number: _picture(it.number, site) for it in lessons}
    for it in lessons:
        name = f"lesson-{it.number}"
        write_atomically(site / f"{name}.ipynb", it.notebook().encode())
        write_atomically(site / f"{name}-solution.ipynb", it.notebook(solved=True).encode())
        write_page(
            site,
            f"{name}.html",
            "lesson.html.j2",
            lesson=it,
            last=LESSONS[-1],
            lead=prose(it.lead, it.title),
            hero=pictures[it.number],
            blocks=_blocks(it),
            sections=SECTIONS[it.number],
            following=lesson(it.number + 1).title if it.number < LESSONS[-1] else None,
            exercises=len(exercises_of(it.number)),
        )
    titles = {name: title(name)[0] for week in (*WEEKS, *OUTLINE) for name in week.pages}
    write_page(
        site,
        "course.html",
        "course.html.j2",
        lessons=lessons,
        pictures=pictures,
        cards={number: _card(number) for number in pictures},
        sections=SECTIONS,
        weeks=WEEKS,
        outline=OUTLINE,
        titles=titles,
        notation=NOTATION,
        letters=LETTERS,
    )
    write_page(
        site, "notes.html", "notes.html.j2", rows=MISCONCEPTIONS, lessons={it.number: it.title for it in lessons}
    )
