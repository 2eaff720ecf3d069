"""Steps of the same pairs in NumPyro, from the same weights: through jax.jit, one or several steps a call."""

import os
from collections.abc import Callable, Iterator
from functools import partial
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
from gallery.models._distributions import MAX_LOGIT
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


def _networks(weights: Weights) -> tuple[Callable, Callable]:
    """Return functions of the weights' names: linear(name, h), and mlp(name, h, dropout) with ReLU."""

    def linear(name: str, h):
        W, b = (numpyro.param(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return h @ W.T + b

    def mlp(name: str, h, dropout: float = 0.0):
        numbers = (key.removeprefix(f"{name}.").removesuffix(".weight") for key in weights if key.startswith(name))
        for number in sorted({int(i) for i in numbers if i.isdecimal()}):
            h = jax.nn.relu(linear(f"{name}.{number}", h))
            if dropout:
                kept = jax.random.bernoulli(numpyro.prng_key(), 1 - dropout, h.shape)
                h = jnp.where(kept, h / (1 - dropout), 0.0)
        return h

    return linear, mlp


def _gaussian(out) -> tuple[Any, Any]:
    """Return (loc, scale) from the outputs of a Gaussian head."""
    loc, pre_scale = jnp.split(out, 2, axis=-1)
    return loc, jax.nn.softplus(pre_scale)


def _log_bernoulli(logits, x):
    return (x * logits - jax.nn.softplus(logits)).sum(-1)


def vae(weights: Weights, dropout: float = 0.0, grey: bool = False) -> tuple[Callable, Callable]:
    """Return the VAE as (model, guide) of x, of shape (n, data_dim).

    :param dropout: probability of dropping a hidden unit
    :param grey: whether the likelihood is the continuous Bernoulli, which NumPyro does not have
    """
    linear, mlp = _networks(weights)

    def model(x):
        latent_dim = weights["decoder.0.0.weight"].shape[1]
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(jnp.zeros((len(x), latent_dim)), 1.0).to_event(1))
            logits = linear("decoder.1.linear", mlp("decoder.0", z, dropout))
            if grey:
                logits = logits.clip(-MAX_LOGIT, MAX_LOGIT)
                size = jnp.maximum(jnp.abs(logits), 1e-3)
                log_norm = (logits + size) / 2 + jnp.log(-jnp.expm1(-size) / size)
                numpyro.factor("x", (logits * x - log_norm).sum(-1))
            else:
                numpyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(x):
        loc, scale = _gaussian(linear("encoder.1.linear", mlp("encoder.0", x, dropout)))
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Normal(loc, scale).to_event(1))

    return model, guide


def gmvae(weights: Weights) -> tuple[Callable, Callable]:
    """Return the GMVAE as (model, guide) of x: its ELBO, with y summed out and the KL of z in closed form, is a factor.

    NumPyro's TraceEnum_ELBO samples the KL.
    """
    linear, mlp = _networks(weights)

    def model(x):
        log_q = jax.nn.log_softmax(linear("classifier.1", mlp("classifier.0", x)))  # (n, components)
        y = jnp.eye(log_q.shape[1])[:, None]  # (components, 1, components)
        V = numpyro.param("encoder.of_y.weight", weights["encoder.of_y.weight"])
        h = mlp("encoder.rest.1", jax.nn.relu(linear("encoder.of_x", x) + y @ V.T))
        loc, scale = _gaussian(linear("encoder.rest.2.linear", h))  # (components, n, latent_dim)
        prior_loc, prior_scale = _gaussian(linear("prior.linear", y))
        z = loc + scale * jax.random.normal(numpyro.prng_key(), loc.shape)
        ratio = (scale / prior_scale) ** 2
        kl = 0.5 * (ratio + ((loc - prior_loc) / prior_scale) ** 2 - 1 - jnp.log(ratio)).sum(-1)
        log_p = _log_bernoulli(linear("decoder.1.linear", mlp("decoder.0", z)), x)  # (components, n)
        q = jnp.exp(log_q)
        numpyro.factor("elbo", (q * (log_p - kl).T - q * (log_q + jnp.log(q.shape[1]))).sum())

    return model, lambda x: None


def vrnn(weights: Weights) -> tuple[Callable, Callable]:
    """Return the VRNN as (model, guide) of x: its ELBO is a factor, the recurrence a scan, as in `VectorisedVRNN`."""
    linear, mlp = _networks(weights)

    def head(name: str, h):
        return _gaussian(linear(f"{name}.1.linear", mlp(f"{name}.0", h)))

    def model(x):
        row_dim = weights["decoder.1.linear.bias"].shape[0]
        rows = x.reshape(len(x), -1, row_dim).swapaxes(0, 1)  # (steps, n, row_dim)
        latent_dim = weights["prior.1.linear.bias"].shape[0] // 2
        noise = jax.random.normal(numpyro.prng_key(), (*rows.shape[:2], latent_dim))
        recurrent = [name for name in weights if name.startswith(("recurrence", "encoder"))]
        values = {name: numpyro.param(name, weights[name]) for name in recurrent}  # no site may appear in a scan

        def cell(i: int, inputs, before):
            W, U, b, c = (values[f"recurrence.{i}.{part}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            keep, forget, new, out = jnp.split(inputs @ W.T + b + before[0] @ U.T + c, 4, axis=-1)
            state = jax.nn.sigmoid(forget) * before[1] + jax.nn.sigmoid(keep) * jnp.tanh(new)
            return jax.nn.sigmoid(out) * jnp.tanh(state), state

        def encode(h):
            for i in (0, 2):
                h = jax.nn.relu(h @ values[f"encoder.0.{i}.weight"].T + values[f"encoder.0.{i}.bias"])
            return _gaussian(h @ values["encoder.1.linear.weight"].T + values["encoder.1.linear.bias"])

        def advance(carried, inputs):
            previous, memory = carried
            row, eps = inputs
            first = cell(0, previous, memory[0])
            second = cell(1, first[0], memory[1])
            loc, scale = encode(jnp.concatenate([second[0], row], -1))
            z = loc + scale * eps
            return (jnp.concatenate([row, z], -1), (first, second)), (second[0], z, loc, scale)

        empty = jnp.zeros((len(x), weights["recurrence.0.weight_hh"].shape[1]))
        start = jnp.zeros((len(x), row_dim + latent_dim)), ((empty, empty), (empty, empty))
        _, (h, z, loc, scale) = jax.lax.scan(advance, start, (rows, noise))
        prior_loc, prior_scale = head("prior", h)
        log_ratio = (
            jnp.log(scale / prior_scale) + 0.5 * ((z - loc) / scale) ** 2 - 0.5 * ((z - prior_loc) / prior_scale) ** 2
        )
        log_p = _log_bernoulli(linear("decoder.1.linear", mlp("decoder.0", jnp.concatenate([h, z], -1))), rows)
        numpyro.factor("elbo", log_ratio.sum() + log_p.sum())

    return model, lambda x: None


PAIRS: dict[str, Callable[[Weights], tuple[Callable, Callable]]] = {
    "factor_analysis": factor_analysis,
    "vae": vae,
    "vae:continuous_bernoulli": partial(vae, dropout=0.1, grey=True),
    "gmvae": gmvae,
    "vrnn": vrnn,
}
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
