"""Steps of the same pairs in NumPyro, from the same weights: through jax.jit, one or several steps a call."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import torch
from numpyro.infer import SVI, Trace_ELBO
from torch import Tensor

from gallery.bench.stock import Stepper
from inference import Pair, Settings

__all__ = ["PAIRS", "STEPS", "runs_on", "stepper"]

STEPS = 50  # of a call that takes several

Weights = dict[str, Any]


def factor_analysis(weights: Weights) -> tuple[Callable, Callable]:
    """Return factor analysis as (model, guide) of x, of shape (n, data_dim)."""

    def model(x):
        W = numpyro.param("theta.W", weights["theta.W"])
        sigma = jax.nn.softplus(numpyro.param("theta.pre_sigma", weights["theta.pre_sigma"]))
        with numpyro.plate("data", len(x)):
            eye = jnp.eye(W.shape[1])
            z = numpyro.sample("z", dist.MultivariateNormal(jnp.zeros((len(x), len(eye))), scale_tril=eye))
            numpyro.sample("x", dist.Normal(z @ W.T, sigma).to_event(1), obs=x)

    def guide(x):
        V, L = (numpyro.param(name, weights[name]) for name in ("phi.V", "phi.L"))
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.MultivariateNormal(x @ V.T, scale_tril=jnp.tril(L)))

    return model, guide


def vae(weights: Weights) -> tuple[Callable, Callable]:
    """Return the VAE as (model, guide) of x, of shape (n, data_dim)."""

    def linear(name: str, h):
        W, b = (numpyro.param(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return h @ W.T + b

    def model(x):
        latent_dim = weights["decoder.0.0.weight"].shape[1]
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(jnp.zeros((len(x), latent_dim)), 1.0).to_event(1))
            logits = linear("decoder.1.linear", jax.nn.relu(linear("decoder.0.0", z)))
            numpyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(x):
        out = linear("encoder.1.linear", jax.nn.relu(linear("encoder.0.0", x)))
        mu, pre_sigma = jnp.split(out, 2, axis=-1)
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Normal(mu, jax.nn.softplus(pre_sigma)).to_event(1))

    return model, guide


PAIRS: dict[str, Callable[[Weights], tuple[Callable, Callable]]] = {"factor_analysis": factor_analysis, "vae": vae}
"""By name of the case: a function from weights to (model, guide)."""


def _rows(n: int, size: int) -> Iterator[np.ndarray]:
    random = np.random.default_rng(0)
    while True:
        order = random.permutation(n)
        for start in range(0, n - size + 1, size):
            yield order[start : start + size]


def runs_on(device: torch.device) -> bool:
    """Return whether jax runs on the device of torch."""
    return jax.default_backend() == {"cuda": "gpu"}.get(device.type, device.type)


def _confine(threads: int) -> None:
    """Give jax the same number of CPU threads as torch: it makes one for each core that it may use when it starts."""
    if hasattr(os, "sched_setaffinity"):
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, sorted(cores)[:threads])
        jax.devices()
        os.sched_setaffinity(0, cores)


def stepper(name: str, pair: Pair, x: Tensor, settings: Settings, steps: int = 1) -> Stepper:
    """Return the steps of the case called `name`.

    :param steps: number of steps in each compiled call
    """
    _confine(torch.get_num_threads())
    model, guide = PAIRS[name]({key: jnp.asarray(value.cpu().numpy()) for key, value in pair.state_dict().items()})
    size, data = min(settings.batch_size, len(x)), jnp.asarray(x.cpu().numpy())
    svi = SVI(model, guide, numpyro.optim.Adam(settings.lr), Trace_ELBO())
    state, source = svi.init(jax.random.PRNGKey(0), data[:size]), _rows(len(x), size)

    def update(state, data, rows):
        state, loss = svi.update(state, data[rows])
        return state, loss / size

    @jax.jit
    def call(state, data, rows):
        if steps == 1:
            return update(state, data, rows[0])
        return jax.lax.scan(lambda state, rows: update(state, data, rows), state, rows)

    def take_steps(count: int) -> list:
        nonlocal state
        losses = []
        for _ in range(-(-count // steps)):
            rows = np.stack([next(source) for _ in range(steps)])
            state, loss = call(state, data, rows)
            losses.append(loss)
        jax.block_until_ready((state, losses))
        return losses if steps == 1 else [loss for part in losses for loss in np.asarray(part)]

    return take_steps
