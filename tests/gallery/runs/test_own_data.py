"""A user's own pictures go through every command, whatever their size and colour; what cannot is one line."""

import json

import numpy as np
import pytest
from PIL import Image

import data
from gallery.cli.main import main
from gallery.report.site.run_pages import runs_below

pytestmark = pytest.mark.integration

TINY = ["--hidden", "16", "--latent-dim", "2", "--epochs", "1"]
SHAPE = (12, 10, 3)


def draw(folder, n=40):
    """Orange pictures and blue ones, in a sub-folder each."""
    random = np.random.default_rng(0)
    for kind, colour in {"blue": (0, 90, 255), "orange": (255, 120, 0)}.items():
        (folder / kind).mkdir(parents=True)
        for i in range(n // 2):
            pixels = random.integers(0, 30, SHAPE, dtype=np.uint8)
            pixels[random.integers(0, 7) :, random.integers(0, 6) :] = colour
            Image.fromarray(pixels).save(folder / kind / f"{i}.png")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a folder of pictures, the same as arrays, and two runs that were fitted to them."""
    here = tmp_path_factory.mktemp("own")
    draw(here / "images")
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (40, *SHAPE), dtype=np.uint8)
    np.savez(here / "colour.npz", x=x, labels=np.arange(40) % 3)
    np.savez(here / "grey.npz", x=random.random((40, 12, 10)))
    np.savez(here / "few_and_wide.npz", x=random.random((5, 5, 60, 3)), labels=np.arange(5) % 2)
    np.savez(here / "nan.npz", x=np.where(np.arange(40 * 120).reshape(40, 12, 10) == 7, np.nan, 0.5))
    np.savez(here / "words.npz", x=np.array([["a", "b"]] * 40))
    np.savez(here / "deep.npz", x=random.random((40, 2, 12, 10, 3)))
    draw(here / "mixed")
    Image.new("RGB", (9, 9)).save(here / "mixed" / "blue" / "z.png")
    draw(here / "broken")
    (here / "broken" / "blue" / "0.png").write_bytes(b"no picture")
    (here / "empty").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        assert main(["fit", "cvae", "--data", "images/", *TINY, "--run", "run"]) == 0
        assert main(["fit", "gmvae", "--data", "images:threshold", *TINY, "--run", "binary"]) == 0
    return here


@pytest.fixture(autouse=True)
def _within(here, monkeypatch):
    monkeypatch.chdir(here)


def shows_colour(path) -> bool:
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return bool((np.abs(pixels[..., 0] - pixels[..., 2]) > 30).any())


def test_a_folder_of_colour_pictures_goes_through_every_command(here, tmp_path, capsys):
    run = json.loads((here / "run" / "run.json").read_text())
    assert run["keywords"]["data_dim"] == np.prod(SHAPE)
    assert run["keywords"]["classes"] == 2
    assert run["keywords"]["likelihood"] == "continuous_bernoulli"
    for name in ("samples", "reconstructions"):
        assert shows_colour(here / "run" / "figures" / f"{name}.png")
    capsys.readouterr()
    assert main(["evaluate", "run", "--as-json"]) == 0
    assert json.loads(capsys.readouterr().out)["test"]["elbo"]["n"] == 4
    assert main(["evaluate", "run", "--data", "images", "--split", "train", "--particles", "2"]) == 0
    assert main(["sample", "run", "--n", "6", "--out", str(tmp_path / "x.npz")]) == 0
    with np.load(tmp_path / "x.npz") as drawn:
        assert drawn["x"].shape == (6, np.prod(SHAPE))
    assert main(["sample", "run", "--n", "6", "--out", str(tmp_path / "x.png")]) == 0
    assert shows_colour(tmp_path / "x.png")
    assert main(["fit", "--from", "run/run.json", "--run", str(tmp_path / "again")]) == 0
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (here / "run", tmp_path / "again")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("grey.npz", "{}/grey.npz"),
        ("images/:threshold", "{}/images:threshold"),
        ("./images/../colour.npz:threshold:6-labels-2", "{}/colour.npz:threshold:6-labels-2"),
        ("link.npz:grey", "{}/link.npz:grey"),  # what it leads to has another ending
        ("~/grey.npz:real", "{}/grey.npz:real"),
        ("digits:grey", "digits:grey"),  # a folder of that name is not meant
        ("line", "line"),
    ],
)
def test_a_path_is_the_same_data_from_any_folder(typed, kept, here, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    (here / "digits").mkdir(exist_ok=True)
    if not (here / "link.npz").is_symlink():
        (here / "grey.npz").rename(here / "blob")
        (here / "link.npz").symlink_to("blob")
        (here / "grey.npz").symlink_to("blob")
    name, expected = data.absolute_name(typed), data.load(typed)
    assert name == kept.format(here.resolve())
    monkeypatch.chdir(tmp_path)
    assert data.absolute_name(name) == name
    assert data.load(name).hash == expected.hash


def test_a_run_knows_its_data_from_any_folder(here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", str(here / "run"), "--particles", "2"]) == 0
    assert main(["fit", "--from", str(here / "binary" / "run.json"), "--run", "again"]) == 0
    ((found,), skipped) = runs_below(tmp_path)
    assert (found.data, skipped) == ("images:threshold", [])  # on a page not where it is on their disk


def test_pictures_are_pictures_again_for_arviz(tmp_path):
    xarray = pytest.importorskip("xarray", reason="pip install latent-gallery[arviz]")
    pytest.importorskip("arviz", reason="pip install latent-gallery[arviz]")
    assert main(["export", "run", "--to", "arviz", "--draws", "5", "--out", str(tmp_path / "x.nc")]) == 0
    with xarray.open_dataset(tmp_path / "x.nc", group="posterior_predictive") as group:
        assert group["x"].shape == (1, 5, 4, 3, 12, 10)  # channels first
    with xarray.open_dataset(tmp_path / "x.nc", group="observed_data") as group:
        assert group["x"].sel(x_dim_0=0).max() > 0.9  # orange


@pytest.mark.parametrize(
    ("model", "name", "flags"),
    [
        ("vae", "colour.npz", TINY),
        ("vae", "grey.npz", TINY),
        ("ss_vae", "colour.npz:threshold:6-labels", TINY),
        ("vae", "few_and_wide.npz", TINY),  # one datum to validate, and one to test
        ("cvae", "few_and_wide.npz", TINY),
        ("autoencoder", "images", TINY[2:]),
        ("factor_analysis", "grey.npz", ["--epochs", "1"]),
    ],
)
def test_models_of_the_family_take_them(model, name, flags, tmp_path):
    assert main(["fit", model, "--data", name, *flags, "--run", str(tmp_path / "run")]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert np.isfinite(metrics["test"]["reconstruction"]["value"])


def test_a_folder_gives_the_run_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "images", 10)
    assert main(["fit", "vae", "--data", "images/:threshold", *TINY]) == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["vae-images-threshold"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("fit vae --data mixed", ["mixed/blue/z.png has shape (9, 9, 3)", "Give all images one size"]),
        ("fit vae --data broken", ["broken/blue/0.png is no 8-bit image"]),
        ("fit vae --data empty", ["empty has no .png"]),
        ("fit vae --data images/blue/1.png", ["a folder of images"]),
        ("fit vae --data deep.npz", ["(40, 2, 12, 10, 3)", "numpy.transpose"]),
        ("fit vae --data words.npz", ["type <U1", "expected"]),
        ("fit vae --data nan.npz", ["NaN"]),
        ("fit cvae --data grey.npz", ["conditions on labels or covariates"]),
        ("fit gmvae --data colour.npz", ["{0, 1}", "colour.npz:threshold"]),
        ("fit vae --data colour.npz --likelihood bernoulli", ["colour.npz:threshold", "continuous_bernoulli"]),
        ("fit vrnn --data grey.npz:threshold --steps 7", ["120 pixels", "7 rows", "steps"]),
        ("fit exponential_gaussian --data images", ["(1,)", "(360,)"]),
        ("evaluate run --data grey.npz", ["grey.npz:grey has rows of 120 values", "360"]),
        ("evaluate run --data colour.npz", ["labels must be integers from 0 to 1", "from 0 to 2"]),
        ("evaluate run --data empty", ["empty has no .png"]),
        ("evaluate binary --data images:grey", ["Bernoulli needs values in {0, 1}"]),
        ("export binary --to onnx --data images:grey", ["Bernoulli needs values in {0, 1}"]),
    ],
)
def test_what_cannot_be_is_one_line(arguments, words, capsys, tmp_path):
    extra = ["--run", str(tmp_path / "new")] if arguments.startswith("fit") else []
    capsys.readouterr()
    assert main([*arguments.split(), *extra]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert all(word in error for word in words), error
    assert not (tmp_path / "new").exists()


def test_a_table_is_fitted_resumed_and_evaluated(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gallery.figures.draw", lambda *_, **__: [])
    rows = np.random.default_rng(0).normal(size=(60, 2))
    lines = [f"{a:.6f},{b:.6f},{'uv'[i % 2]}" for i, (a, b) in enumerate(rows)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,kind", *lines]))
    chosen = ["--data", "t.csv", "--columns", "a,b", "--label", "kind"]
    assert main(["fit", "gaussian_mixture", *chosen, "--components", "2", "--epochs", "1"]) == 0
    assert "components:" in capsys.readouterr().out
    run = tmp_path / "runs" / "gaussian_mixture-t.csv"
    assert (run / "metrics.json").exists()
    assert main(["evaluate", str(run), "--particles", "2"]) == 0
    assert main(["fit", "linear_regression", "--data", "t.csv", "--columns", "a", "--covariates", "b", *QUICK]) == 0
    capsys.readouterr()
    assert main(["fit", "gaussian_mixture", "--data", "digits:grey", "--label", "kind"]) == 2
    assert "Leave them out" in capsys.readouterr().err


QUICK = ["--epochs", "1", "--run", "line"]
