"""Runs with and without explorers, and access to the parts of an explorer in a browser."""

import json
import re
from dataclasses import replace

import torch

from gallery.figures.info import info_of
from gallery.report.explorers import hero_explorer
from gallery.report.explorers.network import quantised
from gallery.runs import training
from gallery.runs.specification import Run
from inference import encode

COPY = """shown => {  // read from a copy: the original may stay on the GPU
  const copy = new OffscreenCanvas(shown.width, shown.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(shown, 0, 0);
  return [shown.height, shown.width, ...copy.getImageData(0, 0, shown.width, shown.height).data];
}"""
PLANES = {  # model, data, keywords
    "vae": ("vae", "digits:threshold", {"latent_dim": 2, "hidden": [32], "activation": "tanh"}),
    "vae-5": ("vae", "digits:dequantized", {"latent_dim": 5, "hidden": [24, 16]}),
    "cvae": ("cvae", "digits:threshold", {"latent_dim": 3, "hidden": [32]}),
    "ss_vae": ("ss_vae", "digits:threshold:100-labels", {"latent_dim": 2, "hidden": [32]}),
    "gmvae": ("gmvae", "digits:threshold", {"latent_dim": 4, "components": 5, "hidden": [32]}),
    "autoencoder": ("autoencoder", "digits:grey", {"latent_dim": 16}),
}
MINE = "mine.py:Skeleton", "digits:threshold", {"latent_dim": 3, "hidden": 16}
OWN = {  # the skeleton with these changes, in a file: a decoder that ends in an affine layer
    "own logits": {},
    "own probabilities": {
        "nn.Linear(hidden, data_dim))": "nn.Linear(hidden, data_dim), nn.Sigmoid())",
        "logits=self.decoder(z)": "probs=self.decoder(z)",
    },
    "own means": {"dist.Bernoulli(logits=self.decoder(z))": "dist.Normal(self.decoder(z), 1.0)"},
}
NOT_ITS_DECODER = {
    "own with more": {"self.decoder(z)": "self.decoder(z) + z[:, :1]"},
    "own of a curve": {"self.decoder(z)": "self.decoder(z.tanh())"},
    "own in plain PyTorch": {"self.decoder(z)": "self.decoder[2](self.decoder[0](z).relu())"},
}
FAULTY = {"own in one precision": {"self.decoder(z)": "self.decoder(z.float())"}}  # an explorer is of float64
WRITTEN = OWN | NOT_ITS_DECODER | FAULTY
PLANES |= dict.fromkeys(OWN, MINE)
OTHERS = {
    "densities": ("exponential_gaussian:gamma", "exponential_gaussian", {}),
    "rows": ("vrnn", "digits:threshold", {"steps": 8, "state_dim": 16, "hidden": [16]}),
    "training": ("factor_analysis", "factor_analysis", {}),
}
NONE = {
    "unknown noise": ("linear_regression:unknown_noise", "line", {}),
    "per data point": ("exponential_gaussian:per_datum", "exponential_gaussian", {}),
    "no plane": ("gaussian_mixture", "factor_analysis", {}),
    **dict.fromkeys(NOT_ITS_DECODER, MINE),
    "one number": ("vae", "digits:threshold", {"latent_dim": 1, "hidden": [8]}),
}


def loaded(folder):
    """Return (pair, test data) as in an explorer."""
    run, pair = training.load(folder)
    run = replace(run, settings=replace(run.settings, precision="float64", device="cpu"))
    return pair.double().eval(), run.datasets()["test"]


def inline(page):
    return json.loads(page.text_content('[data-part="data"]'))


def part(page, name):
    return page.locator(f'[data-part="{name}"]')


def pixels(page, channel=0):
    """Return the displayed picture as ink, (height, width), 0 to 1 in steps of 1 / 255."""
    displayed = part(page, "picture").evaluate(COPY)
    height, width, *rgba = displayed
    return 1 - torch.tensor(rgba, dtype=torch.float64).reshape(height, width, 4)[..., channel] / 255


def status(page):
    return part(page, "status").inner_text()


def value_text(page):
    return part(page, "pad").get_attribute("aria-valuetext")


def of_text(page):
    """Return the two numbers of the displayed position."""
    return [float(v.replace("−", "-")) for v in re.findall(r"= (−?[\d.]+)", value_text(page))]


def slide(page, name, to):
    """Move a slider by the keyboard."""
    part(page, name).focus()
    page.keyboard.press("Home")
    for _ in range(to):
        page.keyboard.press("ArrowRight")


def code(pair, test, data, point, choice):
    """Compute z, (1, d), at a point of the plane, and the condition, from the definition."""
    info = info_of(pair, test)
    given = torch.tensor([choice]) if info.conditional else None
    codes = encode(pair, test.x, test.given if info.conditional else None)["z"]
    d = codes.shape[1]
    directions = torch.eye(2).double()
    if d > 2:
        directions = torch.linalg.eigh(codes.T.cov())[1][:, -2:].flip(1)  # of the largest variance first
        shown = torch.tensor([place[:2] for place in data["codes"]]).double()
        directions = directions * (codes[: len(shown)] @ directions * shown).sum(0).sign()  # the sign is arbitrary
        torch.testing.assert_close(codes[: len(shown)] @ directions, shown, atol=6e-4, rtol=0)
    latents = {}
    if hasattr(pair, "conditional_prior"):
        mean = pair.conditional_prior(torch.eye(10).double()[[choice]]).mean
    elif hasattr(pair, "components"):
        latents["y"] = torch.eye(pair.components).double()[[choice]]
        mean = pair.prior(latents["y"]).mean
    else:
        mean = codes.mean(0, keepdim=True) if data["priors"] is None else torch.zeros(1, d).double()
    mean = mean.detach()
    z = torch.tensor([point]).double() @ directions.T + mean - mean @ directions @ directions.T
    return latents | {"z": z}, given


def unfitted(model, **keywords):
    """Return (pair, its data) as in the explorer of a model before any fit."""
    run = Run.of(model, None, None, keywords, {"precision": "float64", "device": "cpu"})
    return run.build(), run.datasets()


def hero(model, **keywords):
    """Return the explorer of a model before any fit."""
    return hero_explorer(Run.of(model, None, None, keywords, {}))


def value(page, name):
    """Return a number of the page in full."""
    return float(page.locator(f'[data-number="{name}"]').get_attribute("data-value"))


def in_page(pair, data):
    """Return the pair with the weights that a page contains."""
    return quantised(pair, data["bits"]).eval()
