"""The variational recurrent network: rows at once and one by one, gradients through z, filtering and smoothing."""

import math

import pyro.distributions as dist
import pytest
import torch
from cases import SMALL
from pyro import poutine
from vae_cases import N, close, gradient, loss, small, svi

from gallery.models.vrnn import VRNN
from gallery.models.vrnn_smoothing import SmoothingVRNN
from gallery.models.vrnn_vectorised import VectorisedVRNN
from inference import (
    SVI,
    InferenceError,
    Settings,
    eval_mode,
    param_scope,
    reconstruct,
    sample,
)
from inference.pairs.run import importance_traces
from inference.pairs.sites import latent_sites


@pytest.fixture
def x():
    return (torch.rand(N, SMALL["data_dim"], dtype=torch.float64) > 0.5).double()


@pytest.mark.parametrize("objective", ["trace", "analytic"])
@pytest.mark.parametrize("cls", [VectorisedVRNN, SmoothingVRNN])
def test_all_rows_at_once_are_the_rows_one_by_one(cls, objective, x):
    fast = small(cls)
    slow = small(cls)
    slow.model, slow.guide = (lambda *a, f=f, **k: f(slow, *a, **k) for f in (VRNN.model, VRNN.guide))
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
    fast, slow = small(VectorisedVRNN), small(VRNN)
    slow.load_state_dict(fast.state_dict())
    assert torch.equal(sample(fast, x, 9)["mean"], sample(slow, x, 9)["mean"])
    assert torch.equal(reconstruct(fast, x), reconstruct(slow, x))
    with param_scope(), pytest.raises(ValueError, match="invalid values"):
        poutine.uncondition(fast.model)(x)  # in training mode there is no h without a guide


@pytest.mark.parametrize("cls", [VectorisedVRNN, SmoothingVRNN])
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


@pytest.mark.parametrize("cls", [VectorisedVRNN, VRNN])
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


@pytest.mark.parametrize(("cls", "sees"), [(VectorisedVRNN, False), (SmoothingVRNN, True)])
def test_smoothing_sees_the_rows_to_come_and_filtering_does_not(cls, sees, x):
    pair, other = small(cls), x.clone()
    other[:, -2:] = 1 - other[:, -2:]  # the last of three rows
    assert torch.equal(first_q(pair, x), first_q(pair, other)) != sees


def test_smoothing_can_start_where_filtering_ended(x):
    filtering, smoothing = small(VectorisedVRNN), small(SmoothingVRNN)
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
        VectorisedVRNN(data_dim=10, steps=3)
    with pytest.raises(
        InferenceError,
        match=r"VectorisedVRNN refuses rows of shape \(8,\): x has 8 pixels, not 3 x 2",
    ):
        SVI(small(VectorisedVRNN), torch.cat([x, x[:, :2]], 1))
