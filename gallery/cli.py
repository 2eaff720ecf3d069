"""The command line: `gallery COMMAND ...`, also `python -m gallery`. Here models, data and inference are joined.

Flags of `fit` are read off the model's constructor and `inference.Settings`. What is wrong is said in one line,
with exit code 2; --debug shows the traceback.
"""

import dataclasses
import inspect
import itertools
import json
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import torch
from cyclopts import App, CycloptsError, Parameter, UnknownOptionError
from rich.console import Console
from rich.table import Table

import data
from inference import InferenceError, Settings, distributed, sample
from inference.evidence import ROWS

from . import runs, watch
from .models import MODELS
from .recipes import RECIPES, recipe_for
from .spec import Run, RunError, constructor, model_class, unknown

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
app.command(fit_app)
app.command(data_app)


def _parameter_help(documented: type) -> dict[str, str]:
    """What the `:param name:` lines of a class say, its parents' included."""
    found: dict[str, str] = {}
    for cls in reversed(documented.__mro__):
        name = None
        for line in (vars(cls).get("__doc__") or "").splitlines():
            line = line.strip()
            if line.startswith(":param "):
                name, _, text = line.removeprefix(":param ").partition(": ")
                found[name] = text
            elif name and line and not line.startswith(":"):
                found[name] += f" {line}"
            else:
                name = None
    return found


def _flag(name: str, kind: Any, help: str, group: str = "Run") -> inspect.Parameter:
    """An optional flag, None where it is not given."""
    shown = Parameter(help=help, group=group, consume_multiple=True, negative_iterable=(), show_default=False)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, shown]
    )


def _report(folder: Path, metrics: dict) -> None:
    if not metrics:  # of several processes number 0 speaks
        return
    for line in describe(metrics):
        print(line)
    print(f"run: {folder}  (metrics.json, history.jsonl, weights.safetensors; pictures in {folder / 'figures'})")


def describe(metrics: dict) -> list[str]:
    """The numbers of metrics.json in words, one a line."""
    lines = []
    for split in ("test", "train"):
        entries = dict(metrics.get(split, {}))
        entries |= {f"clustering {name}": entry for name, entry in entries.pop("clustering", {}).items()}
        for name, entry in entries.items():
            if isinstance(entry, dict) and "value" in entry:
                errors = [f"{label} {entry[key]:.2g}" for key, label in _ERRORS if key in entry]
                label = f"IWAE-{entry['k']}" if name == "iwae" else {"elbo": "ELBO"}.get(name, name.replace("_", " "))
                text = f"{entry['value']:.4f} {entry['unit']}"
                lines.append(f"{split} {label}: {text} ({', '.join([*errors, 'n ' + str(entry['n'])])})")
            elif name == "active_units":
                lines.append(f"{split} active units: {entry}")
        reasons: dict[str, list[str]] = {}
        for name, reason in metrics.get(split, {}).get("undefined", {}).items():
            reasons.setdefault(reason, []).append(name)
        lines += [f"{split} {', '.join(names)}: undefined, {reason}" for reason, names in reasons.items()]
    return lines


_ERRORS = (("se", "standard error over data"), ("mc_se", "Monte Carlo"))


def _run(action: Callable[[watch.Plain | watch.Bar | None], dict]) -> dict:
    distributed.join()
    watcher = watch.watcher() if distributed.rank() == 0 else None
    try:
        return action(watcher)
    finally:
        if watcher:
            watcher.close()
        distributed.leave()


def _fit_command(name: str) -> Callable:
    """`gallery fit NAME` as a function whose signature is read off the model's constructor and Settings."""
    cls, recipe = model_class(name), recipe_for(name)
    hyper, hints = constructor(cls), get_type_hints(Settings)
    settled = {f.name: f.default for f in dataclasses.fields(Settings)} | (recipe.settings if recipe else {})
    if clash := sorted(hyper.keys() & (settled.keys() | _RUN_FLAGS.keys())):
        raise RunError(f"{name}: the hyper-parameter {clash[0]} has the name of a flag of fit: rename it.")
    of_model, of_settings = _parameter_help(cls), _parameter_help(Settings)
    signature = [_flag(flag, kind, text) for flag, (kind, text) in _RUN_FLAGS.items()]
    for key, parameter in hyper.items():
        kind = list[int] if parameter.annotation == Sequence[int] else parameter.annotation
        signature.append(_flag(key, kind, f"{of_model.get(key, '')} [{parameter.default}]", "Model"))
    for key, default in settled.items():
        signature.append(_flag(key, hints[key], f"{of_settings[key]} [{default}]", "Settings"))

    def fit(**flags) -> None:
        given = {key: value for key, value in flags.items() if value is not None}
        row = given.get("recipe")
        if row is not None and (row not in RECIPES or RECIPES[row].model != name):
            raise unknown(f"recipe for {name}", row, [r.name for r in RECIPES.values() if r.model == name])
        chosen = Run.of(
            name,
            RECIPES.get(row),
            given.get("data"),
            {key: given[key] for key in hyper if key in given},
            {key: given[key] for key in settled if key in given},
            given.get("validation"),
        )
        folder = given.get("run") or Path("runs") / f"{Path(name).name}-{Path(chosen.data).name}".replace(":", "-")
        _report(folder, _run(lambda watcher: runs.start(chosen, folder, given.get("overwrite", False), watcher)))

    fit.__doc__ = f"Fit {name}. Defaults, those of its first recipe, are in brackets."
    fit.__signature__ = inspect.Signature(signature)
    return fit


_RUN_FLAGS: dict[str, tuple[type, str]] = {
    "data": (str, "Data set and pixel law, such as mnist:threshold, or a file [that of the recipe]."),
    "run": (Path, "Folder of the run [runs/MODEL-DATA]."),
    "recipe": (str, "The recipe to start from [the first of the model]."),
    "validation": (bool, "Keep validation rows apart from training [that of the recipe]."),
    "overwrite": (bool, "Replace a run that is in the folder already."),
}


@fit_app.default
def _fit_from(
    model: str | None = None,
    /,
    *,
    from_: Annotated[Path | None, Parameter(name="--from", help="A run.json to run again.")] = None,
    run: Annotated[Path | None, Parameter(help="Folder of the run.")] = None,
    overwrite: Annotated[bool, Parameter(help="Replace a run that is in the folder already.")] = False,
) -> None:
    if from_ is None:
        raise RunError("fit needs a model, as in `gallery fit vae` (`gallery list` names them), or --from RUN.JSON.")
    if run is None:
        raise RunError("--from needs --run DIR, the folder of the new run.")
    again, _ = Run.from_json(from_)
    torch.set_num_threads(again.threads)
    _report(run, _run(lambda watcher: runs.start(again, run, overwrite, watcher)))


@app.command(name="list")
def list_models() -> None:
    """The models, with the first line of their story and the data of their recipe."""
    table = Table("model", "what it is", "data", box=None)
    for name, cls in MODELS.items():
        recipe = recipe_for(name)
        story = sys.modules[cls.__module__].__doc__ if ":" not in name else cls.__doc__.partition(". ")[2]
        table.add_row(name, story.strip().splitlines()[0], recipe.data if recipe else "")
    Console(width=140 if not sys.stdout.isatty() else None).print(table)


@app.command
def show(model: str, /) -> None:
    """The story of a model, its hyper-parameters, and what is published of it."""
    cls = model_class(model)
    print(sys.modules[cls.__module__].__doc__.strip() if cls.__module__ in sys.modules else "")
    print(f"\n{model}: {cls.__doc__.partition(':param')[0].strip()}\n")
    explained = _parameter_help(cls)
    for name, parameter in constructor(cls).items():
        print(f"  --{name.replace('_', '-')} {parameter.default}  {explained.get(name, '')}")
    for recipe in RECIPES.values():
        if recipe.model == model:
            print(f"\nrecipe {recipe.name}: {recipe.data}, {recipe.settings}\n  source: {recipe.source}")
            for meaning, value in recipe.published.items():
                print(f"  published {meaning}: {value}")


@app.command
def resume(run: Path, /) -> None:
    """Continue an interrupted run from its checkpoint.

    Parameters
    ----------
    run: Folder of the run.
    """
    _report(run, _run(lambda watcher: runs.resume(run, watcher)))


@app.command(name="evaluate")
def evaluate_run(
    run: Path,
    /,
    *,
    data: str | None = None,
    split: str = "test",
    particles: int = 16,
    at_a_time: int = ROWS,
    as_json: bool = False,
) -> None:
    """Judge a fitted run: bounds with their standard errors, KL, active units.

    Parameters
    ----------
    run: Folder of the run.
    data: Other data than the run's.
    split: train, validation, test or all.
    particles: Draws of the guide for each datum, and the k of IWAE-k.
    at_a_time: Rows, data times draws, that are evaluated together: fewer take less memory.
    as_json: Print JSON instead of words.
    """
    if at_a_time < 1:
        raise RunError(f"--at-a-time is at least 1, not {at_a_time}.")
    spec, pair = runs.load(run)
    dataset = _dataset(spec, data, split)
    metrics = {
        split: runs.judge(spec, pair, dataset, split not in ("train", "all"), particles, at_a_time),
        "data": dataset.name,
    }
    if as_json:
        print(json.dumps(metrics, indent=2))
    else:
        print("\n".join(describe({"test": metrics[split]})).replace("test ", f"{split} "))


@app.command(name="sample")
def sample_run(run: Path, /, *, n: int = 64, out: Path | None = None, seed: int = 0) -> None:
    """Draw from a fitted model: arrays in an .npz file, or a picture.

    Parameters
    ----------
    run: Folder of the run.
    n: Number of draws.
    out: An .npz file for the arrays or a .png file for a picture [RUN/figures/sample.png].
    seed: Of the draws.
    """
    import numpy as np

    from .figures import samples

    spec, pair = runs.load(run)
    dataset = _dataset(spec, None, "test")
    out = out or run / "figures" / "sample.png"
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


def _dataset(spec: Run, name: str | None, split: str) -> data.Dataset:
    dataset = data.load(name or spec.data, split).to(spec.settings.torch_device(), spec.settings.dtype)
    if "data_dim" in spec.keywords and dataset.x.shape[1] != spec.keywords["data_dim"]:
        fitted = spec.keywords["data_dim"]
        raise RunError(f"{name} has rows of {dataset.x.shape[1]} values; the run was fitted to {fitted}.")
    return dataset


@data_app.default
def list_data() -> None:
    """List the data sets."""
    table = Table("data", "what it is", "size", "pixel laws", "here", box=None)
    for row in data.describe():
        table.add_row(row.name, row.what, row.size, " ".join(row.laws), "yes" if row.available else "no")
    Console(width=160 if not sys.stdout.isatty() else None).print(table)
    print("\nImages need a pixel law: mnist:threshold. Your own: path/to/images.npz:grey, or a folder of pictures.")


@data_app.command
def download(name: str, /) -> None:
    """Fetch a data set into $GALLERY_DATA, or the user's cache folder.

    Parameters
    ----------
    name: mnist, fashion-mnist or kmnist.
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

    Parameters
    ----------
    names: Recipes (`gallery show MODEL` lists those of a model); all of them if none is named.
    seeds: Number of seeds.
    first_seed: The first of them.
    quick: A few epochs each, on the embedded digits instead of larger images.
    out: Folder of the runs.
    ledger: The file with the numbers [OUT/ledger.json].
    """
    from .reproduce import reproduce

    if seeds < 1 or first_seed < 0:
        raise RunError(f"--seeds is at least 1 and --first-seed at least 0: not {seeds} and {first_seed}.")
    for name in names:
        if name not in RECIPES:
            raise unknown("recipe", name, RECIPES)
    file = ledger or out / "ledger.json"
    reproduce(names or RECIPES, range(first_seed, first_seed + seeds), out, file, quick)
    print(f"ledger: {file}")


@app.command
def bench(
    *names: str,
    json: Path | None = None,
    threads: int | None = None,
    seconds: float = 2.0,
    growth: bool = False,
) -> None:
    """Time a step beside stock Pyro, PyTorch by hand, NumPyro where it is installed, and the matrix products alone.

    Parameters
    ----------
    names: Models; without any, one of each family that is written by hand.
    json: A file for the numbers.
    threads: Of the CPU.
    seconds: For which each contestant is timed.
    growth: Also how the step grows with batch size, particles, components and length: minutes more.
    """
    from .bench import command

    command(names, json, threads, seconds, growth)


@app.command
def demo(*, out: Path = Path("demo"), overwrite: bool = False) -> None:
    """Fit a VAE to the embedded digits and leave a page with its pictures; about half a minute.

    Parameters
    ----------
    out: Folder of the run and its page.
    overwrite: Replace what is there.
    """
    from .page import write_page

    settings = {"epochs": 60, "batch_size": 50, "lr": 2e-3, "lr_schedule": "cosine"}
    keywords = {"latent_dim": 2, "hidden": [128, 128], "dropout": 0.0}
    run = Run.of("vae", None, "digits:dequantized", keywords, settings, validation=True)
    metrics = _run(lambda watcher: runs.start(run, out, overwrite, watcher))
    _report(out, metrics)
    print(f"page: {write_page(out, run, describe(metrics)).resolve()}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0, 2 for what the user can mend, 130 after Ctrl-C."""
    torch.set_flush_denormal(True)
    warnings.filterwarnings("ignore", "Encountered (NaN|\\+/-inf)", UserWarning)  # said better by the fit itself
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    argv_command = list(itertools.takewhile(lambda argument: not argument.startswith("-"), arguments))
    try:
        if len(arguments) > 1 and arguments[0] == "fit" and not arguments[1].startswith("-"):
            name = arguments.pop(1)
            model = App(name=f"gallery fit {name}", help_format="plaintext", suppress_keyboard_interrupt=False)
            model.default(_fit_command(name))
            command, arguments = model, arguments[1:]
        else:
            command = app
        command(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except (CycloptsError, RunError, InferenceError, data.DataError) as error:
        if debug:
            traceback.print_exc()
        hint = (
            f" `gallery {' '.join(argv_command)} --help` lists them." if isinstance(error, UnknownOptionError) else ""
        )
        print(f"gallery: {' '.join(str(error).split())}{hint}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("gallery: stopped; `gallery resume RUN` continues from the checkpoint", file=sys.stderr)
        return 130
    return 0
