"""The metrics of clusterings: numbers computed exactly, in closed form, and theorems."""

import itertools
import math

import numpy as np
import pytest
import torch
from cases import REFUSED, arguments, build
from sklearn.metrics import normalized_mutual_info_score

from gallery.models import MODELS
from gallery.models.gaussian_mixture import GaussianMixture
from inference import InferenceError, sample
from inference.evaluation.clustering import cluster, component_probabilities, match


def close(a, b, tolerance=1e-8):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def one_hot(component, components):
    return torch.eye(components, dtype=torch.float64)[component]


def numbers(judged):
    """The numbers of a judgement that do not name components, {name: (value, se)}."""
    names = ("accuracy", "nmi", "entropy_of_q", "class_given_component")
    return {name: (judged[name]["value"], judged[name]["se"]) for name in names}


def test_a_clustering_by_hand():
    """Component 0 holds classes 1, 1, 1, 0; component 1 holds 0, 0; component 2 holds 2, 1."""
    component, labels = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2]), torch.tensor([1, 1, 1, 0, 0, 0, 2, 1])
    judged = cluster(one_hot(component, 3), labels)
    assert judged["matching"] == [1, 0, 2]
    assert judged["accuracy"] == {"value": 0.75, "se": pytest.approx(math.sqrt(0.75 * 0.25 / 7)), "n": 8} | {
        "unit": "fraction"
    }
    of_first = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    unknown = 0.5 * of_first + 0.25 * math.log(2)
    assert judged["class_given_component"]["value"] == pytest.approx(unknown)
    classes = -sum(p * math.log(p) for p in (3 / 8, 4 / 8, 1 / 8))
    components = -sum(p * math.log(p) for p in (4 / 8, 2 / 8, 2 / 8))
    assert judged["nmi"]["value"] == pytest.approx(2 * (classes - unknown) / (classes + components))
    assert [share["value"] for share in judged["shares"]] == [0.5, 0.25, 0.25]
    assert judged["entropy_of_q"]["value"] == 0


def test_the_entropy_of_q_is_of_the_probabilities_and_not_of_the_labels():
    q = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.2, 0.6], [1.0, 0.0, 0.0]], dtype=torch.float64)
    expected = [math.log(2), -(0.4 * math.log(0.2) + 0.6 * math.log(0.6)), 0.0]
    for labels in ([0, 1, 0], [2, 0, 1]):
        entropy = cluster(q, torch.tensor(labels))["entropy_of_q"]
        assert entropy["value"] == pytest.approx(np.mean(expected))
        assert entropy["se"] == pytest.approx(np.std(expected, ddof=1) / math.sqrt(3))
    assert entropy["unit"] == "nats per data point"


def drawn_clustering(n=500, components=4, classes=3, generator=None):
    """q(y | x) at random, and labels that depend on its component."""
    q = torch.rand(n, components, dtype=torch.float64, generator=generator).pow(3)
    noise = torch.randint(classes, (n,), generator=generator)
    labels = torch.where(torch.rand(n, generator=generator) < 0.6, q.argmax(1) % classes, noise)
    return q / q.sum(1, keepdim=True), labels


def test_names_of_components_and_classes_mean_nothing():
    q, labels = drawn_clustering()
    judged, order, names = cluster(q, labels), torch.tensor([2, 0, 3, 1]), torch.tensor([1, 2, 0])
    by_component = cluster(q[:, order], labels)
    assert by_component["matching"] == [judged["matching"][k] for k in order]
    assert by_component["shares"] == [judged["shares"][k] for k in order]
    by_class = cluster(q, names[labels])
    assert by_class["matching"] == [None if y is None else names[y] for y in judged["matching"]]
    for other in (by_component, by_class):
        for name, values in numbers(other).items():
            assert values == pytest.approx(numbers(judged)[name], abs=1e-12)


@pytest.mark.parametrize(("components", "classes"), [(4, 4), (5, 3), (3, 5), (1, 2)])
def test_no_other_matching_agrees_on_more(components, classes):
    q, labels = drawn_clustering(60, components, classes)
    component = q.argmax(1)
    counts = torch.tensor(
        [[((component == k) & (labels == y)).sum() for y in range(classes)] for k in range(components)]
    )
    found = match(counts)
    size = min(components, classes)
    assert sorted(y for y in found if y is not None) == sorted({y for y in found if y is not None})
    assert sum(y is not None for y in found) == size
    best = max(
        sum(int(counts[k, y]) for k, y in zip(chosen, order, strict=True))
        for chosen in itertools.combinations(range(components), size)
        for order in itertools.permutations(range(classes), size)
    )
    assert sum(int(counts[k, y]) for k, y in enumerate(found) if y is not None) == best
    assert cluster(q, labels)["accuracy"]["value"] == pytest.approx(best / 60)


def test_nmi_is_that_of_scikit_learn_and_symmetric():
    q, labels = drawn_clustering()
    nmi = cluster(q, labels)["nmi"]
    assert nmi["value"] == pytest.approx(normalized_mutual_info_score(labels, q.argmax(1)), abs=1e-12)
    other = cluster(one_hot(labels, 3), q.argmax(1))["nmi"]
    assert (other["value"], other["se"]) == pytest.approx((nmi["value"], nmi["se"]), abs=1e-12)


def test_the_ends_of_the_scale():
    labels, names = torch.arange(12) % 3, torch.tensor([1, 2, 0])
    same = cluster(one_hot(names[labels], 3), labels)
    assert numbers(same) == {
        "accuracy": (1, 0),
        "nmi": pytest.approx((1, 0), abs=1e-12),
        "entropy_of_q": (0, 0),
        "class_given_component": pytest.approx((0, 0), abs=1e-12),
    }
    assert same["matching"] == [2, 0, 1]
    nothing = cluster(one_hot(torch.arange(12) // 6, 2), labels)  # every class as often in either component
    assert nothing["nmi"]["value"] == pytest.approx(0, abs=1e-12)
    assert nothing["class_given_component"]["value"] == pytest.approx(math.log(3))


def test_standard_errors_of_a_clustering_are_those_over_samples():
    k = 400
    judged = [numbers(cluster(*drawn_clustering())) for _ in range(k)]
    for name in ("nmi", "class_given_component", "entropy_of_q"):
        values, errors = np.array([found[name] for found in judged]).T
        assert values.std(ddof=1) == pytest.approx(np.sqrt(np.mean(errors**2)), rel=4 / math.sqrt(2 * k))


@pytest.mark.parametrize(
    ("q", "labels", "words"),
    [
        (torch.ones(4, 1), None, "have none"),
        (torch.ones(4, 1), torch.arange(3), "labels"),
        (torch.ones(4), torch.arange(4), "components"),
        (torch.ones(4, 2), torch.arange(4), "sum to 1"),
        (torch.full((4, 1), math.nan), torch.arange(4), "finite"),
        (torch.ones(4, 1), torch.zeros(4, dtype=torch.long), "two classes"),
        (torch.ones(4, 1), torch.tensor([0, 1, -1, 0]), "missing"),
    ],
)
def test_what_cannot_be_judged_is_refused(q, labels, words):
    with pytest.raises(InferenceError, match=words):
        cluster(q, labels)


@pytest.mark.parametrize("name", [name for name in MODELS if name not in REFUSED])
def test_components_are_found_where_one_is_summed_out_for_each_datum(name):
    pair, args = build(name).double(), arguments(name, torch.float64)
    found = component_probabilities(pair, *args)
    if name.partition(":")[0] == "gmvae":
        close(found, pair.classifier(args[0]).softmax(1).detach())
    elif name == "gaussian_mixture":
        close(found, pair.posterior(args[0]).probs.detach())
    else:
        assert found is None


def test_a_mixture_at_its_truth_is_judged_as_good_as_it_can_be():
    """Labels drawn from q(y | x) itself: the accuracy of its argmax is the mean of its largest probability."""
    pair = GaussianMixture(1, 2).double()
    with torch.no_grad():
        pair.theta["mean"].copy_(torch.tensor([[-1.5], [1.5]]))
    n = 4000
    drawn = sample(pair, torch.zeros(1, 1, dtype=torch.float64), n)
    q = component_probabilities(pair, drawn["x"])
    found = cluster(q, drawn["y"])
    hits = (q.argmax(1) == drawn["y"]).double() - q.max(1).values
    assert found["matching"] == [0, 1]
    assert abs(found["accuracy"]["value"] - q.max(1).values.mean()) < 4 * hits.std() / math.sqrt(n)
    assert 0.8 < found["accuracy"]["value"] < 1
