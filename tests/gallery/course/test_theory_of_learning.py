"""Each number and identity in the text of the lessons 5 to 7, computed."""

import itertools
import math
import re

import numpy as np
import pytest
import torch
from cases import arguments, build
from course import lesson, names, states
from torch.distributions import Categorical, MultivariateNormal, Normal, kl_divergence

import data
from gallery.course.checks import lesson_05, lesson_06
from gallery.report.diagram import factorisation, relations

DOUBLE = torch.float64


def test_maximum_likelihood_is_the_least_forward_kl():
    states(5, "are largest at the same $\\theta$", "is 0 in floating point")
    states(5, "= -H(p^*) - \\mathrm{KL}(p^* \\,\\|\\, p_\\theta)")
    source, models = torch.rand(2, 5, dtype=DOUBLE).softmax(1)[0], torch.randn(6, 5, dtype=DOUBLE).softmax(1)
    p, q = Categorical(source), Categorical(models)
    expected = (source * models.log()).sum(1)
    assert torch.allclose(expected, -p.entropy() - kl_divergence(p, q))
    few = torch.tensor([0, 3, 3, 1])
    product, total = models[:, few].prod(1), models[:, few].log().sum(1)
    assert product.argmax() == total.argmax()
    start = lesson_05.WEIGHTS, lesson_05.MEANS, lesson_05.SCALES
    log_x, _ = names(5)["inferred"](names(5)["x"], *start)
    assert len(log_x) == 1000
    assert log_x.exp().prod() == 0
    assert log_x.sum().isfinite()


def test_em_never_lowers_the_evidence():
    states(5, "the evidence never falls")
    start = lesson_05.WEIGHTS, lesson_05.MEANS, lesson_05.SCALES
    *_, curve = names(5)["em"](names(5)["x"], *start, 25)
    assert all(later >= earlier - 1e-12 for earlier, later in itertools.pairwise(curve))


def test_each_step_of_em_ascends_the_elbo_in_one_argument():
    """E: the bound reaches the evidence. M: the bound rises, and the evidence is above it."""
    x = names(5)["x"][:100]
    inferred, m_step = names(5)["inferred"], names(5)["m_step"]
    theta = lesson_05.WEIGHTS, lesson_05.MEANS, lesson_05.SCALES

    def elbo(r, theta):
        log_x = Normal(theta[1], theta[2]).log_prob(x.unsqueeze(1)).sum(-1)
        return (r * (theta[0].log() + log_x - r.clamp(min=1e-300).log())).sum()

    evidence, r = inferred(x, *theta)
    assert elbo(r, theta).item() == pytest.approx(evidence.sum().item(), abs=1e-9)
    better = m_step(x, r)
    assert elbo(r, better) > elbo(r, theta)
    assert inferred(x, *better)[0].sum() >= elbo(r, better)


def test_equal_components_are_a_stationary_point_and_no_maximum():
    states(5, "every responsibility is $1/3$", "EM stays there for ever")
    x = names(5)["x"]
    equal = torch.full((3,), 1 / 3).double(), torch.zeros(3, 2).double(), torch.ones(3, 2).double()
    weights, means, scales, curve = names(5)["em"](x, *equal, 5)
    assert torch.allclose(names(5)["inferred"](x, weights, means, scales)[1], torch.full((), 1 / 3).double())
    assert curve[-1] == pytest.approx(curve[1], abs=1e-12)
    apart = names(5)["em"](x, weights, means + 1e-3 * lesson_05.MEANS, scales, 100)[-1]
    assert apart[-1] > curve[-1] + 0.1


def test_the_likelihood_of_a_mixture_is_unbounded():
    states(5, "gains without limit")
    x = names(5)["x"][:50]
    means = torch.stack([x[0], x.mean(0), x.mean(0)])

    def evidence(scale):
        scales = torch.stack([torch.full((2,), scale).double(), x.std(0), x.std(0)])
        return names(5)["inferred"](x, lesson_05.WEIGHTS, means, scales)[0].sum()

    assert evidence(1e-12) > evidence(1e-6) + 20 > evidence(1e-3) + 30


def test_parameters_and_the_amortisation_gap_of_factor_analysis():
    states(6, "4000 numbers against 8", "For factor analysis it is 0")
    assert names(6)["parameters"](1000, 2, 3) == (4000, 8)
    pair, x = lesson_06.exact(), lesson_06.X
    exact = pair.posterior(x)
    S = exact.covariance_matrix[0]
    variances = 1 / torch.linalg.inv(S).diagonal()
    V, _ = names(6)["posterior"](lesson_06.W, lesson_06.SIGMA)
    gaps = kl_divergence(MultivariateNormal(x @ V.T, variances.diag()), exact)
    mean, log_scale = (value.clone().requires_grad_() for value in (x @ V.T, 0.5 * variances.log().expand(5, 2)))
    kl = kl_divergence(MultivariateNormal(mean, torch.diag_embed((2 * log_scale).exp())), exact).sum()
    assert all(grad.abs().max() < 1e-10 for grad in torch.autograd.grad(kl, (mean, log_scale)))  # the best of each
    assert torch.allclose(gaps, gaps[0].expand(5))


def test_em_and_gradient_steps_on_both_parts_end_at_the_same_evidence():
    """The exact ELBO of lesson 6 at its maximum over model and diagonal guide, by L-BFGS, from the start of EM."""
    states(6, "In the limit all three reach the same evidence")
    x, sigma = names(6)["x"], torch.ones(3, dtype=DOUBLE)
    torch.manual_seed(0)
    W = start = torch.randn(3, 2).double()
    for _ in range(2000):
        W, sigma = names(6)["m_step"](x, *names(6)["posterior"](W, sigma))
    zero = torch.zeros(3, dtype=DOUBLE)
    evidence = MultivariateNormal(zero, W @ W.T + torch.diag(sigma**2)).log_prob(x).mean()
    shapes = start, zero, torch.zeros(2, 3, dtype=DOUBLE), torch.zeros(2, dtype=DOUBLE)
    both = [value.clone().requires_grad_() for value in shapes]
    optimiser = torch.optim.LBFGS(both, max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def minus_elbo():
        optimiser.zero_grad()
        loss = -names(6)["elbo"](x, both[0], both[1].exp(), both[2], torch.diag((2 * both[3]).exp())).mean()
        loss.backward()
        return loss

    optimiser.step(minus_elbo)
    assert -minus_elbo().item() == pytest.approx(evidence.item(), abs=1e-5)


def test_the_joint_densities_of_five_models():
    """The table of lesson 6, with the factors of the models as they are read off their code."""
    (table,) = [cell.source for cell in lesson(6).cells if "| joint density |" in cell.source]
    for name in ("factor_analysis", "vae", "cvae", "gmvae", "vrnn"):
        pair, args = build(name), arguments(name)
        diagram = relations(pair, args, "model", len(args[0])).renamed("given", "y")
        title = f"| {name.replace('_', ' ') if '_' in name else name.upper()} |"
        (row,) = [line for line in table.splitlines() if line.removeprefix("# ").startswith(title)]
        assert _factors(row.split(" | ")[-1]) == _unrolled(_factors(factorisation(diagram)))


def _unrolled(factors: set[tuple[str, frozenset[str]]]) -> set[tuple[str, frozenset[str]]]:
    """Replace the state h_t, a function of the step before, by the steps that it is computed from."""
    states = dict(factors)
    if "h_t" not in states:
        return factors
    assert states.pop("h_t") == {"h_t-1", "x_t-1", "z_t-1"}
    unrolled = set()
    for name, given in states.items():
        before = given - {"h_t"} | {"x_1:t-1", "z_1:t-1"}
        unrolled.add((name, frozenset(before - {"z_t", "z_1:t-1"} | {"z_1:t"} if "z_t" in given else before)))
    return unrolled


def _factors(text: str) -> set[tuple[str, frozenset[str]]]:
    """The variables with their parents, from a formula in TeX or in plain text."""
    text = re.sub(r"_\{(?:<|\\le )t\}", lambda it: "_1:t" if "le" in it[0] else "_1:t-1", text)
    found = re.findall(r"p(?:_\\theta)?\((\w+)(?: *(?:\\mid|\|) *([^;)]*))?[^)]*\)", text)
    return {
        (variable, frozenset(re.split(r", *", parents.strip()) if parents.strip() else []))
        for variable, parents in found
    }


def test_the_mean_over_a_minibatch_is_unbiased_whatever_its_size():
    states(6, "without bias, whatever $n_B$")
    value = names(6)["elbo"](lesson_06.X, lesson_06.W, lesson_06.SIGMA, lesson_06.V, lesson_06.S)
    for size in (1, 2, 4):
        of_all = torch.stack([rows.mean() for rows in torch.combinations(value, size)]).mean()
        assert of_all.item() == pytest.approx(value.mean().item(), rel=1e-12)


def test_the_kl_needs_the_posterior_up_to_its_normaliser_alone():
    states(6, "\\mathbb{E}_{q_i}[\\log q_i(z) - \\log p(x_i, z)] + \\log p(x_i)")
    pair, x = lesson_06.exact(), lesson_06.X
    minus_elbo = -names(6)["elbo"](x, lesson_06.W, lesson_06.SIGMA, lesson_06.V, lesson_06.S)
    q = MultivariateNormal(x @ lesson_06.V.T, lesson_06.S)
    assert torch.allclose(kl_divergence(q, pair.posterior(x)), minus_elbo + pair.log_evidence(x))


def test_the_reparametrised_gradient_of_factor_analysis():
    """By Gauss-Hermite quadrature over noise, exact here, and by the gradient of the closed form of lesson 6."""
    states(7, "\\mathbb{E}_\\epsilon[g\\, x^\\top]", "\\mathbb{E}_\\epsilon[g\\, \\epsilon^\\top]", "lower triangle")
    W, sigma, x = lesson_06.W, lesson_06.SIGMA, lesson_06.X
    V, L = lesson_06.V.clone().requires_grad_(), torch.linalg.cholesky(lesson_06.S).requires_grad_()
    S = L.tril() @ L.tril().T
    prior = MultivariateNormal(torch.zeros(2, dtype=DOUBLE), torch.eye(2, dtype=DOUBLE))
    kl = kl_divergence(MultivariateNormal(x @ V.T, S), prior)
    of_closed_form = torch.autograd.grad((names(6)["elbo"](x, W, sigma, V, S) + kl).sum(), (V, L))
    points, weights = (torch.from_numpy(it) for it in np.polynomial.hermite_e.hermegauss(4))
    eps, weight = torch.cartesian_prod(points, points), torch.cartesian_prod(weights, weights).prod(1) / (2 * math.pi)
    z = (x @ V.T).detach().unsqueeze(1) + eps @ L.detach().T  # (n, 16, 2)
    g = ((x.unsqueeze(1) - z @ W.T) / sigma**2) @ W
    assert torch.allclose(of_closed_form[0], torch.einsum("e,nek,nd->kd", weight, g, x))
    assert torch.allclose(of_closed_form[1], torch.einsum("e,nek,el->kl", weight, g, eps).tril())


def test_one_gradient_moves_inside_and_the_other_does_not():
    states(6, "with gradient $2 \\phi$", "the right side is 0")
    eps = torch.linspace(-8, 8, 4001, dtype=DOUBLE)
    weight = Normal(0.0, 1.0).log_prob(eps).exp() * 16 / 4000
    phi = torch.tensor(0.7, dtype=DOUBLE, requires_grad=True)
    z = (0.7 + eps).detach()  # the values of z are fixed; phi is in their density
    density = Normal(phi, 1.0).log_prob(z).exp() * 16 / 4000
    (outside,) = torch.autograd.grad((density * z**2).sum(), phi)
    assert outside.item() == pytest.approx(2 * 0.7, abs=1e-9)
    theta = torch.tensor(0.4, dtype=DOUBLE, requires_grad=True)
    (outer,) = torch.autograd.grad((weight * Normal(theta * z, 1.0).log_prob(torch.tensor(1.0))).sum(), theta)
    inside = (weight * z * (1.0 - 0.4 * z)).sum()
    assert outer.item() == pytest.approx(inside.item(), abs=1e-12)


def test_two_forms_of_the_bound_at_the_posterior():
    states(7, "0.99 nats$^2$ per data point", "variance 0")
    pair, x = lesson_06.exact(), data.load("factor_analysis").x.double()
    exact = pair.posterior(x)
    torch.manual_seed(0)
    z = exact.rsample((400,))
    log_x = Normal(z @ lesson_06.W.T, lesson_06.SIGMA).log_prob(x).sum(-1)
    sampled = log_x + Normal(0.0, 1.0).log_prob(z).sum(-1) - exact.log_prob(z)
    assert sampled.var(0).max() < 1e-20
    # of log p(x | z) = -|e|^2 / 2 + const, a quadratic form of a normal z, in closed form
    A = lesson_06.W.T @ (lesson_06.W / lesson_06.SIGMA.unsqueeze(1) ** 2)
    slope = (x / lesson_06.SIGMA**2) @ lesson_06.W - exact.mean @ A
    S = exact.covariance_matrix[0]
    variance = 0.5 * torch.trace(A @ S @ A @ S) + torch.einsum("ni,ij,nj->n", slope, S, slope)
    assert variance.mean().item() == pytest.approx(0.99, abs=0.005)
    error = log_x.var(0).mean().item() - variance.mean().item()
    assert abs(error) < 4 * (log_x.var(0).std() / len(x) ** 0.5 + 0.01).item()


def test_the_variances_of_the_estimators():
    states(7, "$4 s^2 = 2$", "$s^2 = 1/2$", "that of the path derivative 0")
    m, s, x = (torch.tensor(value, dtype=DOUBLE) for value in (1.0, 0.5**0.5, 2.0))
    torch.manual_seed(0)
    eps = torch.randn(100_000, dtype=DOUBLE)
    for distance in (0.0, 3.0):
        of = {name: names(7)[name](m + distance, s, x, eps) for name in ("reparametrised", "closed_kl", "path")}
        error = 4 * (2 / len(eps)) ** 0.5  # four standard errors of the variance of a normal, as a fraction
        assert of["reparametrised"].var().item() == pytest.approx(2, rel=error)
        assert of["closed_kl"].var().item() == pytest.approx(0.5, rel=error)
        assert of["path"].var().item() < 1e-20
    assert names(7)["score"](m + 3, s, x, eps).var() > 10 * names(7)["score"](m, s, x, eps).var()


def test_the_gradient_of_the_elbo():
    states(7, "\\mathrm{ELBO} = x - 2 m")
    m, x = torch.tensor(0.3, dtype=DOUBLE, requires_grad=True), 2.0
    kl = kl_divergence(Normal(m, 0.9), Normal(x / 2, 0.5**0.5))
    (gradient,) = torch.autograd.grad(-kl, m)
    assert gradient.item() == pytest.approx(x - 2 * m.item())


def test_the_score_has_expectation_0():
    states(7, "has expectation 0")
    z = torch.linspace(-12, 12, 20_001, dtype=DOUBLE)
    q = Normal(torch.tensor(0.3, dtype=DOUBLE), torch.tensor(0.9, dtype=DOUBLE))
    assert torch.trapezoid(q.log_prob(z).exp() * (z - 0.3) / 0.81, z).abs() < 1e-12
