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
# A variational autoencoder is a generative model of images: a code $z \sim \mathrm{Normal}(0, I)$, and pixels given the
# code. A fit gives a generator, a code for every image, and a lower bound on the log-probability of new images. This
# notebook takes a minute on a laptop; the digits come with scikit-learn.

# %%
# %matplotlib inline
import torch

import gallery
from data import load
from gallery import VAE
from gallery.figures import latent_scatter, manifold, reconstructions, samples
from inference import Settings, evaluate, svi

train, test = load("digits:threshold"), load("digits:threshold", "test")
print(f"{len(train)} training images, {len(test)} test images, {train.shape} pixels in {train.support}")

# %% [markdown]
# The pixel transform is part of the data's name: `threshold` binarises every pixel to 0 or 1, the support of a
# Bernoulli likelihood. Grey pixels would be refused with an error message that lists the remedies.
#
# The pair is a model, $p(x, z)$, and a guide, $q(z \mid x)$. `Settings` holds the settings of the fit. `svi` returns
# the loss of every step: minus the ELBO of a minibatch, in nats per image.

# %%
torch.manual_seed(0)
pair = VAE(data_dim=64, latent_dim=2, hidden=(128,), dropout=0.0)
losses = svi(pair, train.x, settings=Settings(epochs=60, batch_size=50, lr=2e-3))
print(f"loss, first 10 steps {losses[:10].mean():.2f}, last 10 steps {losses[-10:].mean():.2f} nats per image")

# %% [markdown]
# ## Evaluate on test images
#
# `elbo` is a lower bound on $\log p(x)$, `iwae` a tighter one. Each has a standard error over images (`se`) and a Monte
# Carlo error at these images (`mc_se`).

# %%
numbers = evaluate(pair, test.x, particles=64)
for name in ("elbo", "iwae", "reconstruction", "kl"):
    entry = numbers[name]
    print(f"{name:>15} {entry['value']:8.2f} {entry['unit']} (se {entry['se']:.2f}, mc_se {entry['mc_se']:.3f})")

# %% [markdown]
# ## Figures
#
# Samples from the model, test images beside their reconstructions, and the plane of codes: first the means
# $\mathrm{E}[x \mid z]$ on a grid, then the codes of the test images.

# %%
samples(pair, test)

# %%
reconstructions(pair, test)

# %%
manifold(pair, test)

# %%
latent_scatter(pair, test)

# %% [markdown]
# ## The same in one call
#
# `gallery.fit` takes model and data by name, or data in memory: an array, a DataFrame, a DataLoader. Its result
# evaluates, draws (`.plot("samples")`), encodes and saves itself, and has the latents in numbers.

# %%
fitted = gallery.fit("vae", data="digits:threshold", latent_dim=2, hidden=[128], epochs=20, lr=2e-3, progress=False)
print(fitted.evaluate())
fitted.summary()

# %% [markdown]
# ## Exercise
#
# With `latent_dim=8` the ELBO is better. By how much? Which of its two terms, `reconstruction` and `kl`, improves, and
# which gets worse?
