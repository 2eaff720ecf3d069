"""`draw` saves the figures that apply to mixtures and sequences."""

import pytest
import torch
from sequence_cases import NETS, STEPS

from gallery.figures import draw
from gallery.models import MODELS

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("name", "keywords", "expected"),
    [
        ("gmvae", {**NETS, "latent_dim": 2}, {"components.png", "reconstructions.png"}),
        ("gmvae", {**NETS, "latent_dim": 3}, {"components.png", "reconstructions.png", "kl.png"}),
        ("vrnn", STEPS, {"completion.png", "animation.gif", "kl.png"}),
        ("vrnn:smoothing", STEPS, {"animation.gif", "kl.png"}),
    ],
)
def test_draw_has_what_applies(name, keywords, expected, digits, tmp_path):
    pair = MODELS[name](**keywords).train()
    weights = {key: value.clone() for key, value in pair.state_dict().items()}
    generator = torch.get_rng_state()
    paths = draw(pair, {"train": digits, "test": digits}, [], tmp_path)
    assert {path.name for path in paths} == {"samples.png", "latent.png"} | expected
    assert sorted(paths) == sorted(tmp_path.iterdir())
    assert all(torch.equal(weights[key], value) for key, value in pair.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert pair.training
