"""The command line: `gallery COMMAND ...`, also `python -m gallery`. Here models, data and inference are joined.

Flags of `fit` are read off the model's constructor and `inference.Settings`. What is wrong is said in one line,
with exit code 2; --debug shows the traceback.
"""

import inspect
import itertools
import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
from cyclopts import App, CycloptsError, Parameter, UnknownOptionError
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import nn

import data
from gallery.catalogue.recipes import RECIPES, recipe_for
from gallery.cli.flags import as_typed, flags_of, parameter_help
from gallery.cli.format import format_metrics
from gallery.errors import RunError, unknown
from gallery.models import MODELS, family_module
from gallery.report.export import export, need
from gallery.runs import progress as watch
from gallery.runs import training as runs
from gallery.runs.metrics import evaluate_split
from gallery.runs.registry import constructor, in_words, installed, line_of, model_class
from gallery.runs.specification import Run
from inference import InferenceError, check_fit, sample
from inference.evaluation.log_weights import MAX_ROWS
from inference.fit import distributed

app = App(
    name="gallery",
    help="The gallery of latent variable models in Pyro.",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
fit_app = App(
    name="fit",
    help="Fit a model: `gallery fit MODEL --help` lists its flags.",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
data_app = App(
    name="data", help="List the data sets, or fetch one.", help_format="plaintext", suppress_keyboard_interrupt=False
)
compare_app = App(
    name="compare",
    help="Fit a model in several ways and compare them: `gallery compare MODEL --help` lists its flags.",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
app.command(fit_app)
app.command(compare_app)
app.command(data_app)


def _report(folder: Path, metrics: dict) -> None:
    if not metrics:  # of several processes number 0 speaks
        return
    for split in ("test", "train"):
        for line in format_metrics(split, metrics.get(split, {})):
            print(line)
    print(f"run: {folder}  (metrics.json, history.jsonl, weights.safetensors; pictures in {folder / 'figures'})")


def _run(action: Callable[[runs.Watcher | None], dict], logs: Path | None = None) -> dict:
    if logs:
        need("tensorboard", "--tensorboard")
    distributed.join()
    watcher = watch.watcher(logs) if distributed.rank() == 0 else None
    try:
        return action(watcher)
    finally:
        if watcher:
            watcher.close()
        distributed.leave()


def _fit_command(name: str) -> Callable:
    """`gallery fit NAME` as a function of its flags."""
    hyper, settled, signature = flags_of(name, _RUN_FLAGS)

    def fit(**flags) -> None:
        given = {key: value for key, value in flags.items() if value is not None}
        row = given.get("recipe")
        if row is not None and (row not in RECIPES or RECIPES[row].model != name):
            known = [r.name for r in RECIPES.values() if r.model == name]
            raise unknown(f"recipe for {name}", row, known, f"gallery show {name}")
        chosen = Run.of(
            name,
            RECIPES.get(row),
            given.get("data"),
            {key: given[key] for key in hyper if key in given},
            {key: given[key] for key in settled if key in given},
            given.get("validation"),
        )
        fitted_to = Path(chosen.data.replace("/:", ":")).name  # a folder may end in a slash
        folder = given.get("run") or Path("runs") / f"{Path(name).name}-{fitted_to}".replace(":", "-")
        logs = folder / "tensorboard" if given.get("tensorboard") else None
        _report(folder, _run(lambda watcher: runs.start(chosen, folder, given.get("overwrite", False), watcher), logs))

    fit.__doc__ = f"Fit {name}. Defaults, those of its first recipe, are in brackets."
    fit.__signature__ = signature
    return fit


_RUN_FLAGS: dict[str, tuple[type, str]] = {
    "data": (str, "Data set and pixel law, such as mnist:threshold, or a file [that of the recipe]."),
    "run": (Path, "Folder of the run [runs/MODEL-DATA]."),
    "recipe": (str, "The recipe to start from [the first of the model]."),
    "validation": (bool, "Keep validation rows apart from training [that of the recipe]."),
    "overwrite": (bool, "Replace a run that is in the folder already."),
    "tensorboard": (bool, "Write loss, bounds and KL of every epoch to RUN/tensorboard for TensorBoard."),
}


@fit_app.default
def _fit_from(
    model: str | None = None,
    /,
    *,
    from_: Annotated[Path | None, Parameter(name="--from", help="A run.json to run again.")] = None,
    run: Annotated[Path | None, Parameter(help="Folder of the run.")] = None,
    overwrite: Annotated[bool, Parameter(help="Replace a run that is in the folder already.")] = False,
    tensorboard: Annotated[bool, Parameter(help="Write every epoch to RUN/tensorboard.")] = False,
) -> None:
    if from_ is None:
        raise RunError("fit needs a model, as in `gallery fit vae` (`gallery list` names them), or --from RUN.JSON.")
    if run is None:
        raise RunError("--from needs --run DIR, the folder of the new run.")
    again, _ = Run.from_json(from_)
    torch.set_num_threads(again.threads)
    logs = run / "tensorboard" if tensorboard else None
    _report(run, _run(lambda watcher: runs.start(again, run, overwrite, watcher), logs))


def _compare_command(name: str) -> Callable:
    """`gallery compare NAME` as a function of its flags."""
    from gallery.compare.command import FLAGS, command

    hyper, settled, signature = flags_of(name, FLAGS, without=("objective", "seed"))

    def compare(**flags) -> None:
        given = {key: value for key, value in flags.items() if value is not None}
        keywords, settings = ({key: given[key] for key in keys if key in given} for keys in (hyper, settled))
        run = Run.of(name, None, given.get("data"), keywords, settings, given.get("validation"))
        typed = {key: value for key, value in given.items() if key not in ("out", "jobs")}
        command(run, given, f"gallery compare {name} {as_typed(typed)}".strip())

    compare.__doc__ = f"Fit {name} in several ways, and compare. Defaults, those of its first recipe, are in brackets."
    compare.__signature__ = signature
    return compare


@compare_app.default
def _lesson(*, lesson: str | None = None, out: Path | None = None, jobs: int | None = None) -> None:
    """Compare ways to fit a model: `gallery compare MODEL --help` lists the flags. Or one of the lessons.

    :param lesson: A comparison worth seeing, with the words that go with it.
    :param out: Folder of the lesson [runs/lessons/LESSON].
    :param jobs: Processes at a time, of one thread each [as many as there are processors].
    """
    from gallery.catalogue.lessons import LESSONS

    if lesson is None:
        raise RunError(f"compare needs a model, as in `gallery compare vae`, or --lesson of {', '.join(LESSONS)}.")
    if lesson not in LESSONS:
        raise RunError(f"there is no lesson {lesson!r}: it is one of {', '.join(LESSONS)}.")
    folder, chosen = out or Path("runs") / "lessons" / lesson, LESSONS[lesson]
    for name, arguments in chosen.commands.items():
        more = ["--out", str(folder / name), *([] if jobs is None else ["--jobs", str(jobs)])]
        _call(["compare", name, *arguments.split(), *more])
    print(f"\n{chosen.title}\n\n{chosen.text}")


@app.command(name="list")
def list_models() -> None:
    """The models, with the first line of their story and the data of their recipe."""
    table = Table("model", "what it is", "data", box=None)
    for name, cls in MODELS.items():
        recipe = recipe_for(name)
        story = family_module(cls).__doc__ if ":" not in name else cls.__doc__.partition(". ")[2]
        table.add_row(name, story.strip().splitlines()[0], recipe.data if recipe else "")
    for name, point in installed().items():
        try:
            story = (sys.modules[model_class(name).__module__].__doc__ or "").strip().partition("\n")[0]
        except RunError as error:
            print(f"gallery: {error}", file=sys.stderr)
        else:
            table.add_row(escape(name), escape(f"{story} ({point.value})"), "")
    Console(width=140 if not sys.stdout.isatty() else None).print(table)


@app.command
def show(
    model: str,
    /,
    *,
    diagram: Path | None = None,
    of: Literal["model", "guide"] = "model",
    data: str | None = None,
) -> None:
    """The story of a model, its hyper-parameters, and what is published of it; or its plate diagram.

    :param model: Its name, or path/to/file.py:CLASS.
    :param diagram: An .svg file for the plate diagram, which is read off the running code.
    :param of: What to draw.
    :param data: Data set and pixel law that the drawn model is of [digits, or what suits its likelihood].
    """
    if diagram:
        from gallery.cli.check import suited
        from gallery.report.diagram import save

        print(save(Run.of(model, None, data) if data else suited(model), of, diagram))
        return
    cls = model_class(model)
    print((family_module(cls).__doc__ or "").strip())
    print(f"\n{model}: {(cls.__doc__ or '').partition(':param')[0].strip()}\n")
    explained = parameter_help(cls)
    for name, parameter in constructor(cls).items():
        default = "" if parameter.default is parameter.empty else parameter.default
        print(f"  --{name.replace('_', '-')} {default}  {explained.get(name, '')}")
    for recipe in RECIPES.values():
        if recipe.model == model:
            print(f"\nrecipe {recipe.name}: {recipe.data}, {recipe.settings}\n  source: {recipe.source}")
            for meaning, value in recipe.published.items():
                print(f"  published {meaning}: {value}")


@app.command
def resume(run: Path, /) -> None:
    """Continue an interrupted run from its checkpoint.

    :param run: Folder of the run.
    """
    logs = run / "tensorboard"
    _report(run, _run(lambda watcher: runs.resume(run, watcher), logs if logs.is_dir() else None))


@app.command(name="evaluate")
def evaluate_run(
    run: Path,
    /,
    *,
    data: str | None = None,
    split: str = "test",
    particles: int = 16,
    at_a_time: int = MAX_ROWS,
    as_json: bool = False,
) -> None:
    """Judge a fitted run: bounds with their standard errors, KL, active units.

    :param run: Folder of the run.
    :param data: Other data than the run's.
    :param split: train, validation, test or all.
    :param particles: Draws of the guide for each datum, and the k of IWAE-k.
    :param at_a_time: Rows, data times draws, that are evaluated together: fewer take less memory.
    :param as_json: Print JSON instead of words.
    """
    if at_a_time < 1 or particles < 1:
        raise RunError(f"--particles and --at-a-time are at least 1, not {particles} and {at_a_time}.")
    spec, pair = runs.load(run)
    dataset = _dataset(spec, pair, data, split)
    fitted_to = ("train",) if spec.validation else ("train", "validation", "all")
    held_out = data is not None or split not in fitted_to
    metrics = evaluate_split(pair, dataset, held_out, particles, at_a_time)
    if as_json:
        print(json.dumps({split: metrics, "data": dataset.name}, indent=2))
    else:
        print("\n".join(format_metrics(split, metrics)))


@app.command(name="sample")
def sample_run(run: Path, /, *, n: int = 64, out: Path | None = None, seed: int = 0) -> None:
    """Draw from a fitted model: arrays in an .npz file, or a picture.

    :param run: Folder of the run.
    :param n: Number of draws.
    :param out: An .npz file for the arrays or a .png file for a picture [RUN/figures/sample.png].
    :param seed: Of the draws.
    """
    import numpy as np

    from gallery.figures import samples

    spec, pair = runs.load(run)
    dataset = _dataset(spec, pair, None, "test")
    if out is None:
        out = run / "figures" / "sample.png"
        out.parent.mkdir(exist_ok=True)
    if out.suffix not in (".npz", ".png"):
        raise RunError(f"--out must end in .npz or .png, and {out} does not.")
    if not out.parent.is_dir():
        raise RunError(f"there is no folder {out.parent}: make it first.")
    if out.suffix == ".png" and dataset.is_image:
        samples(pair, dataset, n, seed).savefig(out)
    elif out.suffix == ".png":
        raise RunError(f"{spec.data} has no pictures: use --out FILE.npz.")
    else:
        conditional = "given" in inspect.signature(pair.model).parameters
        given = dataset.given[torch.arange(n) % len(dataset)] if conditional else None
        drawn = sample(pair, dataset.x, n, given, seed)
        extra = {} if given is None else {"given": given.cpu().numpy()}
        np.savez(out, **{name: value.cpu().numpy() for name, value in drawn.items()}, **extra)
    print(out)


@app.command(name="export")
def export_run(
    run: Path,
    /,
    *,
    to: Literal["arviz", "onnx"],
    out: Path | None = None,
    data: str | None = None,
    split: str = "test",
    n: int = 100,
    draws: int = 200,
    seed: int = 0,
) -> None:
    """Write a fitted run for other programs: its draws for ArviZ, or its encoder and decoder as ONNX.

    :param run: Folder of the run.
    :param to: arviz: draws of the guide, their log-likelihoods and new data in a NetCDF file. onnx: the two networks.
    :param out: The NetCDF file [RUN/draws.nc], or the folder of the networks [RUN/onnx].
    :param data: Other data than the run's.
    :param split: train, validation, test or all.
    :param n: How many of the data: those that are drawn for, or that the networks are checked on.
    :param draws: Of the guide for each datum, in ArviZ's file.
    :param seed: Of the draws.
    """
    spec, pair = runs.load(run)
    for line in export(run, spec, pair, _dataset(spec, pair, data, split).head(n), to, out, draws, seed):
        print(line)


def _dataset(spec: Run, pair: nn.Module, name: str | None, split: str) -> data.Dataset:
    """A split of the data of a run, or of others by name, which the pair has to take."""
    dataset = data.load(name or spec.data, split).to(spec.settings.torch_device(), spec.settings.dtype)
    if "data_dim" in spec.keywords and dataset.x.shape[1] != spec.keywords["data_dim"]:
        fitted = spec.keywords["data_dim"]
        raise RunError(f"{dataset.name} has rows of {dataset.x.shape[1]} values; the run was fitted to {fitted}.")
    if name is not None:
        check_fit(pair, dataset.scored(), dataset.given)
    return dataset


@data_app.default
def list_data() -> None:
    """List the data sets."""
    table = Table("data", "what it is", "size", "pixel transforms", "here", box=None)
    for row in data.describe():
        table.add_row(row.name, row.description, row.size, " ".join(row.transforms), "yes" if row.available else "no")
    Console(width=160 if not sys.stdout.isatty() else None).print(table)
    print("\nImages need a pixel law: mnist:threshold. Your own: path/to/images.npz:grey, or a folder of pictures.")


@data_app.command
def download(name: str, /) -> None:
    """Fetch a data set into $GALLERY_DATA, or the user's cache folder.

    :param name: mnist, fashion-mnist or kmnist.
    """
    print(data.download(name))


@app.command(name="reproduce")
def reproduce_recipes(
    *names: str,
    seeds: int = 5,
    first_seed: int = 0,
    quick: bool = False,
    out: Path = Path("reproduced"),
    ledger: Path | None = None,
) -> None:
    """Run recipes, seed by seed, into a ledger beside what is published; goes on where it was interrupted.

    :param names: Recipes (`gallery show MODEL` lists those of a model); all of them if none is named.
    :param seeds: Number of seeds.
    :param first_seed: The first of them.
    :param quick: A few epochs each, on the embedded digits instead of larger images.
    :param out: Folder of the runs.
    :param ledger: The file with the numbers [OUT/ledger.json].
    """
    from gallery.ledger.reproduce import reproduce

    if seeds < 1 or first_seed < 0:
        raise RunError(f"--seeds is at least 1 and --first-seed at least 0: not {seeds} and {first_seed}.")
    for name in names:
        if name not in RECIPES:
            raise unknown("recipe", name, RECIPES, "gallery show MODEL")
    file = ledger or out / "ledger.json"
    reproduce(names or RECIPES, range(first_seed, first_seed + seeds), out, file, quick)
    print(f"ledger: {file}")


@app.command
def check(model: str, /, *, data: str | None = None, objective: str | None = None) -> None:
    """Hold a model against the contract of CONTRIBUTING.md: what is broken, at which site, and how to mend it.

    :param model: A model of your own, path/to/file.py:CLASS, or one of the gallery's.
    :param data: Data set and pixel law, or a file [that of its recipe, or what suits its likelihood].
    :param objective: With which it is to be fitted [enum where a site is marked for it, else trace].
    """
    from gallery.cli.check import command

    command(model, data, objective)


@app.command
def new(name: str, /, *, out: Path | None = None) -> None:
    """Write a model to begin with, which fits digits as it stands.

    :param name: Of the model: my_model is the class MyModel.
    :param out: Its file [NAME.py].
    """
    from gallery.cli.new import new

    path, title = new(name, out)
    print(f"{path}\ngallery check {path}:{title}\ngallery fit {path}:{title} --data digits:threshold")


@app.command
def bench(
    *names: str,
    json: Path | None = None,
    threads: int | None = None,
    seconds: float = 2.0,
    growth: bool = False,
) -> None:
    """Time a step beside stock Pyro, PyTorch by hand, NumPyro where it is installed, and the matrix products alone.

    :param names: Models; without any, one of each family that is written by hand.
    :param json: A file for the numbers.
    :param threads: Of the CPU.
    :param seconds: For which each contestant is timed.
    :param growth: Also how the step grows with batch size, particles, components and length: minutes more.
    """
    from gallery.bench import command

    command(names, json, threads, seconds, growth)


@app.command
def demo(*, out: Path = Path("demo"), overwrite: bool = False) -> None:
    """Fit a VAE to the embedded digits and leave the gallery's pages with it; about a minute.

    :param out: Folder of the run and of the pages.
    :param overwrite: Replace what is there.
    """
    from gallery.report.site import write_site

    settings = {"epochs": 60, "batch_size": 50, "lr": 2e-3, "lr_schedule": "cosine"}
    keywords = {"latent_dim": 2, "hidden": [128, 128], "dropout": 0.0}
    run = Run.of("vae", None, "digits:dequantized", keywords, settings, validation=True)
    _report(out / "run", _run(lambda watcher: runs.start(run, out / "run", overwrite, watcher)))
    print(f"site: {write_site(out / 'site', out / 'run').resolve()}")


@app.command
def site(*, runs: Path | None = None, out: Path = Path("site")) -> None:
    """Write the gallery as static pages, to be opened from disk or put on any web server.

    :param runs: A folder; every finished run below it gets a page.
    :param out: Folder of the pages, new, empty or of an earlier site.
    """
    from gallery.report.site import write_site

    print(f"site: {write_site(out, runs).resolve()}")


_OF_MODEL: dict[str, Callable[[str], Callable]] = {"fit": _fit_command, "compare": _compare_command}


def command_of(arguments: list[str]) -> tuple[App, list[str]]:
    """(the command that is meant, what is left of the arguments): those on a model have flags that are read off it."""
    if len(arguments) > 1 and arguments[0] in _OF_MODEL and not arguments[1].startswith("-"):
        what, name, *rest = arguments
        command = App(name=f"gallery {what} {name}", help_format="plaintext", suppress_keyboard_interrupt=False)
        command.default(_OF_MODEL[what](name))
        return command, rest
    return app, arguments


def _call(arguments: list[str]) -> None:
    command, rest = command_of(arguments)
    command(rest, exit_on_error=False, print_error=False, result_action="return_value")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0, 2 for what the user can mend, 130 after Ctrl-C, 1 where nobody reads
    what it prints any more."""
    try:
        code = _main(argv)
        print(end="", flush=True)  # what is left of the output, while its reader's absence can still be caught
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more
        return 1
    return code


def _main(argv: Sequence[str] | None) -> int:
    torch.set_flush_denormal(True)
    warnings.filterwarnings("ignore", "Encountered (NaN|\\+/-inf)", UserWarning)  # said better by the fit itself
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    argv_command = list(itertools.takewhile(lambda argument: not argument.startswith("-"), arguments))
    try:
        _call(arguments)
    except (CycloptsError, RunError, InferenceError, data.DataError) as error:
        if debug:
            traceback.print_exc()
        hint = (
            f" `gallery {' '.join(argv_command)} --help` lists them." if isinstance(error, UnknownOptionError) else ""
        )
        place = line_of(error)
        hint += f" ({place})" if place and place not in str(error) else ""
        print(f"gallery: {' '.join(str(error).split())}{hint}", file=sys.stderr)
        return 2
    except Exception as error:
        if line_of(error) is None or isinstance(error, BrokenPipeError):  # a fault of the gallery, or nobody's
            raise
        if debug:
            traceback.print_exc()
        print(f"gallery: {in_words(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = "`gallery resume RUN` continues from the checkpoint"
        if argv_command[:1] == ["compare"]:
            again = "the same command goes on with the rows that are left"
        print(f"gallery: stopped; {again}", file=sys.stderr)
        return 130
    return 0
