"""What the ledger asks of a fitted pair beyond its bounds: codes, reconstructions, generated images of a class.

Whether these are what they were asked to be is said by a classifier that knows real images only.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Dataset
from gallery.figures.traits import Traits
from gallery.models.denoising_autoencoder import DenoisingAutoencoder
from gallery.runs.training import k_hat
from inference import InferenceError, bdmc, encode, evaluate, reconstruct, sample
from inference.evaluation.classification import accuracy
from inference.evaluation.estimate import Estimate
from inference.evaluation.jacobian import mean_jacobian_norm
from inference.evaluation.mutual_information import mutual_information
from inference.evaluation.probes import features, probe
from inference.pairs.sites import is_delta

STEPS, BATCH = 1500, 128  # three times through the 60,000 images of MNIST
IWAE_DRAWS = 5_000
PROBED = 5_000  # training rows that a probe of codes is fitted to
CORRUPTIONS = {"uniform": 0.5, "masking": 0.5, "gaussian": 0.5, "salt_pepper": 0.5}
RATE = 2e-3  # Adam's at the start; it falls linearly to 0


def digit_judge(train_x: Tensor, train_labels: Tensor, seed: int = 0, steps: int = STEPS) -> nn.Module:
    """A convolutional classifier of square images, fitted to real ones: (n, side * side) to (n, classes) logits.

    Two layers of 3 x 3 convolutions, each halving the side, and one hidden layer; in minibatches of 128 drawn with
    replacement. It shares nothing with a generative model. It is to judge means E[x | z], so fit it to grey images,
    which those are most like. On a CPU a seed gives the same judge to the bit; no other random numbers are touched.

    :param train_x: (n, side * side), pixels in [0, 1]
    :param train_labels: (n,), integers from 0 on
    :raises InferenceError: if the images are not square, or less than 4 pixels wide
    """
    n, side = len(train_x), math.isqrt(train_x.shape[1])
    if side * side != train_x.shape[1] or side < 4:
        raise InferenceError(f"a judge reads square images of side 4 at least, and not {train_x.shape[1]} pixels.")
    devices = [train_x.device] if train_x.is_cuda else []
    with torch.random.fork_rng(devices), torch.enable_grad():
        torch.manual_seed(seed)
        judge = nn.Sequential(
            nn.Unflatten(1, (1, side, side)),
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            nn.Flatten(),
            *(nn.Linear(32 * (side // 4) ** 2, 128), nn.ReLU()),
            nn.Linear(128, int(train_labels.max()) + 1),
        ).to(train_x)
        optimiser = torch.optim.Adam(judge.parameters(), RATE)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
        for _ in range(steps):
            rows = torch.randint(n, (BATCH,), device=train_x.device)
            loss = F.cross_entropy(judge(train_x[rows]), train_labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return judge.eval()


def scores(judge: nn.Module, x: Tensor, rows: int = 1000) -> Tensor:
    """What the judge says of images (n, d), so many at a time, without gradient: logits (n, classes)."""
    with torch.no_grad():
        return torch.cat([judge(part) for part in x.split(rows)])


def conditional_generations(
    pair: nn.Module,
    judge: nn.Module,
    like: Tensor,
    classes: int,
    per_class: int = 100,
    seed: int = 0,
) -> dict:
    """Of images drawn from the model given a class, as many of each: which fraction does the judge put in that class?

    What is judged is the *mean* image E[x | z, y] of each draw z, not a sample x from it: a sample has the independent
    noise of its pixels, which no real image has, and a judge of real images would count it as an error of the class.
    The judge errs too: state its accuracy on real test images beside this.

    :param like: data of the shape and kind to be drawn, (any, d); its values are not used
    :return: "accuracy" of all images, and "per_class", a list of it for each class, each {"value", "se", "n", "unit":
        "fraction"} with the binomial standard error
    :raises InferenceError: if the model does not condition on a class
    """
    if "given" not in inspect.signature(pair.model).parameters:
        raise InferenceError(f"{type(pair).__name__} conditions on no class: there is no intended one to judge by.")
    intended = torch.arange(classes, device=like.device).repeat_interleave(per_class)
    said = scores(judge, sample(pair, like, len(intended), intended, seed)["mean"])
    per_class_said = zip(said.split(per_class), intended.split(per_class), strict=True)
    return {"accuracy": accuracy(said, intended), "per_class": [accuracy(s, y) for s, y in per_class_said]}


def both_sides(pair: nn.Module, test: Dataset) -> dict[str, dict]:
    """What `inference.sandwich` says of 100 data simulated from the model, in nats per data point, as "sandwich"; or why it
    is "undefined"."""
    n = 100 if test.given is None else min(100, len(test))
    try:
        return {"sandwich": bdmc(pair, test.x, n, None if test.given is None else test.given[:n])}
    except InferenceError as error:
        return {"sandwich": {"undefined": str(error)}}


def iwae_5000(pair: nn.Module, test: Dataset) -> dict[str, dict]:
    """IWAE-5000 of all test data as "iwae_5000", the estimate of log p(x) that is published of many VAEs."""
    return {"iwae_5000": evaluate(pair, test.scored(), test.given, particles=IWAE_DRAWS)["iwae"]}


EXTRA_METRICS: dict[str, tuple[str, Callable[[nn.Module, Dataset], dict[str, dict]]]] = {
    "k_hat": ("test", k_hat),
    "iwae_5000": ("test", iwae_5000),
    "sandwich": ("simulated", both_sides),
}
"""By the name that a recipe lists: the data that they judge a fitted pair by, and the judge, whose numbers go there."""


def _error(x: Tensor, other: Tensor) -> Estimate:
    return Estimate.of_mean((x - other).square().sum(1), "squared error summed over pixels, per data point")


_PIXEL_PROBES: dict[tuple[str, str], dict] = {}  # by data: they are the same for all pairs


def _pixel_probe(train: Dataset, test: Dataset) -> dict:
    key = train.hash, test.hash
    if key not in _PIXEL_PROBES:
        _PIXEL_PROBES[key] = probe(train.x, train.labels, test.x, test.labels)
    return _PIXEL_PROBES[key]


def ledger_metrics(
    pair: nn.Module, train: Dataset, test: Dataset, grey: dict[str, Dataset] | None = None
) -> dict[str, dict]:
    """What applies of: "probe" of the codes and "pixel_probe" of the pixels themselves; "mutual_information";
    "jacobian_norm" of a point guide; "reconstruction_error" beside that of the "mean_image", and for autoencoders
    of corrupted images "corrupted_error" against the clean ones; "mean_activation" and "most_nonzero" of a code with
    such a constraint; "generations" of a model that conditions on a class, and "judge_accuracy"; where few labels are
    shown, the "same_labels" as a pixel probe has them, without the other images.

    :param grey: "train" and "test" as grey images, for the judge of generations
    """
    traits = Traits(pair, test)
    if traits.per_datum or traits.is_global or not traits.guide:
        return {}
    if train.transform is not None:  # a pixel law of minibatches, without which the model cannot score them
        with torch.random.fork_rng():
            torch.manual_seed(0)
            train = replace(train, x=train.scored(), transform=None)
    few, result, point = train.head(PROBED), {}, all(is_delta(site) for site in traits.guide.values())
    if test.labels is not None and traits.codes and not traits.by_class:
        codes = [features(pair, part.x, part.given) for part in (few, test)]
        result["probe"] = probe(codes[0], few.labels, codes[1], test.labels)
        result["pixel_probe"] = _pixel_probe(few, test)
    if train.known is not None:
        result["same_labels"] = probe(train.x[train.known], train.labels[train.known], test.x, test.labels)
    try:
        result["mutual_information"] = mutual_information(pair, test.x, test.given)
    except InferenceError as error:
        result["mutual_information"] = {"undefined": str(error)}
    if point:
        result["jacobian_norm"] = mean_jacobian_norm(pair, test.x[:1000])
    if test.is_image and not traits.in_steps:  # whose early rows would be drawn, and fed back
        result["reconstruction_error"] = _error(test.x, reconstruct(pair, test.x, test.given))
        result["mean_image"] = _error(test.x, train.x.mean(0).expand_as(test.x))
    if point and test.is_image:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            result["corrupted_error"] = {}
            for law, level in CORRUPTIONS.items():
                corrupt = DenoisingAutoencoder(data_dim=test.x.shape[1], corruption=law, level=level).corrupt
                with torch.no_grad():
                    seen = pair.decoder(pair.encoder(corrupt(test.x))).mean
                result["corrupted_error"][law] = _error(test.x, seen)
    if hasattr(pair, "rho"):
        activation = encode(pair, test.x)["z"].mean(0)
        result["mean_activation"] = {"value": activation.mean().item(), "rho": pair.rho, "n": len(test)}
        result["mean_activation"]["largest_distance"] = (activation - pair.rho).abs().max().item()
    if hasattr(pair, "k"):
        result["most_nonzero"] = {"value": int((encode(pair, test.x)["z"] != 0).sum(1).max()), "k": pair.k}
    if traits.by_class and not hasattr(pair, "classify") and grey is not None:
        judge = digit_judge(grey["train"].x, grey["train"].labels)
        result["judge_accuracy"] = accuracy(scores(judge, grey["test"].x), grey["test"].labels)
        result["generations"] = conditional_generations(pair, judge, test.x, test.classes)
    return result
