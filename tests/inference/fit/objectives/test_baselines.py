"""Estimators of sampled discrete latents, against gradients by enumeration.

The guide has separate logits for each data point, and all data points are equal, so one gradient holds a draw of the
noise for each of them. Bars are 4 standard errors.
"""

import re

import pyro
import pyro.distributions as dist
import pytest
import torch
from cases import arguments, build
from fits import fit_with, loss_and_gradient, run_steps
from known import close, within
from torch import nn

from gallery.comparison.follow import passes_per_step
from inference import SVI, InferenceError, Settings, param_scope
from inference.examples import BinaryCauses
from inference.fit.objectives import check_objective, objective
from inference.pairs.info import inspect_pair

F64 = torch.float64
N = 20_000  # draws
N_STEPS = 12  # rows of a fit of six steps
X = [1.0, 1.0, 0.0]


class OfRows(BinaryCauses):
    """Causes whose guide has separate logits for each data point, at which `start` begins."""

    start = torch.tensor([0.4, -1.1, 2.0], dtype=F64)

    def __init__(self, n):
        torch.manual_seed(2)
        super().__init__(len(X), len(self.start))
        self.double()
        with torch.no_grad():
            self.decoder.weight.mul_(3)
        self.encoder = nn.ParameterDict({"logits": self.start.repeat(n, 1)})

    def guide(self, x, total=None):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)) as rows:
            self._causes(self.encoder["logits"][rows])


class Vector(OfRows):
    """The same with one site of all causes, which enumeration cannot sum out."""

    def _causes(self, logits):
        return pyro.sample("b", dist.Bernoulli(logits=logits).to_event(1))


class Answers(OfRows):
    """The same with a guide that draws a cause from the one before it."""

    def _causes(self, logits):
        first = pyro.sample("b_1", dist.Bernoulli(logits=logits[..., 0]))
        rest = pyro.sample("b_2", dist.Bernoulli(logits=logits[..., 1:] + first.unsqueeze(-1)).to_event(1))
        return torch.cat([first.unsqueeze(-1), rest], -1)


def gradients(name, cls=OfRows, n=N):
    """Return the gradient at the logits of each data point, (n, causes), minus that of the objective's loss."""
    pair, x = cls(n), torch.tensor(X, dtype=F64).repeat(n, 1)
    torch.manual_seed(3)
    with param_scope(), pyro.validation_enabled(False):
        loss = objective(name).differentiable_loss(pair.model, pair.guide, x)
    return -torch.autograd.grad(loss, pair.encoder["logits"])[0]


def exact_gradient(k=1):
    """Return that of IWAE-k, the ELBO at k = 1, at the logits of one data point, by a sum over all k draws."""
    pair = OfRows(1)
    b, log_p = pair.log_joint(torch.tensor([X], dtype=F64))
    log_q = dist.Bernoulli(logits=pair.encoder["logits"]).log_prob(b).sum(-1)  # (8,)
    log_w = log_p[:, 0] - log_q
    draws = torch.cartesian_prod(*[torch.arange(len(b))] * k).reshape(-1, k)
    bound = log_w[draws].logsumexp(-1) - torch.tensor(float(k)).log()
    return torch.autograd.grad((log_q[draws].sum(-1).exp() * bound).sum(), pair.encoder["logits"])[0]


def arm(n=N):
    """Return the gradients of ARM (Yin and Zhou, Augment-REINFORCE-merge, 2019) at the logits, (n, causes)."""
    pair, x = OfRows(n), torch.tensor(X, dtype=F64).repeat(n, 1)
    torch.manual_seed(3)
    u, prob = torch.rand(n, 3, dtype=F64), pair.start.sigmoid()

    def log_w(b):
        log_p = dist.Bernoulli(logits=pair.decoder(b)).log_prob(x).sum(-1)
        log_p = log_p + dist.Bernoulli(logits=pair.theta["prior"]).log_prob(b).sum(-1)
        return log_p - dist.Bernoulli(logits=pair.start).log_prob(b).sum(-1)

    with torch.no_grad():
        return (log_w((u > 1 - prob).double()) - log_w((u < prob).double())).unsqueeze(-1) * (u - 0.5)


def fits_in_every_mode(make, args, name, modes):
    losses = {}
    for mode in ("pyro", *modes):
        torch.manual_seed(0)
        svi = SVI(
            make().double(), *args, settings=Settings(objective=name, batch_size=4, epochs=2, precision="float64")
        )
        svi.runner.mode = mode
        losses[mode] = run_steps(svi)
        assert losses[mode].isfinite().all()
        torch.testing.assert_close(losses[mode], losses["pyro"], rtol=1e-9, atol=1e-9)
    assert len(losses["pyro"].unique()) > 1


@pytest.mark.parametrize(
    ("name", "cls", "k"),
    [
        ("enum", OfRows, 1),
        ("loo:2", OfRows, 1),
        ("loo:5", Vector, 1),
        ("disarm", OfRows, 1),
        ("disarm", Vector, 1),
        ("vimco:2", OfRows, 2),
        ("vimco:3", Vector, 3),
    ],
)
def test_the_mean_is_the_gradient_by_enumeration(name, cls, k):
    if name == "enum":
        return close(gradients(name, cls, 2), exact_gradient().expand(2, -1))
    drawn = gradients(name, cls)
    assert drawn.std(0).min() > 0.01
    return within(drawn.mean(0) - exact_gradient(k)[0], drawn.var(0) / N)


def test_disarm_has_less_variance_than_arm():
    """It is ARM, averaged over the uniform numbers that give the same pair of draws."""
    of_arm, of_disarm = arm(), gradients("disarm")
    within(of_arm.mean(0) - exact_gradient()[0], of_arm.var(0) / N)
    squares = [(g - g.mean(0)).square() for g in (of_arm, of_disarm)]
    error = ((squares[0].var(0) + squares[1].var(0)) / N).sqrt()
    assert (squares[0].mean(0) - squares[1].mean(0) > 4 * error).all()


def test_disarm_has_less_variance_than_the_leave_one_out_of_two_draws():
    """Both are unbiased and pay two passes: a measured fact at this pair, and no theorem."""
    assert (gradients("disarm").var(0) < gradients("loo:2").var(0)).all()


@pytest.mark.parametrize("name", ["loo:3", "disarm"])
def test_no_variance_at_the_posterior_of_a_binary_latent(name):
    """With one cause the posterior's logit is linear in x, as the guide's is."""
    pair, x = BinaryCauses(6, 1).double(), (torch.rand(9, 6) < 0.5).double()
    weight, bias = pair.decoder.weight[:, 0], pair.decoder.bias
    with torch.no_grad():
        pair.encoder.weight.copy_(weight.unsqueeze(0))
        away = torch.nn.functional.softplus(bias) - torch.nn.functional.softplus(bias + weight)
        pair.encoder.bias.copy_(pair.theta["prior"] + away.sum())
    svi = fit_with(pair, name, x, objective="enum")
    drawn = torch.stack([loss_and_gradient(svi, seed=i, weights=[*pair.encoder.parameters()])[1] for i in range(5)])
    assert drawn.abs().max() < 1e-12
    with torch.no_grad():
        pair.encoder.bias.add_(1)
    assert loss_and_gradient(svi, weights=[*pair.encoder.parameters()])[1].abs().max() > 1e-3


@pytest.mark.parametrize("name", ["loo:4", "vimco:4", "disarm"])
@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_beta_weighs_the_kl_and_not_the_score(name, beta):
    """At beta = 0 the gradient is that of E_q log p(x | z), and it is linear in beta for the ELBO."""
    pair, n = OfRows(N), N
    x = torch.tensor(X, dtype=F64).repeat(n, 1)
    svi = SVI(pair, x, settings=Settings(objective=name, beta=beta, precision="float64"))
    _, drawn = loss_and_gradient(svi, weights=[pair.encoder["logits"]])
    drawn = -drawn.reshape(n, -1)
    of_one = OfRows(1)
    b, log_p = of_one.log_joint(x[:1])
    log_q = dist.Bernoulli(logits=of_one.encoder["logits"]).log_prob(b).sum(-1)
    kl = log_q - dist.Bernoulli(logits=of_one.theta["prior"]).log_prob(b).sum(-1)
    log_w = log_p[:, 0] - log_q + (1 - beta) * kl
    k = 4 if name == "vimco:4" else 1
    draws = torch.cartesian_prod(*[torch.arange(len(b))] * k).reshape(-1, k)
    bound = log_w[draws].logsumexp(-1) - torch.tensor(float(k)).log()
    (exact,) = torch.autograd.grad((log_q[draws].sum(-1).exp() * bound).sum(), of_one.encoder["logits"])
    within(drawn.mean(0) - exact[0], drawn.var(0) / n)


@pytest.mark.parametrize(
    ("pair", "name", "message"),
    [
        ("gaussian_mixture", "loo:2", "y is summed out by the model alone"),
        ("gaussian_mixture", "vimco:2", "y is summed out by the model alone"),
        ("autoencoder", "loo:2", "is a point (Delta)"),
        ("vae", "disarm", 'the guide of z is Normal. Use objective="loo:2"'),
        ("gmvae", "disarm", "disarm is for Bernoulli latents"),
        ("gmvae", "stl", "y is enumerated, and this objective would not fit its guide"),
        ("gmvae", "piwae:2:3", "y is enumerated"),
        ("gmvae", "ciwae:0.5:3", "y is enumerated"),
    ],
)
def test_pairs_that_they_are_not_for(pair, name, message):
    with pytest.raises(InferenceError, match=re.escape(message)) as error:
        check_objective(name, inspect_pair(build(pair), arguments(pair)))
    assert "\n" not in str(error.value)


def test_disarm_needs_draws_that_are_independent():
    pair, x = Answers(4), torch.tensor(X, dtype=F64).repeat(4, 1)
    with param_scope(), pytest.raises(InferenceError, match="the guide's b_2 depends on another draw"):
        objective("disarm").differentiable_loss(pair.model, pair.guide, x)
    with param_scope():
        objective("loo:2").differentiable_loss(pair.model, pair.guide, x)


def test_sites_that_are_marked_for_enumeration_are_sampled():
    pair, x = BinaryCauses(3, 3), torch.ones(4, 3)
    with pytest.raises(InferenceError, match="sums out b_1, b_2, b_3; objective 'trace' does not"):
        SVI(pair, x, settings=Settings(objective="trace"))
    assert [
        passes_per_step(SVI(pair, x, settings=Settings(objective=name))) for name in ("enum", "loo:2", "disarm")
    ] == [
        4 * 2**3,
        4 * 2,
        4 * 2,
    ]


@pytest.mark.parametrize("name", ["loo:2", "vimco:3", "disarm"])
def test_steps_are_those_of_pyro_in_every_mode(name):
    fits_in_every_mode(lambda: BinaryCauses(6, 3), ((torch.rand(N_STEPS, 6) < 0.5).double(),), name, ("graph",))


@pytest.mark.slow  # half a minute of the compiler each
@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("", "disarm"),
        *(("factor_analysis", name) for name in ("stl", "miwae:2:3", "ciwae:0.3:3", "piwae:2:3")),
    ],
)
def test_compiled_steps_are_those_of_pyro(model, name):
    x = (torch.rand(N_STEPS, 6) < 0.5).double()
    make, args = (lambda: build(model), arguments(model, F64)) if model else (lambda: BinaryCauses(6, 3), (x,))
    fits_in_every_mode(make, args, name, ("graph", "compiled"))
