"""The VAE of two stochastic layers: its bound by sites, the VAE as a case, and a linear one whose evidence is known."""

import math

import pytest
import torch
from cases import arguments, build
from fits import fit_with, loss_and_gradient
from known import close, within
from torch import nn
from torch.distributions import MultivariateNormal

from gallery.models._nn import GaussianHead, PixelHead
from gallery.models.vae import VAE
from gallery.models.vae_two_layers import TwoLayerVAE
from inference import SVI, InferenceError, Settings, ais, encode, evaluate, log_weights, sample
from inference.pairs.run import importance_traces

F64 = torch.float64


def inverse_softplus(value):
    return math.log(math.expm1(value))


def set_head(linear, weight, *bias):
    with torch.no_grad():
        linear.weight.copy_(torch.as_tensor(weight, dtype=F64))
        linear.bias.copy_(torch.tensor(bias, dtype=F64))


def test_a_log_weight_is_the_sum_of_its_five_sites():
    pair, (x,) = build("vae:two_layers").double().eval(), arguments("vae", F64)
    torch.manual_seed(0)
    _, guide = importance_traces(pair, (x,))
    z_1, z_2 = (guide.nodes[name]["value"] for name in ("z_1", "z_2"))
    log_p = pair.prior(x).log_prob(z_2) + pair.decoder_2(z_2).log_prob(z_1) + pair.decoder(z_1).log_prob(x)
    log_q = pair.encoder(x).log_prob(z_1) + pair.encoder_2(z_1).log_prob(z_2)
    torch.manual_seed(0)
    close(log_weights(pair, x)[0], (log_p - log_q).detach(), 1e-8)


def test_where_the_top_code_has_collapsed_it_is_the_vae():
    """z_1 ~ Normal(0, I) for every z_2, and q(z_2 | z_1) = p(z_2): the loss of each draw of z_1, and its gradient."""
    two, one = build("vae:two_layers").double(), VAE(data_dim=6, latent_dim=3, hidden=(5,), activation="tanh").double()
    one.load_state_dict({k: v for k, v in two.state_dict().items() if not k.split(".")[0].endswith("_2")})
    for linear in (two.encoder_2[-1].linear, two.decoder_2[-1].linear):
        dim = linear.out_features // 2
        set_head(linear, 0 * linear.weight.detach(), *[0.0] * dim, *[inverse_softplus(1.0)] * dim)
    results = []
    for pair in (two, one):
        svi = fit_with(pair, "trace", *arguments("vae", F64))
        pair.eval()
        results.append(loss_and_gradient(svi, weights=[*pair.encoder.parameters(), *pair.decoder.parameters()]))
    (a, of_a), (b, of_b) = results
    close(a, b, 1e-8)
    close(of_a, of_b, 1e-8)


def linear_pair(a=0.8, s=0.6, b=(1.0, -0.5, 2.0), t=0.5):
    """z_2 ~ N(0, 1), z_1 ~ N(a z_2, s^2), x ~ N(b z_1, t^2 I), and the exact posterior in its two factors."""
    pair = TwoLayerVAE(3, 1, (3,), likelihood="gaussian", scale=t, middle_dim=1, middle_hidden=(1,)).double()
    b = torch.tensor(b, dtype=F64)
    for name in ("encoder", "encoder_2", "decoder", "decoder_2"):
        getattr(pair, name)[0] = nn.Identity()
    pair.decoder[1], pair.encoder[1] = PixelHead(1, 3, "gaussian", t).double(), GaussianHead(3, 1).double()
    set_head(pair.decoder[1].linear, b[:, None], 0.0, 0.0, 0.0)
    set_head(pair.decoder_2[1].linear, [[a], [0.0]], 0.0, inverse_softplus(s))
    prior = a**2 + s**2  # variance of z_1
    variance = 1 / (1 / prior + (b @ b).item() / t**2)
    none = torch.zeros(3, dtype=F64)
    weight = torch.stack([variance / t**2 * b, none])
    set_head(pair.encoder[1].linear, weight, 0.0, inverse_softplus(variance**0.5))
    set_head(pair.encoder_2[1].linear, [[a / prior], [0.0]], 0.0, inverse_softplus(s / prior**0.5))
    evidence = MultivariateNormal(none, prior * b.outer(b) + t**2 * torch.eye(3, dtype=F64))
    return pair, evidence


def test_the_factors_of_the_guide_are_those_of_the_posterior():
    """Each importance weight is p(x), and the ELBO is the evidence."""
    torch.manual_seed(0)
    pair, evidence = linear_pair()
    x = sample(pair, torch.zeros(1, 3, dtype=F64), 40)["x"]
    weights = log_weights(pair, x, k=5)
    close(weights.detach(), evidence.log_prob(x).expand(5, -1), 1e-8)
    close(torch.tensor(evaluate(pair, x)["elbo"]["value"], dtype=F64), evidence.log_prob(x).mean(), 1e-6)


def test_weights_of_annealing_have_the_evidence_as_their_mean():
    torch.manual_seed(0)
    pair, evidence = linear_pair()
    x = sample(pair, torch.zeros(1, 3, dtype=F64), 5)["x"]
    ratio = (ais(pair, x, chains=50, steps=20, leapfrog=4) - evidence.log_prob(x)).exp()  # (50, 5)
    within(ratio.mean(0) - 1, ratio.var(0) / len(ratio))


def test_both_codes_have_means_and_a_closed_kl_is_refused():
    pair, (x,) = build("vae:two_layers"), arguments("vae")
    codes = encode(pair, x)
    assert {name: code.shape[1] for name, code in codes.items()} == {"z_1": 3, "z_2": 2}
    with pytest.raises(InferenceError, match="a KL in closed form needs the order of the model"):
        next(iter(SVI(pair, x, settings=Settings(objective="analytic"))))
