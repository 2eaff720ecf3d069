"""The classifier of digits and the images that a model generates given a class."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from cases import SMALL, build
from torch import nn

import data
from gallery.ledger import sequence_metrics
from gallery.ledger.extra_metrics import conditional_generations, digit_judge, scores
from gallery.ledger.fields import PATHS, find_entry
from gallery.ledger.sequence_metrics import FILTERED, filtered
from gallery.models.cvae import CVAE
from gallery.models.gmvae import GMVAE
from inference import InferenceError, sample
from inference.evaluation.classification import accuracy
from inference.evaluation.probes import probe

pytestmark = pytest.mark.integration


def close(a, b, tolerance=1e-8):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="module", params=["grey", "threshold"])
def judged(request):
    splits = [data.load(f"digits:{request.param}", split) for split in ("train", "validation", "test")]
    torch.manual_seed(0)
    return digit_judge(splits[0].x, splits[0].labels, steps=500), splits


def test_a_judge_of_digits_knows_images_it_was_not_shown(judged):
    """No worse than the better of two linear classifiers on the same images, but for two standard errors."""
    evaluate_split, (train, validation, test) = judged
    for split in (validation, test):
        found = accuracy(scores(evaluate_split, split.x), split.labels)
        others = probe(train.x, train.labels, split.x, split.labels)
        bar = max(others[name]["value"] for name in ("logistic_regression", "linear_svm"))
        assert found["value"] > bar - 2 * found["se"]
        assert found["n"] == len(split)


def test_a_seed_makes_the_judge_and_nothing_else():
    train = data.load("digits:grey").head(200)
    before = torch.get_rng_state()
    first, second, other = (digit_judge(train.x, train.labels, seed, steps=3) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(scores(first, train.x), scores(other, train.x))
    close(scores(first, train.x, rows=7), scores(first, train.x), 1e-5)


def test_images_that_are_not_square_have_no_judge():
    for pixels in (60, 9):
        with pytest.raises(InferenceError, match=f"{pixels} pixels"):
            digit_judge(torch.rand(5, pixels), torch.arange(5))


class Shows(nn.Module):
    """A model that given class y draws one of the images that it has of `shown[y]`, each pixel a little noisy."""

    def __init__(self, images, shown, noise=0.05):
        super().__init__()
        self.images, self.shown, self.noise = images, shown, noise  # (classes, each, d)

    def model(self, x, given, total=None):
        with pyro.plate("data", len(x)):
            i = pyro.sample("i", dist.Categorical(torch.ones(self.images.shape[1])))
            mean = self.images[self.shown[given], i]
            pyro.sample("x", dist.Normal(mean, self.noise).to_event(1), obs=x)

    def guide(self, x, given, total=None):
        with pyro.plate("data", len(x)):
            pyro.sample("i", dist.Categorical(torch.ones(self.images.shape[1])))


@pytest.fixture(scope="module")
def gallery_of_digits():
    """A judge, and five images of each digit that it is right about."""
    train = data.load("digits:grey")
    evaluate_split = digit_judge(train.x, train.labels, steps=300)
    right = scores(evaluate_split, train.x).argmax(1) == train.labels
    return evaluate_split, torch.stack([train.x[right & (train.labels == y)][:5] for y in range(10)])


def test_generated_images_are_judged_by_what_they_show(gallery_of_digits):
    evaluate_split, images = gallery_of_digits
    like, shown = torch.zeros(1, 64), torch.arange(10)
    all_right = conditional_generations(Shows(images, shown), evaluate_split, like, 10, per_class=8)
    assert all_right["accuracy"] == {"value": 1.0, "se": 0.0, "n": 80, "unit": "fraction"}
    shown[2], shown[7] = 3, 1  # two classes are drawn as others
    some = conditional_generations(Shows(images, shown), evaluate_split, like, 10, per_class=8)
    assert [entry["value"] for entry in some["per_class"]] == [1, 1, 0, 1, 1, 1, 1, 0, 1, 1]
    assert [entry["n"] for entry in some["per_class"]] == [8] * 10
    assert some["accuracy"]["value"] == pytest.approx(0.8)
    assert some["accuracy"]["se"] == pytest.approx(math.sqrt(0.8 * 0.2 / 79))


def test_the_mean_is_judged_and_not_the_noisy_sample(gallery_of_digits):
    evaluate_split, images = gallery_of_digits
    pair, classes = Shows(images, torch.arange(10), noise=3.0), torch.arange(10).repeat_interleave(20)
    assert conditional_generations(pair, evaluate_split, torch.zeros(1, 64), 10, 20)["accuracy"]["value"] == 1
    noisy = scores(evaluate_split, sample(pair, torch.zeros(1, 64), 200, classes)["x"])
    assert (noisy.argmax(1) == classes).float().mean() < 1


def test_a_model_that_ignores_its_class_is_right_by_chance(gallery_of_digits):
    """Given any class it draws every digit as often."""
    evaluate_split, images = gallery_of_digits
    every = images.reshape(1, 50, 64).expand(10, 50, 64)
    found = conditional_generations(Shows(every, torch.arange(10)), evaluate_split, torch.zeros(1, 64), 10, 100)[
        "accuracy"
    ]
    assert abs(found["value"] - 0.1) < 4 * found["se"]


def test_draws_of_a_cvae_are_judged_and_those_of_an_unconditional_model_refused(gallery_of_digits):
    evaluate_split, _ = gallery_of_digits
    like = torch.zeros(1, 64)
    pair = CVAE(data_dim=64, latent_dim=2, hidden=(8,))
    found, again, other = (conditional_generations(pair, evaluate_split, like, 10, 30, seed) for seed in (0, 0, 1))
    drawn = sample(pair, like, 300, torch.arange(10).repeat_interleave(30), 0)["mean"]
    said = scores(evaluate_split, drawn).argmax(1).view(10, 30)
    assert [entry["value"] for entry in found["per_class"]] == pytest.approx(
        [(said[y] == y).double().mean().item() for y in range(10)]
    )
    assert found == again
    assert set(found) == set(other) == {"accuracy", "per_class"}
    with pytest.raises(InferenceError, match="no class"):
        conditional_generations(GMVAE(data_dim=64), evaluate_split, like, 10)


def test_a_particle_filter_and_iwae_are_at_least_the_elbo():
    x = torch.rand(40, SMALL["steps"] * SMALL["step_dim"]).round()
    pair = build("vrnn:steps").float()
    test = data.Dataset("mine", "test", x, (SMALL["steps"], SMALL["step_dim"]))
    found = filtered(pair, test)["filtered"]
    elbo, iwae, fivo = (found[name] for name in ("elbo", "iwae", "fivo"))
    assert {of["n"] for of in (elbo, iwae, fivo)} == {40}
    for bound in (iwae, fivo):
        assert bound["value"] > elbo["value"] - 4 * (elbo["mc_se"] + bound["mc_se"])


def test_the_fields_of_a_particle_filter_have_its_numbers(monkeypatch):
    """The number of particles of an IWAE and a FIVO, and that of the sequences, stand in their names."""
    few, pair = 3, build("vrnn:steps").float()
    monkeypatch.setattr(sequence_metrics, "FILTERED", few)
    x = torch.rand(5, SMALL["steps"] * SMALL["step_dim"]).round()
    found = filtered(pair, data.Dataset("mine", "test", x, (SMALL["steps"], SMALL["step_dim"])))
    names = [name for name, path in PATHS.items() if path.startswith("test filtered")]
    draws = [find_entry({"test": found}, name).get("k") for name in names]
    assert [name.partition(" of ")[0] for name in names] == ["ELBO", f"IWAE-{draws[1]}", f"FIVO-{draws[2]}"]
    assert find_entry({"test": found}, names[0])["n"] == few
    assert all(name.endswith(f" of {FILTERED} sequences") for name in names)
