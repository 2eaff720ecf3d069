"""A run at its first step: its pair, checked against its data."""

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import data
from data.summary import describe_missing
from gallery.errors import RunError
from gallery.runs.folder import SPECIFICATION
from gallery.runs.specification import Run
from gallery.runs.table import file_name
from inference import SVI, InferenceError, Pair
from inference.fit import distributed
from inference.pairs.capabilities import count, takes_nan
from inference.pairs.checks import ContractError
from inference.pairs.data_checks import check_scored
from inference.pairs.streams import seeded

__all__ = ["check_missing", "naming_file", "noise_of", "prepare", "print_summary"]


def prepare(run: Run, splits: dict[str, data.Dataset], pair: Pair | None = None) -> SVI:
    """Return the fit of a run at step 0.

    :param pair: the pair to fit; a new one if None
    :raises RunError: if model, data and settings do not go together
    """
    train = splits["train"]
    pair = run.build() if pair is None else pair
    _check_labels(run, pair, splits)
    check_missing(run, pair, splits)
    subject = _subject(run)
    try:
        svi = SVI(pair, train.x, train.given, run.settings, train.transform)
        scored = [] if svi.plan.is_per_data_point else [name for name in splits if name != "train"]
        for name in scored:  # a pair with parameters for each fitted row scores no others
            subject = f"{_subject(run)}, {name} rows"
            check_scored(pair, splits[name].x, splits[name].given)
    except InferenceError as error:
        message, remedy = getattr(error, "message", str(error)), getattr(error, "remedy", None)
        if train.is_image and message.startswith("Bernoulli needs values"):
            message, remedy = f"{message} {_binary_transforms(run, train.name)}", None
        if isinstance(error, ContractError):
            remedy = f"`gallery check {run.model}` checks all clauses."
        raise RunError(f"{subject}: {message}", remedy) from error
    registered = {id(parameter) for parameter in svi.parameters}
    unregistered = [name for name, p in pair.named_parameters() if p.requires_grad and id(p) not in registered]
    if unregistered:
        raise RunError(
            f"{_subject(run)}: {', '.join(unregistered)} would not be learnt: neither model nor guide "
            "registers it with pyro.module.",
            f"`gallery check {run.model}` shows the clause of the contract.",
        )
    return svi


def noise_of(run: Run) -> AbstractContextManager[None]:
    """Run a block on the stream of the noise of a run in this process; torch's generators are restored on exit."""
    device = run.settings.torch_device()
    return seeded(run.settings.seed, "noise", distributed.rank(), devices=[device] if device.type == "cuda" else [])


@contextmanager
def naming_file(folder: Path) -> Iterator[None]:
    """Let an error about model, keywords or data name the run.json that they are from."""
    try:
        yield
    except (RunError, InferenceError, data.DataError) as error:
        message = f"{folder / SPECIFICATION}: {getattr(error, 'message', error)}"
        raise RunError(message, getattr(error, "remedy", None)) from error


def print_summary(run: Run, splits: dict[str, data.Dataset], in_memory: bool = False) -> None:
    """Print what was read from the user's own data: a file, or data in memory."""
    if in_memory or data.is_file(run.data):
        print(*data.summary(splits), sep="\n", flush=True)


def _subject(run: Run) -> str:
    """Return the model and the data of a run, without the folder of a file and the choice of its columns."""
    return f"{run.model} on {file_name(run.data)}"


def _check_labels(run: Run, pair: Pair, splits: dict[str, data.Dataset]) -> None:
    """:raises RunError: if the model conditions on labels or covariates, and the data have none; or a label is unknown
    that it conditions on, and it has no `missing` label
    """
    if "given" not in inspect.signature(pair.model).parameters:
        return
    if splits["train"].given is None:
        raise RunError(
            f"{_subject(run)}: the model conditions on labels or covariates, and the data have none.",
            "Choose data that have them, or name them: `label`, `covariates`.",
        )
    if count(pair, "missing") is not None:
        return
    for name, split in splits.items():
        if split.covariates is None and split.labels is not None and (split.labels < 0).any():
            raise RunError(
                f"{_subject(run)}: {name} has unknown labels, and the model conditions on the label of every "
                "data point.",
                "Remove these rows, or fit a model with the attribute `missing`, such as ss_vae.",
            )


def check_missing(run: Run, pair: Pair, splits: Mapping[str, data.Dataset]) -> None:
    """:raises RunError: if x has missing values that the pair does not mask"""
    described = describe_missing(splits.values(), columns=True)
    if described and not takes_nan(pair):
        raise RunError(
            f"{_subject(run)}: {described}. The model does not mask them.",
            "Remove these rows or columns, or fit a model that declares the capability missing_values, such as "
            "factor_analysis:missing.",
        )


def _binary_transforms(run: Run, name: str) -> str:
    """Return the sentence that names the binarisations of an image data set, or another likelihood."""
    match = re.fullmatch(r"(.+):\w+?((?::(?:\d+|random)-labels.*)?)", name)
    if match is None:
        return ""
    base, labels = match.groups()
    if base == "arrays":  # in memory
        return 'Use transform="threshold", "static" or "dynamic", or likelihood="continuous_bernoulli".'
    binary = ", ".join(f'"{base}:{transform}{labels}"' for transform in ("threshold", "static", "dynamic"))
    other = ', or likelihood="continuous_bernoulli"' if "likelihood" in run.keywords else ""
    return f"Use one of the data {binary}{other}."
