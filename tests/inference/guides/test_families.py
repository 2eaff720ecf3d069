"""Guides of named families: the contract of each, and the same bounds as Pyro's autoguides."""

import copy

import pyro
import pytest
import torch
from cases import N, build
from free_guides import BOTH, FREE, GLOBAL, LOCAL, ONE_NUMBER, build_free, factor_analysis, fit, guide_of, moved
from known import close
from pyro import poutine
from pyro.infer import Trace_ELBO, autoguide

from inference import SVI, InferenceError, Settings, param_scope, with_guide
from inference.fit.graph import traced
from inference.pairs.handlers import SetRows
from inference.pairs.info import inspect_pair
from inference.pairs.run import importance_traces
from inference.pairs.sites import is_local, latent_sites


@pytest.mark.parametrize(("model", "name"), BOTH)
def test_sites_scales_precision_and_gradients(model, name):
    pair, args = build_free(model, name)
    some, rows = tuple(a[:4] for a in args), torch.tensor([3, 1, 0, 2])
    of_model, guide = importance_traces(pair, some, rows, total=N)
    assert latent_sites(of_model).keys() == latent_sites(guide).keys()
    for site in latent_sites(guide).values():
        assert float(site["scale"]) == (N / 4 if is_local(site) else 1.0)
        assert site["value"].dtype == site["log_prob"].dtype == torch.float64
    assert bool(inspect_pair(pair, args).delta_sites) == (name in ("delta", "laplace"))
    assert inspect_pair(pair, args).is_per_data_point == (model in LOCAL)
    svi = SVI(pair, *args, settings=Settings(particles=2))
    moved(pair).zero_grad()  # the layers before the last of a flow get no gradient at its start
    svi.loss(torch.arange(N)).backward()
    for key, parameter in pair.free_guide.named_parameters():
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key
    own = pair.state_dict().keys() - {key for key in pair.state_dict() if key.startswith("free_guide.")}
    assert own == build(model).state_dict().keys()


@pytest.mark.parametrize(("model", "name"), [(m, g) for m, g in BOTH if m in ("cvae", *ONE_NUMBER, *GLOBAL[1:])])
def test_same_seed_same_numbers_copies_and_state_dict(model, name):
    pair, args = build_free(model, name)
    other, _ = build_free(model, name, seed=1)

    def loss(pair):
        torch.manual_seed(2)
        return SVI(pair, *args).loss(torch.arange(N)).detach()

    expected = loss(pair)
    assert expected == loss(pair) != loss(other)
    other.load_state_dict(pair.state_dict())
    close(loss(other), expected, 1e-12)  # the last bit may hang on where in memory a tensor lies
    pair.zero_grad()
    SVI(pair, *args).loss(torch.arange(N)).backward()  # the cache of a draw does not prevent a copy
    copied = copy.deepcopy(pair)
    moved(pair)
    close(loss(copied), expected, 1e-12)
    assert loss(pair) != expected
    assert list(pyro.get_param_store().keys()) == []


@pytest.mark.parametrize(
    ("model", "name"), [("loaded_die", "multivariate"), *(("factor_analysis", name) for name in FREE)]
)
def test_the_graph_of_a_step_is_the_step(model, name):
    pair, args = build_free(model, name)
    svi = SVI(moved(pair, 0.1), *args)
    inputs = svi.loss.step_arguments(torch.arange(N))
    torch.manual_seed(3)
    expected = svi.loss.gradients(*inputs)
    graph = traced(svi.loss.gradients, inputs)
    torch.manual_seed(3)
    for a, b in zip(graph(*inputs), expected, strict=True):
        close(a, b)


@pytest.mark.parametrize("name", FREE)
def test_meta_device(name):
    pair, (x,) = build_free("factor_analysis", name)
    pair, x = pair.to("meta"), x.to("meta")
    with pyro.validation_enabled(False), param_scope(), SetRows(torch.arange(N, device="meta")):
        site = importance_traces(pair, (x,))[1].nodes["z"]
    assert site["value"].device.type == site["log_prob"].device.type == "meta"


@pytest.mark.parametrize("name", FREE)
def test_a_row_keeps_its_parameters_in_minibatches_and_repeats(name):
    pair, (x,) = build_free("factor_analysis", name)
    moved(pair)
    rows, whole = torch.randperm(N)[:5], guide_of(pair, x)
    value = whole.rsample()
    for k in (1, 3):  # as in a minibatch, and repeated for several draws
        many = rows.repeat(k)
        q = importance_traces(pair, (x[many],), many)[1].nodes["z"]["fn"]
        if name in ("delta", "laplace"):
            close(q.mean, whole.mean[many])
        else:
            close(q.log_prob(value[many]), whole.log_prob(value)[many])
    with pytest.raises(InferenceError, match="none for row 12"):
        importance_traces(pair, (x[:2],), torch.tensor([0, N]), total=N + 1)


def test_minibatches_fit_every_data_point_to_its_posterior():
    """The mode of a normal posterior is its mean: a permutation of the data permutes the fitted modes."""
    pair, x = factor_analysis(8)
    for rows in (torch.arange(8), torch.randperm(8)):
        fitted = fit(with_guide(pair, "delta", x[rows]), x[rows], epochs=150, batch_size=4)
        mode, known = fitted.free_guide.q["z"]["loc"], pair.posterior(x).mean
        assert torch.cdist(mode, known).argmin(1).tolist() == rows.tolist()
        assert (mode - known[rows]).norm() < 0.1 * known.norm()


@pytest.mark.parametrize(
    "objective", ["score", "graph", "analytic", "iwae:3", "dreg:3", "wake-sleep:3", "stl", "loo:3", "vimco:3"]
)
@pytest.mark.parametrize(("model", "name"), [("loaded_die", "flow"), ("vae", "low_rank"), ("cvae", "multivariate")])
def test_other_objectives_apply(model, name, objective):
    pair, args = build_free(model, name)
    svi = SVI(moved(pair, 0.1), *args, settings=Settings(objective=objective))
    gradients = torch.autograd.grad(svi.loss(torch.arange(N)), list(pair.free_guide.parameters()))
    assert all(g.isfinite().all() and g.any() for g in gradients)


@pytest.mark.parametrize("name", ["normal", "multivariate", "low_rank", "flow"])
@pytest.mark.parametrize("model", ["loaded_die", "factor_analysis"])
def test_the_score_of_a_draw_is_that_of_its_value(model, name):
    """The cache of a draw without gradient does not replace terms that depend on the parameters."""
    pair, args = build_free(model, name)
    moved(pair, 0.3)
    parameters, scores = list(pair.free_guide.parameters()), []
    for known in (lambda z: z, torch.clone):
        torch.manual_seed(4)
        with param_scope():
            q = next(iter(latent_sites(poutine.trace(pair.guide).get_trace(*args)).values()))["fn"]
        with torch.no_grad():
            z = q()
        scores.append(torch.autograd.grad(q.log_prob(known(z)).sum(), parameters, allow_unused=True))
    for a, b in zip(*scores, strict=True):
        close(a, b, 1e-7)  # the inverse to the simplex takes differences of numbers near 1


@pytest.mark.parametrize(
    ("name", "cls"), [("normal", "AutoDiagonalNormal"), ("multivariate", "AutoMultivariateNormal")]
)
@pytest.mark.parametrize("model", GLOBAL)
def test_the_bound_is_that_of_pyros_autoguide(model, name, cls):
    pair, args = build_free(model, name)
    moved(pair, 0.3)
    theirs = getattr(autoguide, cls)(build(model).double().model)
    with param_scope():
        theirs(*args)
    free, mine = pair.free_guide, {}
    for latent in free.latents:
        mine[latent.name] = {key: value.detach() for key, value in free.q[latent.name].items()}
    loc = torch.cat([q["loc"] for q in mine.values()])
    scale = torch.cat([q["log_scale"].exp() for q in mine.values()])
    L = torch.eye(len(loc), dtype=torch.float64)
    if name == "multivariate":  # u_2 = loc_2 + on_1 u_1 + scale_2 unit_2 e_2
        L, i = scale.diag(), 0
        for latent in free.latents:
            q, j = mine[latent.name], i + latent.size
            if latent.size > 1:
                L[i:j, i:j] = q["log_scale"].exp().unsqueeze(-1) * (L[i:j, i:j].sign() + q["A"].tril(-1))
            if i:
                L[i:j, :i] = q["on_w"] @ L[:i, :i]
                loc[i:j] += q["on_w"] @ loc[:i]
            i = j
        scale, L = L.diagonal(), L / L.diagonal().unsqueeze(-1)
        theirs.scale_tril = L
    theirs.loc.data, theirs.scale = loc, scale
    losses = []
    for guide in (pair.guide, theirs):
        torch.manual_seed(5)
        with param_scope():
            losses.append(Trace_ELBO().loss(pair.model, guide, *args))
    assert losses[0] == pytest.approx(losses[1], rel=1e-8)
