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
# The path of a folder of pictures or of a file of arrays can replace the name of a data set:
# `gallery fit vae --data pictures/`, or `load("pictures/:grey")` in Python. The pictures may have any size, grey or
# colour. If there are classes, each has a sub-folder. This notebook generates its pictures: coloured rectangles in
# images 12 pixels high and 10 wide.

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
# The part after the colon is the pixel transform: `grey` gives intensities in $[0, 1]$, channel by channel, for the
# continuous Bernoulli, which is a density on $[0, 1]$. Rows are shuffled in one fixed order and split: 80 % training,
# 10 % validation, 10 % test.
#
# A conditional VAE gets the classes as input, so its code has to represent only the position, not the colour.

# %%
torch.manual_seed(0)
pair = CVAE(data_dim=360, classes=2, latent_dim=2, hidden=(128,), dropout=0.0, likelihood="continuous_bernoulli")
svi(pair, train.x, train.given, Settings(epochs=100, batch_size=50, lr=2e-3, lr_schedule="cosine"))
numbers = evaluate(pair, test.x, test.given)
print(f"ELBO {numbers['elbo']['value']:.1f} nats per test picture (se {numbers['elbo']['se']:.1f}, n {len(test)})")

# %% [markdown]
# A log-density can be positive: these pixels are far from uniform on $[0, 1]$.

# %%
reconstructions(pair, test)

# %%
samples(pair, test)

# %% [markdown]
# ## Arrays
#
# In an `.npz` file `x` has shape `(n, d)`, `(n, h, w)` or `(n, h, w, 3)`; `labels` and `covariates` are optional. With
# `x_train` and `x_test` the file defines the split. `FILE:real` is for values that are not pixels. There NaN is a
# missing value, as an empty cell of a table is: `factor_analysis:missing` takes it, other models refuse it.

# %%
file = folder.parent / "mine.npz"
np.savez(file, x=random.normal(size=(200, 5)), covariates=random.normal(size=(200, 2)))
print(load(f"{file}:real").covariates.shape)

# %% [markdown]
# ## Errors are one line

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
# Fit a plain `VAE` with `latent_dim=2` to the same pictures. How does the plane of codes represent the colour?
