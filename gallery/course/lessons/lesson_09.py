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
# # Lesson 9: What goes wrong
#
# A VAE can end with a code that carries nothing, an encoder that lags behind, importance weights of which one outweighs
# all others, or a likelihood that is none. Each fault has a number that shows it, and a model so small that the number
# is known.
#
# - **Before**: lessons 7 and 8.
# - **Afterwards** you can say when a code collapses, split a gap in two, read effective sample size and k-hat, and see
#   a likelihood that does not integrate to 1.
# - **Time**: 90 minutes; the code runs in 40 seconds.

# %%
# %matplotlib inline
import matplotlib.pyplot as plt
import torch

import data
from gallery import VAE
from inference import Settings, evaluate, svi
from inference.evaluation.mutual_information import mutual_information

# %% [markdown]
# ## Posterior collapse
#
# Weight the KL by $\beta$. Above 1 the objective is still a lower bound, a looser one; below 1 it is none. Take the
# smallest VAE: data with variance $v$, $z \sim \mathrm{Normal}(0, 1)$, $x \mid z \sim \mathrm{Normal}(w z, \sigma)$
# with $\sigma$ fixed, and the best normal guide. Dividing the objective by $\beta$ shows that it is, up to a constant,
# the ordinary ELBO with noise variance $\beta \sigma^2$. The best $w$ of that model makes $w^2 + \beta \sigma^2$ the
# variance of the data:
#
# $$w^2 = \max(0,\ v - \beta \sigma^2) .$$
#
# So there is a sharp threshold, $\beta = v / \sigma^2$. Beyond it $w = 0$: the decoder ignores the code, the guide
# equals the prior, and the KL is 0. With many latent coordinates each direction of the data has its threshold, and
# those of small variance collapse first. At $\beta = 1$ a direction with less variance than the noise is not coded, and
# *rightly* so: that is the maximum of the bound, not an accident of training.
#
# ## Exercise 1: the best decoder


# %%
def best_loading(variance, sigma, beta):
    """Return the best w >= 0 of the smallest VAE, at the weight `beta` of the KL."""
    # exercise 1: w^2 + beta sigma^2 is the variance of the data, where that is possible
    return max(0.0, variance - beta * sigma**2) ** 0.5
    # end


# %% [markdown]
# ## Remedies, and what they change
#
# Early in training the decoder cannot read the code yet, and the KL is the only thing that the guide can improve: it
# falls to 0 and may stay there. **Warm-up** raises $\beta$ from 0 to 1 over the first epochs. **Free bits** do not
# charge for the first $\lambda$ nats of each coordinate:
#
# $$\mathbb{E}_q[\log p(x \mid z)] - \sum_j \max(\lambda, \mathrm{KL}_j), \qquad
# \mathrm{KL}_j \text{ the mean over the minibatch},$$
#
# which is at most the ELBO, hence a bound. A decoder **too strong** (an autoregressive one, say) can model $x$ without
# $z$; then collapse is the optimum again, and no schedule changes that: weaken the decoder, or do without a code.
#
# ## Exercise 2: free bits


# %%
def free_bits(kl, nats):
    """Return the charge for the codes of a minibatch, a number, from the KL of each point and coordinate, (n, k)."""
    # exercise 2: the mean over data points, at least `nats` for each coordinate, summed
    return kl.mean(0).clamp(min=nats).sum()
    # end


# %% [markdown]
# ## Two parts of a gap
#
# $z \sim \mathrm{Normal}(0, 1)$, $x \mid z \sim \mathrm{Normal}(z, 1)$ has the posterior $\mathrm{Normal}(x/2,
# \sqrt{1/2})$. Let the guide be $\mathrm{Normal}(a x, s)$, with $s$ fixed and one slope $a$ for all $x$. Its KL from
# the posterior splits in two:
#
# $$\mathrm{KL} = \tfrac{1}{2} [2 s^2 - 1 - \log 2 s^2] + (a - \tfrac{1}{2})^2 x^2 .$$
#
# The first, the **approximation gap**, is what the best member of the family loses at each $x$; the second, the
# **amortisation gap**, is what the network loses on top. More training or a larger encoder lowers the second, never the
# first.
#
# ## Exercise 3: approximation and amortisation


# %%
def gaps(x, a, s):
    """Return the approximation gap and the amortisation gap in nats, means over x (n,), of the guide Normal(a x, s)."""
    # exercise 3: the KL at the best mean, and what the mean a x adds to it
    s = torch.as_tensor(s, dtype=x.dtype)
    return 0.5 * (2 * s**2 - 1 - torch.log(2 * s**2)), ((a - 0.5) ** 2 * x**2).mean()
    # end


# %% [markdown]
# ## Weights that cannot be trusted
#
# Importance weights $w = p(x, z) / q(z)$ correct a guide, if it is not too narrow. With a posterior $\mathrm{Normal}(0,
# 1)$ and a guide $\mathrm{Normal}(0, s)$ the weights have a tail like a Pareto distribution with shape $k = 1 - s^2$.
# At $s^2 = 0.5$, $k = 0.5$, their variance becomes infinite; at $s^2 = 0.3$, $k = 0.7$, averages of any practical
# number of them are useless. **k-hat** is an estimate of $k$ from the weights. A plainer number is the **effective
# sample size**, $(\sum w)^2 / \sum w^2$: 1 if one weight outweighs all others, $n$ if all are equal. It is computed
# from the weights that were seen, so it does not know of those that were not: k-hat warns earlier.
#
# ## Exercise 4: the effective sample size


# %%
def effective_sample_size(log_w):
    """Return (sum w)^2 / sum w^2 from the logarithms of the weights, (n,), which may be as large as 1000."""
    # exercise 4: in logarithms, so that nothing overflows
    return torch.exp(2 * torch.logsumexp(log_w, 0) - torch.logsumexp(2 * log_w, 0))
    # end


# %% [markdown]
# ## A likelihood that is none
#
# The Bernoulli "density" $p^x (1 - p)^{1 - x}$ of a *grey* pixel $x \in [0, 1]$ is often used as a loss. Its integral
# over $[0, 1]$ is not 1:
#
# $$\int_0^1 p^x (1-p)^{1-x}\, dx = \frac{2 p - 1}{\log p - \log (1 - p)},
# \qquad \tfrac{1}{2} \text{ at } p = \tfrac{1}{2} .$$
#
# So the "ELBO" on grey pixels bounds no log density. At $p = 1/2$ each pixel is short of a factor 2: 543 nats for an
# image of 784. The continuous Bernoulli divides by this constant and is a density.
#
# ## Exercise 5: the missing mass


# %%
def mass(p):
    """Return the integral over [0, 1] of p^x (1 - p)^(1 - x), for a tensor of p in (0, 1); 1/2 at p = 1/2."""
    # exercise 5: the closed form, with its limit where numerator and denominator vanish
    half = (p - 0.5).abs() < 1e-6
    safe = torch.where(half, torch.full_like(p, 0.25), p)
    return torch.where(half, torch.full_like(p, 0.5), (2 * safe - 1) / (safe.log() - (1 - safe).log()))
    # end


# %% [markdown]
# ## Collapse, measured
#
# Five fits of one VAE to the digits, which differ in $\beta$ only: the KL falls, and with it what a code says. How much
# that is, the **mutual information** measures. The KL, averaged over the data, is at least as large:
#
# $$\mathbb{E}_x\, \mathrm{KL}(q(z \mid x) \,\|\, p(z)) = I(x; z) + \mathrm{KL}(q(z) \,\|\, p(z)), \qquad
# q(z) = \tfrac{1}{n} \sum_i q(z \mid x_i) .$$
#
# Of $n$ images it is at most $\log n$, which says which of them it is: 7.09 nats for these 1200. At $\beta = 0.05$ the
# code has more than 6.5 of them, at $\beta = 4$ less than 0.1.

# %%
train, test = data.load("digits:threshold").x, data.load("digits:threshold", "test").x
betas, rates, information = (0.05, 0.5, 1.0, 4.0, 16.0), [], []
for beta in betas:
    torch.manual_seed(0)
    pair = VAE(data_dim=64, latent_dim=4, hidden=(64,), dropout=0.0)
    svi(pair, train, settings=Settings(epochs=30, batch_size=50, lr=3e-3, beta=beta))
    rates.append(evaluate(pair, test, particles=4)["kl"]["value"])
    information.append(mutual_information(pair, train)["mutual_information"])
    print(
        f"beta {beta:5.2f}: KL {rates[-1]:.3f} nats per test image, "
        f"information {information[-1]['value']:.3f} of at most {information[-1]['cap']:.3f}"
    )

plt.semilogx(betas, rates, marker="o")
plt.xlabel("weight of the KL")
plt.ylabel("KL, nats")

betas = torch.linspace(0, 6, 200)
plt.figure()
plt.plot(betas, [best_loading(4.0, 1.0, float(beta)) for beta in betas])
plt.xlabel("weight of the KL, at variance 4 and noise 1")
plt.ylabel("best loading")

# %% [markdown]
# ## To think about
#
# A fit has KL 0.02 nats and a good ELBO. Which questions decide between "the data have no structure that this code
# could carry", "the decoder does without it" and "training went wrong"? Which fit would separate the three?
