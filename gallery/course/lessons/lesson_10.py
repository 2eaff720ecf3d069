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
# # Lesson 10: Discrete, sequential, evaluated
#
# A class, a step in time, a label that is missing: the latent variables of real models come in kinds, and each kind has
# its way of being summed or sampled. At the end stands the question of how good the result is, when no exact answer is
# there to compare with.
#
# - **Before**: lessons 5, 8 and 9.
# - **Afterwards** you can write the bound of a model with a discrete latent, run the forward algorithm, compute the
#   IWAE, calibrate a posterior by simulation, and compare a guide with draws.
# - **Time**: 90 minutes, with exercise 5, on Gibbs sampling, at home; the code runs in 45 seconds.

# %%
# %matplotlib inline
import matplotlib.pyplot as plt
import torch

import data
from gallery import HMM, LDA, ExponentialGaussian, GaussianMixture
from inference import Settings, ais, em, iwae, predictive_check, svi

# %% [markdown]
# ## A discrete latent beside a continuous one
#
# In a **GMVAE** a component $y$ selects a normal for the code $z$. A draw of $y$ cannot be reparametrised, but it has
# few values. Sum over them, with one sample $z_y \sim q(z \mid x, y)$ for each:
#
# $$\sum_y q(y \mid x) \left[ \log p(x, y, z_y) - \log q(z_y \mid x, y) - \log q(y \mid x) \right] .$$
#
# In the semi-supervised **M2** the same sum is the bound of an image without a label, and the term of the right $y$
# alone that of an image with one. The term $-\sum_y q \log q$ is the entropy of $q(y \mid x)$: 0 for a sure classifier.
# Alternatives to the sum are the score function (lesson 7), and a **relaxed** one-hot vector (Gumbel-Softmax), which
# has a gradient and is biased.
#
# ## Exercise 1: the enumerated bound


# %%
def enumerated_elbo(log_q, log_weight):
    """Return the bound of each data point, (n,).

    log_q: log q(y | x), (n, k); log_weight: log p(x, y, z_y) - log q(z_y | x, y), (n, k).
    """
    # exercise 1: the expectation over y, as a sum, of log weight minus log q
    return (log_q.exp() * (log_weight - log_q)).sum(1)
    # end


# %% [markdown]
# The best $q(y \mid x)$ for these weights is their softmax; then the bound is their logsumexp: for a mixture, the
# evidence.
#
# ## Sequences
#
# A chain of ten hidden states with three values each has $3^{10} = 59{,}049$ paths. The sum over all of them is done
# step by step, because the future depends on the past through the present state only. With $\alpha_t(j) = p(x_1, \dots,
# x_t, y_t = j)$,
#
# $$\alpha_t(j) = p(x_t \mid y_t = j) \sum_i \alpha_{t-1}(i)\, p(y_t = j \mid y_{t-1} = i), \qquad
# p(x) = \sum_j \alpha_T(j) .$$
#
# A **VRNN** has continuous states and a network in place of the table. Its evidence has no such recursion, and its ELBO
# is a sum over steps of reconstruction minus KL, each given the past.
#
# ## Exercise 2: the forward algorithm


# %%
def forward(log_initial, log_transition, log_emission):
    """Return log p(x) of one sequence, from (k,), (k, k) with the earlier state first, and (T, k); in logarithms."""
    # exercise 2: alpha in logarithms, with logsumexp over the earlier state
    alpha = log_initial + log_emission[0]
    for emission in log_emission[1:]:
        alpha = torch.logsumexp(alpha.unsqueeze(1) + log_transition, 0) + emission
    return torch.logsumexp(alpha, 0)
    # end


# %% [markdown]
# ## A tighter bound
#
# The ELBO averages log weights. Average $K$ weights *inside* the logarithm, and the bound gets tighter:
#
# $$\mathrm{IWAE}_K = \mathbb{E} \left[ \log \frac{1}{K} \sum_{k=1}^{K} w_k \right], \qquad
# \mathrm{ELBO} = \mathrm{IWAE}_1 \le \mathrm{IWAE}_2 \le \dots \le \log p(x) .$$
#
# It converges to the evidence if the weights behave (lesson 9). Where they do not, **AIS** moves samples from prior to
# posterior through many intermediate distributions; its weights are averaged in the same way. Their log average is a
# lower bound in expectation, too.
#
# ## Exercise 3: the IWAE


# %%
def importance_bound(log_w, K):
    """Return the estimate of IWAE-K in nats, a number, from the log weights (n,) of independent samples, K dividing n.

    Each K of them in turn make one estimate; the result is the mean of these n / K estimates.
    """
    # exercise 3: the log of the mean weight in each group of K, averaged over groups
    groups = log_w.reshape(-1, K)
    return (torch.logsumexp(groups, 1) - torch.log(torch.tensor(float(K)))).mean()
    # end


# %% [markdown]
# ## Calibration by simulation
#
# A bound says how close $q$ is to the posterior on average, not how it errs. **Simulation-based calibration** (SBC)
# needs no exact answer: draw $z$ from the prior, $x$ from the model given $z$, then $L$ samples from $q(z \mid x)$, and
# count how many are below $z$. If $q$ is the posterior, the rank is uniform on $0, \dots, L$: its mean is $L/2$, its
# variance $L (L + 2) / 12$. Too narrow a guide puts $z$ outside of its samples, and the ranks pile up at both ends.
#
# ## Exercise 4: ranks
#
# The model is $z \sim \mathrm{Normal}(0, 1)$, $x \mid z \sim \mathrm{Normal}(z, 1)$.


# %%
def ranks(sample_guide, n, L):
    """Return the ranks (n,) of n simulated z; `sample_guide(x, L)` returns L samples for each x (n,), (L, n)."""
    # exercise 4: simulate z and x, and count the samples of the guide that are below z
    z = torch.randn(n, dtype=torch.float64)
    x = z + torch.randn(n, dtype=torch.float64)
    return (sample_guide(x, L) < z).sum(0)
    # end


# %%
torch.manual_seed(0)
figure, axes = plt.subplots(1, 2, figsize=(9, 3))
for name, scale in {"posterior": 0.5**0.5, "too narrow": 0.4}.items():
    found = ranks(lambda x, L, scale=scale: x / 2 + scale * torch.randn(L, len(x), dtype=torch.float64), 5000, 19)
    axes[0].hist(found, bins=torch.arange(21) - 0.5, histtype="step", label=name)
axes[0].set_xlabel("rank")
axes[0].legend()

rate, x = torch.tensor(1.0), torch.tensor(2.0)
z = torch.distributions.Exponential(rate).sample((60_000,))
log_w = -z + torch.distributions.Normal(z, 1.0).log_prob(x) - torch.distributions.Exponential(rate).log_prob(z)
sizes = [1, 2, 5, 10, 50, 200]
axes[1].semilogx(sizes, [importance_bound(log_w, K) for K in sizes], marker="o", label="IWAE")
axes[1].axhline(float(ExponentialGaussian().log_evidence(x.reshape(1, 1))), color="black", label="log evidence")
axes[1].set_xlabel("samples inside the logarithm")
axes[1].legend()

annealed = ais(ExponentialGaussian(), x.reshape(1, 1), chains=16, steps=100)
print(f"AIS {iwae(annealed).item():.3f}, exact {ExponentialGaussian().log_evidence(x.reshape(1, 1)).item():.3f} nats")

# %% [markdown]
# ## A chain of states, fitted
#
# The pair of the gallery does what exercise 2 does, for any number of sequences, and learns the tables by gradient.

# %%
chains = data.load("hmm").x
torch.manual_seed(0)
hmm = HMM(states=3)
losses = svi(hmm, chains, settings=Settings(epochs=30, batch_size=50, lr=0.05, objective="enum"))
initial, transition, emission = (factor.detach() for factor in hmm.log_factors(chains[:1]))
print(f"mean log evidence {-losses[-8:].mean():.3f} nats per sequence")
print(f"first sequence {forward(initial, transition, emission[0]):.4f}, pair {hmm.log_evidence(chains[:1]).item():.4f}")

# %% [markdown]
# ## Draws in place of a bound
#
# In **LDA** a document mixes topics, the rows of $\beta$, with shares $\theta \sim \mathrm{Dirichlet}(\alpha, \dots,
# \alpha)$, and each word $w_n$ has a topic $z_n$. Given $\theta$ the topics of the words are independent, and given the
# topics the shares are Dirichlet again:
#
# $$p(z_n = k \mid \theta, w_n) \propto \theta_k\, \beta_{k w_n}, \qquad
# \theta \mid z \sim \mathrm{Dirichlet}(\alpha + n_1, \dots, \alpha + n_K),$$
#
# with $n_k$ words of topic $k$. **Gibbs sampling** draws from both in turn, and its draws converge to the exact
# posterior: no family is chosen. Coordinate ascent, the guide of `lda`, has the same two steps with expectations in
# place of draws: $\exp (\mathbb{E}[\log \theta_k])$ for $\theta_k$, and the expected number of words for $n_k$.
#
# ## Exercise 5: a sweep of Gibbs sampling


# %%
def sweep(theta, x, beta, alpha):
    """Return a draw of the shares, (K,), given topics of all words that were drawn given the shares theta, (K,).

    x: the counts of the words of one document, (V,); beta: (K, V).
    """
    # exercise 5: a topic for each word, the words of each topic, then the Dirichlet
    words = torch.arange(len(x)).repeat_interleave(x.long())
    z = (theta * beta.T[words]).multinomial(1)[:, 0]
    counts = z.bincount(minlength=len(theta))
    return torch.distributions.Dirichlet(alpha + counts).sample()
    # end


# %%
document, beta = data.load("topics", "test").x[0].double(), torch.from_numpy(data.synthetic.TOPICS_BETA)


def chain(n):
    """Yield the shares of topics after each of n sweeps."""
    theta = torch.full((10,), 0.1, dtype=torch.float64)
    for _ in range(n):
        theta = sweep(theta, document, beta, alpha=0.5)
        yield theta


torch.manual_seed(0)
draws = torch.stack(list(chain(2200))[200:])  # the first ones remember the start
gamma = LDA(alpha=0.5, sweeps=100).ascend(document.unsqueeze(0), beta)[0]
q = torch.distributions.Dirichlet(gamma)
figure, axis = plt.subplots(figsize=(9, 3))
for shift, name, mean, sd in ((-0.1, "Gibbs", draws.mean(0), draws.std(0)), (0.1, "ascent", q.mean, q.stddev)):
    axis.errorbar(torch.arange(10) + shift, mean, sd, fmt="o", label=name)
axis.set_xlabel("topic")
axis.set_ylabel("share, mean and sd")
axis.legend()
print(f"mean of ten ratios of sd, ascent to Gibbs: {(q.stddev / draws.std(0)).mean():.2f}")

# %% [markdown]
# The means agree, and the standard deviations of coordinate ascent are too small: $q(\theta)\, q(z)$ leaves out that
# $\theta$ and $z$ depend on each other. Which of the two predicts better? Both have the same 200 documents, ten topics,
# $\alpha = 0.5$ and $\eta = 0.1$, and infer the topics too: from three starts, the best by its bound or by its density.
# Both are scored on the same 500 held-out documents by one number, the **perplexity** of half of the words of each:
# $\exp(-\log p / \text{words})$, given shares that were inferred from the other half. A perplexity of 19 is the
# uncertainty of a choice among 19 equally probable words; the vocabulary has 25.
#
# | topics and shares | perplexity |
# |---|---|
# | variational (`lda:smoothed`) | 19.110 ± 0.173 |
# | Gibbs sampling | 19.071 ± 0.165 |
# | difference, document by document | 0.040 ± 0.021 |
#
# Most of the error of a row is that of the documents, which both share, so the difference has a smaller one. It is a
# fifth of a percent, and 1.9 standard errors from 0: no difference in prediction is shown. Take coordinate ascent for
# many documents: it takes minibatches, a new document needs some tens of steps, and its bound compares starts. Take
# Gibbs sampling where the conditionals are closed and the spread matters, or to check a guide. Neither leaves its local
# mode: compare several starts. The numbers are from `gallery reproduce lda`; the page of `lda` draws them.

# %% [markdown]
# ## Does the model fit at all?
#
# Bounds compare models, and the best of several may still be a poor one. A **predictive check** draws replications of
# the data from the fitted model, and compares a statistic of them with that of the data. Take the points of lesson 5
# and the mean fourth power of standardised coordinates: 3 for a normal, 1.79 for these points. A mixture of two
# components has a larger one in each of 200 replications, so it misses what the statistic measures. The mixture of
# three does not. Since the model has seen the same data, a check that is passed proves little; one that fails, much.

# %%
points = data.load("gaussian_mixture").x


def fourth_power(x):
    """Return the mean fourth power of the standardised coordinates, from x (n, d)."""
    return (((x - x.mean(0)) / x.std(0)) ** 4).mean()


for components in (2, 3):
    torch.manual_seed(0)
    mixture = GaussianMixture(components=components)
    for _ in em(mixture, points, 60):
        pass
    check = predictive_check(mixture, points, fourth_power, replicates=200)
    print(
        f"{components} components: points {check['observed'].item():.2f}, "
        f"replications {check['replicated'].mean():.2f}, share not below the points {check['p_value'].item():.3f}"
    )

# %% [markdown]
# ## To think about
#
# You have two models of one data set, one with an ELBO of $-80.1 \pm 0.3$ and one with an IWAE-500 of $-79.2 \pm 0.3$.
# Which is better? What would have to be the same in both numbers before the question makes sense?
