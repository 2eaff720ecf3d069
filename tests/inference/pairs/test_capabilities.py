"""Capabilities are declared: attributes of the same name and another meaning do no harm."""

from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import data
from gallery.figures import draw
from gallery.models import MODELS
from gallery.runs.metrics import evaluate_split
from inference import SVI, InferenceError, Settings
from inference.contract.case import Case
from inference.contract.structure import capabilities as clause
from inference.pairs import capabilities
from inference.pairs.capabilities import CAPABILITIES, bounds, capability, count, declared, exact


class Mine(nn.Module):
    """A model of images with attributes that have other meanings here than in the gallery."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(64, 2), nn.Linear(2, 64)
        self.rho, self.k, self.level, self.temperature = nn.Linear(1, 1), "seven", ["low", "high"], {"warm": 3}
        self.classes, self.total, self.given_dim, self.missing = ["cat", "dog"], "all", 2.5, None
        self.posterior, self.bounds = nn.Linear(1, 1), "none"

    def corrupt(self) -> str:
        return "deleted rows"

    def classify(self) -> str:
        return "images"

    def least_squares(self) -> None:
        raise NotImplementedError

    def model(self, x, total=None):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x, total=None):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))


@pytest.fixture(scope="module")
def digits():
    return {name: data.load("digits:threshold", name).head(60) for name in ("train", "test")}


def test_a_model_with_attributes_of_another_meaning_is_fitted_drawn_and_evaluated(digits, tmp_path):
    pair, train = Mine(), digits["train"]
    losses = [loss.item() for _, loss in SVI(pair, train.x, None, Settings(epochs=2, batch_size=30))]
    assert len(losses) == 4
    names = {path.stem for path in draw(pair, digits, [], tmp_path)}  # a warning would be an error
    assert names >= {"samples", "reconstructions", "latent", "manifold"}
    assert not names & {"denoised", "sparsity", "regression", "posterior", "evidence"}
    metrics = evaluate_split(pair, digits["test"], particles=2)
    assert metrics["elbo"]["n"] == 60
    assert not metrics.keys() & {"classifier_accuracy", "evidence", "accuracy"}
    with pytest.raises(InferenceError, match="has no temperature"):
        SVI(pair, train.x, None, Settings(final_temperature=0.1))


def test_values_of_another_kind_are_ignored():
    pair = Mine()
    assert declared(pair) == ()
    assert [capability(pair, name) for name in CAPABILITIES] == [None] * len(CAPABILITIES)
    assert [count(pair, name) for name in ("classes", "total", "given_dim", "missing")] == [None] * 4
    assert exact(pair, "posterior") is None
    assert bounds(pair) == (-float("inf"), float("inf"))
    pair.classes = True
    assert count(pair, "classes") is None
    with pytest.raises(KeyError, match="expected one of corrupt, classify"):
        capability(pair, "corupt")


@pytest.mark.parametrize("name", MODELS)
def test_models_of_the_gallery_declare_what_they_have(name):
    offered = {key for key in ("corrupt", "classify", "least_squares") if callable(getattr(MODELS[name], key, None))}
    assert offered <= set(declared(MODELS[name])) <= set(CAPABILITIES)


def test_all_capabilities_are_declared_by_a_model_of_the_gallery():
    assert {key for model in MODELS.values() for key in declared(model)} == set(CAPABILITIES)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("classify", "k"), None),
        (
            ("corrupt",),
            "capability 'corrupt' is declared, and the pair has no denoise, corruption: corrupt(x, u, level)",
        ),
        (("least_squares",), "capability 'least_squares' is declared, and the pair has no design: "),
        (("colour",), "no capability 'colour'; expected one of corrupt, "),
        (("absent",), "capability 'absent' is declared, and the pair has no absent: a number."),
    ],
)
def test_the_contract_names_an_unknown_or_missing_capability(names, sentence, monkeypatch):
    monkeypatch.setitem(capabilities.CAPABILITIES, "absent", "a number")
    declaring = type("Declaring", (Mine,), {"capabilities": names})
    texts = [finding.text for finding in clause(Case(declaring, (torch.zeros(12, 64),)))]
    assert not texts if sentence is None else texts[0].startswith(sentence)
    assert all("\n" not in text for text in texts)


@pytest.mark.parametrize("name", ["corrupt", "least_squares"])
def test_a_capability_without_all_its_attributes_is_not_used(name, digits, tmp_path):
    pair = type("Declaring", (Mine,), {"capabilities": (name,)})()
    assert capability(pair, name) is None
    drawn = {path.stem for path in draw(pair, digits, [], tmp_path)}
    assert drawn >= {"reconstructions"}
    assert not drawn & {"denoised", "regression"}


def test_a_declared_temperature_is_lowered(digits):
    class Warm(Mine):
        capabilities = ("temperature",)

        def __init__(self):
            super().__init__()
            del self.temperature
            self.register_buffer("temperature", torch.tensor(1.0), persistent=False)

    pair, train = Warm(), replace(digits["train"])
    list(SVI(pair, train.x, None, Settings(epochs=2, batch_size=30, final_temperature=0.5)))
    assert 0.5 < pair.temperature.item() < 1.0
