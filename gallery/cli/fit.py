"""`gallery fit` and `gallery demo`: the flags of a model, and the training of a run."""

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

import data as data_sets
from gallery.catalogue.recipes import RECIPES
from gallery.cli.flags import WORDS, flags_of
from gallery.errors import RunError, unknown
from gallery.runs import progress, training
from gallery.runs.folder import SPECIFICATION
from gallery.runs.report import report_table
from gallery.runs.specification import Run
from gallery.runs.table import aligned, file_name
from inference.fit import distributed

__all__ = ["demo", "demo_runs", "fit_app", "fit_command", "print_run", "train"]

fit_app = App(
    name="fit",
    help="Fit a model: `gallery fit MODEL --help` lists its flags.",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    default_parameter=WORDS,
)

FLAGS: dict[str, tuple[type, str]] = {
    "data": (str, "Data set and pixel transform, such as mnist:threshold, or a file [that of the recipe]."),
    "columns": (str, "Columns of x of a .csv, .tsv or .parquet file, with commas between [all that are left]."),
    "label": (str, "Column of the labels of such a file [none]."),
    "covariates": (str, "Columns of the covariates of such a file, with commas between [none]."),
    "one_hot": (str, "Columns of categories, read as a column of zeros and ones for each category [none]."),
    "codes": (str, "Columns of categories, read as numbers from 0 [none]."),
    "run": (Path, "Folder of the run [runs/MODEL-DATA]."),
    "recipe": (str, "The recipe to start from [the first of the model]."),
    "validation": (bool, "Keep validation rows apart from training [that of the recipe]."),
    "overwrite": (bool, "Replace a run that is in the folder already."),
    "tensorboard": (bool, "Write loss, bounds and KL of every epoch to RUN/tensorboard for TensorBoard."),
}


def print_run(folder: Path, metrics: dict[str, Any]) -> None:
    """Print the table of a finished run, where its pictures are, and commands to go on with.

    :param metrics: content of metrics.json; empty in all processes of a distributed run but the first, which prints
    """
    if not metrics:
        return
    model = Path(Run.from_json(folder / SPECIFICATION)[0].model).name
    print("", *report_table(metrics, model, file_name(metrics["data"])), "", sep="\n")
    run, site = shlex.quote(str(folder)), shlex.quote(str(folder.parent))
    rows = [
        ("fitted", f"{metrics['steps']:,} steps in {metrics['seconds']:.1f} s", ""),
        ("pictures", str(folder / "figures"), ""),
        ("next", f"gallery summary {run}", "the latents: mean, sd, quantiles"),
        ("", f"gallery site --runs {site} --open", "its page, beside those of the gallery"),
    ]
    if "elbo" in metrics["test"] | metrics["train"]:  # without a bound the prior may be flat, as of an autoencoder
        rows.insert(3, ("", f"gallery sample {run}", "new data from the model"))
    if convergence := metrics.get("convergence"):
        rows.insert(1, _convergence_row(convergence, metrics["epochs"]))
    print(*aligned(rows, indent=""), sep="\n")


def _convergence_row(convergence: dict[str, Any], epochs: int) -> tuple[str, str, str]:
    """Return the row on the outcome of a fit until the weights have converged."""
    error = convergence["weight_error"]
    within = "no bound yet" if error is None else f"weights within {error:.2g} of their optimum (estimated)"
    if convergence["converged"]:
        return "converged", f"after {epochs:,} epochs: {within}", ""
    remedy = "more epochs or particles"
    if name := convergence["drifts"]:
        within += f"; {name} drifts"
        remedy = f"more epochs, or a {name} that the loss determines"
    return "not converged", f"after all {epochs:,} epochs: {within}", remedy


def train(
    action: Callable[[progress.ProgressListener | None], dict[str, Any]], tensorboard: Path | None = None
) -> dict[str, Any]:
    """Start or resume a run, in one process or as one of several of a distributed run.

    :param action: takes the listener that shows progress, None in all processes but the first, and returns the metrics
    :param tensorboard: folder of TensorBoard's event files
    :return: the metrics of the run
    """
    if tensorboard:
        from gallery.report.export import need

        need("tensorboard", "--tensorboard")
    distributed.join()
    listener = progress.progress_listener(tensorboard) if distributed.rank() == 0 else None
    try:
        return action(listener)
    finally:
        if listener:
            listener.close()
        distributed.leave()


def chosen_data(flags: dict[str, Any]) -> str | None:
    """Return the name of the data that --data and the flags on columns choose."""
    names = {key: [one.strip() for one in flags.get(key, "").split(",") if one.strip()] for key in SEVERAL}
    if not (any(names.values()) or "label" in flags):
        return flags.get("data")
    return data_sets.table_name(flags.get("data", ""), label=flags.get("label"), **names)


SEVERAL = ("columns", "covariates", "one_hot", "codes")  # flags that take several columns


def fit_command(name: str) -> Callable[..., None]:
    """Return `gallery fit NAME` as a function of its flags."""
    hyper, settings, signature = flags_of(name, FLAGS)

    def fit(**flags: Any) -> None:
        chosen = {key: value for key, value in flags.items() if value is not None}
        recipe = chosen.get("recipe")
        if recipe is not None and (recipe not in RECIPES or RECIPES[recipe].model != name):
            known = [r.name for r in RECIPES.values() if r.model == name]
            raise unknown(f"recipe for {name}", recipe, known, f"gallery show {name}")
        run = Run.of(
            name,
            None if recipe is None else RECIPES[recipe],
            chosen_data(chosen),
            {key: chosen[key] for key in hyper if key in chosen},
            {key: chosen[key] for key in settings if key in chosen},
            chosen.get("validation"),
        )
        folder = chosen.get("run") or Path("runs") / f"{Path(name).name}-{file_name(run.data)}".replace(":", "-")
        logs = folder / "tensorboard" if chosen.get("tensorboard") else None
        overwrite = chosen.get("overwrite", False)
        print_run(folder, train(lambda listener: training.start(run, folder, overwrite, listener), logs))

    fit.__doc__ = f"Fit {name}. Defaults, those of its first recipe, are in brackets."
    fit.__signature__ = signature  # type: ignore[attr-defined]  # cyclopts reads the flags off it
    return fit


@fit_app.default
def _fit_from(
    model: str | None = None,
    /,
    *,
    from_: Annotated[Path | None, Parameter(name="--from", help="A run.json to run again.")] = None,
    run: Annotated[Path | None, Parameter(help="Folder of the run.")] = None,
    overwrite: Annotated[bool, Parameter(help="Replace a run that is in the folder already.")] = False,
    tensorboard: Annotated[bool, Parameter(help="Write every epoch to RUN/tensorboard.")] = False,
    trust: Annotated[
        bool, Parameter(help="Execute the file that --from names, also if you have not fitted it.")
    ] = False,
) -> None:
    if from_ is None:
        raise RunError("fit needs a model, as in `gallery fit vae` (`gallery list` names them), or --from RUN.JSON.")
    if run is None:
        raise RunError("--from needs --run DIR, the folder of the new run.")
    again, _ = Run.from_json(from_, trust)
    again.set_threads()
    logs = run / "tensorboard" if tensorboard else None
    print_run(run, train(lambda listener: training.start(again, run, overwrite, listener), logs))


DEMO: dict[str, dict[str, Any]] = {  # by model: settings other than those of its recipe
    "exponential_gaussian": {},
    "squared_gaussian": {"epochs": 100},
    "factor_analysis": {"epochs": 80},
    "vae": {"epochs": 60, "batch_size": 50, "lr": 2e-3, "lr_schedule": "cosine"},
}


def demo_runs() -> dict[str, Run]:
    """Return the runs of the demo by model; none needs data that are not embedded."""
    runs = {name: Run.of(name, RECIPES[name], None, {}, settings) for name, settings in DEMO.items() if name != "vae"}
    plane = {"latent_dim": 2, "hidden": [128, 128], "dropout": 0.0}
    return runs | {"vae": Run.of("vae", None, "digits:dequantized", plane, DEMO["vae"], validation=True)}


def demo(*, out: Path = Path("demo"), overwrite: bool = False) -> None:
    """Fit three models with exact answers and a VAE, and write the gallery's pages with them; one to two minutes.

    :param out: Folder of the runs and of the pages.
    :param overwrite: Replace the runs and the pages that are in the folder already.
    """
    from gallery.report.site import write_site

    for name, run in demo_runs().items():
        folder = out / "runs" / name
        print_run(folder, train(partial(training.start, run, folder, overwrite)))
        print()
    print(f"writing the pages to {out / 'site'}, up to a minute or two", flush=True)
    site = write_site(out / "site", out / "runs").resolve()
    print(f"site: {site}\nopen {site.with_name('vae.html')} to draw a digit, and see its code and its bound")
