"""Committed pictures are not older than the code that draws them."""

import json

import pytest

from gallery.figures import FIGURES, sources
from gallery.figures.sources import RECORD, outdated, record, source_hash
from gallery.ledger.tables import LEDGER
from gallery.report.site.captions import CAPTIONS

FOLDERS = sorted({path.parent for path in LEDGER.rglob("*") if path.suffix in (".png", ".gif")})
UNRECORDED = 33  # pictures of fits made before there were records; a new fit or drawing records its own


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(LEDGER)))
def test_no_recorded_picture_is_older_than_its_code(folder):
    file = folder / RECORD
    known = json.loads(file.read_text()) if file.exists() else {}
    old = [name for name in known if known[name] != source_hash(name)]
    assert not old, f"{folder}: draw {', '.join(old)} again, then `python -m gallery.figures.sources {folder}`"
    assert all(any((folder / f"{name}{ending}").exists() for ending in (".png", ".gif")) for name in known)


def test_few_pictures_have_no_record_and_none_of_a_lesson():
    missing = [(folder, name) for folder in FOLDERS for name in outdated(folder)]
    assert len(missing) <= UNRECORDED
    assert not [folder for folder, _ in missing if "lessons" in folder.parts]


def test_every_picture_has_a_module_that_draws_it():
    for name in {*FIGURES, *CAPTIONS} - {"sample"}:
        assert len(source_hash(name)) == 16
    with pytest.raises(KeyError):
        source_hash("nothing")


def test_a_change_of_the_code_is_seen_and_one_of_its_words_is_not(tmp_path, monkeypatch):
    (tmp_path / "pictures").mkdir()
    for name in ("two_kls.png", "posterior_gamma.png", "notes.txt"):
        (tmp_path / "pictures" / name).write_bytes(b"")
    record(tmp_path / "pictures", ["two_kls"])
    assert outdated(tmp_path / "pictures") == ["posterior_gamma"]
    record(tmp_path / "pictures")
    assert outdated(tmp_path / "pictures") == []
    monkeypatch.setattr(sources, "__file__", str(tmp_path / "sources.py"))
    code = 'def f():\n    """Draw."""\n    return 1\n'
    hashes = []
    for text in (code, code.replace("Draw", "Paint") + "# a comment\n", code.replace("1", "2")):
        source_hash.cache_clear()
        (tmp_path / "two_kls.py").write_text(text)
        hashes.append(source_hash("two_kls"))
    source_hash.cache_clear()
    assert hashes[0] == hashes[1] != hashes[2]
