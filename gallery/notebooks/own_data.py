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
# # Your own data
#
# A folder of pictures or a file of arrays is named where the gallery's sets are: `gallery fit vae --data pictures/`, or
# `load("pictures/:grey")` here. Any size, grey or colour, and a sub-folder for each class if there are classes. This
# notebook draws its pictures itself: coloured rectangles, 12 pixels high and 10 wide.

# %%
# %matplotlib inline
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from data import DataError, load
from gallery import CVAE
from gallery.figures import reconstructions, samples
from inference import Settings, evaluate, svi

folder = Path(tempfile.mkdtemp()) / "pictures"
random = np.random.default_rng(0)
for kind, colour in {"blue": (0, 120, 255), "orange": (255, 120, 0)}.items():
    (folder / kind).mkdir(parents=True)
    for number in range(300):
        pixels = random.integers(0, 30, (12, 10, 3), dtype=np.uint8)
        top, left = random.integers(0, 7), random.integers(0, 6)
        pixels[top : top + 5, left : left + 4] = colour
        Image.fromarray(pixels).save(folder / kind / f"{number}.png")

train, test = load(f"{folder}:grey"), load(f"{folder}:grey", "test")
print(f"{len(train)} rows of {train.x.shape[1]} values, pictures of shape {train.shape}, {train.classes} classes")

# %% [markdown]
# The law after the colon says what is made of the pixels: `grey` is intensity in $[0, 1]$, channel by channel, and
# takes the continuous Bernoulli, a density there. Rows are shuffled in one fixed order and cut: 80 % to fit, 10 % to
# watch, 10 % to judge by.
#
# The classes are given to a conditional VAE, which then has only the place to encode, and not the colour.

# %%
torch.manual_seed(0)
pair = CVAE(data_dim=360, classes=2, latent_dim=2, hidden=(128,), dropout=0.0, likelihood="continuous_bernoulli")
svi(pair, train.x, train.given, Settings(epochs=100, batch_size=50, lr=2e-3, lr_schedule="cosine"))
numbers = evaluate(pair, test.x, test.given)
print(f"ELBO {numbers['elbo']['value']:.1f} nats per test picture (se {numbers['elbo']['se']:.1f}, n {len(test)})")

# %% [markdown]
# The log of a density may be positive: these pixels are far from uniform on $[0, 1]$.

# %%
reconstructions(pair, test)

# %%
samples(pair, test)

# %% [markdown]
# ## Arrays
#
# In an `.npz` file `x` is `(n, d)`, `(n, h, w)` or `(n, h, w, 3)`, and there may be `labels` or `covariates`; with
# `x_train` and `x_test` the cut is yours. `FILE:real` is for values that are no pixels.

# %%
file = folder.parent / "mine.npz"
np.savez(file, x=random.normal(size=(200, 5)), covariates=random.normal(size=(200, 2)))
print(load(f"{file}:real").covariates.shape)

# %% [markdown]
# ## What goes wrong is said in a line

# %%
for name in (f"{file}:grey", f"{folder}:gray", str(folder.parent / "nothing.npz")):
    try:
        load(name)
    except DataError as error:
        print(str(error).replace(str(folder.parent), "..."))

Image.new("RGB", (9, 9)).save(folder / "blue" / "odd.png")
try:
    load(f"{folder}:grey")
except DataError as error:
    print(str(error).replace(str(folder.parent), "..."))

# %% [markdown]
# ## Exercise
#
# Fit a plain `VAE` with `latent_dim=2` to the same pictures. Where in the plane of codes is the colour?
