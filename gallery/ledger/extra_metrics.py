"""The metrics of the ledger beyond those of a run: of codes, of reconstructions, of images generated for a class.

Generated images are classified by a network that is trained on real images only.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Dataset
from gallery.ledger.sequence_metrics import elbo_per_step, filtered
from gallery.models.denoising_autoencoder import Corruption, DenoisingAutoencoder
from gallery.runs.metrics import (
    Metric,
    Subject,
    compute,
    has_reconstructions,
    k_hat,
    labels_of,
    reconstruction_error,
    squared_error,
)
from inference import InferenceError, Pair, bdmc, encode, evaluate, sample
from inference.evaluation.classification import accuracy
from inference.evaluation.jacobian import mean_jacobian_norm
from inference.evaluation.mutual_information import mutual_information
from inference.evaluation.probes import features, probe
from inference.pairs.capabilities import capability
from inference.pairs.run import Batch
from inference.pairs.sites import is_autoregressive
from inference.pairs.streams import seeded
from inference.products import using_products

__all__ = [
    "EXTRA_METRICS",
    "LEDGER_METRICS",
    "conditional_generations",
    "digit_judge",
    "ledger_metrics",
    "scores",
]

STEPS, BATCH = 1500, 128  # of the classifier: three epochs of the 60,000 images of MNIST
PROBED = 5_000  # training rows of a probe
CORRUPTIONS: dict[Corruption, float] = {"uniform": 0.5, "masking": 0.5, "gaussian": 0.5, "salt_pepper": 0.5}
RATE = 2e-3  # of Adam at the start; it falls linearly to 0


def digit_judge(train_x: Tensor, train_labels: Tensor, seed: int = 0, steps: int = STEPS) -> nn.Module:
    """Train a convolutional classifier of square images: (n, side * side) to (n, classes) logits.

    Two layers of 3 x 3 convolutions, each halving the side, and one hidden layer; in minibatches of 128 drawn with
    replacement. It shares nothing with a generative model. It is applied to means E[x | z], so train it on grey images,
    which resemble those most. On a CPU a seed gives the same weights to the bit; random generators are put back.

    :param train_x: (n, side * side), pixels in [0, 1]
    :param train_labels: (n,), integers from 0 on
    :raises InferenceError: if the images are not square, or less than 4 pixels wide
    """
    n, side = len(train_x), math.isqrt(train_x.shape[1])
    if side * side != train_x.shape[1] or side < 4:
        raise InferenceError(f"the classifier reads square images of side 4 at least, not {train_x.shape[1]} pixels.")
    devices = [train_x.device] if train_x.is_cuda else []
    with seeded(seed, "digit_judge", devices=devices), using_products(), torch.enable_grad():
        classifier = nn.Sequential(
            nn.Unflatten(1, (1, side, side)),
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            nn.Flatten(),
            *(nn.Linear(32 * (side // 4) ** 2, 128), nn.ReLU()),
            nn.Linear(128, int(train_labels.max()) + 1),
        ).to(train_x)
        optimiser = torch.optim.Adam(classifier.parameters(), RATE)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
        for _ in range(steps):
            rows = torch.randint(n, (BATCH,), device=train_x.device)
            loss = F.cross_entropy(classifier(train_x[rows]), train_labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return classifier.eval()


def scores(classifier: nn.Module, x: Tensor, rows: int = 1000) -> Tensor:
    """Return the logits of images (n, d) without gradient, (n, classes), from `rows` images at a time."""
    with using_products(), torch.no_grad():
        return torch.cat([classifier(part) for part in x.split(rows)])


def conditional_generations(
    pair: Pair,
    classifier: nn.Module,
    like: Tensor,
    classes: int,
    per_class: int = 100,
    seed: int = 0,
) -> dict:
    """Estimate the fraction of images generated for a class, as many of each, that a classifier puts in that class.

    The classifier is given the *mean* image E[x | z, y] of each draw z, not a sample x from it: a sample has
    independent noise in its pixels, which no real image has, and a classifier of real images would count it as an error
    of the class. The classifier errs too: state its accuracy on real test images beside this.

    :param like: data of the shape and type to be generated, (any, d); its values are not used
    :return: "accuracy" of all images, and "per_class", a list of it for each class, each {"value", "se", "n", "unit":
        "fraction"} with the binomial standard error
    :raises InferenceError: if the model does not condition on a class
    """
    intended = torch.arange(classes, device=like.device).repeat_interleave(per_class)
    if len(Batch(like[:1], intended[:1]).args(pair)) == 1:
        raise InferenceError(f"{type(pair).__name__} conditions on no class, so its images have no intended one.")
    logits = scores(classifier, sample(pair, like, len(intended), intended, seed)["mean"])
    by_class = zip(logits.split(per_class), intended.split(per_class), strict=True)
    return {"accuracy": accuracy(logits, intended), "per_class": [accuracy(part, y) for part, y in by_class]}


def bdmc_100(pair: Pair, test: Dataset, seed: int = 0) -> dict[str, dict]:
    """Return `inference.bdmc` of 100 data points simulated from the model, in nats per data point, as "sandwich".

    Where it does not apply, "sandwich" has the reason as "undefined".
    """
    batch = Batch(test.x, test.given)
    n = 100 if test.given is None else min(100, len(test))
    try:
        return {"sandwich": bdmc(pair, batch.x, n, batch[:n].given, seed=seed)}
    except InferenceError as error:
        return {"sandwich": {"undefined": str(error)}}


def iwae(pair: Pair, test: Dataset, seed: int = 0, draws: int = 5_000) -> dict[str, dict]:
    """Return IWAE of all test data, as "iwae_5000": with 5,000 draws the log p(x) that is published of many VAEs."""
    return {f"iwae_{draws}": evaluate(pair, test.scored(), test.given, particles=draws, seed=seed)["iwae"]}


EXTRA_METRICS: dict[str, tuple[str, Callable[[Pair, Dataset, int], dict[str, dict]]]] = {
    "k_hat": ("test", k_hat),
    "iwae_5000": ("test", iwae),
    "iwae_1000": ("test", partial(iwae, draws=1_000)),
    "elbo_per_step": ("test", elbo_per_step),
    "filtered": ("test", filtered),
    "sandwich": ("simulated", bdmc_100),
}
"""By the name that a recipe lists: the entry of metrics.json that the numbers go to, and the function of the
pair, the test data and a seed."""


_PIXEL_PROBES: dict[tuple[str, str], dict] = {}  # by data: they are the same for all pairs


def _pixel_probe(train: Dataset, test: Dataset) -> dict:
    key = train.hash, test.hash
    if key not in _PIXEL_PROBES:
        _PIXEL_PROBES[key] = probe(train.x, train.labels, test.x, test.labels)
    return _PIXEL_PROBES[key]


def _train(s: Subject) -> Dataset:
    """Return the data that the pair was fitted to."""
    assert s.train is not None
    return s.train


def _has_code_probe(s: Subject) -> bool:
    return s.dataset.labels is not None and bool(s.info.codes) and not s.info.conditions_on_class


def _probe(s: Subject) -> dict[str, Any]:
    few, test = _train(s).head(PROBED), s.dataset
    codes = [features(s.pair, part.x, part.given, s.seed) for part in (few, test)]
    return {"probe": probe(codes[0], few.labels, codes[1], test.labels)}


def _has_few_labels(s: Subject) -> bool:
    known = _train(s).known
    return known is not None and bool(known.any())


def _same_labels(s: Subject) -> dict[str, Any]:
    train, test = _train(s), s.dataset
    return {"same_labels": probe(train.x[train.known], labels_of(train)[train.known], test.x, test.labels)}


def _mutual_information(s: Subject) -> dict[str, Any]:
    try:
        return {"mutual_information": mutual_information(s.pair, s.dataset.x, s.dataset.given, seed=s.seed)}
    except InferenceError as error:
        return {"mutual_information": {"undefined": str(error)}}


def _mean_image(s: Subject) -> dict[str, Any]:
    known = _train(s).x.nanmean(0).nan_to_num()  # 0 where no training row has a value
    return {"mean_image": squared_error(s.dataset.x, known.expand_as(s.dataset.x))}


def _is_deterministic(s: Subject) -> bool:
    return len(s.info.delta_sites) == len(s.info.guide_sites)


def _jacobian_norm(s: Subject) -> dict[str, Any]:
    return {"jacobian_norm": mean_jacobian_norm(s.pair, s.dataset.x[:1000])}


def _corrupted_error(s: Subject) -> dict[str, Any]:
    x, errors = s.dataset.x, {}
    with seeded(s.seed, "corrupted_error"):
        for kind, level in CORRUPTIONS.items():
            corrupt = DenoisingAutoencoder(data_dim=x.shape[1], corruption=kind, level=level).corrupt
            with torch.no_grad():
                errors[kind] = squared_error(x, s.pair.decoder(s.pair.encoder(corrupt(x))).mean)
    return {"corrupted_error": errors}


def _mean_activation(s: Subject) -> dict[str, Any]:
    activation, rho = encode(s.pair, s.dataset.x)["z"].mean(0), capability(s.pair, "rho")
    entry = {"value": activation.mean().item(), "rho": rho, "n": len(s.dataset)}
    return {"mean_activation": entry | {"largest_distance": (activation - rho).abs().max().item()}}


def _most_nonzero(s: Subject) -> dict[str, Any]:
    nonzero = (encode(s.pair, s.dataset.x)["z"] != 0).sum(1)
    return {"most_nonzero": {"value": int(nonzero.max()), "k": capability(s.pair, "k")}}


def _generations(s: Subject) -> dict[str, Any]:
    grey = s.grey or {}
    train, test = grey["train"], grey["test"]
    classifier = digit_judge(train.x, labels_of(train), s.seed)
    return {
        "judge_accuracy": accuracy(scores(classifier, test.x), labels_of(test)),
        "generations": conditional_generations(s.pair, classifier, s.dataset.x, s.dataset.classes or 0, seed=s.seed),
    }


LEDGER_METRICS: tuple[Metric, ...] = (
    Metric("probe", _has_code_probe, _probe),
    Metric("pixel_probe", _has_code_probe, lambda s: {"pixel_probe": _pixel_probe(_train(s).head(PROBED), s.dataset)}),
    Metric("same_labels", _has_few_labels, _same_labels),
    Metric(
        "mutual_information",
        lambda s: not any(map(is_autoregressive, s.info.guide_sites.values())),
        _mutual_information,
    ),
    Metric(
        "jacobian_norm", _is_deterministic, lambda s: {"jacobian_norm": mean_jacobian_norm(s.pair, s.dataset.x[:1000])}
    ),
    Metric("reconstruction_error", has_reconstructions, reconstruction_error),
    Metric("mean_image", has_reconstructions, _mean_image),
    Metric("corrupted_error", lambda s: _is_deterministic(s) and s.dataset.is_image, _corrupted_error),
    Metric("mean_activation", lambda s: capability(s.pair, "rho") is not None, _mean_activation),
    Metric("most_nonzero", lambda s: capability(s.pair, "k") is not None, _most_nonzero),
    Metric(
        "generations",
        lambda s: s.info.conditions_on_class and capability(s.pair, "classify") is None and s.grey is not None,
        _generations,
    ),
)


def ledger_metrics(
    pair: Pair, train: Dataset, test: Dataset, grey: dict[str, Dataset] | None = None, seed: int = 0
) -> dict[str, dict]:
    """Return all LEDGER_METRICS of a pair that apply; none if its guide has no codes for new data.

    They are "probe" of the codes and "pixel_probe" of the pixels; "mutual_information"; "jacobian_norm" of a
    deterministic code; "reconstruction_error" beside that of the "mean_image", and of a deterministic code the
    "corrupted_error" of corrupted images against the clean ones; "mean_activation" and "most_nonzero" of a code with
    such a constraint; "generations" of a model that conditions on a class, and "judge_accuracy", that of their
    classifier on real images; where few labels are known, "same_labels", a probe of the pixels of those rows alone.

    :param grey: "train" and "test" as grey images, for the classifier of generations
    :param seed: of the noise
    """
    if train.transform is not None:  # pixels that the model cannot score before they are drawn
        with seeded(seed, "pixels"):
            train = replace(train, x=train.scored(), transform=None)
    subject = Subject(pair, test, seed=seed, train=train, grey=grey)
    if subject.info.is_per_data_point or subject.info.has_global_latent or not subject.info.guide_sites:
        return {}
    return compute(LEDGER_METRICS, subject)
