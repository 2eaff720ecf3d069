"""The user's folders of images: flat or a sub-folder per class, and each fault names the file."""

import numpy as np
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


def save_png(path, array, **keywords):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **keywords)


@pytest.mark.parametrize("ending", ["jpg", "png"])
@pytest.mark.parametrize(("tag", "turn"), [(3, 2), (6, 1), (8, 3), (2, None)])
def test_photographs_are_turned_upright(tmp_path, ending, tag, turn):
    upright = np.zeros((16, 16), np.uint8)
    upright[:8, :8], upright[:8, 8:] = 200, 90
    exif = Image.Exif()
    exif[0x0112] = tag
    for i in range(10):
        stored = np.fliplr(upright) if turn is None else np.rot90(upright, turn)
        keywords = {"exif": exif} if i % 2 else {}
        save_png(tmp_path / f"{i}.{ending}", np.ascontiguousarray(stored) if i % 2 else upright, **keywords)
    splits = data.load_splits(f"{tmp_path}:grey")
    together = torch.cat([part.x for part in splits.values()])
    assert (together - torch.from_numpy(upright.flatten()) / 255).abs().max() < 0.02  # one picture, but for the JPEG
    assert splits["train"].notes == ("5 of 10 images turned by their EXIF orientation",)
    assert data.summary(splits)[-1].strip() == splits["train"].notes[0]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_composed_on_white(tmp_path, mode):
    random = np.random.default_rng(0)
    alpha = random.integers(0, 256, (12, 6, 5), dtype=np.uint8)
    for i, a in enumerate(alpha):  # black ink whose shape is in the alpha channel
        save_png(tmp_path / f"{i}.png", np.stack([0 * a] * (len(mode) - 1) + [a], -1))
    images = data.load(f"{tmp_path}:grey", "all")
    assert images.shape == ((6, 5) if mode == "LA" else (3, 6, 5))
    ink = images.x.view(len(images), -1, 30)[:, 0]
    expected = {tuple(row) for row in (255 - alpha).reshape(12, -1).tolist()}
    assert {tuple(row) for row in (255 * ink).round().int().tolist()} < expected
    assert images.notes == ("12 of 12 images have transparent pixels, composed on white",)


def test_a_palette_with_a_transparent_entry_and_opaque_alpha(tmp_path):
    inks = [np.random.default_rng(i).integers(0, 2, (4, 5), dtype=np.uint8) for i in range(10)]
    for i, ink in enumerate(inks):
        image = Image.fromarray(ink).convert("P")
        image.putpalette([0] * 768)
        (tmp_path / "palette").mkdir(exist_ok=True)
        image.save(tmp_path / "palette" / f"{i}.png", transparency=0)
        save_png(tmp_path / "opaque" / f"{i}.png", np.stack([255 * ink] * 3 + [np.full_like(ink, 255)], -1))
        save_png(tmp_path / "rgb" / f"{i}.png", np.stack([255 * ink] * 3, -1))
    palette = data.load(f"{tmp_path}/palette:threshold", "all").x.view(9, 3, 20)[:, 0]
    assert {tuple(row) for row in palette.int().tolist()} <= {tuple((1 - ink).flatten().tolist()) for ink in inks}
    opaque, rgb = (data.load(f"{tmp_path}/{name}:grey") for name in ("opaque", "rgb"))
    assert opaque.hash == rgb.hash
    assert opaque.notes == ()


def test_white_ink_on_white_is_refused_with_the_ground(tmp_path):
    for i in range(5):
        alpha = np.random.default_rng(i).integers(0, 256, (4, 5), dtype=np.uint8)
        save_png(tmp_path / f"{i}.png", np.stack([np.full_like(alpha, 255)] * 3 + [alpha], -1))
    fault("x is 1 everywhere", "composed on white", name=f"{tmp_path}:grey")


def test_dark_images_keep_the_levels_of_their_format(tmp_path):
    for i in range(5):
        save_png(tmp_path / "dark" / f"{i}.png", np.random.default_rng(i).integers(0, 17, (4, 5), dtype=np.uint8))
        save_png(tmp_path / "mask" / f"{i}.png", np.random.default_rng(i).integers(0, 2, (4, 5), dtype=np.uint8))
    assert data.load(f"{tmp_path}/dark:grey").levels == 256
    fault("x is 0 everywhere with 'threshold'", "0..16 of 256 levels", name=f"{tmp_path}/dark:threshold")
    fault("only pixels 0 and 1", "0 and 255", name=f"{tmp_path}/mask:grey")


def draw_splits(folder, names, classes=("ant", "bee")):
    for s, name in enumerate(names):
        for k, kind in enumerate(classes or [""]):
            for i in range(4):
                save_png(folder / name / kind / f"{i}.png", np.full((2, 2), 100 * s + 10 * k + i, np.uint8))


@pytest.mark.parametrize("classes", [("ant", "bee"), None])
@pytest.mark.parametrize("validation", ["val", "validation", "Valid", None])
@pytest.mark.parametrize("test", ["test", None])
def test_folders_of_splits(tmp_path, classes, validation, test):
    draw_splits(tmp_path, [name for name in ("train", validation, test) if name], classes)
    splits = data.load_splits(f"{tmp_path}:real")
    n, values = 8 if classes else 4, {name: set((part.x[:, 0] // 100).tolist()) for name, part in splits.items()}
    assert values == {
        "train": {0},
        "validation": {1.0 if validation else 0.0},
        "test": {1.0 + bool(validation)} if test else {0},
    }
    cut = (not validation) + (not test)
    assert [len(splits[name]) for name in ("train", "validation", "test")] == [
        n - cut, n if validation else 1, n if test else 1
    ]  # fmt: skip
    assert splits["train"].label_values == classes
    if classes:
        for part in splits.values():
            assert torch.equal(part.labels, (part.x[:, 0] % 100 // 10).long())


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["train", "plane"], ["train beside plane", "rename"]),
        (["test"], ["has test, and no train"]),
        (["train", "val", "validation"], ["train, val, validation"]),
    ],
)
def test_faults_of_folders_of_splits(tmp_path, names, words):
    draw_splits(tmp_path, names, None)
    fault(str(tmp_path), *words, name=f"{tmp_path}:grey")


@pytest.mark.parametrize("names", [("training", "testing", "dev"), ("Training", "test", "val")])
def test_other_names_of_splits(tmp_path, names):
    draw_splits(tmp_path, names, None)
    splits = data.load_splits(f"{tmp_path}:real")
    assert [set((splits[name].x[:, 0] // 100).tolist()) for name in ("train", "test", "validation")] == [{0}, {1}, {2}]
    assert splits["train"].labels is None


@pytest.mark.parametrize("hidden", [".thumbnails", ".git"])
def test_hidden_folders_are_no_classes(tmp_path, hidden):
    for k, name in enumerate((hidden, "ant", "bee")):
        for i in range(4):
            draw(tmp_path / name / f"{i}.png", value=9 * k + i)
    assert data.load(f"{tmp_path}:grey").label_values == ("ant", "bee")


@pytest.mark.parametrize("other", ["9.gif", "9.webp", "9.TIFF"])
@pytest.mark.parametrize("inside", ["", "ant/"])
def test_images_in_other_formats_are_not_left_out_silently(tmp_path, inside, other):
    for i in range(4):
        draw(tmp_path / f"{inside}{i}.png", value=i)
    (tmp_path / f"{inside}{other}").write_bytes(b"")
    fault("images that are not read (1)", inside + other, "Convert", name=f"{tmp_path}:grey")


@pytest.mark.parametrize(
    "left", ["bee/2021/9.png", "cat/2021/deep/9.png", "bee/9.pgm", "cow/9.webp", "ant/9.JP2", "2021/deep/9.png"]
)
def test_images_in_other_places_are_not_left_out_silently(tmp_path, left):
    for i in range(8):
        draw(tmp_path / ("ant", "bee")[i % 2] / f"{i}.png", value=i)
    (tmp_path / ".hidden").mkdir()
    for aside in (left, ".hidden/9.png", "ant/notes.txt"):
        (tmp_path / aside).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / aside).write_bytes(b"")
    fault("images that are not read (1)", left, "Convert", "move", name=f"{tmp_path}:grey")


def test_classes_that_one_split_lacks(tmp_path):
    draw_splits(tmp_path, ["train"])
    draw_splits(tmp_path, ["test"], ("bee", "cat"))
    splits = data.load_splits(f"{tmp_path}:grey")
    assert {name: part.labels.unique().tolist() for name, part in splits.items() if name != "validation"} == {
        "train": [0, 1], "test": [1, 2]
    }  # fmt: skip
    assert "3 classes (0 is ant, 1 is bee, 2 is cat)" in data.summary(splits)[2]


def test_a_class_may_have_the_name_of_a_missing_value(tmp_path):
    for i in range(9):
        draw(tmp_path / ("cl", "Na", "null")[i % 3] / f"{i}.png", value=i)
    train = data.load(f"{tmp_path}:grey", "all")
    assert train.label_values == ("Na", "cl", "null")
    assert train.labels.min() == 0
    again = data.load(f"{tmp_path}:grey", "all", label_values=train.label_values)
    assert torch.equal(again.labels, train.labels)
