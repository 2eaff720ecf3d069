"""The news of Reuters: counts of words with their names, and what is said where the files are absent or changed."""

import hashlib

import pytest
import torch
from data_inputs import fault

import data
from data import reuters

HERE = next(row.available for row in data.describe() if row.name == "reuters")
LINES = "2 0:1 2:3\n1 1:2\n3 0:1 1:1 2:1\n"


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A root with three documents of three words, whose hashes the reader expects, without the package `lda`."""
    contents = {"reuters.ldac": LINES, "reuters.tokens": "church\npope\nyears\n"}
    folder = tmp_path / "reuters"
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_text(content)
    hashes = {name: hashlib.sha256(content.encode()).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(reuters, "FILES", hashes)
    for name in ("TRAIN", "VALIDATION", "TEST"):
        monkeypatch.setattr(reuters, name, 1)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    return tmp_path


def test_documents_are_rows_of_counts_and_words_are_names_of_columns(small):
    splits = data.load_splits("reuters", ("train", "validation", "test", "all"), root=small)
    assert {name: len(of) for name, of in splits.items()} == {"train": 1, "validation": 1, "test": 1, "all": 2}
    rows = torch.cat([splits[name].x for name in ("train", "validation", "test")]).tolist()
    assert sorted(rows) == [[0, 2, 0], [1, 0, 3], [1, 1, 1]]
    assert splits["test"].column_names == ("church", "pope", "years")


def test_files_of_the_package_are_read_where_the_folder_has_none(small, tmp_path, monkeypatch):
    class Spec:
        submodule_search_locations = (str(tmp_path / "package"),)

    (tmp_path / "package").mkdir()
    (small / "reuters").rename(tmp_path / "package" / "tests")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: Spec if name == "lda" else None)
    assert len(data.load("reuters", root=small)) == 1


def test_files_that_are_absent_or_not_the_original_ones_are_named(small):
    (small / "reuters" / "reuters.ldac").write_text(LINES.replace("3", "4"))
    fault("reuters.ldac is not the original file", "SHA-256", "pip install lda", name="reuters", root=small)
    (small / "reuters" / "reuters.ldac").unlink()
    fault("'reuters' is not on this machine", str(small / "reuters"), "pip install lda", name="reuters", root=small)
    with pytest.raises(data.DataError, match="no download"):
        data.download("reuters", small)


@pytest.mark.skipif(not HERE, reason="no package lda, which holds the set reuters")
def test_the_news_have_the_published_sizes():
    train, validation, test = (data.load("reuters", split) for split in ("train", "validation", "test"))
    assert [len(split) for split in (train, validation, test)] == [237, 79, 79]
    assert train.x.sum() + validation.x.sum() + test.x.sum() == 84_010
    assert train.column_names[:3] == ("church", "pope", "years")
