"""Short runs with their explorers, and pages of explorers."""

import pytest
from broken import write
from explorer_cases import FAULTY, MINE, NONE, OTHERS, PLANES, WRITTEN, loaded

from gallery.report.explorers import explorer
from gallery.runs import training
from gallery.runs.specification import Run


@pytest.fixture(scope="session")
def fitted(tmp_path_factory):
    """fitted(name, make): the folder of a short run, and its explorer by `make` in place of the first that applies."""
    runs, made = {}, {}

    def fit(name):
        if name not in runs:
            model, data, keywords = (PLANES | OTHERS | NONE | dict.fromkeys(FAULTY, MINE))[name]
            folder = tmp_path_factory.mktemp("runs") / "run"
            settings = {"epochs": 4, "precision": "float32", "engine": "pyro"}
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder.parent)
                if name in WRITTEN:
                    write(WRITTEN[name])
                patch.setattr("gallery.figures.draw", lambda *_, **__: [])
                training.start(Run.of(model, None, data, keywords, settings), folder)
            runs[name] = folder
        return runs[name]

    def explored(name, make=None):
        if (name, make) not in made:
            folder = fit(name)
            made[name, make] = make(*loaded(folder)) if make else None if name in FAULTY else explorer(folder)
        return fit(name), made[name, make]

    return explored


@pytest.fixture
def visit(visit, tmp_path):
    """visit(fragments, ...): a page of fragments, opened from disk; it may log no error and make no request."""
    requests = []

    def open_page(*fragments, **context):
        head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>explorers</title>'
        style = "<style>:root { color-scheme: light dark }</style>"
        file = tmp_path / "page.html"
        file.write_text(f'<!doctype html><html lang="en">{head}{style}{"".join(fragments)}</html>', encoding="utf-8")
        page = visit(**context)
        page.on("request", lambda request: request.url.startswith("data:") or requests.append(request.url))
        page.goto(file.as_uri())
        return page

    yield open_page
    assert [url for url in requests if not url.endswith("page.html")] == []
