# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lesson 3: The ELBO, twice
#
# The probability of the data is an integral that can rarely be computed. The ELBO is a number below it that can. It is
# derived twice: the first derivation shows *that* it is a bound, the second *by how much* it falls short.
#
# - **Before**: lessons 1 and 2; expectation, concave functions.
# - **Afterwards** you can derive the ELBO by Jensen's inequality and by Bayes' rule, compute it for a given guide, and
#   name the gap.
# - **Time**: 75 minutes; the code runs in 5 seconds.

# %%
# %matplotlib inline
import math

import matplotlib.pyplot as plt
import torch

# %% [markdown]
# ## A small model
#
# A positive number is observed with noise: $z \sim \mathrm{Exponential}(1)$, $x \mid z \sim \mathrm{Normal}(z, 1)$. Its
# log joint density is
#
# $$\log p(x, z) = \log p(z) + \log p(x \mid z) = -z - \tfrac{1}{2} (x - z)^2 - \tfrac{1}{2} \log 2\pi,
# \qquad z \ge 0 .$$
#
# ## Exercise 1: the log joint density


# %%
def log_joint(x, z):
    """Return log p(x, z) in nats at z >= 0; x and z are tensors that broadcast."""
    # exercise 1: log prior plus log likelihood
    return -z - 0.5 * (x - z) ** 2 - 0.5 * math.log(2 * math.pi)
    # end


# %% [markdown]
# ## First derivation: Jensen's inequality
#
# A concave function of an average is at least the average of the function. The logarithm is concave. Take any density
# $q(z)$ that is positive where the joint density is, multiply and divide by it, and exchange logarithm and expectation:
#
# $$\log p(x) = \log \int p(x, z)\, dz = \log \mathbb{E}_{q} \left[ \frac{p(x, z)}{q(z)} \right]
# \ \ge\ \mathbb{E}_{q} \left[ \log \frac{p(x, z)}{q(z)} \right] = \mathrm{ELBO}(q) .$$
#
# That is a lower bound for every $q$. Equality needs a ratio $p(x, z) / q(z)$ that is constant in $z$, hence a $q$
# proportional to $p(x, z)$: the posterior, and nothing else.
#
# What the bound is maximised over is a density, so a function of $z$: hence *variational* inference, after the calculus
# of variations. A small change of $q$ to $q + \epsilon h$, with $\int h(z)\, dz = 0$, changes the ELBO, to first
# order, by
#
# $$\epsilon \int h(z) \left[ \log p(x, z) - \log q(z) \right] dz .$$
#
# That is 0 for every $h$ only if the bracket is constant in $z$: again the posterior. In practice $q$ belongs to a
# family with parameters, and it is these that are optimised.
#
# Let $q = \mathrm{Exponential}(\lambda)$. Under it $\mathbb{E}[z] = 1/\lambda$ and $\mathbb{E}[z^2] = 2/\lambda^2$, and
# the entropy, $-\mathbb{E}[\log q]$, is $1 - \log \lambda$.
#
# ## Exercise 2: the ELBO of an exponential guide


# %%
def elbo(rate, x):
    """Return the ELBO in nats of q = Exponential(rate) at one x; rate and x are tensors."""
    # exercise 2: the expected log joint density plus the entropy, without any sampling
    first, second = 1 / rate, 2 / rate**2
    expected = -first - 0.5 * (x**2 - 2 * x * first + second) - 0.5 * math.log(2 * math.pi)
    return expected + 1 - torch.log(rate)
    # end


# %% [markdown]
# ## The best guide of a family
#
# Setting the derivative by $\lambda$ to zero and multiplying by $\lambda^3$ leaves a quadratic equation,
# $\lambda^2 + (x - 1) \lambda - 2 = 0$, with one positive root. At $x = 2$ it is $\lambda = 1$.
#
# ## Exercise 3: the best rate


# %%
def best_rate(x):
    """Return the rate at which the ELBO of an exponential guide is greatest; x is a tensor."""
    # exercise 3: the positive root of the quadratic equation
    return (1 - x + torch.sqrt((x - 1) ** 2 + 8)) / 2
    # end


# %% [markdown]
# ## Second derivation: the gap
#
# By Bayes' rule $p(x, z) = p(z \mid x)\, p(x)$. Put it into the ELBO; $\log p(x)$ does not depend on $z$ and leaves the
# expectation:
#
# $$\mathrm{ELBO}(q) = \mathbb{E}_{q} \left[ \log \frac{p(z \mid x)\, p(x)}{q(z)} \right]
# = \log p(x) - \mathrm{KL}(q(z) \,\|\, p(z \mid x)) .$$
#
# This is an equation. The bound falls short of the evidence by exactly the KL from the guide to the posterior, the
# **gap**. Two readings follow. For a fixed model, *raising the ELBO lowers the KL*: inference. For a fixed guide,
# raising the ELBO raises a lower bound on the evidence: learning. With $n$ data points both sides are sums, and the gap
# is a sum of one KL for each.
#
# Here the evidence is known: completing the square gives $\log p(x) = \frac{1}{2} - x + \log \Phi(x - 1)$, with $\Phi$
# the normal distribution function. At $x = 2$ it is $-1.6728$; the best exponential guide reaches $-1.9189$. The gap,
# 0.2462 nats, does not close with more training: the posterior is a truncated normal, and no exponential is one.
#
# ## Exercise 4: the gap
#
# `torch.special.log_ndtr` is $\log \Phi$.


# %%
def gap(rate, x):
    """Return KL(q || p(z | x)) in nats of q = Exponential(rate); rate and x are tensors."""
    # exercise 4: the log evidence minus the ELBO
    return 0.5 - x + torch.special.log_ndtr(x - 1) - elbo(rate, x)
    # end


# %% [markdown]
# ## In a picture
#
# Every rate gives a bound. The line is the evidence; the least distance between curve and line is the gap of the
# family.

# %%
x = torch.tensor(2.0, dtype=torch.float64)
rates = torch.linspace(0.4, 3, 200, dtype=torch.float64)
plt.plot(rates, elbo(rates, x), label="ELBO")
plt.axhline(float(elbo(rates[:1], x)[0] + gap(rates[:1], x)[0]), color="black", label="log evidence")
plt.plot(best_rate(x), elbo(best_rate(x), x), "o", label=f"best rate, gap {gap(best_rate(x), x):.4f}")
plt.xlabel("rate of the guide")
plt.ylabel("nats")
plt.legend()

z = torch.distributions.Exponential(best_rate(x)).sample((100_000,))
weights = log_joint(x, z) - torch.distributions.Exponential(best_rate(x)).log_prob(z)
print(f"average of the log weights {weights.mean():.4f}: the ELBO")
print(f"log of the average weight  {weights.logsumexp(0) - math.log(len(z)):.4f}: the log evidence")

# %% [markdown]
# ## To think about
#
# The same weights give both numbers: averaging *outside* the logarithm gives the ELBO, *inside* the evidence. With few
# samples the second is a bound as well: the IWAE of lesson 10.
