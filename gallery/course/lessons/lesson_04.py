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
# # Lesson 4: Two directions of the KL
#
# A number is squared and observed with noise, so its sign is lost: two values explain the observation equally well. A
# normal guide has one peak. It can sit on one of the two explanations, or lie across both. Which of them it does
# depends on the direction in which the KL is measured.
#
# - **Before**: lesson 3.
# - **Afterwards** you can compute both KLs by quadrature, say which one the ELBO uses, and predict what a guide with
#   one peak makes of two.
# - **Time**: 60 minutes; the code runs in 5 seconds.

# %%
# %matplotlib inline
import math

import matplotlib.pyplot as plt
import torch

z = torch.linspace(-9, 9, 20_001, dtype=torch.float64)  # a grid for integrals over z

# %% [markdown]
# ## The model
#
# $z \sim \mathrm{Normal}(0, 1)$ and $x \mid z \sim \mathrm{Normal}(z^2, 0.5)$, where 0.5 is a standard deviation. On a
# grid every integral is a sum, `torch.trapezoid(values, z)`. With it the evidence is known to many digits, and so is
# the posterior.
#
# ## Exercise 1: the posterior on the grid


# %%
def log_posterior(x):
    """Return log p(z | x), (20001,), on the grid `z`, for a number x."""
    # exercise 1: log joint density minus the log of its integral over the grid
    prior = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    likelihood = -0.5 * ((x - z**2) / 0.5) ** 2 - math.log(0.5) - 0.5 * math.log(2 * math.pi)
    log_joint = prior + likelihood
    return log_joint - torch.log(torch.trapezoid(log_joint.exp(), z))
    # end


# %% [markdown]
# ## From the guide to the posterior
#
# The second derivation of the ELBO gave $\log p(x) - \mathrm{ELBO}(q) = \mathrm{KL}(q \,\|\, p)$. The expectation is
# under the *guide*: where the guide has mass the posterior must have some too, or the logarithm grows without bound.
# Where the guide has none, whatever the posterior does there costs nothing. This direction, the **reverse** or
# exclusive KL, avoids zeros, and prefers one whole peak to a compromise.
#
# $$\mathrm{KL}(q \,\|\, p) = \int q(z) \log \frac{q(z)}{p(z \mid x)}\, dz, \qquad
# \mathrm{KL}(p \,\|\, q) = \int p(z \mid x) \log \frac{p(z \mid x)}{q(z)}\, dz$$
#
# The other direction, **forward** or inclusive, averages under the *posterior*: the guide must have mass wherever the
# posterior has some.
#
# ## Exercise 2: both directions


# %%
def log_normal(mean, scale):
    """Return the log density of Normal(mean, scale) on the grid."""
    return -0.5 * ((z - mean) / scale) ** 2 - math.log(scale) - 0.5 * math.log(2 * math.pi)


def kls(log_q, log_p):
    """Return (KL(q || p), KL(p || q)) in nats of two log densities on the grid."""
    # exercise 2: the average of log q - log p under q, and of log p - log q under p
    return torch.trapezoid(log_q.exp() * (log_q - log_p), z), torch.trapezoid(log_p.exp() * (log_p - log_q), z)
    # end


# %% [markdown]
# ## The forward KL matches moments
#
# In $\mathrm{KL}(p \,\|\, q)$ the guide enters only through $-\mathbb{E}_p[\log q(z)]$. For a normal that is a function
# of $\mathbb{E}_p[z]$ and $\mathbb{E}_p[z^2]$, and it is least when the guide has the mean and the variance of the
# posterior. Here the mean is 0 at every $x$, the middle between the peaks, where there may be no mass at all. At $x =
# 9$ the moment-matched normal has 26 % of its mass between $-1$ and $1$; the posterior has less than $10^{-50}$.
#
# ## Exercise 3: the guide of least forward KL


# %%
def forward_fit(x):
    """Return (mean, scale) of the normal that is nearest in KL(p || q)."""
    # exercise 3: the mean and the standard deviation of the posterior
    p = log_posterior(x).exp()
    mean = torch.trapezoid(p * z, z)
    return mean, torch.sqrt(torch.trapezoid(p * (z - mean) ** 2, z))
    # end


# %% [markdown]
# ## The reverse KL chooses
#
# At $x = 9$ the best normal in reverse KL sits at 2.976 with standard deviation 0.084, on one peak; its twin at
# $-2.976$ is as good. Half of the posterior is missed, and the price is $\log 2$: on the peak $q$ is about twice $p$.
# At $x = 0.5$ the peaks have merged, and the best normal lies across both.
#
# The remedy is another family. Half of this normal and half of its twin make a mixture with both peaks, and its reverse
# KL is 0.0006. To learn such a guide one sums over its components (lesson 5), since the number of a component has no
# gradient, or differentiates through the distribution function (Graves, Stochastic backpropagation through mixture
# density distributions, 2016).
#
# ## Exercise 4: what one peak costs
#
# Find the least reverse KL of a normal at $x = 9$, to three digits. A search over `mean` and `scale` is enough.

# %%
# exercise 4: the least KL(q || p) over means and scales at x = 9, a number
target = log_posterior(9.0)
candidates = [(m, s) for m in torch.linspace(2.95, 3, 11) for s in torch.linspace(0.08, 0.09, 11)]
least_reverse_kl = min(float(kls(log_normal(float(m), float(s)), target)[0]) for m, s in candidates)
# end

# %% [markdown]
# ## In a picture
#
# Each direction leads to an algorithm. The reverse KL needs expectations under the guide, from which sampling is easy:
# variational inference. The forward KL needs expectations under the posterior, which is the unknown; wake-sleep
# replaces it by samples of the model, and importance weighting (lesson 10) by weighted samples of the guide.

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3))
for ax, x in zip(axes, (0.5, 2.0, 9.0), strict=True):
    mean, scale = (float(value) for value in forward_fit(x))
    ax.fill_between(z, log_posterior(x).exp(), alpha=0.3, label="posterior")
    ax.plot(z, log_normal(mean, scale).exp(), label="least forward KL")
    ax.set_xlim(-4.5, 4.5)
    ax.set_title(f"x = {x}: forward KL {kls(log_normal(mean, scale), log_posterior(x))[1]:.3f}")
axes[2].plot(z, log_normal(2.976, 0.084).exp(), label=f"least reverse KL {least_reverse_kl:.3f}")
axes[2].legend()

# %% [markdown]
# ## To think about
#
# A posterior mean computed from the fitted guide at $x = 9$ is 2.976; the true one is 0. Both guides are wrong, each in
# its way. Which error is worse if the guide proposes samples for importance weighting? If it serves to decode an image?
