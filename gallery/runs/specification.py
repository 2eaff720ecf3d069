"""The specification of a run: model, hyper-parameters, data and settings, resolved from a recipe and the data."""

import inspect
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch

import data
from data import Dataset
from gallery.catalogue.needed import needs_files
from gallery.catalogue.recipe import Recipe
from gallery.catalogue.recipes import recipe_for
from gallery.errors import RunError, unknown
from gallery.runs.derived import from_data
from gallery.runs.hashes import hashes
from gallery.runs.memory import check_size, describe_allocation
from gallery.runs.parse import Number, describe_type, has_type, parse, read_json, renamed, wrong
from gallery.runs.registry import constructor, format_error, line_of, model_class
from gallery.runs.trust import check_fitted
from inference import Pair, Settings
from inference.pairs.capabilities import declared
from inference.pairs.streams import seeded

__all__ = ["Run", "run_of"]


_STORABLE = (int, float, str, list, tuple, type(None))  # hyper-parameters that run.json can hold


@dataclass(frozen=True)
class Run:
    """The specification of a fit: the content of run.json.

    :param model: name in the registry, or path/to/file.py:CLASS
    :param keywords: all keyword arguments of its constructor
    :param data: name for `data.load`, with the full path of a user's file
    :param settings: of the fit
    :param validation: whether the validation rows are kept out of the training data, and reported
    :param threads: of the CPU, part of the run because the last bits of sums depend on it
    :param levels: number of grey levels of the integers in the user's file; None for other data
    :param labels: the label of each class in the user's file; None for other data
    """

    model: str
    keywords: dict[str, Any]
    data: str
    settings: Settings
    validation: bool = True
    threads: int = 0
    levels: int | None = None
    labels: tuple[int | str, ...] | None = None

    @classmethod
    def of(
        cls,
        model: str,
        recipe: Recipe | None = None,
        data_name: str | None = None,
        keywords: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        validation: bool | None = None,
        train: Dataset | None = None,
    ) -> "Run":
        """Return a run of `model` by its recipe, with the arguments given here in place of the recipe's.

        :param recipe: the recipe; without one, the first of the model
        :param data_name: name for `data.load`
        :param keywords: of the model's constructor
        :param settings: of the fit
        :param validation: whether validation rows are kept apart
        :param train: the training data, where they are in memory and not to be loaded
        :raises RunError: if there is no such model, a keyword is unknown or has no value, or no data are named
        :raises DataError: if the data cannot be loaded
        """
        recipe = recipe or recipe_for(model)
        data_name = data_name or (recipe.data if recipe else None)
        if data_name is None:
            raise RunError(
                f"{model} has no recipe that names its data. `gallery data` lists the data sets.", ("data", "NAME")
            )
        own_settings = settings or {}
        if own_settings.get("until", "epochs") != "epochs":  # which chooses the rates itself
            own_settings = {"lr_schedule": "constant"} | own_settings
        chosen = Settings(**((recipe.settings if recipe else {}) | own_settings))
        if validation is None:
            validation = recipe.validation if recipe else True
        known = constructor(model_class(model))
        explicit = (recipe.keywords if recipe else {}) | (keywords or {})
        for name in explicit:
            if name not in known:
                raise unknown(f"hyper-parameter of {model}", name, known)
        own = train is not None or data.is_file(data_name)
        if train is None:
            train = data.load(data_name, "train" if validation else "all", dtype=chosen.dtype)
            data_name = data.absolute_name(data_name)
        derived = from_data(train, "step_dim" in declared(model_class(model)))
        resolved = {name: explicit.get(name, derived.get(name, parameter.default)) for name, parameter in known.items()}
        for name, value in resolved.items():
            if value is inspect.Parameter.empty:
                raise RunError(
                    f"{model}: {name} has no default, and only {', '.join(derived)} follow from the data. Give it a "
                    "default, or a value.",
                    (name, "VALUE"),
                )
            if not isinstance(value, _STORABLE):
                raise RunError(
                    f"{model}: {name} is {value!r}. run.json can hold numbers, strings, None, and lists of them."
                )
        if ".py:" in model:  # absolute, so that the run can be read from any folder
            path, _, attribute = model.rpartition(":")
            model = f"{Path(path).expanduser().resolve()}:{attribute}"
        return cls(
            model,
            resolved,
            data_name,
            chosen,
            validation,
            torch.get_num_threads(),
            train.levels if own else None,
            train.label_values,
        )

    def datasets(self) -> dict[str, Dataset]:
        """Return the splits of the run on its device: train, test, and validation where it is kept apart.

        :raises DataError: if the data cannot be loaded
        """
        fitted = "train" if self.validation else "all"
        splits = self._load(self.data, (fitted, "validation", "test") if self.validation else (fitted, "test"))
        if "test" not in splits:
            self.load("test")  # raises: a fit is evaluated on a test split
        splits["train"] = replace(splits.pop(fitted), first_row=0)
        return {name: splits[name] for name in ("train", "validation", "test") if name in splits}

    def load(self, split: str, name: str | None = None) -> Dataset:
        """Return a split of the run's data, or of other data `name`, on its device, read as the run's data are.

        Its `first_row` is its place among the fitted rows; of other data the pair was fitted to none.

        :raises DataError: if the data cannot be loaded, or have other levels or labels than the run's
        """
        loaded = self._load(name or self.data, (split,))
        if not loaded:
            return data.load(name or self.data, split)  # which raises
        if name is not None or split not in (("train",) if self.validation else ("train", "validation", "all")):
            return loaded[split]
        first = len(self._load(self.data, ("train",))["train"]) if split == "validation" else 0
        return replace(loaded[split], first_row=first)

    def _load(self, name: str, splits: tuple[str, ...]) -> dict[str, Dataset]:
        device, dtype = self.settings.torch_device(), self.settings.dtype
        loaded = data.load_splits(name, splits, dtype=dtype, levels=self.levels, label_values=self.labels)
        return {split: dataset.to(device, dtype) for split, dataset in loaded.items()}

    def build(self) -> Pair:
        """Return a new pair, with the initial weights of the seed of the settings.

        :raises RunError: if the constructor refuses its keywords, or the weights do not fit into the memory
        """
        with seeded(self.settings.seed, "weights"):
            return self.construct()

    def construct(self) -> Pair:
        """Return a new pair as `build` does, with weights drawn from torch's generator."""
        cls = model_class(self.model)
        self._check_keywords(cls)
        check_size(self.model, cls, self.keywords, self.settings)
        try:
            return cls(**self.keywords).to(self.settings.torch_device(), self.settings.dtype)
        except (ValueError, TypeError) as error:
            raise RunError(f"{self.model}: {' '.join(str(error).split())}") from error
        except (RuntimeError, MemoryError, OverflowError, LookupError) as error:
            if isinstance(error, RecursionError) or line_of(error) is not None:
                raise
            reason = describe_allocation(error) or format_error(error)
            raise RunError(f"{self.model} cannot be built with {_shown(self.keywords)}: {reason}.") from error

    def _check_keywords(self, cls: type) -> None:
        """Check the types of the keywords by the annotations of the constructor, and sizes to be at least 1."""
        known = constructor(cls)
        for name, value in self.keywords.items():
            if name not in known and known:
                raise unknown(f"hyper-parameter of {self.model}", name, known)
            parameter = known.get(name)
            if parameter is not None and value != parameter.default and not has_type(value, parameter.annotation):
                raise RunError(
                    f"{self.model}: {name} is {f'{value!r}'[:60]}; expected {describe_type(parameter.annotation)}."
                )
            is_size = name.endswith("_dim") or name in SIZES
            if is_size and has_type(value, int | list[int]) and (np.size(value) == 0 or np.min(value) < 1):
                raise RunError(f"{self.model}: {name} must be at least 1, not {value}.")

    def identity(self, data_hash: str) -> dict[str, Any]:
        """Return what makes this run another one than the next: the fields of run.json without folders and hardware.

        It is written into the files of weights, and compared when they are read.
        """
        content = json.loads(json.dumps(asdict(self)))
        del content["threads"], content["settings"]["device"], content["settings"]["products"]
        model = self.model.rpartition(":")[2] if ".py:" in self.model else self.model
        return content | {"model": model, "data": Path(self.data.replace("/:", ":")).name, "data_hash": data_hash}

    def to_json(self, splits: Mapping[str, Dataset]) -> str:
        """Return the text of run.json: the run, the hashes of its data, and the versions of the packages.

        :param splits: as of `datasets`
        """
        versions = {"python": platform.python_version(), "torch": torch.__version__, "pyro": pyro.__version__}
        of_splits = hashes(self.data, splits)
        content = asdict(self) | {"data_hash": of_splits.pop("train"), "hashes": of_splits}
        content["versions"] = versions | {"numpy": np.__version__}
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def from_json(cls, path: Path, trust: bool = False) -> tuple["Run", str]:
        """Return (run, hash of its training data) of a run.json.

        :param trust: accept a model in a file that this user has not fitted
        :raises RunError: if there is no such file, it is damaged, a field is wrong, or it names a file with code that
            this user has not fitted
        """
        if not path.exists():
            begun = " A fit ended here before it was written: fit again." if (path.parent / ".lock").exists() else ""
            raise RunError(f"{path.parent} holds no run: there is no {path}.{begun}")
        content = renamed(read_json(path))
        stored = parse(_Stored, content, f"{path}: ")
        for name in ("model", "data"):
            if not getattr(stored, name).isprintable():
                raise wrong(f"{path}: {name}", getattr(stored, name), str)
        if not 0 <= stored.threads <= MOST_THREADS:
            raise RunError(f"{path}: threads is {stored.threads}; expected 1 to {MOST_THREADS}. Nothing was changed.")
        for name, value in stored.keywords.items():
            if not has_type(value, _Storable):
                raise wrong(f"{path}: keywords.{name}", value, _Storable)
        check_fitted(stored.model, path, trust)
        levels, labels = stored.levels, stored.labels
        if data.is_file(stored.data) and "levels" not in content:  # written before: 256 levels, labels that are classes
            classes = stored.keywords.get("classes")
            levels, labels = 256, list(range(classes or 0)) or None
        fit = stored.settings, stored.validation, stored.threads, levels, None if labels is None else tuple(labels)
        return cls(stored.model, stored.keywords, stored.data, *fit), stored.data_hash

    def set_threads(self) -> None:
        """Let torch use the threads of the run; 0 leaves them as they are."""
        if self.threads:
            torch.set_num_threads(self.threads)


MOST_THREADS = 1024
SIZES = ("hidden", "classes", "total", "components", "states", "steps", "k")  # and all names in _dim: at least 1
_Scalar = int | Number | str | bool | None
_Storable = _Scalar | list[_Scalar]


@dataclass(frozen=True)
class _Stored:
    """The content of run.json."""

    model: str
    keywords: dict[str, Any]
    data: str
    settings: Settings
    data_hash: str
    validation: bool
    threads: int
    hashes: dict[str, str] | None = None
    versions: dict[str, Any] | None = None
    levels: int | None = None
    labels: list[int | str] | None = None


def _shown(keywords: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in keywords.items())[:200]


QUICK_EPOCHS = 10  # at most, of a quick run


def run_of(recipe: Recipe, seed: int, quick: bool = False) -> Run:
    """Return the run of a recipe with that seed, which also draws the labels of a semi-supervised data set.

    :param seed: of the fit, and of the choice of labelled data points
    :param quick: use the embedded digits instead of larger images, and at most QUICK_EPOCHS epochs
    """
    name, settings = recipe.data, recipe.settings | {"seed": seed}
    if name.endswith("-labels") and seed:
        name += f"-{seed}"
    if quick:
        settings["epochs"] = min(recipe.settings["epochs"], QUICK_EPOCHS)
        name = name.replace("mnist:", "digits:", 1) if name.startswith("mnist:") else name
        name = "digits:threshold" if needs_files(name) else name
    return Run.of(recipe.model, recipe, name, None, settings)
