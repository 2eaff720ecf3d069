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
# # Lesson 8: From autoencoders to VAEs
#
# An autoencoder squeezes an image through a few numbers and restores it. It has an encoder and a decoder, and no
# probability. Give the decoder a likelihood, the code a prior and the encoder a width, and the squared error turns into
# a bound on the evidence, measured in bits.
#
# - **Before**: lesson 6; principal components; neural networks in PyTorch.
# - **Afterwards** you can write an autoencoder as a pair with a point for a guide, say what it lacks, write a VAE, and
#   convert its bound to bits.
# - **Time**: 75 minutes; the code runs in 30 seconds.

# %%
# %matplotlib inline
import math

import matplotlib.pyplot as plt
import pyro
import pyro.distributions as dist
import torch
from torch import nn

import data
from inference import Settings, evaluate, reconstruct, svi

grey = data.load("digits:grey").x.double()  # (1200, 64) in [0, 1]
binary, test = data.load("digits:threshold").x, data.load("digits:threshold", "test").x  # in {0, 1}

# %% [markdown]
# ## Squared error is a likelihood
#
# The decoder maps a code $z$ to a mean $\hat{x}$. Read it as the mean of a normal with standard deviation $\sigma$ for
# each of $D$ pixels:
#
# $$-\log p(x \mid z) = \frac{|x - \hat{x}|^2}{2 \sigma^2} + D \log \big(\sigma \sqrt{2 \pi}\big) .$$
#
# At $\sigma = \sqrt{1/2}$ that is the squared error and a constant, 36.6 nats for 64 pixels. The guide of an
# autoencoder is a **Delta**, a point at the encoder's output, and its prior is flat. Then minus the ELBO is this loss.
# It bounds nothing: under a flat prior there is no evidence, and nothing limits what the code may carry.
#
# ## Exercise 1: the loss of a code


# %%
def loss_of_a_code(x, mean, sigma):
    """Return -log p(x | z) in nats of each image, (n,), from x and the decoder's mean, (n, D)."""
    # exercise 1: squared error over twice the variance, plus the constant of D pixels
    return ((x - mean) ** 2).sum(1) / (2 * sigma**2) + x.shape[1] * math.log(sigma * math.sqrt(2 * math.pi))
    # end


# %% [markdown]
# ## The best linear autoencoder
#
# With a linear encoder and decoder the best one is known: it projects on the leading **principal components**. The mean
# squared error that remains is the sum of the other eigenvalues of the covariance matrix. Every deeper autoencoder
# should be compared with it. For the grey digits and two numbers per image, 3.38 of the total variance of 4.67 remains.
#
# ## Exercise 2: what a linear autoencoder loses
#
# `torch.linalg.eigvalsh` returns eigenvalues in ascending order.


# %%
def linear_error(x, k):
    """Return the least mean squared error per image of a linear autoencoder with k numbers, from x (n, D)."""
    # exercise 2: sum all eigenvalues of the covariance (divided by n) but the k largest
    centred = x - x.mean(0)
    eigenvalues = torch.linalg.eigvalsh(centred.T @ centred / len(x))
    return eigenvalues[: x.shape[1] - k].sum()
    # end


# %% [markdown]
# ## A width, and its price
#
# A **VAE** replaces the point by $q(z \mid x) = \mathrm{Normal}(\mu(x), \sigma(x))$ and the flat prior by
# $\mathrm{Normal}(0, I)$. Since $\log p(x, z) = \log p(x \mid z) + \log p(z)$, the ELBO of lesson 3 splits in two:
#
# $$\mathbb{E}_q[\log p(x, z) - \log q(z \mid x)]
# = \mathbb{E}_q[\log p(x \mid z)] - \mathbb{E}_q[\log q(z \mid x) - \log p(z)] .$$
#
# The first term is the reconstruction, with the sign of a score. The second is a KL, from the guide to the *prior*, and
# charges the code for what it says about the image:
#
# $$\mathrm{KL}(q(z \mid x) \,\|\, p(z))
# = \sum_j \tfrac{1}{2} \left[ \mu_j^2 + \sigma_j^2 - 1 - \log \sigma_j^2 \right] .$$
#
# It is 0 for the prior itself, and it grows without limit as $\sigma \to 0$: an infinitely precise code has an infinite
# price. That is why a Delta guide gives no bound under a proper prior either. Divided by $\log 2$ the KL is in
# **bits**: what a receiver who knows the prior must be sent, on average, to get one sample of the code.
#
# ## Exercise 3: the price of a code


# %%
def kl(mean, scale):
    """Return KL(q || Normal(0, I)) in nats of each data point, (n,), from mean and scale, (n, k)."""
    # exercise 3: the KL of a normal in each coordinate, summed over coordinates
    return 0.5 * (mean**2 + scale**2 - 1 - 2 * torch.log(scale)).sum(1)
    # end


# %% [markdown]
# ## Exercise 4: a VAE
#
# Pixels in $\{0, 1\}$ have a Bernoulli likelihood,
#
# $$\log p(x \mid z) = \sum_{j=1}^{D} \left[ x_j \log p_j + (1 - x_j) \log (1 - p_j) \right],$$
#
# where the decoder's output are the logits $\log p_j - \log (1 - p_j)$. It is maximised; with a minus it is called the
# binary cross-entropy. Complete model and guide.


# %%
class SmallVAE(nn.Module):
    """x: (n, 64) in {0, 1}; z: (n, 4)."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 8))
        self.decoder = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64))

    def model(self, x, total=None):
        # exercise 4: register the decoder; z is standard normal, x Bernoulli (logits)
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            zero = x.new_zeros(len(x), 4)
            z = pyro.sample("z", dist.Normal(zero, zero + 1).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)
        # end

    def guide(self, x, total=None):
        # exercise 4: register the encoder; chunk(2, -1) gives mean and log scale of z
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            mean, log_scale = self.encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(mean, log_scale.exp()).to_event(1))
        # end


# %% [markdown]
# ## Bits
#
# An ELBO of $-18$ nats per image of 64 pixels is $18 / (64 \log 2) = 0.41$ bits per pixel, where sending the pixels as
# they are costs 1. So a model with a good bound is a compressor.
#
# ## Exercise 5: bits per pixel


# %%
def bits_per_pixel(elbo, pixels):
    """Return the bits per pixel that an ELBO in nats per image is worth."""
    # exercise 5: minus the ELBO, per pixel, in units of log 2
    return -elbo / (pixels * math.log(2))
    # end


# %%
torch.manual_seed(0)
pair = SmallVAE()
svi(pair, binary, settings=Settings(epochs=60, batch_size=50, lr=3e-3))
numbers = evaluate(pair, test, particles=16)
bound, price = numbers["elbo"]["value"], numbers["kl"]["value"]
print(f"ELBO {bound:.2f} nats per test image: {bits_per_pixel(bound, 64):.3f} bits per pixel")
print(f"the code costs {price:.2f} nats, {price / math.log(2):.2f} bits")

figure, axes = plt.subplots(2, 8, figsize=(8, 2))
for row, images in zip(axes, (test, reconstruct(pair, test)), strict=True):
    for ax, image in zip(row, images, strict=False):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        ax.set_axis_off()

# %% [markdown]
# ## To think about
#
# `decoder(z)` is a vector of probabilities: a *mean*, not a sample of the model. A sample takes one more step. Draw
# both, and say which of them is sharper, and which of them the likelihood is about.
