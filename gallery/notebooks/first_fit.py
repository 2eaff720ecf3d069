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
# # A first fit
#
# A variational autoencoder says how an image comes about: a code $z \sim \mathrm{Normal}(0, I)$, and pixels given the
# code. Fitting it gives a generator, a code for every image, and a bound on the log-probability of images that it has
# never seen. A minute on a laptop; the digits come with scikit-learn.

# %%
# %matplotlib inline
import torch

from data import load
from gallery import VAE
from gallery.figures import latent_scatter, manifold, reconstructions, samples
from inference import Settings, evaluate, svi

train, test = load("digits:threshold"), load("digits:threshold", "test")
print(f"{len(train)} images to fit, {len(test)} to judge by, {train.shape} pixels in {train.support}")

# %% [markdown]
# The pixel law is part of the data's name: `threshold` makes every pixel 0 or 1, which is what a Bernoulli likelihood
# is a probability of. Grey pixels would be refused, with the remedies.
#
# The pair is a model, $p(x, z)$, and a guide, $q(z \mid x)$. `Settings` are those of the fit, and `svi` returns the
# loss of every step: minus the ELBO of a minibatch, in nats per image.

# %%
torch.manual_seed(0)
pair = VAE(data_dim=64, latent_dim=2, hidden=(128,), dropout=0.0)
losses = svi(pair, train.x, settings=Settings(epochs=60, batch_size=50, lr=2e-3))
print(f"loss, first 10 steps {losses[:10].mean():.2f}, last 10 steps {losses[-10:].mean():.2f} nats per image")

# %% [markdown]
# ## What is it worth?
#
# On images it was not fitted to. `elbo` is a lower bound on $\log p(x)$, `iwae` a tighter one; each has its standard
# error over images (`se`) and its Monte Carlo error at these images (`mc_se`).

# %%
numbers = evaluate(pair, test.x, particles=64)
for name in ("elbo", "iwae", "reconstruction", "kl"):
    entry = numbers[name]
    print(f"{name:>15} {entry['value']:8.2f} {entry['unit']} (se {entry['se']:.2f}, mc_se {entry['mc_se']:.3f})")

# %% [markdown]
# ## What does it show?
#
# Images drawn from the model, test images beside what their codes tell of them, and the plane of codes: first the means
# $\mathrm{E}[x \mid z]$ all over it, then where the test images lie.

# %%
samples(pair, test)

# %%
reconstructions(pair, test)

# %%
manifold(pair, test)

# %%
latent_scatter(pair, test)

# %% [markdown]
# ## Exercise
#
# With `latent_dim=8` the ELBO is better. By how much, and which of its two terms, `reconstruction` and `kl`, pays?
