"""What a distribution lacks is left out and named: means, supports, and bijections onto supports."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from one_line_changed import Bare
from pyro.distributions import transforms
from torch import nn
from torch.distributions import biject_to, constraints

from inference import InferenceError, Settings, ais, encode, evaluate, nuts, reconstruct, sample, svi, with_guide
from inference.pairs.data_checks import check_data
from inference.pairs.properties import UndefinedError, has_one_support, is_discrete, mean_of, name_of, support_of

N = 12


def logistic(loc):
    uniform = dist.Uniform(torch.zeros_like(loc), torch.ones_like(loc))
    return dist.TransformedDistribution(
        uniform, [transforms.SigmoidTransform().inv, transforms.AffineTransform(loc, 1.0)]
    )


class Linear(nn.Module):
    """z ~ prior, x ~ likelihood(out), out of three columns; several likelihoods take a column each, x_1, x_2, x_3."""

    def __init__(self, *likelihoods, prior=lambda zero: dist.Normal(zero, 1.0).to_event(1), guide=None):
        super().__init__()
        self.likelihoods, self.prior, self.q = likelihoods, prior, guide
        self.encoder, self.decoder = nn.Linear(3, 4), nn.Linear(2, 3)

    def model(self, x, total=None):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            out = self.decoder(pyro.sample("z", self.prior(x.new_zeros(len(x), 2))))
            if len(self.likelihoods) == 1:
                pyro.sample("x", self.likelihoods[0](out).to_event(1), obs=x)
            else:
                for i, likelihood in enumerate(self.likelihoods):
                    pyro.sample(f"x_{i + 1}", likelihood(out[:, i]), obs=x[:, i])

    def guide(self, x, total=None):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            loc, scale = self.encoder(x).chunk(2, -1)
            q = dist.Normal(loc, nn.functional.softplus(scale) + 0.1).to_event(1)
            pyro.sample("z", q if self.q is None else self.q(q))


def counts(seed=0):
    return torch.randint(1, 5, (N, 3), generator=torch.Generator().manual_seed(seed)).float()


LIKELIHOODS = {
    "binomial": lambda out: dist.Binomial(10, logits=out),
    "binomial with totals": lambda out: dist.Binomial(torch.full_like(out, 4.0), logits=out),
    "beta-binomial": lambda out: dist.BetaBinomial(out.exp(), out.exp() + 1, total_count=10),
    "pareto": lambda out: dist.Pareto(torch.full_like(out, 0.5), out.exp() + 1),
    "student": lambda out: dist.StudentT(3.0, out, 1.0),
    "poisson": lambda out: dist.Poisson(out.exp()),
    "geometric": lambda out: dist.Geometric(logits=out),
    "negative binomial": lambda out: dist.NegativeBinomial(3.0, logits=out),
    "zero-inflated": lambda out: dist.ZeroInflatedPoisson(out.exp(), gate_logits=out),
    "gamma": lambda out: dist.Gamma(out.exp(), 1.0),
}
NO_MEAN = {"logistic": logistic, "cauchy": lambda out: dist.Cauchy(out, 1.0), "bare": Bare}


@pytest.mark.parametrize("name", [*LIKELIHOODS, *NO_MEAN])
def test_a_likelihood_is_fitted_evaluated_and_drawn_from(name):
    pair, x = Linear((LIKELIHOODS | NO_MEAN)[name]), counts()
    assert torch.isfinite(svi(pair, x, settings=Settings(epochs=2, batch_size=6, lr=0.01))).all()
    assert torch.isfinite(torch.tensor(evaluate(pair, x, particles=4)["elbo"]["value"]))
    drawn = sample(pair, x, 5)
    assert drawn["x"].shape == (5, 3)
    assert not any(value.requires_grad for value in drawn.values())
    assert ("mean" in drawn) == (name in LIKELIHOODS)
    if name in NO_MEAN:
        with pytest.raises(UndefinedError, match="mean"):
            reconstruct(pair, x)
    else:
        assert torch.isfinite(drawn["mean"]).all()
        assert torch.isfinite(reconstruct(pair, x)).all()


def test_x_is_checked_in_the_support_of_each_row_and_site():
    def totals(out):  # known for each data point: row i has i + 1 trials
        return dist.Binomial(torch.arange(1.0, len(out) + 1).unsqueeze(1).expand(out.shape), logits=out)

    rows = torch.arange(1.0, N + 1).unsqueeze(1).expand(N, 3)
    check_data(Linear(totals), rows)
    with pytest.raises(InferenceError, match=r"needs values in the integers in \[0, 12\], each within its own bounds"):
        check_data(Linear(totals), rows + 1)

    kinds = (lambda o: dist.Bernoulli(logits=o), lambda o: dist.Poisson(o.exp()), lambda o: dist.Normal(o, 1.0))
    x = torch.stack([counts()[:, 0] % 2, counts()[:, 1], torch.randn(N)], dim=1)
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        pair, columns = Linear(*(kinds[i] for i in order)), x[:, list(order)]
        assert torch.isfinite(svi(pair, columns, settings=Settings(epochs=1, batch_size=6))).all()
        drawn = sample(pair, columns, 50)["x"]
        yes_no, count = (drawn[:, order.index(i)] for i in (0, 1))
        assert set(yes_no.tolist()) <= {0.0, 1.0}
        assert torch.equal(count, count.round())
        bad = columns.clone()
        bad[-1, order.index(0)] = 0.5
        with pytest.raises(InferenceError, match=rf"Bernoulli needs values in \{{0, 1\}}; x_{order.index(0) + 1} has"):
            check_data(pair, bad)


def test_sites_that_are_not_the_columns_from_left_to_right_are_refused():
    pair = Linear(lambda o: dist.Normal(o, 1.0), lambda o: dist.Normal(o, 2.0), lambda o: dist.Poisson(o.exp()))

    def model(x, total=None):
        return Linear.model(pair, x.flip(1), total)

    pair.model = model
    with pytest.raises(InferenceError, match="not the columns of x from left to right"):
        check_data(pair, counts())


def flow(q):
    return dist.TransformedDistribution(q, [transforms.SigmoidTransform(), transforms.SigmoidTransform().inv])


@pytest.mark.parametrize("guide", [flow, lambda q: Bare(q.base_dist.loc).to_event(1)])
def test_a_guide_without_mean_has_no_code_and_no_active_units(guide):
    pair, x = Linear(lambda out: dist.Normal(out, 1.0), guide=guide), torch.randn(N, 3)
    with pytest.raises(InferenceError, match="the code z is undefined: torch knows no mean of"):
        encode(pair, x)
    metrics = evaluate(pair, x)
    assert "active_units" not in metrics
    assert "mean" in metrics["undefined"]["active_units"]
    assert "elbo" in metrics


def test_means_that_are_no_means():
    for fn in (
        dist.Cauchy(0.0, 1.0),
        dist.Categorical(torch.ones(3)),
        dist.StudentT(torch.tensor(0.5)),
        logistic(torch.zeros(2)),
    ):
        with pytest.raises(UndefinedError, match="mean"):
            mean_of(fn)
    z = torch.zeros(3, 2)
    with pytest.raises(UndefinedError, match="Delta with a density"):
        mean_of(dist.Delta(z, log_density=torch.ones(3), event_dim=1))
    assert torch.equal(mean_of(dist.Delta(z, event_dim=1)), z)


def test_supports():
    assert support_of(Bare(torch.zeros(2))) is None
    assert not is_discrete(Bare(torch.zeros(2)))
    assert is_discrete(dist.Bernoulli(torch.tensor(0.5)))
    assert has_one_support(dist.Categorical(torch.ones(2, 3)).support)
    assert not has_one_support(dist.Binomial(torch.tensor([1.0, 2.0]), torch.tensor(0.5)).support)
    onto = biject_to(constraints.MixtureSameFamilyConstraint(constraints.positive))
    assert constraints.positive.check(onto(torch.randn(10))).all()


def mixture(zero):
    components = dist.Normal(torch.tensor([[-2.0, 0.0], [2.0, 0.0]]), 0.5).to_event(1)
    return dist.MixtureSameFamily(dist.Categorical(torch.ones(2)), components).expand(zero.shape[:1])


def test_a_mixture_prior_is_sampled_annealed_and_given_other_guides():
    pair, x = Linear(lambda out: dist.Normal(out, 1.0), prior=mixture), torch.randn(2, 3)
    assert nuts(pair, x, draws=4, warmup=4, chains=1)["draws"]["z"].shape == (1, 4, 2, 2)
    assert torch.isfinite(ais(pair, x, chains=2, steps=4)).all()
    for guide in ("normal", "flow", "laplace"):
        assert torch.isfinite(svi(with_guide(pair, guide, x), x, settings=Settings(epochs=1, batch_size=2))).all()


def test_a_latent_of_unknown_support_is_refused_by_samplers_and_guides():
    pair, x = Linear(lambda out: dist.Normal(out, 1.0), prior=lambda zero: Bare(zero).to_event(1)), torch.randn(3, 3)
    svi(pair, x, settings=Settings(epochs=1, batch_size=3))
    for use in (lambda: nuts(pair, x, draws=4, warmup=4), lambda: ais(pair, x), lambda: with_guide(pair, "normal", x)):
        with pytest.raises(InferenceError, match=r"the support of z.* is unknown"):
            use()


class Density(nn.Module):
    """x ~ a coupling flow, with no latent."""

    def __init__(self):
        super().__init__()
        self.flow = transforms.affine_coupling(3, hidden_dims=[4])

    def model(self, x, total=None):
        pyro.module("flow", self.flow)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            base = dist.Normal(x.new_zeros(len(x), 3), 1.0).to_event(1)
            pyro.sample("x", dist.TransformedDistribution(base, [self.flow]), obs=x)

    def guide(self, x, total=None):
        pass


@pytest.mark.parametrize("engine", ["pyro", "graph"])
def test_a_flow_is_scored_by_its_present_weights(engine):
    pair, x = Density(), torch.randn(N, 3)
    steps = 3 if engine == "pyro" else 250  # enough for a step to be traced
    svi(pair, x, settings=Settings(epochs=steps, batch_size=N, lr=0.01, engine=engine))
    x_again = x.clone()
    for _ in range(2):
        assert evaluate(pair, x)["elbo"]["value"] == evaluate(pair, x_again)["elbo"]["value"]
        with torch.no_grad():
            next(pair.parameters()).add_(0.3)


def test_the_support_of_a_multinomial_names_its_sum():
    assert name_of(dist.Multinomial(7, torch.ones(3)).support) == "{0, 1, 2, ...} with a sum of 7 at most"


@pytest.mark.parametrize(
    "pair",
    [
        Linear(lambda out: dist.GeneralizedPareto(0 * out, out.exp(), 0.1 + 0 * out)),  # of torch, in float32 alone
        Linear(lambda out: dist.Normal(out, 1.0), prior=lambda z: dist.MultivariateNormal(z, scale_tril=torch.eye(2))),
    ],
)
def test_distributions_of_two_dtypes_are_refused(pair):
    with pytest.raises(InferenceError, match=r"\w+\.\w+ fails \(.*\)\. .*hoose another"):
        svi(pair.double(), counts().double(), settings=Settings(epochs=1, batch_size=N))


ANGLES = {
    "one": lambda loc: dist.VonMises(loc, 1.0).to_event(1),
    "two": lambda loc: dist.SineBivariateVonMises(loc[:, 0], loc[:, 1], 1.0, 1.0, 0.1),
}


@pytest.mark.parametrize("name", ANGLES)
def test_a_guide_on_the_line_is_refused_for_a_prior_of_angles(name):
    x = torch.randn(N, 3)
    with pytest.raises(InferenceError, match=r"the prior of z ~ \w*VonMises is a density of an angle"):
        check_data(Linear(lambda out: dist.Normal(out, 1.0), prior=ANGLES[name]), x)
    check_data(Linear(lambda out: dist.Normal(out, 1.0), prior=ANGLES[name], guide=lambda q: ANGLES[name](q.mean)), x)


@pytest.mark.parametrize(
    "guide",
    [
        lambda mean: dist.Uniform(torch.full_like(mean, -math.pi), math.pi),
        lambda mean: dist.TransformedDistribution(
            dist.Beta(mean.exp(), 1.0), [dist.transforms.AffineTransform(-math.pi, 2 * math.pi)]
        ),
    ],
)
def test_a_guide_within_one_turn_is_taken_for_a_prior_of_angles(guide):
    pair = Linear(lambda out: dist.Normal(out, 1.0), prior=ANGLES["one"], guide=lambda q: guide(q.mean).to_event(1))
    check_data(pair, torch.randn(N, 3))
