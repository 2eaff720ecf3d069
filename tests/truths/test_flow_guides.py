"""Guides that are autoregressive flows: densities by the Jacobian, the identity, and what they gain where it is known.

On factor analysis the posterior is normal, so that the gap of every guide has a closed form.
"""

import math

import pyro.distributions as dist
import pytest
import torch
from cases import arguments, build
from fits import fit_with, loss_and_gradient
from known import close, simulated
from torch.autograd.functional import jacobian
from torch.distributions import ComposeTransform, MultivariateNormal, kl_divergence

from gallery.models._nn import autoregressive_layers
from gallery.models.factor_analysis import DiagonalGuide
from gallery.models.factor_analysis_flow import FlowGuide
from gallery.models.vae_flow import FlowVAE
from inference import SVI, InferenceError, Settings, encode, evaluate, gap, log_weights
from inference.evaluation.kl_decomposition import kl_decomposition
from inference.evaluation.mutual_information import codes_and_densities
from inference.pairs.run import importance_traces
from inference.pairs.sites import is_autoregressive

F64, D = torch.float64, 4


def moved(pair):
    """The pair in float64, with layers that are not the identity."""
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in pair.double().named_parameters():
            if name.startswith("flow"):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return pair.eval()


def vae(latent_dim=D, **more):
    torch.manual_seed(0)
    pair = FlowVAE(
        data_dim=6, latent_dim=latent_dim, hidden=(8,), dropout=0.0, flow_hidden=12, activation="tanh", **more
    )
    return moved(pair), (torch.randn(5, 6) > 0).to(F64)


def guide(pair, x):
    return importance_traces(pair, (x,))[1].nodes["z"]


# Densities


@pytest.mark.parametrize("flows", [1, 2, 3])
def test_the_density_is_that_of_a_change_of_variables(flows):
    """log q(z | x) = log Normal(z_0) - log |det dz / dz_0|, with the Jacobian by automatic differentiation."""
    pair, x = vae(flows=flows)
    site = guide(pair, x)
    q, z = site["fn"], site["value"].detach()
    z_0, pushed = z, ComposeTransform(q.transforms)
    for layer in reversed(q.transforms):
        z_0 = layer.inv(z_0)
    close(pushed(z_0), z)
    every = jacobian(lambda u: pushed(u).sum(0), z_0)  # (D, n, D), since rows are independent
    log_det = torch.linalg.slogdet(every.transpose(0, 1)).logabsdet
    assert log_det.abs().min() > 1e-3
    close(q.log_prob(z.clone()), q.base_dist.log_prob(z_0) - log_det, 1e-8)
    close(site["fn"].log_prob(site["value"]), q.log_prob(z.clone()), 1e-8)  # from the cache of the draw


def test_each_coordinate_depends_on_those_before_it_in_alternate_order():
    layers = autoregressive_layers(2, D, 3, 12).double()
    torch.manual_seed(1)
    for layer in layers:
        torch.nn.init.normal_(layer.nn.layers[-1].weight)
    for layer, triangle in zip(layers, (torch.tril, torch.triu), strict=True):
        T = layer.condition(torch.randn(3, dtype=F64))
        J = jacobian(T, torch.randn(D, dtype=F64))
        close(J, triangle(J))
        assert (J.diagonal() > 0).all()
        assert J.count_nonzero() > D


def test_the_density_integrates_to_one():
    """By the trapezoid rule, whose error is far below the tolerance for a smooth density."""
    pair, x = vae(latent_dim=2)
    hidden, head = pair.encoder
    h = hidden(x[0])
    q = dist.TransformedDistribution(head(h), [layer.condition(h) for layer in pair.flow])
    axis = torch.linspace(-30, 30, 601, dtype=F64)
    with torch.no_grad():
        density = q.log_prob(torch.cartesian_prod(axis, axis)).exp()
    close(density.sum() * (axis[1] - axis[0]) ** 2, torch.ones((), dtype=F64), 1e-8)


def test_the_flow_starts_as_the_identity_and_the_pair_as_the_vae():
    """The same loss, and the same gradient of every weight that both have, at the same noise."""
    flow, plain = build("vae:flow").double().eval(), build("vae").double().eval()
    plain.load_state_dict({k: v for k, v in flow.state_dict().items() if not k.startswith("flow")})
    results = []
    for pair in (flow, plain):
        svi = fit_with(pair, "trace", *arguments("vae", F64))
        pair.eval()
        results.append(loss_and_gradient(svi, weights=[*pair.encoder.parameters(), *pair.decoder.parameters()]))
    (a, of_a), (b, of_b) = results
    close(a, b, 1e-8)
    close(of_a, of_b, 1e-8)


def test_the_score_function_holds_the_draw_fixed():
    """The gradient of `reinforce` is that of log q at the draw, times log p(x, z) / q(z | x): not at its noise."""
    pair, x = vae()
    svi = fit_with(pair, "reinforce", x)
    pair.eval()
    weights = [*pair.encoder.parameters(), *pair.flow.parameters()]
    _, gradient = loss_and_gradient(svi, weights=weights)
    torch.manual_seed(1)
    model, traced = importance_traces(pair, (x,))
    z, q = traced.nodes["z"]["value"].detach().clone(), traced.nodes["z"]["fn"]
    model.compute_log_prob()
    log_q = q.log_prob(z)
    log_w = (model.nodes["z"]["log_prob"] + model.nodes["x"]["log_prob"] - log_q).detach()
    expected = torch.autograd.grad(-(log_w * log_q).sum(), weights)
    close(gradient, torch.cat([g.flatten() for g in expected]), 1e-8)


# The negative control: factor analysis


def precision(pair):
    """P = I + W' Phi^-1 W, of the posterior."""
    W, sigma = pair.theta["W"].detach(), pair.sigma.detach()
    return torch.eye(W.shape[1], dtype=F64) + (W / sigma.square().unsqueeze(-1)).T @ W


def loss_of_independence(pair):
    """(sum_i log P_ii - log det P) / 2, in nats: the gap of the best diagonal guide."""
    P = precision(pair)
    return (P.diagonal().log().sum() - P.logdet()) / 2


def guided(cls, model):
    """A pair with the model of another, and the best diagonal guide."""
    pair = cls().double()
    pair.theta.load_state_dict(model.theta.state_dict())
    with torch.no_grad():
        pair.phi["V"].copy_(model.posterior(torch.eye(3, dtype=F64)).mean.T)
        pair.phi["scale"].copy_(precision(model).diagonal().rsqrt())
    return pair


def exact_gap(pair, x):
    """KL(q(z | x) || p(z | x)) of a diagonal guide, averaged over x."""
    mean, scale = x @ pair.phi["V"].T, pair.phi["scale"].abs()
    return kl_divergence(MultivariateNormal(mean, scale_tril=scale.diag()), pair.posterior(x)).mean()


def test_the_best_diagonal_guide_loses_what_the_page_states():
    model, x, _ = simulated(30)
    pair = guided(DiagonalGuide, model)
    loss = exact_gap(pair, x)
    close(loss, loss_of_independence(model), 1e-8)
    assert loss > 0.01
    for gradient in torch.autograd.grad(loss, list(pair.phi.values())):
        close(gradient, torch.zeros_like(gradient), 1e-8)


def test_one_autoregressive_layer_is_the_posterior_with_nothing_left_to_gain():
    """z_2 = z_02 + c (z_01 - V_1 x), c = L_21 / L_11, by two hidden units: every weight is p(x)."""
    model, x, _ = simulated(30)
    pair = guided(FlowGuide, model)
    L = torch.linalg.cholesky(precision(model).inverse())
    first, last = pair.flow[0].nn.layers
    c = L[1, 0] / L[0, 0]
    with torch.no_grad():
        pair.phi["scale"].copy_(L.diagonal())
        for parameter in first.parameters():
            parameter.zero_()
        first.weight[-2] = torch.cat([-c * pair.phi["V"][0], torch.stack([c, 0 * c])])
        first.weight[-1] = -first.weight[-2]
        last.weight[1, -2:] = torch.tensor([1.0, -1.0])  # relu(f) - relu(-f) = f
        weights = log_weights(pair, x, k=7)
        close(weights, pair.log_evidence(x).expand_as(weights), 1e-8)


def test_where_w_is_learnt_a_rotation_spares_the_diagonal_guide_its_loss():
    model, x, _ = simulated(30)
    before = model.log_evidence(x)
    assert loss_of_independence(model) > 0.01
    _, rotation = torch.linalg.eigh(precision(model))
    with torch.no_grad():
        model.theta["W"].copy_(model.theta["W"] @ rotation)
    close(model.log_evidence(x), before, 1e-8)
    close(exact_gap(guided(DiagonalGuide, model), x), torch.zeros((), dtype=F64), 1e-8)


def test_fitted_to_a_model_that_is_fixed_the_flow_closes_the_gap_of_independence():
    model, x, _ = simulated(100)
    pair = guided(FlowGuide, model)
    settings = Settings(epochs=150, batch_size=100, lr=1e-2, lr_schedule="cosine", precision="float64")
    for _ in SVI(pair, x, settings=settings, only="guide"):
        pass
    elbo, evidence = evaluate(pair, x, particles=200, held_out=False)["elbo"], model.log_evidence(x).mean().item()
    gap, noise = evidence - elbo["value"], 4 * elbo["mc_se"]
    assert -noise < gap < loss_of_independence(model).item() / 4 - noise


# What needs a mean, or the density at codes of other rows


def test_what_a_flow_has_not_is_refused_in_one_line():
    pair, x = vae()
    with pytest.raises(InferenceError, match="the code z is undefined: torch knows no mean of TransformedDistribution"):
        encode(pair, x)
    with pytest.raises(InferenceError, match="draws from TransformedDistribution, which has no parameters to fit"):
        gap(pair, x)
    with pytest.raises(InferenceError, match="z is TransformedDistribution in the guide; expected independent coord"):
        kl_decomposition(pair, x)
    for dim in (1, 13):
        with pytest.raises(ValueError, match=f"with 12 hidden units takes 2 to 12 coordinates, not {dim}"):
            FlowVAE(data_dim=6, latent_dim=dim, hidden=(8,), flow_hidden=12)
    with pytest.raises(ValueError, match="a flow has one layer or more, not 0"):
        FlowVAE(data_dim=6, latent_dim=2, hidden=(8,), flows=0)


def test_densities_at_codes_of_other_rows_are_those_of_one_row_at_a_time():
    pair, x = vae()
    codes = codes_and_densities(pair, x, None, len(x), 0)
    own = [guide(pair, row)["fn"] for row in x.split(1)]
    log_q = torch.stack([q.log_prob(codes.z[i : i + 1].expand(1, D)) for i in range(len(x)) for q in own])
    log_q = log_q.reshape(len(x), len(x))
    close(codes.log_own, log_q.diagonal().detach(), 1e-8)
    close(codes.log_aggregate, (log_q.logsumexp(1) - math.log(len(x))).detach(), 1e-8)


def test_a_flow_is_known_to_be_autoregressive_where_a_normal_is_not():
    pair, x = vae()
    assert is_autoregressive(guide(pair, x))
    assert not is_autoregressive(guide(build("vae").double(), x))
