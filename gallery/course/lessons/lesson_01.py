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
# # Lesson 1: A model and a guide
#
# A die was thrown seven times and showed the six twice. Is it loaded? The throws are seen, the probabilities of the
# faces are not: they are a latent variable, and all that can be known about them is a distribution.
#
# - **Before**: probability densities, Bayes' rule, functions and classes in Python.
# - **Afterwards** you can write a model and a guide in Pyro, place a latent variable inside or outside the plate, and
#   compute posterior, evidence and prediction of a conjugate model.
# - **Time**: 60 minutes; the code runs in 15 seconds.

# %%
# %matplotlib inline
import matplotlib.pyplot as plt
import pyro
import pyro.distributions as dist
import torch
from torch import nn

import data
from inference import Settings, svi

counts = torch.tensor([1.0, 0.0, 2.0, 1.0, 1.0, 2.0])  # of the faces 1 to 6 in seven throws

# %% [markdown]
# ## What is hidden
#
# Write $p = (p_1, \dots, p_6)$ for the probabilities of the faces. Before any throw every $p$ is as plausible as any
# other. A throw $x$ is one-hot: a vector with a 1 at the face that shows.
#
# $$p \sim \mathrm{Dirichlet}(1, \dots, 1), \quad x_i \mid p \sim \mathrm{OneHotCategorical}(p), \; i = 1, \dots, n$$
#
# This is the **model**: a recipe by which the data could have come about. Inference runs it backwards. Bayes' rule
# says how plausible each $p$ is after the throws, the **posterior**:
#
# $$p(p \mid x) = \frac{p(x \mid p)\, p(p)}{p(x)}, \qquad p(x) = \int p(x \mid p)\, p(p)\, dp .$$
#
# The denominator is the **evidence**, the probability of the data with the latent variable integrated out. Here both
# are known in closed form. In most models the integral cannot be computed, and a second distribution, the **guide**
# $q(p)$, is fitted to the posterior instead.
#
# ## Why hidden variables?
#
# A model is a distribution of all its variables; where some of them are not observed it is a **latent variable model**.
# There are four reasons for one.
#
# - **Causes.** Some quantities are hidden by nature: the probabilities of a die, the group of a point (lesson 5).
# - **Fewer parameters.** A covariance matrix of 784 pixels has 307,720 different entries. If the pixels vary together
#   because of 20 hidden factors, 16,464 loadings and noise variances are enough (lesson 6).
# - **A short description.** A few hidden numbers in place of many observed ones are a code (lesson 8).
# - **Flexible densities.** A sum over simple densities need not be simple: the mixture of two normals with equal
#   weights and scales has two peaks if their means are more than two standard deviations apart.
#
# ## Exercise 1: model and guide
#
# Complete the class. All throws share one $p$, so `pyro.sample("p", ...)` stands *outside* the plate, and the throws
# stand *inside* `with pyro.plate("data", total or len(x), subsample_size=len(x)):`, where `total` is the number of all
# throws, of which x is a minibatch. New tensors are made from x, as `x.new_ones(6)`. The guide is a Dirichlet whose
# six concentrations are learnt: `self.q["log_concentration"].exp()`.


# %%
class Die(nn.Module):
    """x: (n, 6), one-hot; p: (6,)."""

    def __init__(self):
        super().__init__()
        self.q = nn.ParameterDict({"log_concentration": nn.Parameter(torch.zeros(6))})

    def model(self, x, total=None):
        # exercise 1: sample p outside the plate, and observe the throws "x" inside it
        p = pyro.sample("p", dist.Dirichlet(x.new_ones(6)))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("x", dist.OneHotCategorical(p), obs=x)
        # end

    def guide(self, x, total=None):
        # exercise 1: register self.q with pyro.module, and sample p from a Dirichlet
        pyro.module("q", self.q)
        pyro.sample("p", dist.Dirichlet(self.q["log_concentration"].exp()))
        # end


# %% [markdown]
# ## Counting
#
# The likelihood of the throws in their order is $\prod_j p_j^{c_j}$, with $c_j$ the count of face $j$. The density of a
# Dirichlet with concentrations $a$ is $\prod_j p_j^{a_j - 1} / B(a)$. Their product is again of that form: the prior is
# **conjugate**, and counts are added to concentrations.
#
# ## Exercise 2: the posterior
#
# Return the six concentrations of the posterior.


# %%
def posterior(counts):
    """Return the concentrations of p(p | x), (6,), from the counts of the faces, (6,)."""
    # exercise 2: the concentrations of the posterior
    return 1 + counts
    # end


# %% [markdown]
# ## The evidence
#
# The normalising constants give the evidence: $p(x) = B(1 + c) / B(1)$, where
#
# $$\log B(a) = \sum_j \log \Gamma(a_j) - \log \Gamma\Big(\sum_j a_j\Big).$$
#
# It is the probability of the throws *in their order*, so no multinomial coefficient enters. Seven throws of a fair die
# would have probability $6^{-7}$, which is $-12.54$ in natural logarithms, or **nats**. The model that does not know
# $p$ gives less, $-13.81$ nats: it has spread its bets over all dice.
#
# ## Exercise 3: the evidence
#
# `torch.lgamma` is $\log \Gamma$.


# %%
def log_evidence(counts):
    """Return log p(x) in nats of the throws in their order, from the counts of the faces, (6,)."""

    # exercise 3: log B(1 + counts) - log B(1)
    def log_beta(a):
        return torch.lgamma(a).sum() - torch.lgamma(a.sum())

    return log_beta(1 + counts) - log_beta(torch.ones_like(counts))
    # end


# %% [markdown]
# ## Prediction
#
# What is the probability that the next throw shows a six? It is the mean of $p_6$ under the posterior: every die
# predicts, weighted by its plausibility. The relative frequency $2/7$ forgets the prior, and would call a face
# impossible that has not come up yet. The posterior's answer is $3/13$.
#
# ## Exercise 4: the next throw


# %%
def probability_of_six(counts):
    """Return the probability that the next throw shows the last face."""
    # exercise 4: the mean of p_6 under the posterior
    return posterior(counts)[5] / posterior(counts).sum()
    # end


# %% [markdown]
# ## The fit
#
# `svi` moves the concentrations of the guide so that the ELBO, a lower bound on the log evidence, grows. The family of
# the guide contains the posterior, so the bound reaches the evidence. In the picture the fitted guide lies close to the
# exact posterior of $p_6$, for 200 throws of a die that shows the six half of the time.

# %%
throws = data.load("loaded_die").x
torch.manual_seed(0)
pair = Die()
losses = svi(pair, throws, settings=Settings(epochs=600, batch_size=100, lr=0.1, lr_schedule="cosine"))
print(f"ELBO {-losses[-20:].mean():.3f}, log evidence {log_evidence(throws.sum(0)) / len(throws):.3f} nats per throw")

p = torch.linspace(0.3, 0.7, 200)
for name, a in {"exact": posterior(throws.sum(0)), "guide": pair.q["log_concentration"].exp().detach()}.items():
    marginal = dist.Beta(a[5], a.sum() - a[5])
    plt.plot(p, marginal.log_prob(p).exp(), label=name)
plt.xlabel("probability of a six")
plt.legend()

# %% [markdown]
# ## To think about
#
# Move `pyro.sample("p", ...)` into the plate. Now every throw has a separate die: each face then has evidence
# $1/6$, and 200 throws say nothing about the next. Where a variable stands is part of the model.
