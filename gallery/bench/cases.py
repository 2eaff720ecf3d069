"""The cases of the benchmark: pairs, their data and settings. Other models of the gallery are as in their recipes."""

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from gallery.errors import unknown
from gallery.models import MODELS
from gallery.runs.registry import model_class
from gallery.runs.specification import Run
from inference import Pair, Settings

__all__ = ["CASES", "Case", "case"]

IMAGES = 60_000  # of random pixels; unlike digits they have no pixels that are always off


@dataclass(frozen=True)
class Case:
    """A pair, its data and settings.

    :param model: name in the registry of models
    :param keywords: of its constructor
    :param settings: of the fit
    :param pixels: of random images: in {0, 1} or in [0, 1]; the data of the model's recipe if not given
    :param bfloat16: also measure the step with matrix products in bfloat16, where the device has them
    :param pyro_model: another model over the same weights, which stock Pyro fits in place of this one
    :param iwae: also time IWAE-k with this k; not at all if 0
    """

    model: str
    keywords: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    pixels: Literal["binary", "grey"] | None = None
    bfloat16: bool = False
    pyro_model: str | None = None
    iwae: int = 0

    def fit(self, **settings: Any) -> Settings:
        """Return the settings of the fit, with changes."""
        return Settings(**(self.settings | settings))

    def build(self, model: str | None = None) -> Pair:
        """Return a new pair, its weights drawn from torch's generator."""
        return model_class(model or self.model)(**self.keywords).to(self.fit().torch_device())

    def load(self) -> tuple[Tensor, Tensor | None]:
        """Return (x, given) on the device of the fit, of shapes (n, data_dim), and (n, ...) or None."""
        device = self.fit().torch_device()
        if self.pixels is None:
            train = Run.of(self.model, settings={"device": str(device)}).datasets()["train"]
            return train.x, train.given
        x = torch.rand(IMAGES, self.keywords.get("data_dim", 784), generator=torch.Generator().manual_seed(0))
        return (x if self.pixels == "grey" else (x < 0.13).float()).to(device), None


CASES: dict[str, Case] = {
    "factor_analysis": Case("factor_analysis", settings={"batch_size": 32, "lr": 1e-2}),
    "vae": Case("vae", {"hidden": (400,), "dropout": 0.0}, {"batch_size": 128}, "binary", iwae=5000),
    "vae:continuous_bernoulli": Case("vae", {"likelihood": "continuous_bernoulli"}, {"batch_size": 100}, "grey"),
    "gmvae": Case("gmvae", settings={"batch_size": 100, "objective": "enum_analytic"}, pixels="binary", bfloat16=True),
    "vrnn": Case("vrnn", settings={"batch_size": 100}, pixels="binary", pyro_model="vrnn:steps"),
}


def case(name: str) -> Case:
    """Return the case called `name`, or a case of another model with the data and settings of its recipe.

    :raises RunError: if there is no such model
    """
    if name in CASES:
        return CASES[name]
    if name not in MODELS:
        raise unknown("model", name, [*CASES, *MODELS])
    run = Run.of(name)
    settings = {key: getattr(run.settings, key) for key in ("batch_size", "lr", "adam_beta2", "objective", "particles")}
    return Case(name, run.keywords, settings)
