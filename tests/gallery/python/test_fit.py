"""`gallery.fit`, `load` and `compare` in a Python shell: the same bits as the command, kept, drawn and compared."""

import json
import subprocess
import sys

import matplotlib.figure
import numpy as np
import pytest
import torch

import gallery
from gallery.cli.main import main
from gallery.figures import style
from gallery.figures.cell import drawing_into
from gallery.models import MODELS
from gallery.python.comparing import Compared
from gallery.runs.table import Table

QUICK = {"epochs": 2, "progress": False}
X = np.random.default_rng(0).normal(size=(60, 3))
IMAGES = np.random.default_rng(0).random((100, 4, 3))  # ten of them for test, as a picture of codes takes


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gallery.figures.draw", lambda *_, **__: [])


@pytest.fixture(scope="module")
def fitted():
    return gallery.fit("vae", (IMAGES, np.arange(100) % 2), hidden=[6], latent_dim=2, **QUICK)


def test_all_models_are_names_of_the_package():
    families = [name for name in MODELS if ":" not in name]
    assert families
    public = [getattr(gallery, name) for name in gallery.__all__]
    assert all(MODELS[name] in public for name in families)


def test_a_fit_has_the_bits_of_the_command(tmp_path):
    fit = gallery.fit("factor_analysis", seed=3, **QUICK)
    assert main(["fit", "factor_analysis", "--seed", "3", "--epochs", "2", "--run", "run"]) == 0
    loaded = gallery.load("run")
    for name, value in fit.pair.state_dict().items():
        assert torch.equal(value, loaded.pair.state_dict()[name]), name
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert fit.evaluate()["elbo"] == metrics["test"]["elbo"] == loaded.evaluate()["elbo"]
    for one, other in zip(fit.history, loaded.history, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert len(fit.losses) == fit.history[-1]["step"]


def test_a_fit_in_memory_is_kept_with_its_data(tmp_path, fitted):
    fitted.save("kept")
    loaded = gallery.load("kept")
    assert loaded.evaluate()["elbo"] == fitted.evaluate()["elbo"]
    assert loaded.splits["train"].hash == fitted.splits["train"].hash
    assert main(["evaluate", "kept", "--particles", "2"]) == 0
    assert main(["fit", "--from", "kept/run.json", "--run", "again"]) == 0
    again = gallery.load("again").pair.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in fitted.pair.state_dict().items())
    with pytest.raises(ValueError, match="holds a run already"):
        fitted.save("kept")
    fitted.save("kept", overwrite=True)
    loaded.save("copy")
    assert gallery.load("copy").evaluate()["elbo"] == fitted.evaluate()["elbo"]


def test_what_a_fit_does(fitted):
    assert fitted.encode()["z"].shape == (10, 2)
    assert fitted.encode(IMAGES[:4])["z"].shape == (4, 2)
    assert fitted.reconstruct(torch.tensor(IMAGES[:4])).shape == (4, 12)
    assert fitted.sample(5)["x"].shape == (5, 12)
    assert fitted.evaluate(IMAGES[:4])["elbo"]["n"] == 4
    assert [row["latent"] for row in fitted.summary()] == ["z[0]", "z[1]"]
    assert repr(fitted).startswith("vae on arrays:grey: 90 training rows")
    assert "  ELBO  " in fitted.evaluate()._repr_html_()


def test_pictures_by_name_and_in_axes(fitted):
    figure = matplotlib.figure.Figure()
    left, right = figure.subplots(1, 2)
    assert fitted.plot("reconstructions", left) is figure
    assert figure.axes == [left, right]
    assert left.images
    assert left.get_title(loc="left")
    assert fitted.plot("samples", right) is figure  # of several panels, which take the place of the axes
    assert left in figure.axes
    assert right not in figure.axes
    assert len(figure.subfigs[0].axes) > 1
    for kind in ("regression", "unknown", "animation"):
        with pytest.raises(ValueError, match=f"no picture '{kind}'") as refused:
            fitted.plot(kind)
        listed = "learning_curve, samples, three_views, reconstructions, latent, manifold"
        assert str(refused.value).endswith(f"Use one of {listed}.")


@pytest.mark.parametrize("kind", ["learning_curve", "samples", "three_views", "latent", "manifold"])
def test_a_picture_that_is_listed_is_drawn(fitted, kind):
    assert isinstance(fitted.plot(kind), matplotlib.figure.Figure)


def test_a_learning_curve_is_drawn_in_the_axes_that_are_given(fitted):
    figure = matplotlib.figure.Figure()
    left, right = figure.subplots(1, 2)
    assert fitted.plot("learning_curve", right) is figure
    assert figure.axes == [left, right]
    assert right.lines
    assert right.get_xlabel() == "epoch"


@pytest.mark.parametrize("shape", [(), (1, 1), (1,)])
@pytest.mark.parametrize("squeeze", [True, False])
def test_one_panel_is_the_axes_that_are_given(shape, squeeze):
    figure = matplotlib.figure.Figure()
    ax = figure.subplots()
    with drawing_into(ax):
        panel = style.figure(3, 3).subplots(*shape, squeeze=squeeze)
    assert (panel if squeeze else panel[0, 0]) is ax
    assert figure.axes == [ax]


def test_a_figure_can_be_drawn_in_axes_of_any_place_and_two_are_refused():
    figure = matplotlib.figure.Figure()
    ax = figure.add_axes((0.1, 0.5, 0.4, 0.4))
    with drawing_into(ax):
        panels = style.figure(3, 3)
        panels.subplots(1, 2)[0].plot([0, 1], label="line")
        panels.legend(loc="outside lower center")
        assert len(panels.axes) == 2
        with pytest.raises(ValueError, match="several figures, and ax takes one"):
            style.figure(3, 3)
    figure.canvas.draw()
    x0, y0, x1, y1 = figure.subfigs[0].bbox.transformed(figure.transSubfigure.inverted()).extents
    assert (x0, y0, x1, y1) == pytest.approx((0.1, 0.5, 0.5, 0.9))
    assert isinstance(style.figure(3, 3), matplotlib.figure.Figure)


def test_an_instance_is_fitted_itself():
    pair = gallery.FactorAnalysis(data_dim=3, latent_dim=1)
    before = {name: value.clone() for name, value in pair.state_dict().items()}
    fit = gallery.fit(pair, X, **QUICK)
    assert fit.pair is pair
    assert any(not torch.equal(before[name], value) for name, value in pair.state_dict().items())
    with pytest.raises(ValueError, match="Fit the class"):
        fit.save("no")


def test_a_class_of_a_notebook_is_fitted_and_not_stored(tmp_path):
    mine = type(
        "Mine", (gallery.FactorAnalysis,), {"__module__": "__main__", "__doc__": gallery.FactorAnalysis.__doc__}
    )
    fit = gallery.fit(mine, X, **QUICK)
    assert type(fit.pair) is mine
    with pytest.raises(ValueError, match="Put the class into a file"):
        fit.save("no")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
def test_a_comparison_has_a_row_for_each_way_and_seed(tmp_path):
    compared = gallery.compare("factor_analysis", X, objectives=["trace"], samplers="em", seeds=1, log=None, epochs=1)
    assert isinstance(compared, Compared)
    assert [row["fit"] for row in compared.table] == ["trace", "em"]
    assert "log p(x)" in repr(compared)
    pandas = pytest.importorskip("pandas")
    assert isinstance(compared.rows, pandas.DataFrame)
    assert isinstance(compared.table, Table)
    assert list(tmp_path.iterdir()) == []  # no folder was named


CSV = "a,kind,b,label\n" + "".join(f"{i % 7},{'uvw'[i % 3]},{i * 0.5},{'xy'[i % 2]}\n" for i in range(40))


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({"one_hot": "kind", "label": "label"}, "--one-hot kind --label label"),
        ({"codes": ["kind"], "columns": ["kind", "b"]}, "--codes kind --columns kind,b"),
        ({"columns": "a", "covariates": ["b", "kind"], "one_hot": ["kind"]},
         "--columns a --covariates b,kind --one-hot kind"),
    ],
)  # fmt: skip
def test_columns_of_a_table_are_chosen_as_by_the_command_and_of_a_frame(tmp_path, options, flags):
    (tmp_path / "t.csv").write_text(CSV)
    model = "linear_regression" if "covariates" in options else "factor_analysis"
    fit = gallery.fit(model, "t.csv", **options, **QUICK)
    assert main(["fit", model, "--data", "t.csv", *flags.split(), "--epochs", "2", "--run", "run"]) == 0
    for name, value in gallery.load("run").pair.state_dict().items():
        assert torch.equal(value, fit.pair.state_dict()[name]), name
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv("t.csv").drop(columns="label" if "label" not in options else [])
    of_frame = gallery.fit(model, frame, transform="real", **options, **QUICK)
    assert torch.equal(of_frame.splits["train"].x, fit.splits["train"].x)
    for one, other in ((of_frame.splits["train"].given, fit.splits["train"].given),):
        assert one is other is None or torch.equal(one, other)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("vae", "digits:grey"), {"one_hot": "kind"}, "'digits:grey' is none"),
        (("vae",), {"codes": ["kind"]}, "columns are chosen of a .csv"),
        (("vae", "t.csv"), {"columns": [3]}, "3 is no name of a column"),
        (("vae", X), {"codes": "kind"}, "data is no DataFrame"),
        (("vea",), {}, "Did you mean 'vae'"),
        ((3,), {}, "expected a name, a class or an instance"),
        ((torch.nn.Linear, X), {}, "no method model"),
        (("vae", "digits:grey"), {"latnt_dim": 2}, "Did you mean 'latent_dim'"),
        (("vae", "digits:grey"), {"epochs": "20"}, "epochs is '20'; expected an integer"),
        (("vae", "digits:grey"), {"hidden": 8}, "hidden is 8; expected a list"),
        (("vae", "digits:grey"), {"engine": "fast"}, "engine"),
        (("vae", IMAGES), {"likelihood": "bernoulli"}, 'transform="threshold"'),
        (("vae", X.astype(int)), {}, 'transform="grey"'),
        (("vae", np.where(X > 2, np.nan, X)), {}, "NaN"),
        (("vae", "digits:grey"), {"recipe": "cvae"}, "no recipe for vae"),
        (("cvae", IMAGES), {}, "labels or covariates"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, options, words):
    with pytest.raises(ValueError, match=words) as refused:
        gallery.fit(*arguments, progress=False, **options)
    assert "\n" not in str(refused.value)


def test_svi_in_another_training_loop():
    """As in a `training_step` of Lightning with manual optimisation: SVI makes the step, the loop calls it."""
    from inference import SVI, Settings

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.pair = gallery.FactorAnalysis(data_dim=3, latent_dim=1)
            self.steps = iter(SVI(self.pair, torch.tensor(X, dtype=torch.float32), settings=Settings(epochs=2)))

        def training_step(self):
            _, loss = next(self.steps)
            return loss

    module = Module()
    assert torch.stack([module.training_step() for _ in range(2)]).isfinite().all()
    with pytest.raises(StopIteration):
        module.training_step()


@pytest.mark.integration
def test_draws_for_arviz(fitted):
    pytest.importorskip("arviz", reason="pip install latent-gallery[arviz]")
    assert fitted.to_arviz(n=2, draws=3).posterior["z"].shape == (1, 3, 2, 2)


@pytest.mark.integration
def test_the_package_is_imported_without_torch():
    code = "import sys, gallery; dir(gallery); assert 'torch' not in sys.modules; gallery.fit"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_interrupted_fit_keeps_its_weights_and_is_no_run(monkeypatch):
    steps = []

    def train_steps(self, most):
        steps.append(self.step)
        if self.epoch == 1:
            raise KeyboardInterrupt
        return whole(self, most)

    whole = gallery.python.fit.SVI.train_steps
    monkeypatch.setattr("gallery.python.fit.SVI.train_steps", train_steps)
    with pytest.warns(UserWarning, match="interrupted at step 2 of 4: the fit has the weights of then"):
        fit = gallery.fit("factor_analysis", X, batch_size=30, validation=False, **QUICK)
    assert len(fit.losses) == fit.history[-1]["step"] == 2
    assert fit.encode(X[:4])["z"].shape == (4, 2)
    with pytest.raises(ValueError, match="interrupted at step 2 of 4, and a run is whole"):
        fit.save("kept")
    monkeypatch.setattr(
        "gallery.python.fit.SVI.train_steps", lambda self, most: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        gallery.fit("factor_analysis", X, **QUICK)
