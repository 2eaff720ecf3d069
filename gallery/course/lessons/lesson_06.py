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
# # Lesson 6: From EM to AEVB
#
# EM needs the exact posterior. When there is none, its E step is approximated: first a fit for each data point, then
# one network for all of them, then both steps at once with minibatches. Every move is made here on a model whose exact
# answer is known, so its cost is a number.
#
# - **Before**: lesson 5; covariance matrices.
# - **Afterwards** you can say what the letters of AEVB stand for, count the parameters that amortisation saves, and say
#   why a gradient may pass inside one expectation and not another.
# - **Time**: 90 minutes; the code runs in 20 seconds.

# %%
# %matplotlib inline
import math

import matplotlib.pyplot as plt
import torch

import data

x = data.load("factor_analysis").x.double()  # (1000, 3)

# %% [markdown]
# ## Factor analysis
#
# Two factors are mixed into three measurements with noise: $z \sim \mathrm{Normal}(0, I)$ and
# $x \mid z \sim \mathrm{Normal}(W z, \Phi)$, $\Phi = \mathrm{diag}(\sigma^2)$. The evidence is
# $\mathrm{Normal}(x; 0, W W^\top + \Phi)$, and the posterior is linear in $x$ with one covariance for every $x$:
#
# $$p(z \mid x) = \mathrm{Normal}(V^* x, S^*), \qquad S^* = (I + W^\top \Phi^{-1} W)^{-1}, \qquad
# V^* = S^* W^\top \Phi^{-1} .$$
#
# ## Exercise 1: the E step


# %%
def posterior(W, sigma):
    """Return V* (k, d) and S* (k, k), from W (d, k) and sigma (d,)."""
    # exercise 1: the matrix and the covariance of the exact posterior
    scaled = W / sigma.unsqueeze(1) ** 2
    S = torch.linalg.inv(torch.eye(W.shape[1], dtype=W.dtype) + W.T @ scaled)
    return S @ scaled.T, S
    # end


# %% [markdown]
# ## The M step
#
# With $m_i = V x_i$, the M step is a linear regression of $x$ on $z$ whose inputs are uncertain: their second moment is
# $\mathbb{E}[z z^\top] = m m^\top + S$, and leaving out $S$ would treat the guide as a point.
#
# $$W = \left( \sum_i x_i m_i^\top \right) \left( \sum_i m_i m_i^\top + n S \right)^{-1}, \qquad
# \sigma^2_j = \frac{1}{n} \sum_i x_{ij}\, (x_i - W m_i)_j$$
#
# ## Exercise 2: the M step


# %%
def m_step(x, V, S):
    """Return W (d, k) and sigma (d,) from x (n, d), at the guide Normal(V x, S)."""
    # exercise 2: regress x on z with the second moments of z under the guide
    m = x @ V.T
    W = torch.linalg.solve(m.T @ m + len(x) * S, m.T @ x).T
    return W, (x * (x - m @ W.T)).mean(0).sqrt()
    # end


# %% [markdown]
# ## An approximate E step
#
# EM is two maximisations of one function, so each can be approximated without the other; the integral of direct maximum
# likelihood leaves no such choice. Without a formula for the posterior, pick a family, such as normals with means
# $\mu_i$ and scales $s_i$, and maximise the ELBO of *each data point* over $\mu_i, s_i$. Equivalently, make each KL
# from $q_i$ to the posterior small:
#
# $$\mathrm{KL}(q_i(z) \,\|\, p(z \mid x_i)) = \mathbb{E}_{q_i}[\log q_i(z) - \log p(x_i, z)] + \log p(x_i) .$$
#
# The last term has no $q_i$. Only the joint density is needed, the posterior up to its normaliser, which is also all
# that MCMC needs. If the family contains the posterior, the bound becomes tight; if not, it is still a bound.
#
# The number of parameters grows with the data: $n \cdot 2k$ for $k$ factors and diagonal normals. **Amortisation** puts
# a function in their place: $q_\phi(z \mid x) = \mathrm{Normal}(V x, \mathrm{diag}(s^2))$ has $k d + k$ parameters for
# any number of data, and answers for new data at once. For 1000 points, $k = 2$, $d = 3$: 4000 numbers against 8. The
# price is the **amortisation gap**, the bound lost because one function serves all data. For factor analysis it is 0:
# the best $\mu_i$ *is* linear in $x_i$, and the best $s_i$ does not depend on $i$.
#
# ## Exercise 3: counting


# %%
def parameters(n, k, d):
    """Return the numbers of parameters of diagonal normal guides: one for each data point, and linear amortised."""
    # exercise 3: a mean and a scale per data point and factor; against a matrix and k scales
    return n * 2 * k, k * d + k
    # end


# %% [markdown]
# ## The bound in closed form
#
# With $q(z \mid x) = \mathrm{Normal}(V x, S)$ all expectations are known, and no sample is needed:
#
# $$\mathbb{E}_q[\log p(x \mid z)]
# = \log \mathrm{Normal}(x; W V x, \Phi) - \tfrac{1}{2} \mathrm{tr}(W^\top \Phi^{-1} W S)$$
#
# $$\mathrm{KL}(q \,\|\, p(z)) = \tfrac{1}{2} [\mathrm{tr}\, S + |V x|^2 - k - \log \det S]$$
#
# and the ELBO is their difference.
#
# ## Exercise 4: the ELBO of a linear guide


# %%
def elbo(x, W, sigma, V, S):
    """Return the ELBO in nats of every data point, (n,), at the guide Normal(V x, S)."""
    # exercise 4: expected log likelihood minus the KL from the prior
    m = x @ V.T
    error = ((x - m @ W.T) / sigma) ** 2 + torch.log(2 * math.pi * sigma**2)
    reconstruction = -0.5 * error.sum(1) - 0.5 * torch.trace(W.T @ (W / sigma.unsqueeze(1) ** 2) @ S)
    return reconstruction - 0.5 * (torch.trace(S) + (m**2).sum(1) - W.shape[1] - torch.logdet(S))
    # end


# %% [markdown]
# ## Stochastic steps
#
# Now let gradients replace both maximisations, and a minibatch of $n_B$ data points all $n$. The *mean* over the
# minibatch estimates the mean over the data without bias, whatever $n_B$; so the learning rate does not have to change
# with $n$ or $n_B$. For the expectation under the guide there are two cases.
#
# - **M gradient.** The guide does not depend on $\theta$, so the gradient moves inside, and samples of $q$ estimate it:
#   $\nabla_\theta \mathbb{E}_{q_\phi}[\log p_\theta(x, z)] = \mathbb{E}_{q_\phi}[\nabla_\theta \log p_\theta(x, z)]$.
# - **E gradient.** $\phi$ is in the density that the average is over, so it does not:
#   $\nabla_\phi \mathbb{E}_{q_\phi}[f(z)] \neq \mathbb{E}_{q_\phi}[\nabla_\phi f(z)]$. Take
#   $q_\phi = \mathrm{Normal}(\phi, 1)$ and $f(z) = z^2$. The expectation is $\phi^2 + 1$ with gradient $2 \phi$; but
#   $f$ has no $\phi$, and the right side is 0.
#
# Lesson 7 is about ways around that. **AEVB** is the sum of the moves: *auto-encoding* (the guide is an encoder
# $q_\phi(z \mid x)$, the model a decoder), *variational Bayes* (an approximate E step), and *one* gradient step on
# $\phi$ and $\theta$ together in place of two loops. In Kingma and Welling's paper SGVB is the name of the *estimator*
# of the bound, and AEVB that of the *algorithm* that follows its gradient.
#
# ## All on one axis
#
# EM, alternating blocks of 20 gradient steps, and simultaneous gradient steps, from the same start. EM takes whole
# steps; the others pay for each gradient. In the limit all three reach the same evidence.

# %%
torch.manual_seed(0)
W0, sigma0 = torch.randn(3, 2).double(), torch.ones(3).double()


def evidence(W, sigma):
    """Return the mean of log p(x)."""
    zero = torch.zeros(3, dtype=W.dtype)
    return torch.distributions.MultivariateNormal(zero, W @ W.T + torch.diag(sigma**2)).log_prob(x).mean().item()


curves = {"EM": []}
W, sigma = W0, sigma0
for _ in range(400):
    curves["EM"].append(evidence(W, sigma))
    W, sigma = m_step(x, *posterior(W, sigma))

for name, block in {"alternating": 20, "simultaneous": None}.items():
    theta = [W0.clone().requires_grad_(), sigma0.log().requires_grad_()]
    phi = [torch.zeros(2, 3).double().requires_grad_(), torch.zeros(2).double().requires_grad_()]
    adams = [torch.optim.Adam(part, lr=0.05) for part in (theta, phi)]
    curves[name] = []
    for step in range(400):
        curves[name].append(evidence(theta[0].detach(), theta[1].detach().exp()))
        loss = -elbo(x, theta[0], theta[1].exp(), phi[0], torch.diag((2 * phi[1]).exp())).mean()
        for adam in adams:
            adam.zero_grad()
        loss.backward()
        for part, adam in enumerate(adams):
            if block is None or (step // block) % 2 != part:  # the guide first
                adam.step()

for name, curve in curves.items():
    plt.plot(curve, label=f"{name}, {curve[-1]:.3f}")
plt.xlabel("step")
plt.ylabel("mean log p(x), nats")
plt.ylim(-6, None)
plt.legend()

# %% [markdown]
# ## Five models, one algorithm
#
# The algorithm does not change with the model. Only the joint density does.
#
# | model | observed | latent | joint density |
# |---|---|---|---|
# | factor analysis | $x \in \mathbb{R}^D$ | $z \in \mathbb{R}^L$ | $p_\theta(x \mid z)\, p(z)$ |
# | VAE | $x \in [0, 1]^D$ | $z \in \mathbb{R}^L$ | $p_\theta(x \mid z)\, p(z)$ |
# | CVAE | $x \in [0, 1]^D$, given $y$ | $z \in \mathbb{R}^L$ | $p_\theta(x \mid z, y)\, p_\theta(z \mid y)$ |
# | GMVAE | $x \in \{0, 1\}^D$ | $y$, $z \in \mathbb{R}^L$ | $p_\theta(x \mid z)\, p_\theta(z \mid y)\, p(y)$ |
# | VRNN | $x_t$ binary | $z_t$ | $\prod_t p_\theta(x_t \mid x_{<t}, z_{\le t}) p_\theta(z_t \mid x_{<t}, z_{<t})$|
#
# Every density of a latent $z$ is normal; $y$ is one-hot, with equal probabilities. The likelihood of $x$ is normal in
# factor analysis, a continuous Bernoulli on $[0, 1]$, and a Bernoulli on $\{0, 1\}$.
#
# ## To read on
#
# - Murphy, Machine learning: a probabilistic perspective, 2012: EM, and the gradient of a mixture's likelihood, in
#   section 11.4, factor analysis in 12.1, the KL to an unnormalised posterior in 21.2.
# - Murphy, Probabilistic machine learning: advanced topics, 2023: the second derivation of the bound in section 22.2.
# - Blundell, Cornebise, Kavukcuoglu and Wierstra, Weight uncertainty in neural networks, 2015: the same bound, with the
#   weights of a network as $z$.
# - Levine, Deep reinforcement learning (CS 285), lecture slides: amortised variational inference.
#
# ## To think about
#
# The diagonal guide in the cell above cannot represent the posterior correlation of the factors. Where does that show:
# in the evidence that is reached, in the bound, or in $W$?
