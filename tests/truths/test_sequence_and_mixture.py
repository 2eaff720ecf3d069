"""The GMVAE, the VRNN and the semi-supervised VAE: what is written fast or summed out against what is meant."""

import math

import pyro.distributions as dist
import pytest
import torch
from cases import SMALL
from pyro import poutine
from torch.distributions import kl_divergence

import data
from gallery.models.cvae import CVAE
from gallery.models.gmvae import GMVAE, CategoricalKL, GumbelSoftmax, Relaxed
from gallery.models.ss_vae import SSVAE
from gallery.models.vrnn import VRNN, Smoothing, Steps
from gallery.runs import training as runs
from inference import (
    SVI,
    InferenceError,
    Settings,
    eval_mode,
    log_weights,
    monitor_elbo,
    param_scope,
    reconstruct,
    sample,
)
from inference.evaluation.log_weights import draws
from inference.pairs.run import importance_traces
from inference.pairs.sites import latent_sites

N, C = 12, 3


def small(cls, **more):
    names = {
        GMVAE: ("data_dim", "components", "latent_dim", "hidden"),
        SSVAE: ("data_dim", "classes", "latent_dim", "hidden"),
        Steps: ("data_dim", "steps", "latent_dim", "state_dim", "hidden"),
    }
    names = next(names[parent] for parent in cls.__mro__ if parent in names)
    torch.manual_seed(1)
    return cls(**{name: SMALL[name] for name in names}, **more).double()


@pytest.fixture
def x():
    return (torch.rand(N, SMALL["data_dim"], dtype=torch.float64) > 0.5).double()


def svi(pair, x, given=None, objective="trace", **settings):
    return SVI(pair, x, given, Settings(objective=objective, **settings))


def loss(fit, seed=2):
    torch.manual_seed(seed)
    return fit.loss(torch.arange(N))


def gradient(fit, seed=2):
    value, pair = loss(fit, seed), fit.pair
    return value, torch.cat([g.flatten() for g in torch.autograd.grad(value, list(pair.parameters()))])


def drawn_z(pair, *args, seed=2):
    """The z that the guide draws for every y, (C, n, latent_dim)."""
    torch.manual_seed(seed)
    with param_scope():
        return importance_traces(pair, args)[1].nodes["z"]["value"]


def close(a, b, tolerance=1e-8):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


# gmvae


def by_hand(pair, x, z):
    """log q(y | x), log p(x | z_y), log p(z_y | y) - log q(z_y | x, y) and its mean, each (n, C), one y at a time."""
    log_q, columns = pair.classifier(x).log_softmax(-1), []
    for y in range(C):
        one_hot = torch.eye(C, dtype=x.dtype)[y].expand(len(x), C)
        p, q = pair.prior(one_hot), pair.encoder(x, one_hot)
        kl = kl_divergence(q.base_dist, p.base_dist).sum(-1)
        columns.append((pair.decoder(z[y]).log_prob(x), p.log_prob(z[y]) - q.log_prob(z[y]), -kl))
    return log_q, *(torch.stack(terms, 1) for terms in zip(*columns, strict=True))


def test_gmvae_enumeration_is_the_sum_over_components(x):
    pair = small(GMVAE)
    z = drawn_z(pair, x)
    log_q, likelihood, sampled, closed = by_hand(pair, x, z)
    q, log_p = log_q.exp(), -math.log(C)
    for objective, of_z in (("enum", sampled), ("enum_analytic", closed)):
        elbo = (q * (likelihood + of_z + log_p - log_q)).sum()
        close(loss(svi(pair, x, objective=objective)), -elbo)
    with eval_mode(pair, seed=2):
        found = draws(pair, x)
    close(found["elbo"][0], (q * (likelihood + sampled + log_p - log_q)).sum(1))
    close(found["weight"][0], (likelihood + sampled + log_p).logsumexp(1))
    close(found["likelihood"][0], (q * likelihood).sum(1))


def test_gmvae_pays_the_kl_of_the_component_to_the_uniform(x):
    """The bound is that without any term of y, plus H(q(y | x)) - ln C = -KL(q(y | x) || uniform)."""
    pair = small(GMVAE)
    q = dist.OneHotCategorical(logits=pair.classifier(x))
    kl = kl_divergence(q, dist.OneHotCategorical(logits=torch.zeros(N, C, dtype=x.dtype)))
    close(q.entropy() - math.log(C), -kl)
    log_q, likelihood, sampled, _ = by_hand(pair, x, drawn_z(pair, x))
    with eval_mode(pair, seed=2):
        close(draws(pair, x)["elbo"][0], (log_q.exp() * (likelihood + sampled)).sum(1) - kl)


def test_closed_kl_under_enumeration_estimates_the_same_with_less_noise(x):
    pair = small(GMVAE)
    fits = {name: svi(pair, x, objective=name) for name in ("enum", "enum_analytic")}
    found = {name: torch.stack([loss(fit, seed).detach() for seed in range(60)]) for name, fit in fits.items()}
    a, b = found.values()
    assert abs(a.mean() - b.mean()) < 4 * ((a.var() + b.var()) / 60).sqrt()
    assert b.std() < a.std()


def test_relaxed_has_the_weights_of_its_parent_and_is_judged_as_its_parent(x):
    pair, relaxed = small(GMVAE), small(Relaxed, temperature=0.3)
    pair.load_state_dict(relaxed.state_dict())
    assert pair.state_dict().keys() == relaxed.state_dict().keys()
    exact, fit = svi(pair, x, objective="enum"), svi(relaxed, x)
    assert monitor_elbo(relaxed, x) == monitor_elbo(pair, x)
    with eval_mode(pair):
        expected = log_weights(pair, x, k=5)
    with eval_mode(relaxed):
        assert torch.equal(log_weights(relaxed, x, k=5), expected)
    assert torch.equal(sample(relaxed, x, 7)["y"].sum(1), torch.ones(7, dtype=x.dtype))
    assert exact.is_bound
    assert not fit.is_bound
    assert relaxed.training
    torch.manual_seed(2)
    with param_scope():
        _, guide = importance_traces(relaxed, (x,))
    y = guide.nodes["y"]["value"].exp()
    assert y.shape == (N, C)
    assert ((y > 0) & (y < 1)).all()


def test_relaxed_loss_is_the_bound_of_the_relaxed_model(x):
    pair = small(Relaxed)
    value = loss(svi(pair, x))
    torch.manual_seed(2)
    with param_scope():
        log_y = importance_traces(pair, (x,))[1].nodes["y"]["value"]
        z = poutine.trace(poutine.condition(pair.guide, {"y": log_y})).get_trace(x)  # the encoder at the same y
    y = log_y.exp()
    encoder, prior = z.nodes["z"]["fn"], pair.prior(y)
    torch.manual_seed(2)
    with param_scope():
        code = importance_traces(pair, (x,))[1].nodes["z"]["value"]
    q = dist.RelaxedOneHotCategorical(pair.temperature, logits=pair.classifier(x))
    p = dist.RelaxedOneHotCategorical(pair.temperature, logits=torch.zeros(N, C, dtype=x.dtype))
    of_z = prior.log_prob(code) - encoder.log_prob(code)
    close(value, -(pair.decoder(code).log_prob(x) + of_z + p.log_prob(y) - q.log_prob(y)).sum())


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("far", [10.0, 100.0, 1000.0])
def test_gumbel_softmax_stays_finite_near_the_corners(temperature, far):
    logits = torch.tensor([0.0, -far, -far / 2]).expand(1000, 3).clone().requires_grad_()
    q = GumbelSoftmax(torch.tensor(temperature), logits=logits)
    log_y = q.rsample()
    assert dist.constraints.simplex.check(log_y.exp()).all()
    log_prob = q.log_prob(log_y)
    assert log_prob.isfinite().all()
    assert torch.autograd.grad(log_prob.sum() + log_y.exp().square().sum(), logits)[0].isfinite().all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature is positive"):
        Relaxed(temperature=temperature)


# vrnn


@pytest.mark.parametrize("objective", ["trace", "analytic"])
@pytest.mark.parametrize("cls", [VRNN, Smoothing])
def test_all_rows_at_once_are_the_rows_one_by_one(cls, objective, x):
    fast = small(cls)
    slow = small(cls)
    slow.model, slow.guide = (lambda *a, f=f, **k: f(slow, *a, **k) for f in (Steps.model, Steps.guide))
    slow.load_state_dict(fast.state_dict())
    fits = [SVI(pair, x, settings=Settings(objective=objective)) for pair in (fast, slow)]
    for fit, sites in zip(fits, ({"h", "z"}, {"z_1", "z_2", "z_3"}), strict=True):
        with param_scope():
            assert latent_sites(importance_traces(fit.pair, (x,))[1]).keys() == sites
    (value, grad), (expected, expected_grad) = (gradient(fit) for fit in fits)
    close(value, expected)
    close(grad, expected_grad)
    assert grad.abs().max() > 0.1


def test_vrnn_is_drawn_and_judged_as_the_story_is_told(x):
    fast, slow = small(VRNN), small(Steps)
    slow.load_state_dict(fast.state_dict())
    assert torch.equal(sample(fast, x, 9)["mean"], sample(slow, x, 9)["mean"])
    assert torch.equal(reconstruct(fast, x), reconstruct(slow, x))
    with param_scope(), pytest.raises(ValueError, match="invalid values"):
        poutine.uncondition(fast.model)(x)  # in training mode there is no h without a guide


@pytest.mark.parametrize("cls", [VRNN, Smoothing])
def test_drawn_rows_are_fed_back(cls, x):
    """The means beside a draw are those of the model at the rows and latents drawn, and of no other rows."""
    pair, n = small(cls), 4000
    drawn = sample(pair, x, n)

    def means(rows):
        latents = {name: value for name, value in drawn.items() if name.startswith("z_")}
        with eval_mode(pair):
            trace = poutine.trace(poutine.condition(pair.model, data=latents)).get_trace(rows)
        return torch.cat([trace.nodes[f"x_{t}"]["fn"].mean for t in (1, 2, 3)], 1)

    close(means(drawn["x"]), drawn["mean"])
    other = means(1 - drawn["x"])
    close(other[:, :2], drawn["mean"][:, :2])
    assert (other[:, 2:] - drawn["mean"][:, 2:]).abs().mean() > 1e-6
    error = drawn["x"] - drawn["mean"]
    assert (error.mean(0).abs() < 4 * error.std(0) / math.sqrt(n)).all()


class NoGradient(dist.Normal):
    """As in the tutorial's code: drawn as if z did not depend on the parameters."""

    def rsample(self, sample_shape=torch.Size()):
        return super().rsample(sample_shape).detach()


@pytest.mark.parametrize("cls", [VRNN, Steps])
def test_gradient_through_z_by_finite_differences(cls, x):
    """The gradient of the loss for fixed noise is that of differences; with z detached it is not."""
    pair, step = small(cls), 1e-6
    fit = svi(pair, x)
    fitted, grad = gradient(fit)
    direction = torch.randn_like(grad)
    start = torch.nn.utils.parameters_to_vector(pair.parameters()).detach()
    ends = []
    for sign in (1, -1):
        torch.nn.utils.vector_to_parameters(start + sign * step * direction, pair.parameters())
        ends.append(loss(fit).item())
    torch.nn.utils.vector_to_parameters(start, pair.parameters())
    slope = (ends[0] - ends[1]) / (2 * step)
    assert (grad @ direction).item() == pytest.approx(slope, rel=1e-5)

    head = pair.encoder[-1]
    forward = head.forward
    head.forward = lambda h: NoGradient(*(getattr(forward(h).base_dist, k) for k in ("loc", "scale"))).to_event(1)
    value, wrong = gradient(fit)
    close(value, fitted)
    assert (wrong @ direction).item() != pytest.approx(slope, rel=1e-2)


def first_q(pair, x):
    """Mean of q(z_1 | ...)."""
    with eval_mode(pair):
        return poutine.trace(pair.guide).get_trace(x).nodes["z_1"]["fn"].mean


@pytest.mark.parametrize(("cls", "sees"), [(VRNN, False), (Smoothing, True)])
def test_smoothing_sees_the_rows_to_come_and_filtering_does_not(cls, sees, x):
    pair, other = small(cls), x.clone()
    other[:, -2:] = 1 - other[:, -2:]  # the last of three rows
    assert torch.equal(first_q(pair, x), first_q(pair, other)) != sees


def test_smoothing_can_start_where_filtering_ended(x):
    filtering, smoothing = small(VRNN), small(Smoothing)
    smoothing.start_from(filtering)
    close(loss(svi(smoothing, x)), loss(svi(filtering, x)))
    only = SVI(smoothing, x, only="guide")  # and goes on with the generative weights frozen
    assert {id(p) for p in only.parameters} == {
        id(p)
        for name, p in smoothing.named_parameters()
        if name.split(".")[0] in ("encoder", "backward_recurrence", "C")
    }


def test_sequences_of_another_length_are_refused(x):
    with pytest.raises(ValueError, match="10 pixels do not make 3 rows"):
        VRNN(data_dim=10, steps=3)
    with pytest.raises(InferenceError, match="VRNN refuses these data: x has sequences of 8 pixels, not 3 rows of 2"):
        SVI(small(VRNN), torch.cat([x, x[:, :2]], 1))


# ss_vae


def supervised(pair, x, y, z):
    """The bound of log p(x | y) for a draw z from q(z | x, y), (n,)."""
    one_hot = torch.eye(C, dtype=x.dtype)[y].expand(len(x), C)
    prior = dist.Normal(torch.zeros_like(z), 1.0).to_event(1)
    of_x = pair.decoder(torch.cat([z, one_hot], -1)).log_prob(x)
    return of_x + prior.log_prob(z) - pair.encoder(x, one_hot).log_prob(z)


def test_ss_vae_with_all_labels_is_the_supervised_bound(x):
    pair, labels = small(SSVAE, alpha=7.0), torch.randint(C, (N,))
    z = drawn_z(pair, x, labels)[labels, torch.arange(N)]
    bound = supervised(pair, x, labels, z)
    log_q = pair.classifier(x).log_softmax(-1)[torch.arange(N), labels]
    fit = svi(pair, x, labels, "enum")
    close(loss(fit), -(bound + 7.0 * log_q).sum())
    with eval_mode(pair, seed=2):
        found = draws(pair, x, labels)
    for name in ("elbo", "weight"):  # evaluation leaves the term of the classifier out
        close(found[name][0], bound)
    learned = torch.autograd.grad(loss(fit), list(pair.classifier.parameters()))
    by_alpha = torch.autograd.grad(-7.0 * log_q.sum(), list(pair.classifier.parameters()))
    for a, b in zip(learned, by_alpha, strict=True):
        close(a, b)


def test_ss_vae_without_a_label_sums_over_the_classes(x):
    pair, labels = small(SSVAE), torch.randint(C, (N,))
    known = torch.arange(N) < 4
    given = labels.where(known, -1)
    z, log_q = drawn_z(pair, x, given), pair.classifier(x).log_softmax(-1)
    each = torch.stack([supervised(pair, x, y, z[y]) for y in range(C)], 1)
    unsupervised = (log_q.exp() * (each - math.log(C) - log_q)).sum(1)
    expected = each[torch.arange(N), labels].where(known, unsupervised)
    with eval_mode(pair, seed=2):
        close(draws(pair, x, given)["elbo"][0], expected)
    fit = svi(pair, x, given, "enum")
    term = pair.alpha * log_q[torch.arange(N), labels][known].sum()
    close(loss(fit), -(expected.sum() + term))


def test_ss_vae_classifies_and_draws_a_class(x):
    pair = small(SSVAE)
    close(pair.classify(x).sum(1), torch.ones(N, dtype=x.dtype))
    given = torch.tensor([0, 1, 2, -1, -1, -1])
    drawn = sample(pair, x, 6, given)["y"]
    assert drawn[:3].argmax(1).tolist() == [0, 1, 2]
    assert torch.equal(drawn.sum(1), torch.ones(6, dtype=x.dtype))


def test_labels_outside_the_classes_are_refused(x):
    for labels in (torch.full((N,), -2), torch.full((N,), C)):
        with pytest.raises(InferenceError, match="integers from 0 to 2, or -1 where one is missing"):
            svi(small(SSVAE), x, labels, "enum")
    with pytest.raises(InferenceError, match="integers from 0 to 2, and these go from -1"):
        svi(CVAE(6, classes=C).double(), x, torch.full((N,), -1))
    with pytest.raises(ValueError, match="alpha is a weight"):
        SSVAE(alpha=-1.0)


def test_few_labels_are_as_many_of_each_class_and_of_training_rows_only():
    few, every = data.load("digits:threshold:100-labels"), data.load("digits:threshold:100-labels", "all")
    assert few.name == "digits:threshold:100-labels"
    assert few.labels[few.known].bincount().tolist() == [10] * 10
    assert torch.equal(few.given, few.labels.where(few.known, -1))
    assert torch.equal(every.given[: len(few)], few.given)
    assert (every.given[len(few) :] == -1).all()
    assert (data.load("digits:threshold:100-labels", "test").given == -1).all()
    assert few.hash != data.load("digits:threshold").hash
    assert torch.equal(few.head(7).to("cpu", torch.float64).given, few.given[:7])
    for name, reason in (("15", "multiple"), ("0", "multiple"), ("9000", "has .* training rows")):
        with pytest.raises(data.DataError, match=reason):
            data.load(f"digits:threshold:{name}-labels")
    with pytest.raises(data.DataError, match="no labels"):
        data.load("line:10-labels")


# runs


@pytest.mark.filterwarnings("ignore:Encountered")
def test_what_is_not_finite_is_named_though_it_is_there_in_training_only(x):
    pair = small(SSVAE)
    pair.alpha = math.inf
    with pytest.raises(InferenceError, match="log-density of site classification is the first"):
        svi(pair, x, torch.zeros(N, dtype=torch.long), "enum").train_step()


@pytest.mark.parametrize("model", ["gmvae:relaxed", "ss_vae"])
def test_runs_are_judged_by_the_model_and_not_by_what_is_relaxed(model, tmp_path, monkeypatch):
    monkeypatch.setattr("gallery.figures.draw", lambda *_, **__: [])
    name = "digits:threshold:100-labels" if model == "ss_vae" else "digits:threshold"
    run = runs.Run.of(model, None, name, {"hidden": [16], "latent_dim": 2}, {"epochs": 1}, validation=True)
    metrics = runs.start(run, tmp_path / "run")
    assert metrics["is_bound"]
    assert ("classifier_accuracy" in metrics["test"]) == (model == "ss_vae")
    is_bound = "true" if model != "gmvae:relaxed" else "false"
    assert f'"loss_is_bound": {is_bound}' in (tmp_path / "run" / "history.jsonl").read_text()


@pytest.mark.parametrize("cls", [Relaxed, CategoricalKL])
def test_a_sure_guide_has_finite_gradients_of_the_relaxed_component(cls, x):
    pair = small(cls)
    with torch.no_grad():
        pair.classifier[-1].weight.mul_(1e4)  # as after long training
    fit = svi(pair, x)
    for _ in range(20):
        found = fit.loss.gradients(*fit.loss.step_arguments(fit.rows(0)))
        assert all(g is None or g.isfinite().all() for g in found)
