"""A site with three small runs, built once for all test processes."""

import json
import os
import shutil
from functools import cache
from pathlib import Path

import filelock
import pytest

from gallery.ledger import tables
from gallery.report.site import write_site
from gallery.runs import training as runs
from gallery.runs.specification import Run

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"


FOLDER = HOSTILE.replace("/", "")


OWN = f"""'''{HOSTILE} '''

from gallery.models.exponential_gaussian import ExponentialGaussian


class Mine(ExponentialGaussian):
    '''{HOSTILE}</code></pre>'''
"""


@cache
def built(base: Path) -> Path:
    """The site of the committed ledger and of three short runs: two with explorers, one of these in a folder with a
    hostile name, and one whose model, data and numbers are hostile. The tests in a browser visit it as well, and
    whichever worker comes first builds it for all."""
    made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "pages"
    with filelock.FileLock(f"{made}.lock"):
        if not made.exists():
            build_site(made)
    return made / "site"


def build_site(made: Path) -> None:
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
        shutil.copy(tables.LEDGER / "pictures" / "vae" / "samples.png", made / "runs" / name / "figures")
    make_hostile(made / "runs" / "own")
    said = []
    write_site(made / "site", made / "runs", said.append)
    (line,) = said
    assert line.startswith("own has nothing to explore")


def fit_undrawn(run: Run, folder: Path) -> None:
    """A run without its figures, which take longer than a short fit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gallery.figures.draw", lambda *_, **__: [])
        runs.start(run, folder)


def make_hostile(run: Path) -> None:
    """Puts markup into what a run's files say, and other content into one of its pictures."""
    metrics, about = (json.loads((run / name).read_text()) for name in ("metrics.json", "run.json"))
    metrics["test"] |= {HOSTILE: {"value": 1.0, "unit": HOSTILE, "n": 1}, "undefined": {HOSTILE: HOSTILE}}
    (run / "metrics.json").write_text(json.dumps(metrics))
    (run / "run.json").write_text(json.dumps(about | {"data": f"{HOSTILE}.npz:grey"}))
    (run / "figures" / "samples.png").write_text(HOSTILE)
