"""The VampPrior: its density, one normal and the aggregate posterior as cases, and a linear one of known evidence."""

import math
from collections import deque

import pyro.distributions as dist
import pytest
import torch
from cases import arguments, build
from fits import fit_with, loss_and_gradient
from known import close, within
from torch import nn

from gallery.models._nn import GaussianHead, PixelHead
from gallery.models._normal_mixture import NormalMixture
from gallery.models.vae import VAE
from gallery.models.vae_vamp_prior import VampPriorVAE
from inference import SVI, InferenceError, Settings, ais, encode, log_weights, sample, with_guide
from inference.evaluation.kl_decomposition import kl_decomposition
from inference.evaluation.mutual_information import codes_and_densities, mutual_information
from inference.pairs.run import importance_traces

F64 = torch.float64
COMPONENTS, DIM = 4, 3


def moments(smallest=0.3):
    """Means, and standard deviations from `smallest` to a hundred times as much."""
    torch.manual_seed(0)
    return torch.randn(COMPONENTS, DIM, dtype=F64), smallest * 100 ** torch.rand(COMPONENTS, DIM, dtype=F64)


def by_components(loc, scale, z):
    """log 1/K sum_k Normal(z; loc_k, diag scale_k^2), a density of each component for each z."""
    each = dist.Normal(loc, scale).to_event(1).log_prob(z.unsqueeze(-2))
    return each.logsumexp(-1) - math.log(len(loc))


# The mixture


def test_the_density_is_the_mean_of_those_of_its_components():
    loc, scale = moments()
    z = torch.randn(2, 5, DIM, dtype=F64, requires_grad=True)
    density, expected = NormalMixture(loc, scale).expand([5]).log_prob(z), by_components(loc, scale, z)
    assert density.shape == (2, 5)
    close(density, expected, 1e-12)
    close(*(torch.autograd.grad(value.sum(), z)[0] for value in (density, expected)), 1e-10)


def test_a_density_in_float32_is_that_of_the_same_numbers_in_float64():
    """Also where squares of z / scale are 1e6 times their difference, of which float32 would keep no digit."""
    loc, scale = (a.float() for a in moments(smallest=1e-3))
    z = loc + scale * torch.randn_like(scale)
    density = NormalMixture(loc, scale).log_prob(z)
    assert (loc / scale).square().max() > 1e5
    assert density.dtype == torch.float32
    close(density.double(), by_components(loc.double(), scale.double(), z.double()), 2 * torch.finfo(z.dtype).eps)


def test_a_value_is_scored_for_each_row_of_the_batch():
    mixture, z = NormalMixture(*moments()), torch.randn(DIM, dtype=F64)
    close(mixture.expand([2, 5]).log_prob(z), mixture.log_prob(z).expand(2, 5))


def test_draws_have_the_moments_of_the_mixture():
    loc, scale = moments()
    mixture = NormalMixture(loc, scale).expand([5])
    z = mixture.sample((4000,)).flatten(0, 1)
    within(z.mean(0) - mixture.mean[0], z.var(0) / len(z))
    squares = (z - mixture.mean[0]).square()
    within(squares.mean(0) - mixture.variance[0], squares.var(0) / len(z))


# Cases


def data(n=7):
    torch.manual_seed(1)
    return torch.rand(n, 6, dtype=F64)


def vae(pseudo_inputs, likelihood="continuous_bernoulli"):
    torch.manual_seed(0)
    sizes = {"data_dim": 6, "latent_dim": 2, "hidden": (5,), "dropout": 0.0, "likelihood": likelihood}
    return VampPriorVAE(**sizes, pseudo_inputs=pseudo_inputs).double(), VAE(**sizes).double()


def test_the_prior_is_the_mean_of_the_guide_over_pseudo_inputs():
    pair, (x,) = build("vae:vamp_prior").double().eval(), arguments("vae", F64)
    site = importance_traces(pair, (x,))[0].nodes["z"]
    q = pair.encoder(pair.theta["pre_u"].sigmoid()).base_dist
    close(site["log_prob"], by_components(q.loc, q.scale, site["value"]), 1e-12)


def test_one_pseudo_input_whose_code_is_standard_normal_makes_the_vae():
    """The loss of the ELBO and of IWAE-5 of the same noise, and the decoder's gradient."""
    (pair, plain), x = vae(pseudo_inputs=1), data()
    hidden, head = pair.encoder
    with torch.no_grad():
        h = hidden(pair.theta["pre_u"].sigmoid())[0]
        one = torch.tensor([0.0, math.log(math.expm1(1))], dtype=F64).repeat_interleave(2)  # softplus of the last is 1
        head.linear.bias.copy_(one - head.linear.weight @ h)
    plain.load_state_dict({key: value for key, value in pair.state_dict().items() if key != "theta.pre_u"})
    for name in ("trace", "iwae:5"):
        (a, of_a), (b, of_b) = (
            loss_and_gradient(fit_with(of, name, x), weights=list(of.decoder.parameters())) for of in (pair, plain)
        )
        close(a, b, 1e-10)
        close(of_a, of_b, 1e-10)


def test_with_all_data_as_pseudo_inputs_the_prior_is_the_aggregate_posterior():
    """The KL is the information of a code, at each draw, and at most ln n; with other pseudo-inputs it is not."""
    (pair, _), x = vae(pseudo_inputs=7), data(7)
    with torch.no_grad():  # codes that differ, of small scales
        pair.encoder[1].linear.weight[:2] *= 5
        pair.encoder[1].linear.bias[2:] -= 2
    other = codes_and_densities(pair, x, None, 7, 0)
    assert (other.log_p - other.log_aggregate).abs().min() > 1e-3
    with torch.no_grad():
        pair.theta["pre_u"].copy_(x.logit())
    codes = codes_and_densities(pair, x, None, 7, 0)
    close(codes.log_p, codes.log_aggregate, 1e-10)
    parts = mutual_information(pair, x)
    information, cap = parts["mutual_information"]["value"], parts["mutual_information"]["cap"]
    assert parts["kl"]["value"] == pytest.approx(information, abs=1e-10)
    assert 0.1 < information <= cap == math.log(7)


def test_the_bound_of_one_draw_is_the_elbo():
    pair, x = vae(pseudo_inputs=3)[0], data()
    close(*(loss_and_gradient(fit_with(pair, name, x))[0] for name in ("trace", "iwae:1")), 1e-10)
    close(*(loss_and_gradient(fit_with(pair, name, x))[1] for name in ("trace", "iwae:1")), 1e-10)
    close(*(loss_and_gradient(fit_with(pair, name, x))[0] for name in ("trace", "analytic")), 1e-10)  # no closed form


def test_a_gradient_through_the_draws_alone_keeps_that_of_the_prior():
    """`stl` leaves out the derivative of log q(z | x) at fixed z, and not that of the prior, of the same encoder."""
    pair, x = vae(pseudo_inputs=3)[0], data()
    encoder = list(pair.encoder.parameters())
    whole, path = (loss_and_gradient(fit_with(pair, name, x), weights=encoder)[1] for name in ("trace", "stl"))
    torch.manual_seed(1)
    z = pair.encoder(x).rsample().detach()
    score = torch.autograd.grad(pair.encoder(x).log_prob(z).sum(), encoder)
    close(whole - path, torch.cat([g.flatten() for g in score]), 1e-10)


# A linear pair, whose evidence is a mixture of normals


def linear_pair(b=(1.0, -0.5, 2.0), t=0.5):
    """z ~ 1/2 sum_k N(m_k, s_k^2), x ~ N(b z, t^2 I), where m_k and s_k are the code of u_k."""
    torch.manual_seed(0)
    pair = VampPriorVAE(3, 1, (3,), likelihood="gaussian", scale=t, pseudo_inputs=2).double()
    b = torch.tensor(b, dtype=F64)
    pair.encoder[0] = pair.decoder[0] = nn.Identity()
    pair.encoder[1], pair.decoder[1] = GaussianHead(3, 1).double(), PixelHead(1, 3, "gaussian", t).double()
    with torch.no_grad():
        pair.theta["pre_u"].copy_(torch.tensor([[4.0, -4.0, 4.0], [-4.0, 4.0, -4.0]]))
        pair.encoder[1].linear.weight.copy_(torch.stack([b / (b @ b), 0.1 * b]))
        pair.encoder[1].linear.bias.zero_()
        pair.decoder[1].linear.weight.copy_(b[:, None])
        pair.decoder[1].linear.bias.zero_()
        q = pair.encoder(pair.theta["pre_u"].sigmoid()).base_dist
    covariance = q.scale.square().unsqueeze(-1) * b.outer(b) + t**2 * torch.eye(3, dtype=F64)  # (2, 3, 3)
    evidence = dist.MixtureSameFamily(
        dist.Categorical(torch.ones(2, dtype=F64)), dist.MultivariateNormal(q.loc * b, covariance)
    )
    return pair, evidence


def test_weights_have_the_evidence_as_their_mean():
    """Those of the guide, and those of annealing from draws of the prior."""
    pair, evidence = linear_pair()
    x = sample(pair, torch.zeros(1, 3, dtype=F64), 5)["x"]
    for log_w in (log_weights(pair, x, k=1000), ais(pair, x, chains=50, steps=10, leapfrog=4)):
        ratio = (log_w.detach() - evidence.log_prob(x).detach()).exp()  # (draws, 5)
        within(ratio.mean(0) - 1, ratio.var(0) / len(ratio))


# What applies to it


def test_it_is_encoded_and_takes_other_guides():
    pair, (x,) = build("vae:vamp_prior").eval(), arguments("vae")
    close(encode(pair, x)["z"], pair.encoder(x).mean.detach(), 1e-6)
    own, other = dict(pair.named_parameters()), with_guide(pair, "multivariate", x)
    deque(SVI(other, x, settings=Settings(epochs=1, batch_size=len(x))), maxlen=0)
    moved = {name.partition(".")[0] for name, p in other.named_parameters() if not torch.equal(p, own.get(name, p))}
    assert moved == {"encoder", "theta", "decoder"}


def test_what_needs_independent_coordinates_or_parameters_of_the_guide_is_refused():
    pair, (x,) = build("vae:vamp_prior"), arguments("vae")
    with pytest.raises(InferenceError, match="has no parts by coordinate: z is NormalMixture in the prior"):
        kl_decomposition(pair, x)
    with pytest.raises(InferenceError, match="free bits need the KL of z in closed form"):
        next(iter(SVI(pair, x, settings=Settings(objective="free-bits:0.1"))))
    with pytest.raises(InferenceError, match="the guide of VampPriorVAE registers no parameters"):
        SVI(pair, x, only="guide")
    with pytest.raises(ValueError, match="the prior needs one pseudo-input or more, not 0"):
        VampPriorVAE(data_dim=6, latent_dim=2, hidden=(5,), pseudo_inputs=0)
