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
# # Lesson 7: Gradients through a sample
#
# A sample is drawn from a distribution, and the distribution is to be improved by a gradient. Does the gradient stop at
# the dice? There are several ways to let it through. All are right on average, and they differ in noise by orders of
# magnitude, in an order that changes with the distance from the posterior.
#
# - **Before**: lesson 6, "stochastic steps"; the chain rule.
# - **Afterwards** you can write four estimators of the gradient of the ELBO, and say which is best where.
# - **Time**: 75 minutes; the code runs in 5 seconds.

# %%
# %matplotlib inline
import matplotlib.pyplot as plt
import torch

# %% [markdown]
# ## The smallest case
#
# $z \sim \mathrm{Normal}(0, 1)$, $x \mid z \sim \mathrm{Normal}(z, 1)$. The posterior is $\mathrm{Normal}(x / 2,
# \sqrt{1/2})$. The guide is $\mathrm{Normal}(m, s)$. Its ELBO and the gradient in $m$ are known:
#
# $$\mathrm{ELBO} = \log p(x) - \mathrm{KL}(q \,\|\, p(z \mid x)), \qquad
# \frac{\partial}{\partial m} \mathrm{ELBO} = x - 2 m .$$
#
# Each estimator below takes one noise value $\epsilon \sim \mathrm{Normal}(0, 1)$ for each sample, and $z = m + s
# \epsilon$.
#
# ## The score function
#
# Move the gradient inside the *integral*, not the expectation: $\nabla q = q \nabla \log q$. Then
#
# $$\nabla_m \mathbb{E}_q[f(z)] = \mathbb{E}_q[f(z)\, \nabla_m \log q(z)], \qquad
# \nabla_m \log q(z) = \frac{z - m}{s^2}, \qquad f(z) = \log \frac{p(x, z)}{q(z)} .$$
#
# (The term from $\nabla_m f = -\nabla_m \log q$ has expectation 0.) So "one cannot back-propagate through a sample" is
# not true: the **score function** estimator, or REINFORCE, does it, for discrete $z$ too. It uses the *value* of $f$
# but not its slope, and pays with noise.
#
# ## Exercise 1: the score function estimator


# %%
def score(m, s, x, eps):
    """Return the estimate of d ELBO / d m from each noise value, (n,)."""
    # exercise 1: f(z) (z - m) / s^2, f = log p(x, z) - log q(z) with all constants
    z = m + s * eps
    log_p = torch.distributions.Normal(0.0, 1.0).log_prob(z) + torch.distributions.Normal(z, 1.0).log_prob(x)
    log_q = torch.distributions.Normal(m, s).log_prob(z)
    return (log_p - log_q) * (z - m) / s**2
    # end


# %% [markdown]
# ## Reparametrisation
#
# Write the sample as a function of the parameters and of noise that does not depend on them, $z = g(m, s, \epsilon) = m
# + s \epsilon$. The average is now over $\epsilon$, whose density has no $m$, so the gradient moves inside:
#
# $$\nabla_m \mathbb{E}_{q}[f(z)] = \nabla_m \mathbb{E}_{\epsilon}[f(m + s \epsilon)]
# = \mathbb{E}_{\epsilon}[\nabla_m f(m + s \epsilon)] .$$
#
# In the diagram at the top of the page a circle is random and a square is computed. On the left a gradient on its way
# from the ELBO to $\phi$ meets the random node $z$. On the right the randomness has moved to $\epsilon$, beside the
# path. Here $\log q(m + s \epsilon)$ depends on $\epsilon$ and $s$ only, and what is left is the slope of $\log p(x,
# z)$.
#
# In several dimensions $\epsilon$ is a vector. The guide of factor analysis, $\mathrm{Normal}(V x, S)$ with
# $S = L L^\top$, is $z = V x + L \epsilon$, and with $g = W^\top \Phi^{-1} (x - W z)$, the slope of $\log p(x \mid z)$,
#
# $$\nabla_V\, \mathbb{E}_q[\log p(x \mid z)] = \mathbb{E}_\epsilon[g\, x^\top], \qquad
# \nabla_L\, \mathbb{E}_q[\log p(x \mid z)] = \mathbb{E}_\epsilon[g\, \epsilon^\top],$$
#
# of the latter the lower triangle. The entries of $L$ are free, where those of $S$ have to keep it positive definite.
#
# ## Exercise 2: the reparametrised estimator


# %%
def reparametrised(m, s, x, eps):
    """Return the estimate of d ELBO / d m from each noise value, (n,)."""
    # exercise 2: d/dm of log p(x, z) - log q(z) along z = m + s eps, wherever m enters
    z = m + s * eps
    return x - 2 * z
    # end


# %% [markdown]
# ## Two forms of the bound
#
# $\mathrm{ELBO} = \mathbb{E}_q[\log p(x \mid z)] - \mathrm{KL}(q \,\|\, p(z))$. For normals the KL has a closed form,
# so only the first term needs a sample: $\log p(x \mid z) - \mathrm{KL}$, with gradient $(x - z) - m$.
#
# Less is sampled; is there less noise? Not always. Where the guide *is* the posterior, the fully sampled
# $\log p(x, z) - \log q(z) = \log p(x)$ is a constant: variance 0. The form with the closed KL keeps the noise of
# $\log p(x \mid z)$. For factor analysis at its true parameters that is 0.99 nats$^2$ per data point. Far from the
# posterior, at the start of training, the closed KL is usually the better one.
#
# ## Exercise 3: the estimator with the closed KL


# %%
def closed_kl(m, s, x, eps):
    """Return the estimate of d ELBO / d m from each noise value, (n,)."""
    # exercise 3: the derivative of log p(x | z) along z = m + s eps, minus that of the KL
    return x - (m + s * eps) - m
    # end


# %% [markdown]
# ## The path derivative
#
# The *gradient* of the sampled form has noise even at the posterior: $x - 2z$ varies with $z$. In $\nabla_m [-\log
# q(z)]$ there are two paths to $m$: through $z$, and through the density's parameters. The second one, the score, has
# expectation 0, and may be dropped ("sticking the landing"). What is left,
#
# $$\nabla_z [\log p(x, z) - \log q(z)] \cdot \frac{\partial z}{\partial m} = x - 2 z + \frac{z - m}{s^2},$$
#
# is 0 for every sample if $q$ is the posterior.
#
# ## Exercise 4: the path derivative


# %%
def path(m, s, x, eps):
    """Return the estimate of d ELBO / d m from each noise value, (n,)."""
    # exercise 4: the derivative by z alone, with the parameters of q held fixed
    z = m + s * eps
    return x - 2 * z + (z - m) / s**2
    # end


# %% [markdown]
# ## Variance against distance
#
# At $x = 2$ the posterior mean is 1. With the posterior's scale the reparametrised variance is $4 s^2 = 2$ at every
# $m$, that of the closed KL $s^2 = 1/2$, and that of the path derivative 0. The variance of the score function grows
# with the distance.

# %%
torch.manual_seed(0)
eps = torch.randn(200_000, dtype=torch.float64)
x, s = torch.tensor(2.0, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64).sqrt()
distances = torch.linspace(0, 4, 9, dtype=torch.float64)
for estimator in (score, reparametrised, closed_kl, path):
    variances = [estimator(1 + d, s, x, eps).var() for d in distances]
    plt.plot(distances, variances, marker="o", label=estimator.__name__)
    print(f"{estimator.__name__:15s} variance {variances[0]:8.3f} at the posterior, {variances[-1]:8.3f} at distance 4")
plt.yscale("symlog", linthresh=0.1)
plt.xlabel("distance of m from the posterior mean")
plt.ylabel("variance of the gradient")
plt.legend()

# %% [markdown]
# ## To think about
#
# Add a constant to $\log p(x, z)$. Which estimators change? A **baseline** for the score function is exactly that,
# chosen to lower the variance.
