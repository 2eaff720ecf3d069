"""The judges of clusterings, codes and generated images: numbers by hand, in closed form, and theorems."""

import itertools
import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import scipy.integrate
import torch
from cases import REFUSED, arguments, build
from sklearn.metrics import normalized_mutual_info_score
from torch import nn
from torch.autograd.functional import jacobian
from torch.distributions import kl_divergence

import data
from gallery.ledger.extra_metrics import conditional_generations, digit_judge, scores
from gallery.models import MODELS
from gallery.models.contractive_autoencoder import ContractiveAutoencoder, Deep
from gallery.models.cvae import CVAE
from gallery.models.factor_analysis import FactorAnalysis
from gallery.models.gaussian_mixture import GaussianMixture
from gallery.models.gmvae import GMVAE
from gallery.models.vae import VAE
from inference import InferenceError, encode, evaluate, sample
from inference.evaluation import jacobian as jacobian_module
from inference.evaluation.classification import accuracy
from inference.evaluation.clustering import cluster, component_probabilities, match
from inference.evaluation.jacobian import jacobian_norm, mean_jacobian_norm
from inference.evaluation.mutual_information import mutual_information
from inference.evaluation.probes import probe


def close(a, b, tolerance=1e-8):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


# Clustering


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


# Mutual information


def linear(shrink=1.0):
    """Factor analysis with about a nat of information on z, and as its guide the exact posterior, or a worse one: the
    posterior's mean and scale times `shrink`."""
    pair = FactorAnalysis().double()
    with torch.no_grad():
        pair.theta["W"].copy_(torch.tensor([[0.8, 0.0], [0.3, 0.6], [-0.4, 0.5]]))
        pair.theta["pre_sigma"].copy_(torch.full((3,), 0.7).expm1().log())
        unit = pair.posterior(torch.eye(3, dtype=torch.float64))
        pair.phi["V"].copy_(shrink * unit.mean.T)
        pair.phi["L"].copy_(shrink * torch.linalg.cholesky(unit.covariance_matrix[0]))
    return pair


def closed_form(pair):
    """I(x; z) and its two terms where x is drawn from the model: q(z) is then Normal(0, V (W W' + Phi) V' + L L')."""
    with torch.no_grad():
        W, V, L = pair.theta["W"], pair.phi["V"], pair.scale_tril()
        of_x = W @ W.T + pair.sigma.square().diag()
        zero, eye = torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
        all_codes = V @ of_x @ V.T + L @ L.T
        marginal = kl_divergence(dist.MultivariateNormal(zero, all_codes), dist.MultivariateNormal(zero, eye)).item()
        information = 0.5 * (all_codes.logdet() - (L @ L.T).logdet()).item()
    return {"mutual_information": information, "kl": information + marginal, "marginal_kl": marginal}


@pytest.mark.parametrize("shrink", [1.0, 0.6])
def test_information_of_a_linear_guide_is_that_in_closed_form(shrink):
    """The bias of n data, (exp(2 I) - 1) / 2n, is less than a tenth of a standard error."""
    pair = linear(shrink)
    expected = closed_form(pair)
    x = sample(pair, torch.zeros(1, 3, dtype=torch.float64), 2000, seed=0)["x"]
    found = mutual_information(pair, x, seed=1)  # of seed 0 the guide's noise would be the one that made x
    assert (math.exp(2 * expected["mutual_information"]) - 1) / 4000 < 0.1 * found["mutual_information"]["se"]
    if shrink == 1:  # the exact posteriors of all data together are the prior
        assert expected["marginal_kl"] == pytest.approx(0, abs=1e-12)
        eye = torch.eye(2, dtype=torch.float64)
        W = pair.theta["W"].detach() / pair.sigma.detach().unsqueeze(1)
        assert expected["mutual_information"] == pytest.approx(0.5 * (eye + W.T @ W).logdet().item())
        del expected["marginal_kl"]  # the standard error of the estimate is of second order there
    for name, value in expected.items():
        assert abs(found[name]["value"] - value) < 4 * found[name]["se"]
        assert found[name]["n"] == 2000


def test_information_on_three_data_is_that_by_quadrature():
    """Each datum a thousand times: the aggregate posterior is that of the three."""
    pair = FactorAnalysis(1, 1).double()
    with torch.no_grad():
        pair.phi["V"].fill_(1.0)
        pair.phi["L"].fill_(0.8)
    x = torch.tensor([[-1.0], [0.5], [2.0]], dtype=torch.float64)

    def density(z):
        return np.exp(-0.5 * ((z - np.array([-1.0, 0.5, 2.0])) / 0.8) ** 2).mean() / (0.8 * math.sqrt(2 * math.pi))

    entropy = scipy.integrate.quad(lambda z: -density(z) * math.log(density(z)), -8, 9)[0]
    exact = entropy - 0.5 * math.log(2 * math.pi * math.e * 0.8**2)
    found = mutual_information(pair, x.repeat(1000, 1), n=3000)["mutual_information"]
    assert 0.1 < exact < math.log(3) - 0.1
    assert abs(found["value"] - exact) < 4 * found["se"]
    assert found["cap"] == math.log(3000)


def test_a_guide_that_is_the_prior_has_no_information_and_one_of_distinct_codes_has_ln_n():
    pair, x = linear(), torch.randn(50, 3, dtype=torch.float64)
    with torch.no_grad():
        pair.phi["V"].zero_()
        pair.phi["L"].copy_(torch.eye(2))
    for found in mutual_information(pair, x).values():
        assert (found["value"], found["se"]) == pytest.approx((0, 0), abs=1e-10)
    with torch.no_grad():
        pair.phi["V"].normal_(0, 1e3)
        pair.phi["L"].copy_(1e-3 * torch.eye(2))
    found = mutual_information(pair, x)["mutual_information"]
    assert found["value"] == pytest.approx(math.log(50), abs=1e-10)
    assert found["value"] <= found["cap"] + 1e-12


def perturbed(pair):
    """In float64, no parameter at its start."""
    pair = pair.double()
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return pair


def small_vae():
    return perturbed(VAE(data_dim=6, latent_dim=2, hidden=(5,)))


def test_information_lies_between_its_ends_and_is_the_difference_of_its_terms():
    for n in (2, 20, 300):
        pair, x = small_vae(), torch.randn(n, 6, dtype=torch.float64).sign().clamp(min=0)
        found = mutual_information(pair, x, seed=n)
        mi, kl, marginal = (found[name]["value"] for name in ("mutual_information", "kl", "marginal_kl"))
        assert mi == pytest.approx(kl - marginal, abs=1e-10)
        assert -4 * found["mutual_information"]["se"] < mi <= math.log(n) + 1e-12
        assert found["mutual_information"]["cap"] == math.log(n)
    exact = evaluate(pair, x)["kl_per_latent"]
    assert abs(kl - sum(exact["z"])) < 4 * found["kl"]["se"]


def test_information_is_the_same_in_parts_and_is_of_the_first_data(monkeypatch):
    pair, x = small_vae(), torch.rand(30, 6, dtype=torch.float64).round()
    whole = mutual_information(pair, x, n=20)
    assert whole == mutual_information(pair, x[:20])
    monkeypatch.setattr("inference.evaluation.mutual_information.MAX_ELEMENTS", 7 * 20 * 2)
    for name, found in mutual_information(pair, x, n=20).items():
        assert found == pytest.approx(whole[name], abs=1e-12)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("linear_regression", "global"),
        ("loaded_die", "global"),
        ("gmvae", "y is summed out"),
        ("gaussian_mixture", "y is summed out"),
        ("vrnn:steps", "z_1, z_2, z_3"),
        ("autoencoder", "point"),
        ("autoencoder:map", "point"),
        ("cvae", "prior of z is not the same"),
    ],
)
def test_information_is_refused_where_it_is_not_defined(name, words):
    with pytest.raises(InferenceError, match=words):
        mutual_information(build(name), *arguments(name))


@pytest.mark.parametrize("name", ["cvae:standard", "factor_analysis", "exponential_gaussian:per_datum", "vae"])
def test_information_is_defined_for_one_continuous_latent(name):
    x, *given = arguments(name)
    found = mutual_information(build(name), x, *given)
    assert found["mutual_information"]["value"] <= found["mutual_information"]["cap"] + 1e-6
    with pytest.raises(InferenceError, match="at least two"):
        mutual_information(build(name), x, *given, n=1)


# Jacobian


def test_jacobian_of_a_contractive_code_is_the_closed_form(monkeypatch):
    pair, x = ContractiveAutoencoder(data_dim=7, latent_dim=5).double(), torch.rand(12, 7, dtype=torch.float64)
    closed = pair.penalty(x, pair.encoder(x)).detach()
    close(jacobian_norm(pair, x), closed)
    assert mean_jacobian_norm(pair, x)["value"] == pytest.approx(closed.mean().item(), rel=1e-10)
    assert mean_jacobian_norm(pair, x)["se"] == pytest.approx(closed.std().item() / math.sqrt(12), rel=1e-10)
    monkeypatch.setattr(jacobian_module, "MAX_ROWS", 5)
    close(jacobian_norm(pair, x), closed)
    deep = Deep(data_dim=7, latent_dim=5, hidden=(6, 4)).double()
    close(jacobian_norm(deep, x), deep.penalty(x, deep.encoder(x)).detach())


def test_jacobian_of_the_mean_of_a_guide():
    linear_pair, x = linear(), torch.randn(9, 3, dtype=torch.float64)
    close(jacobian_norm(linear_pair, x), linear_pair.phi["V"].detach().square().sum().expand(9))
    pair = VAE(data_dim=6, latent_dim=2, hidden=(5,), dropout=0.5).double()
    x = torch.rand(9, 6, dtype=torch.float64).round()
    found = jacobian_norm(pair, x)
    assert pair.training
    assert all(parameter.grad is None for parameter in pair.parameters())
    pair.eval()
    close(found, torch.stack([jacobian(lambda row: pair.encoder(row).mean, row).square().sum() for row in x]))


@pytest.mark.parametrize("name", ["cvae", "denoising_autoencoder", "k_sparse_autoencoder", "gmvae", "vrnn:steps"])
def test_jacobian_by_differences_of_codes(name):
    pair, (x, *given) = perturbed(build(name)), arguments(name, torch.float64)
    x = 0.05 + 0.4 * x if name.endswith("autoencoder") else x  # away from 0, 1/2 and 1, where the mean of a clamp bends
    step, columns = 1e-5, []
    for direction in torch.eye(x.shape[1], dtype=x.dtype):
        ends = []
        for sign in (1, -1):
            with pyro.validation_enabled(False):  # x is off the support of a Bernoulli
                codes = encode(pair, x + sign * step * direction, *given)
            ends.append(torch.cat([code for name, code in codes.items() if name != "y"], dim=1))
        columns.append((ends[0] - ends[1]) / (2 * step))
    close(jacobian_norm(pair, x, *given), torch.stack(columns).square().sum((0, 2)), 1e-6)


def test_a_code_that_does_not_read_x_does_not_move_and_one_that_is_global_is_refused():
    name = "exponential_gaussian:per_datum"
    assert jacobian_norm(build(name), *arguments(name)).eq(0).all()
    for name in ("linear_regression", "gaussian_mixture"):
        with pytest.raises(InferenceError, match="no continuous code"):
            jacobian_norm(build(name), *arguments(name))


# The judge of digits


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
