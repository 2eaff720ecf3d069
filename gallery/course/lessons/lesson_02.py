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
# # Lesson 2: Bayes on a line
#
# Least squares draws one line through a cloud of points. Many other lines fit nearly as well. The posterior holds all
# of them, each with its plausibility, and least squares turns out to be what is left of it when the guide is a point.
#
# - **Before**: lesson 1; the normal distribution in two dimensions, matrix inverse.
# - **Afterwards** you can compute the posterior of a linear regression, say what squared error has to do with the ELBO,
#   and name the price of a guide whose coordinates are independent.
# - **Time**: 60 minutes; the code runs in 5 seconds.

# %%
# %matplotlib inline
import math

import matplotlib.pyplot as plt
import torch

import data

line = data.load("line")
c, x = line.given[:, 0].double(), line.x[:, 0].double()  # 200 covariates and observations
NOISE, PRIOR = 0.8, 10.0  # standard deviations of an observation and of the prior

# %% [markdown]
# ## The model
#
# Intercept and slope, $w = (w_0, w_1)$, are one latent variable for all 200 points:
#
# $$w \sim \mathrm{Normal}(0, 10^2 I), \qquad x_i \mid w \sim \mathrm{Normal}(w_0 + w_1 c_i,\ 0.8).$$
#
# As a function of $w$ the log joint density is a quadratic, so the posterior is normal. Collect the rows $(1, c_i)$ in
# a matrix $C$ and complete the square:
#
# $$p(w \mid x) = \mathrm{Normal}(m, S), \qquad S^{-1} = \frac{I}{10^2} + \frac{C^\top C}{0.8^2}, \qquad
# m = S\, \frac{C^\top x}{0.8^2}.$$
#
# ## Exercise 1: the posterior


# %%
def posterior(x, c):
    """Return mean (2,) and covariance matrix (2, 2) of (intercept, slope), from x (n,) and c (n,)."""
    # exercise 1: complete the square in the log joint density
    C = torch.stack([torch.ones_like(c), c], 1)
    precision = torch.eye(2, dtype=c.dtype) / PRIOR**2 + C.T @ C / NOISE**2
    covariance = torch.linalg.inv(precision)
    return covariance @ C.T @ x / NOISE**2, covariance
    # end


# %% [markdown]
# ## Squared error is an ELBO
#
# Let the guide be a point: all of its mass at one $w$. Then the ELBO is $\log p(x, w)$, and its negative is
#
# $$\frac{1}{2 \cdot 0.8^2} \sum_i (x_i - w_0 - w_1 c_i)^2 + \frac{|w|^2}{2 \cdot 10^2} + \text{constants}.$$
#
# The first term is the **sum of squared errors** (SSE). The second comes from the prior: ridge regression. The
# constants are $\frac{n}{2} \log(2 \pi \cdot 0.8^2) + \log(2 \pi \cdot 10^2)$. Maximising this ELBO gives the **MAP**
# estimate. With so wide a prior it agrees with least squares in four digits: 0.3856 and 1.5411. SSE says nothing about
# how sure one may be; a guide with a width does, through its KL from the posterior.
#
# ## Exercise 2: minus the ELBO of a point


# %%
def negative_elbo_of_a_point(w, x, c):
    """Return -log p(x, w) in nats, at w (2,)."""
    # exercise 2: squared error, squared norm, and the two constants
    error = (x - w[0] - w[1] * c).square().sum() / (2 * NOISE**2) + len(x) / 2 * math.log(2 * math.pi * NOISE**2)
    return error + w.square().sum() / (2 * PRIOR**2) + math.log(2 * math.pi * PRIOR**2)
    # end


# %% [markdown]
# ## A guide with independent coordinates
#
# The covariates are all positive. A steeper line needs a lower intercept to pass through the same points, so intercept
# and slope are correlated: $\rho = -0.85$. A **mean-field** guide, $q(w) = q(w_0)\, q(w_1)$, cannot represent that. At
# its best its means are right, and its variances are those of one coordinate *given the other*,
# $1 / (S^{-1})_{jj} = (1 - \rho^2)\, S_{jj}$: too small, here by a factor of 3.5.
#
# ## Exercise 3: the variances of the best mean-field guide


# %%
def mean_field_variances(covariance):
    """Return the variances (d,) of the best normal guide with a diagonal covariance matrix."""
    # exercise 3: the reciprocal of the diagonal of the precision matrix
    return 1 / torch.linalg.inv(covariance).diagonal()
    # end


# %% [markdown]
# ## The price
#
# Between two normals with equal means the KL is $\frac{1}{2} [\mathrm{tr}(S^{-1} D) - d + \log \det S - \log \det D]$,
# for the guide's covariance $D$ and the posterior's $S$. At the best $D$ the trace is $d$, and what is left is
# $-\frac{1}{2} \log(1 - \rho^2) = 0.630$ nats: the evidence minus the ELBO of the best mean-field guide. Divided by 200
# points it is 0.00315, so the gap alone does not measure a guide: the standard deviations are too
# small by a factor of 1.88.
#
# ## Exercise 4: the gap of the best mean-field guide


# %%
def mean_field_gap(covariance):
    """Return KL(q || posterior) in nats of the best normal guide with a diagonal covariance matrix."""
    # exercise 4: the KL of two normals with equal means, at the variances of exercise 3
    return 0.5 * (torch.logdet(covariance) - mean_field_variances(covariance).log().sum())
    # end


# %% [markdown]
# ## In a picture
#
# The posterior's lines spread least in the middle of the data, and most where there are none. The mean-field guide is
# too sure of the intercept, at $c = 0$, by half, and not sure enough at $c = 2.5$: its two errors no longer cancel.

# %%
mean, covariance = posterior(x, c)
print(f"intercept {mean[0]:.3f} +- {covariance[0, 0].sqrt():.3f}, slope {mean[1]:.3f} +- {covariance[1, 1].sqrt():.3f}")
print(f"gap of the best mean-field guide {mean_field_gap(covariance):.3f} nats")

grid = torch.linspace(0, 5, 100, dtype=torch.float64)
design = torch.stack([torch.ones_like(grid), grid], 1)
for name, S in {"posterior": covariance, "mean field": mean_field_variances(covariance).diag()}.items():
    plt.plot(grid, ((design @ S) * design).sum(1).sqrt(), label=name)
plt.xlabel("c")
plt.ylabel("standard deviation of the line at c")
plt.legend()

# %% [markdown]
# ## To think about
#
# Subtract the mean of $c$ from every $c$. What becomes of $\rho$, and of the gap? The model is the same; the
# coordinates are not. A mean-field guide is a choice of coordinates.
