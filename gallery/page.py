"""The page of one run: its numbers and its pictures, in one folder, to be opened from disk."""

import html
from pathlib import Path

from inference.checkpoint import write_atomically

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
figure {{ margin: 2rem 0 }} img {{ max-width: 100%; background: #fff }}
</style>
<h1>{title}</h1>
<p>{about}</p>
<h2>What it is worth</h2>
<ul>{numbers}</ul>
<h2>What it shows</h2>
{figures}
</html>
"""


def write_page(folder: Path, run, numbers: list[str]) -> Path:
    """Writes index.html over the figures of a run; returns its path."""
    figures = [
        f'<figure><img src="figures/{html.escape(path.name)}" alt="{html.escape(path.stem.replace("_", " "))}">'
        f"<figcaption>{html.escape(path.stem.replace('_', ' '))}</figcaption></figure>"
        for path in sorted([*(folder / "figures").glob("*.png"), *(folder / "figures").glob("*.gif")])
    ]
    keywords = ", ".join(f"{name} {value}" for name, value in run.keywords.items())
    page = _PAGE.format(
        title=html.escape(f"{run.model} on {run.data}"),
        about=html.escape(f"{keywords}; {run.settings.epochs} epochs, batch size {run.settings.batch_size}"),
        numbers="\n".join(f"<li>{html.escape(line)}</li>" for line in numbers),
        figures="\n".join(figures),
    )
    write_atomically(folder / "index.html", page.encode())
    return folder / "index.html"
