"""A site with three small runs, built once for all test processes."""

import json
import os
import shutil
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import filelock
import pytest

from gallery.ledger import tables
from gallery.report.site import write_site
from gallery.runs import training
from gallery.runs.specification import Run

__all__ = ["FOLDER", "HOSTILE", "Page", "built", "fit_undrawn"]

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"
FOLDER = HOSTILE.replace("/", "")
OWN = f"""'''{HOSTILE} '''

from gallery.models.exponential_gaussian import ExponentialGaussian


class Mine(ExponentialGaussian):
    '''{HOSTILE}</code></pre>'''
"""


class Page(HTMLParser):
    """The tags of a page with their attributes, the text between them, and the content of scripts."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.text, self.scripts, self._script = [], "", [], False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._script = tag == "script"

    def handle_endtag(self, tag):
        self._script = False

    def handle_data(self, data):
        if self._script:
            self.scripts.append(data)
        else:
            self.text += data

    def all(self, tag, attribute):
        return [attributes[attribute] for name, attributes in self.tags if name == tag and attribute in attributes]


@cache
def built(base: Path) -> Path:
    """Return the site of the committed ledger and of three short runs, built once for all test processes.

    Two runs have explorers, one of them in a folder with a hostile name. The third has hostile model, data and metrics.
    """
    made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "pages"
    with filelock.FileLock(f"{made}.lock"):
        if not made.exists():
            build_site(made)
    return made / "site"


def build_site(made: Path) -> None:
    """Fit the three runs and write the site."""
    made.mkdir()
    own = made / "mine.py"
    own.write_text(OWN)
    chosen = {  # folder: model, data, keywords
        "densities": ("exponential_gaussian", "exponential_gaussian", {}),
        FOLDER: ("vae", "digits:threshold", {"latent_dim": 2, "hidden": [16]}),
        "own": (f"{own}:Mine", "exponential_gaussian", {}),
    }
    settings = {"epochs": 2, "batch_size": 500, "precision": "float32"}
    for name, (model, fitted_to, keywords) in chosen.items():
        fit_undrawn(Run.of(model, None, fitted_to, keywords, settings), made / "runs" / name)
        (made / "runs" / name / "figures").mkdir()
        shutil.copy(tables.LEDGER / "pictures" / "vae-sampled" / "samples.png", made / "runs" / name / "figures")
    make_hostile(made / "runs" / "own")
    lines: list[str] = []
    write_site(made / "site", made / "runs", lines.append)
    assert [line.partition(":")[0] for line in lines] == ["own has no explorer", "own has no summary"]


def fit_undrawn(run: Run, folder: Path) -> None:
    """Run a fit without its figures, which take longer than a short fit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gallery.figures.draw", lambda *_, **__: [])
        training.start(run, folder)


def make_hostile(run: Path) -> None:
    """Put markup into the files of a run, and text into one of its pictures."""
    metrics, about = (json.loads((run / name).read_text()) for name in ("metrics.json", "run.json"))
    metrics["test"] |= {HOSTILE: {"value": 1.0, "unit": HOSTILE, "n": 1}, "undefined": {HOSTILE: HOSTILE}}
    (run / "metrics.json").write_text(json.dumps(metrics))
    (run / "run.json").write_text(json.dumps(about | {"data": f"{HOSTILE}.npz:grey"}))
    (run / "figures" / "samples.png").write_text(HOSTILE)
