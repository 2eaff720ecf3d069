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
# # Lesson 5: Mixtures and EM
#
# Points in a plane come from three groups, and the group of each point is not recorded. If the groups were known, each
# could be described by its mean and spread; if these were known, each point could be assigned. EM goes back and forth.
#
# - **Before**: lesson 3.
# - **Afterwards** you can sum out a discrete latent variable, derive EM as coordinate ascent on the ELBO, and write a
#   pair in which Pyro does the sum.
# - **Time**: 75 minutes; the code runs in 10 seconds.

# %%
# %matplotlib inline
import matplotlib.pyplot as plt
import pyro
import pyro.distributions as dist
import torch
from torch import nn

import data
from inference import Settings, svi

x = data.load("gaussian_mixture").x.double()  # (1000, 2)

# %% [markdown]
# ## Maximum likelihood
#
# In lesson 3 the model was known. Now it has parameters $\theta$ to learn. Independent data points have the product of
# their densities, and the logarithm is increasing, so product and sum of logarithms are largest at the same $\theta$:
#
# $$\theta^* = \mathrm{argmax}_\theta \prod_{i=1}^n p_\theta(x_i)
# = \mathrm{argmax}_\theta \sum_{i=1}^n \log p_\theta(x_i),
# \qquad p_\theta(x) = \int p_\theta(x, z)\, dz \ \text{ or } \ \sum_y p_\theta(x, y) .$$
#
# The sum is also what can be computed: the product of the densities of these 1000 points is 0 in floating point. And it
# has a meaning. For data from a distribution $p^*$ its mean is, in expectation,
#
# $$\mathbb{E}_{p^*}[\log p_\theta(x)] = -H(p^*) - \mathrm{KL}(p^* \,\|\, p_\theta),$$
#
# and the entropy $H(p^*)$ does not depend on $\theta$. So maximum likelihood brings the model as near to the source of
# the data as the *forward* KL of lesson 4 can measure.
#
# The integral over $z$ is known for few models, the sum over $y$ for many, as here. Even then a direct maximisation has
# no closed form: the logarithm of a sum ties the parameters of all components together.
#
# ## Summing out
#
# The component is $y \sim \mathrm{Categorical}(\pi)$, and $x \mid y \sim \mathrm{Normal}(\mu_y, \sigma_y)$ with
# independent coordinates. A discrete variable with three values needs no guide and no samples: the evidence is a sum,
#
# $$\log p(x) = \log \sum_y \pi_y\, p(x \mid y) = \mathrm{logsumexp}_y\, [\log \pi_y + \log p(x \mid y)],$$
#
# and the posterior is each term over the sum: the **responsibility** of component $y$ for $x$. `torch.logsumexp`
# subtracts the largest term first, so that nothing underflows.
#
# ## Exercise 1: evidence and responsibilities


# %%
def inferred(x, weights, means, scales):
    """Return log p(x), (n,), and p(y | x), (n, k), from weights (k,), means (k, d) and scales (k, d)."""
    # exercise 1: the log joint density at every y, its logsumexp, and its softmax
    log_x = dist.Normal(means, scales).log_prob(x.unsqueeze(1)).sum(-1)  # (n, k)
    log_joint = weights.log() + log_x
    return log_joint.logsumexp(1), log_joint.softmax(1)
    # end


# %% [markdown]
# ## EM is coordinate ascent
#
# Lesson 3 ended with $\mathrm{ELBO}(q, \theta) = \log p_\theta(x) - \mathrm{KL}(q \,\|\, p_\theta(z \mid x))$. It has
# two arguments, and EM improves one at a time:
#
# - **E step**: $\theta$ fixed, the best $q$ is the posterior. The KL is 0 and the bound touches the evidence.
# - **M step**: $q$ fixed, maximise $\mathbb{E}_q[\log p_\theta(x, z)]$ over $\theta$; the entropy of $q$ is a constant.
#
# After an M step the bound is at least what it was, and the evidence is at least the bound. So the evidence never
# falls. That is all that is promised: EM converges to a *stationary point*, which need not be a maximum. Start with
# three equal components: every responsibility is $1/3$, the M step keeps them equal, and EM stays there for ever.
#
# For a mixture the M step is an average weighted by responsibility:
# $\pi_y = \frac{1}{n} \sum_i r_{iy}$, $\mu_y = \sum_i r_{iy} x_i / \sum_i r_{iy}$, and $\sigma_y^2$ likewise, of
# $(x_i - \mu_y)^2$.
#
# ## Exercise 2: the M step


# %%
def m_step(x, r):
    """Return weights (k,), means (k, d) and scales (k, d), from x (n, d) and responsibilities r (n, k)."""
    # exercise 2: averages weighted by responsibility, with the new means in the scales
    total = r.sum(0).unsqueeze(1)
    means = r.T @ x / total
    variance = r.T @ x**2 / total - means**2
    return r.mean(0), means, variance.sqrt()
    # end


# %% [markdown]
# ## Exercise 3: EM
#
# Alternate the two steps.


# %%
def em(x, weights, means, scales, steps):
    """Return the weights, means and scales after `steps` steps, and the mean of log p(x) before each of them."""
    # exercise 3: in every step, infer, record the mean of log p(x), and take the M step
    curve = []
    for _ in range(steps):
        evidence, r = inferred(x, weights, means, scales)
        curve.append(evidence.mean().item())
        weights, means, scales = m_step(x, r)
    return weights, means, scales, curve
    # end


# %%
start = torch.full((3,), 1 / 3).double(), x[[0, 1, 2]], torch.ones(3, 2).double()
weights, means, scales, curve = em(x, *start, 60)
print(
    f"mean log evidence {curve[0]:.3f} at the start, {curve[-1]:.3f} after 60 steps; weights {weights.numpy().round(2)}"
)
_, r = inferred(x, weights, means, scales)
plt.scatter(*x.T, c=r.numpy(), s=6)  # red, green and blue: the responsibilities
plt.scatter(*means.T, marker="x", color="black", s=80)

# %% [markdown]
# ## Enumeration in Pyro
#
# In Pyro the sum is requested at the sample statement: `infer={"enumerate": "parallel"}`. The guide is empty, because
# nothing is left to approximate, and the ELBO *is* the evidence. Gradient ascent on it works as well as EM; EM needs no
# learning rate, and gradients need no closed M step.
#
# The likelihood of a mixture is unbounded: a component that shrinks onto one point gains without limit. So "the maximum
# likelihood estimate" does not exist here, and what is sought is a good local maximum.
#
# ## Exercise 4: a mixture as a pair


# %%
class Mixture(nn.Module):
    """x: (n, 2); y: (n,), one of three components, summed out."""

    def __init__(self):
        super().__init__()
        theta = {"logits": torch.zeros(3), "mean": torch.randn(3, 2), "log_scale": torch.zeros(3, 2)}
        self.theta = nn.ParameterDict({name: nn.Parameter(value) for name, value in theta.items()})

    def model(self, x, total=None):
        # exercise 4: register theta; in the plate, y is enumerated, x normal given y
        pyro.module("theta", self.theta)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            y = pyro.sample("y", dist.Categorical(logits=self.theta["logits"]), infer={"enumerate": "parallel"})
            scale = self.theta["log_scale"][y].exp()
            pyro.sample("x", dist.Normal(self.theta["mean"][y], scale).to_event(1), obs=x)
        # end

    def guide(self, x, total=None):
        """Empty: y is summed out."""


# %%
torch.manual_seed(0)
pair = Mixture()
losses = svi(pair, x.float(), settings=Settings(epochs=40, batch_size=100, lr=0.05, objective="enum"))
print(f"mean log evidence by gradient ascent {-losses[-10:].mean():.3f}")

# %% [markdown]
# ## To think about
#
# Exchange two components: the model is the same, and the numbers of the groups are not. Which quantities of a mixture
# may be compared between two fits, and which may not?
