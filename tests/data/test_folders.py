"""The user's folders of images: flat or a sub-folder per class, and each fault names the file."""

import pytest
import torch
from data_inputs import fault
from PIL import Image

import data


def draw(path, mode="L", size=(5, 4), value=200):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode in ("L", "I", "I;16", "F") else None).save(path)


def test_a_flat_folder(tmp_path):
    for i, name in enumerate(("b.png", "a.PNG", "d.bmp", "c.png", ".hidden.png", "notes.txt")):
        draw(tmp_path / name, value=10 * i) if name != "notes.txt" else (tmp_path / name).write_text("x")
    parts = [data.load(f"{tmp_path}:grey", split) for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [2, 1, 1]
    assert parts[0].shape == (4, 5)
    assert parts[0].labels is None
    assert parts[0].levels == 256
    assert sorted(round(255 * v) for part in parts for v in part.x[:, 0].tolist()) == [0, 10, 20, 30]


def test_a_folder_per_class_in_colour(tmp_path, monkeypatch):
    for k, kind in enumerate(("cat", "ant", "bee")):
        for i in range(4):
            path = tmp_path / "animals" / kind / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (5, 4), (k * 10, i, 255)).save(path)
    (tmp_path / "animals" / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    both = data.load("animals:grey", "all")  # no separator, no ending: it is there
    assert both.shape == (3, 4, 5)
    assert both.classes == 3
    assert len(both) == 11
    red = (both.x.view(-1, 3, 20)[:, 0, 0] * 255).round()
    assert torch.equal(red, torch.tensor([10.0, 20.0, 0.0])[both.labels])  # ant 0, bee 1, cat 2
    assert (both.x.view(-1, 3, 20)[:, 2] == 1).all()


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ({}, ["no .png, .jpg, .jpeg, .bmp"]),
        ({"a.png": {}, "k/b.png": {}}, ["both in it and in sub-folders"]),
        ({"a.png": {}, "b.png": {}, "c.png": {"size": (6, 4)}}, ["c.png has shape (4, 6)", "a.png has (4, 5)"]),
        ({"a.png": {}, "b.png": {"mode": "RGB"}}, ["b.png has shape (4, 5, 3)"]),
        ({"a.png": {"mode": "I;16"}}, ["a.png is no 8-bit image", "more than 8 bits"]),
        ({"a.png": {}, "b.png": {}}, ["too few rows, 2"]),
    ],
)
def test_faults_of_folders(tmp_path, images, words):
    for name, keywords in images.items():
        draw(tmp_path / name, **keywords)
    fault(str(tmp_path), *words, name=f"{tmp_path}:grey")


@pytest.mark.parametrize("content", [b"", b"no image", "half"])
def test_a_broken_image_is_named(tmp_path, content):
    for name in ("a.png", "b.png", "c.png"):
        draw(tmp_path / name, size=(50, 40))
    if content == "half":
        content = (tmp_path / "b.png").read_bytes()[:60]
    (tmp_path / "b.png").write_bytes(content)
    fault(str(tmp_path / "b.png"), "is no 8-bit image", name=f"{tmp_path}:grey")
