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
# # Comparing inference algorithms
#
# Factor analysis is a linear autoencoder with exact answers: $z \sim \mathrm{Normal}(0, I)$ and
# $x \mid z \sim \mathrm{Normal}(W z, \Phi)$, so $\log p(x)$ and the posterior have closed forms. The gap of a guide can
# therefore be computed exactly.

# %%
# %matplotlib inline
import torch
from torch.distributions import kl_divergence

from data import load
from gallery import FactorAnalysis
from gallery.figures import samples
from gallery.models.factor_analysis import DiagonalGuide
from inference import Settings, em, eval_mode, evaluate, log_evidence, svi

train, test = load("factor_analysis"), load("factor_analysis", "test")

# %% [markdown]
# We fit one model with two guides. The guide with a full covariance contains the exact posterior. The guide with a
# diagonal covariance cannot represent its correlation. EM maximises the likelihood without a guide, and is the
# reference for both.

# %%
pairs = {}
for name, kind in {"full": FactorAnalysis, "diagonal": DiagonalGuide}.items():
    torch.manual_seed(0)
    pairs[name] = kind()
    svi(pairs[name], train.x, settings=Settings(epochs=100, batch_size=100, lr=5e-2, lr_schedule="cosine"))
torch.manual_seed(0)
pairs["EM, no guide"] = FactorAnalysis()
path = list(em(pairs["EM, no guide"], train.x, 200))
print(f"EM: log p(x) of the training data from {path[0]:.3f} to {path[-1]:.3f} nats per data point")

# %% [markdown]
# ## The evidence, the bounds, and the gap
#
# $\log p(x) - \mathrm{ELBO} = \mathrm{KL}(q(z \mid x) \,\|\, p(z \mid x))$, exactly. IWAE-$k$ closes the gap as $k$
# grows, because it weights the samples of the guide by how well they explain $x$.

# %%
for name, pair in pairs.items():
    with eval_mode(pair):
        exact = log_evidence(pair, test.x).mean()
    print(f"{name}: log p(x) {exact:.4f} nats per test data point")
    if name.startswith("EM"):
        continue
    few, many = (evaluate(pair, test.x, particles=k) for k in (10, 100))
    for title, bound in {"ELBO": many["elbo"], "IWAE-10": few["iwae"], "IWAE-100": many["iwae"]}.items():
        print(f"    {title:>8} {bound['value']:.4f} (Monte Carlo error {bound['mc_se']:.4f})")

# %% [markdown]
# ## The guide beside the posterior
#
# Both are normal, so the KL has a closed form too. The diagonal guide is fitted together with the model. The model can
# rotate its factors to minimise their posterior correlation, so the gap of the diagonal guide is small here.

# %%
for name in ("full", "diagonal"):
    pair = pairs[name]
    with eval_mode(pair):
        q = torch.distributions.MultivariateNormal(test.x @ pair.phi["V"].T, scale_tril=pair.scale_tril())
        p = pair.posterior(test.x)
        gap = kl_divergence(q, p).mean()
        correlation = p.covariance_matrix[0, 0, 1] / p.covariance_matrix[0].diagonal().prod().sqrt()
    print(f"{name}: KL(q || p) {gap:.5f} nats per test data point; posterior correlation {correlation:+.3f}")

# %%
samples(pairs["full"], test)

# %% [markdown]
# ## Exercise
#
# Fit `FixedVarianceGuide(variance=0.1)`. Its gap is the KL of a normal with the wrong scale. Does the model adapt to
# its guide, and how much $\log p(x)$ does that cost? `gallery compare factor_analysis` compares more algorithms from
# the command line.
