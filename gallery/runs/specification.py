"""What a run is: a model and its hyper-parameters, data and settings; resolved from a recipe, flags and the data."""

import inspect
import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from torch import nn

import data
from gallery.catalogue.recipes import Recipe, recipe_for
from gallery.errors import RunError, unknown
from gallery.runs.registry import constructor, model_class
from inference import Settings


def from_data(dataset: data.Dataset) -> dict[str, Any]:
    """The hyper-parameters that the data settle, unless somebody says otherwise."""
    support = str(dataset.support)
    likelihood = {"Boolean()": "bernoulli", "Interval(lower_bound=0.0, upper_bound=1.0)": "continuous_bernoulli"}
    settled = {
        "data_dim": dataset.x.shape[1],
        "total": len(dataset),
        "likelihood": likelihood.get(support, "gaussian"),
    }
    if dataset.classes is not None:
        settled["classes"] = dataset.classes
    if dataset.covariates is not None:
        settled["given_dim"] = dataset.covariates.shape[1]
    return settled


_KEPT = (int, float, str, list, tuple, type(None))  # hyper-parameters that run.json can hold


@dataclass(frozen=True)
class Run:
    """What is fitted: the content of run.json.

    :param model: name in the registry, or path/to/file.py:CLASS
    :param keywords: of its constructor, all of them
    :param data: name for `data.load`, with the path of data of one's own in full
    :param settings: of the fit
    :param validation: are the validation rows kept out of the training data, and reported?
    :param threads: of the CPU; part of the run, for sums depend on it in their last bits
    """

    model: str
    keywords: dict[str, Any]
    data: str
    settings: Settings
    validation: bool = True
    threads: int = 0

    @classmethod
    def of(
        cls,
        model: str,
        recipe: Recipe | None = None,
        data_name: str | None = None,
        keywords: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        validation: bool | None = None,
    ) -> "Run":
        """A run of `model` as its recipe has it, with what is given here instead of what the recipe says."""
        recipe = recipe or recipe_for(model)
        data_name = data_name or (recipe and recipe.data)
        if data_name is None:
            raise RunError(f"{model} has no recipe that names its data: say --data NAME (`gallery data` lists them).")
        chosen = Settings(**((recipe.settings if recipe else {}) | (settings or {})))
        if validation is None:
            validation = recipe.validation if recipe else True
        known = constructor(model_class(model))
        explicit = (recipe.keywords if recipe else {}) | (keywords or {})
        for name in explicit:
            if name not in known:
                raise unknown(f"hyper-parameter of {model}", name, known)
        settled = from_data(data.load(data_name, "train" if validation else "all"))
        resolved = {name: explicit.get(name, settled.get(name, parameter.default)) for name, parameter in known.items()}
        for name, value in resolved.items():
            if value is inspect.Parameter.empty:
                raise RunError(
                    f"{model}: {name} has no default, and the data settle {', '.join(settled)} only: say "
                    f"--{name.replace('_', '-')}, or give it a default."
                )
            if not isinstance(value, _KEPT):
                raise RunError(
                    f"{model}: {name} is {value!r}. Only numbers, words and lists of them are kept in run.json."
                )
        if ".py:" in model:  # it is found again from another folder
            path, _, attribute = model.rpartition(":")
            model = f"{Path(path).expanduser().resolve()}:{attribute}"
        return cls(model, resolved, data.absolute_name(data_name), chosen, validation, torch.get_num_threads())

    def datasets(self) -> dict[str, data.Dataset]:
        """The splits of the run on its device: train, test, and validation where it is kept apart."""
        device, dtype = self.settings.torch_device(), self.settings.dtype
        splits = {"train": data.load(self.data, "train" if self.validation else "all")}
        for name in ("validation", "test") if self.validation else ("test",):
            try:
                splits[name] = data.load(self.data, name)
            except data.DataError:  # a set that has no such split
                if name == "test":
                    raise
        return {name: dataset.to(device, dtype) for name, dataset in splits.items()}

    def build(self) -> nn.Module:
        """A new pair, its weights drawn from torch's generator.

        :raises RunError: if the constructor refuses its keywords
        """
        sizes = {k: v for k, v in self.keywords.items() if k.endswith("_dim") or k in ("hidden", "classes", "total")}
        for name, size in sizes.items():
            if np.min(size, initial=1) < 1 or np.size(size) == 0:
                raise RunError(f"{self.model}: {name} must be at least 1, not {size}.")
        try:
            pair = model_class(self.model)(**self.keywords)
        except (ValueError, TypeError) as error:
            raise RunError(f"{self.model}: {' '.join(str(error).split())}") from error
        return pair.to(self.settings.torch_device(), self.settings.dtype)

    def to_json(self, train: data.Dataset) -> str:
        """run.json: the run, the hash of its data and the versions it was made with."""
        versions = {"python": platform.python_version(), "torch": torch.__version__, "pyro": pyro.__version__}
        content = asdict(self) | {"data_hash": train.hash, "versions": versions | {"numpy": np.__version__}}
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def from_json(cls, path: Path) -> tuple["Run", str]:
        """(run, hash of its training data) of a run.json.

        :raises RunError: if it is not one
        """
        try:
            content = json.loads(Path(path).read_text())
            run = cls(
                content["model"],
                content["keywords"],
                content["data"],
                Settings(**content["settings"]),
                content["validation"],
                content["threads"],
            )
            return run, content["data_hash"]
        except OSError:
            raise RunError(f"{Path(path).parent} holds no run: there is no {path}.") from None
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise RunError(f"{path} is damaged ({' '.join(str(error).split())[:80]}); nothing was changed.") from error


QUICK_EPOCHS = 10


def run_of(recipe: Recipe, seed: int, quick: bool = False) -> Run:
    """The run of a recipe with that seed, which also draws the labels where few are shown.

    :param quick: on the embedded digits instead of larger images, for a few epochs
    """
    name, keywords, settings = recipe.data, {}, recipe.settings | {"seed": seed}
    if name.endswith("-labels") and seed:
        name += f"-{seed}"
    if quick:
        settings["epochs"] = min(recipe.settings["epochs"], QUICK_EPOCHS)
        if name.startswith("mnist:"):
            name = name.replace("mnist:", "digits:")
            keywords = {"steps": 8} if recipe.model.startswith("vrnn") else {}
    return Run.of(recipe.model, recipe, name, keywords, settings)
