"""Conditional VAEs: through which variables the class acts on the image."""

import math

import torch
from cases import SMALL, arguments, build
from known import close
from pyro import poutine
from vae_cases import small

from gallery.models.gmvae import GMVAE

X, Y = arguments("cvae", torch.float64)


def log_joint(pair, z, *args, **given):
    """log p(x, z | y) by data point, (n,), and log p(x | z, y)."""
    trace = poutine.trace(poutine.condition(pair.model, {"z": z, **given})).get_trace(*args)
    trace.compute_log_prob()
    total = sum(site["log_prob"] for site in trace.nodes.values() if site["type"] == "sample" and "log_prob" in site)
    return total, trace.nodes["x"]["log_prob"]


def test_with_z_given_y_the_image_depends_on_the_class_through_z_alone():
    z, other = torch.randn(len(X), 2, dtype=torch.float64), (Y + 1) % SMALL["classes"]
    for name, same in (("cvae:z_given_y", True), ("cvae", False), ("cvae:standard", False)):
        pair = build(name).double().eval()
        (joint, likelihood), (joint_of_other, likelihood_of_other) = (log_joint(pair, z, X, y) for y in (Y, other))
        assert torch.equal(likelihood, likelihood_of_other) == same
        assert not torch.equal(joint, joint_of_other)


def test_with_z_given_y_the_model_is_the_mixture_vae_with_a_known_component():
    """log p(x, z | y) = log p(x, y, z) + ln C for the same networks."""
    pair, mixture = build("cvae:z_given_y").double().eval(), small(GMVAE).eval()
    mixture.prior.load_state_dict(pair.conditional_prior.state_dict())
    mixture.decoder.load_state_dict(pair.decoder.state_dict())
    z, C = torch.randn(len(X), 2, dtype=torch.float64), SMALL["classes"]
    joint, _ = log_joint(pair, z, X, Y)
    with_y, _ = log_joint(mixture, z, X, y=pair.one_hot(Y, X))
    close(joint, with_y + math.log(C))
