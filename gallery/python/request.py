"""Model, data and settings of a fit from the arguments of `gallery.fit` and `gallery.compare`."""

import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import torch
from torch import nn

import data as data_sets
from data import Dataset
from gallery.catalogue.recipe import Recipe
from gallery.catalogue.recipes import RECIPES, recipe_for
from gallery.errors import RunError, unknown
from gallery.python.arrays import arrays_of, transform_for
from gallery.python.frames import FRAME, as_json, names_in, names_of, names_of_file
from gallery.runs.folder import ARRAYS
from gallery.runs.parse import describe_type, has_type
from gallery.runs.registry import constructor, model_class, name_of
from gallery.runs.specification import Run
from inference import Pair, Settings

__all__ = ["Request", "request"]

NAME = "arrays"  # of data in memory


@dataclass(frozen=True, eq=False)
class Request:
    """What is to be fitted.

    :param run: the specification; its data are called `arrays` where they are in memory
    :param splits: the data
    :param pair: an instance to fit, None where the run builds one
    :param arrays: the data in memory, by their names in an .npz file; None where they have a name
    :param names: of the columns of a DataFrame or a table, by which other rows are read: see `frames`
    """

    run: Run
    splits: dict[str, Dataset]
    pair: Pair | None = None
    arrays: dict[str, np.ndarray] | None = None
    names: dict[str, Any] = field(default_factory=dict)

    def stored_in(self, folder: Path) -> tuple[Run, bytes]:
        """Return the run as it stands in a folder, and the content of its data.npz, empty where its data have a name.

        :raises RunError: if its model cannot be built in another process
        """
        if self.pair is not None:
            raise RunError(
                f"the arguments of this {type(self.pair).__name__} are unknown, so it cannot be stored as a run.",
                f"Fit the class: gallery.fit({type(self.pair).__name__}, ...), with its arguments.",
            )
        if self.run.model not in known_everywhere() and ".py:" not in self.run.model:
            raise RunError(
                f"{self.run.model} is defined in a notebook or a script, where no other process finds it.",
                "Put the class into a file, and import it.",
            )
        if self.arrays is None:
            return self.run, b""
        content = io.BytesIO()
        named = {FRAME: np.array(as_json(self.names))} if self.names else {}
        np.savez(content, **self.arrays, **named)  # type: ignore[arg-type]  # of names that are strings
        transform = self.run.data.rpartition(":")[2]
        return replace(self.run, data=f"{folder.resolve() / ARRAYS}:{transform}"), content.getvalue()


def known_everywhere() -> set[str]:
    """Return the names of models that every process finds."""
    from gallery.models import MODELS
    from gallery.runs.registry import installed

    return {*MODELS, *installed()}


def request(
    model: Any,
    data: Any,
    options: dict[str, Any],
    recipe: str | None = None,
    validation: bool | None = None,
    transform: str | None = None,
    label: Any = None,
    covariates: Any = None,
    columns: Sequence[str] | None = None,
    one_hot: Sequence[str] = (),
    codes: Sequence[str] = (),
) -> Request:
    """Return the fit that the arguments of `gallery.fit` describe; the parameters are explained there.

    :raises RunError: if they do not go together
    :raises DataError: if the data are invalid
    """
    pair = model if isinstance(model, nn.Module) else None
    if not isinstance(model, str | type | nn.Module):
        raise RunError(f"model is {model!r}"[:80] + "; expected a name, a class or an instance.")
    name = model if isinstance(model, str) else name_of(model if isinstance(model, type) else type(model))
    chosen = _recipe(name, recipe)
    keywords, settings = _divided(name, options, pair)
    if data is None or isinstance(data, str):
        data = _named_data(data, label, columns=columns, covariates=covariates, one_hot=one_hot, codes=codes)
    if data is None or isinstance(data, str):
        if pair is None:
            run = Run.of(name, chosen, data, keywords, settings, validation)
            return Request(run, run.datasets(), names=names_of_file(run.data))
        data = data or (chosen.data if chosen else None)
        if data is None:
            raise RunError(f"{name} has no recipe that names its data.", "Give data.")
        held = validation if validation is not None else chosen.validation if chosen else True
        fitted = Settings(**((chosen.settings if chosen else {}) | settings))
        run = Run(name, {}, data_sets.absolute_name(data), fitted, held, torch.get_num_threads())
        return Request(run, run.datasets(), _placed(pair, fitted), names=names_of_file(run.data))
    arrays, stated = arrays_of(data, label, covariates, columns, one_hot, codes)
    x = arrays.get("x", arrays.get("x_train"))
    how = transform or stated or ("real" if x is None else transform_for(x))
    held = validation if validation is not None else chosen.validation if chosen else True
    fitted = Settings(**((chosen.settings if chosen else {}) | settings))
    splits = data_sets.from_arrays(arrays, how, NAME, fitted.dtype)
    train = splits["train" if held else "all"]
    if pair is None:
        run = Run.of(name, chosen, f"{NAME}:{how}", keywords, settings, held, train)
    else:
        levels = train.levels, train.label_values
        run = Run(name, {}, f"{NAME}:{how}", fitted, held, torch.get_num_threads(), *levels)
    kept = {"train": replace(train, first_row=0), "test": splits["test"]}
    kept |= {"validation": splits["validation"]} if held else {}
    device = fitted.torch_device()
    kept = {split: kept[split].to(device, fitted.dtype) for split in ("train", "validation", "test") if split in kept}
    names = names_in(data, label, covariates, columns, one_hot, codes)
    return Request(run, kept, None if pair is None else _placed(pair, fitted), arrays, names)


def _named_data(name: str | None, label: str | None, **parts: Sequence[str] | None) -> str | None:
    """Return the name of data with the columns that are chosen of them.

    :raises RunError: if a column is chosen by another thing than its name
    :raises DataError: if columns are chosen, and the data are no table
    """
    names = {part: names_of(of) for part, of in parts.items()}
    chosen = [one for of in names.values() for one in of] + [label] * (label is not None)
    if wrong := [one for one in chosen if not isinstance(one, str)]:
        raise RunError(f"{f'{wrong[0]!r}'[:60]} is no name of a column, and data is a name.", "Give names of columns.")
    return data_sets.table_name(name or "", label=label, **names) if chosen else name


def _placed(pair: Any, settings: Settings) -> Pair:
    return pair.to(settings.torch_device(), settings.dtype)


def _recipe(model: str, name: str | None) -> Recipe | None:
    """Return the recipe of that name, or the first one of the model."""
    if name is None:
        return recipe_for(model)
    if name not in RECIPES or RECIPES[name].model != model:
        raise unknown(f"recipe for {model}", name, [r.name for r in RECIPES.values() if r.model == model])
    return RECIPES[name]


def _divided(model: str, options: dict[str, Any], pair: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options that are hyper-parameters of a model, and those that are settings of a fit."""
    hints = get_type_hints(Settings)
    settings = {field.name for field in dataclasses.fields(Settings)}
    known = constructor(model_class(model))
    for name, value in options.items():
        if name in known and name not in settings and pair is not None:
            raise RunError(f"{name} is an argument of {model}, which is made already.", "Make it with that argument.")
        if name not in known and name not in settings:
            raise unknown(
                f"setting or hyper-parameter of {model}", name, [*known, *settings], f"gallery fit {model} --help"
            )
        if name in settings and not has_type(value, hints[name]):
            raise RunError(f"{name} is {f'{value!r}'[:60]}; expected {describe_type(hints[name])}.")
    keywords = {name: value for name, value in options.items() if name not in settings}
    return keywords, {name: value for name, value in options.items() if name in settings}
