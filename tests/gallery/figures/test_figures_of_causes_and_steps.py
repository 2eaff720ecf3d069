"""Figures of images with a discrete cause, and of images that are told step by step."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from PIL import Image
from torch import nn

import data
from gallery.figures import completion, components, draw, latent_scatter, save, save_frames, sequence_animation
from gallery.figures.info import codes_of, info_of
from gallery.figures.sequence import HIDDEN, complete
from gallery.models import MODELS
from inference import encode, sample

NETS = {"data_dim": 64, "hidden": (8,)}
STEPS = {**NETS, "steps": 8, "state_dim": 6}
COMPONENT_OF = [3, 0, 4, 1]  # of every class; component 2 has none
COUNTS = [4, 3, 2, 1]  # data of every class


class Corners(nn.Module):
    """An image of 2 x 2 pixels, of which the component lights one, and the code is about the image."""

    def __init__(self, one_hot=True):
        super().__init__()
        self.one_hot = one_hot

    def component(self, logits):
        fn = (dist.OneHotCategorical if self.one_hot else dist.Categorical)(logits=logits)
        return pyro.sample("y", fn, infer={"enumerate": "parallel"})

    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            y = self.component(x.new_zeros(len(x), 5))
            lit = torch.zeros(5, 4)
            lit[COMPONENT_OF, range(4)] = 1
            z = pyro.sample("z", dist.Normal(y @ lit if self.one_hot else lit[y], 0.01).to_event(1))
            pyro.sample("x", dist.Normal(z, 0.1).to_event(1), obs=x)

    def guide(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            logits = x.new_zeros(len(x), 5)
            logits[:, COMPONENT_OF] = 9 * x
            self.component(logits)
            pyro.sample("z", dist.Normal(x, 0.01).to_event(1))


class Repeats(nn.Module):
    """z_t stays where z_{t-1} was, and tells the row x_t. The guide reads z_t off the row, or off one further on."""

    def __init__(self, ahead=0, steps=8):
        super().__init__()
        self.ahead, self.steps = ahead, steps

    def rows(self, x):
        return x.reshape(len(x), self.steps, -1)

    def model(self, x, total=None):
        rows = self.rows(x)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = x.new_zeros(len(x), rows.shape[2])
            for t in range(self.steps):
                z = pyro.sample(f"z_{t + 1}", dist.Normal(z, 1e-3).to_event(1))
                pyro.sample(f"x_{t + 1}", dist.Bernoulli(logits=20 * z).to_event(1), obs=rows[:, t])

    def guide(self, x, total=None):
        rows = self.rows(x)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            for t in range(self.steps):
                row = rows[:, min(t + self.ahead, self.steps - 1)]
                pyro.sample(f"z_{t + 1}", dist.Normal(2 * row - 1, 1e-3).to_event(1))


@pytest.fixture
def corners():
    labels = torch.arange(4).repeat_interleave(torch.tensor(COUNTS))
    return data.Dataset("mine", "test", torch.eye(4)[labels], (2, 2), labels, 4)


@pytest.fixture
def digits():
    return data.load("digits:threshold", "test").head(60)


def rows_of(fig):
    """(picture, names of its rows)."""
    (ax,) = fig.axes
    picture = np.ma.filled(ax.images[0].get_array().astype(float), np.nan)
    return picture, [t.get_text().replace("\u2007", " ") for t in ax.get_yticklabels()]


def images_in(picture, side, columns):
    """(rows, columns, side, side), without the gaps of one pixel."""
    rows = (picture.shape[0] + 1) // (side + 1)
    return np.array(
        [[picture[i * (side + 1) :][:side, j * (side + 1) :][:, :side] for j in range(columns)] for i in range(rows)]
    )


# Components


@pytest.mark.parametrize("one_hot", [True, False])
def test_rows_are_drawn_given_their_component_in_the_order_of_the_classes(corners, one_hot, tmp_path):
    fig = components(Corners(one_hot), corners, each=6)
    save(fig, tmp_path / "components.png")
    picture, names = rows_of(fig)
    assert [name.split() for name in names] == [
        ["0", "40.0", "%"],
        ["1", "30.0", "%"],
        ["2", "20.0", "%"],
        ["3", "10.0", "%"],
        ["–", "0.0", "%"],
    ]
    lit = np.concatenate([np.eye(4), np.zeros((1, 4))])  # the pixel of the class, and none
    images = images_in(picture, 2, 6).reshape(5, 6, 4)
    np.testing.assert_allclose(images, np.repeat(lit[:, None], 6, axis=1), atol=0.06)
    assert images.std(axis=1).min() > 0  # every draw has a z of its own
    assert "10 test images; accuracy 1.000" in fig.axes[0].get_title(loc="left")


def test_without_labels_rows_are_in_the_order_of_their_shares(corners):
    nameless = data.Dataset("mine", "test", corners.x.flip(0), (2, 2))
    picture, names = rows_of(components(Corners(), nameless, each=2))
    assert [name.split() for name in names] == [[share, "%"] for share in ("40.0", "30.0", "20.0", "10.0", "0.0")]
    np.testing.assert_allclose(images_in(picture, 2, 2)[:4, 0].reshape(4, 4), np.eye(4), atol=0.06)


@pytest.mark.parametrize("name", ["gmvae", "gmvae:relaxed"])
def test_components_of_a_trained_kind_of_pair(name, digits):
    pair = MODELS[name](**NETS, latent_dim=3, components=12)
    picture, names = rows_of(components(pair, digits))
    assert images_in(picture, 8, 15).shape[:2] == (12, 15)
    assert [row[0] for row in names] == [*"0123456789", "–", "–"]
    component = encode(pair, digits.x)["y"].argmax(1).bincount(minlength=12) / len(digits)
    shares = [float(row[1:-2]) for row in names]
    np.testing.assert_allclose(sorted(shares), sorted(100 * component.numpy()), atol=0.051)


@pytest.mark.parametrize("name", ["vae", "cvae", "ss_vae", "vrnn", "factor_analysis"])
def test_a_pair_without_a_free_component_of_images_has_no_such_rows(name, digits):
    keywords = {"vrnn": STEPS, "factor_analysis": {"data_dim": 64}}.get(name, NETS)
    assert components(MODELS[name](**keywords), digits) is None


# Steps


@pytest.mark.parametrize("steps", [8, 4])
def test_frame_k_has_the_first_k_steps_of_the_same_draws(steps, digits):
    pair = MODELS["vrnn"](**{**STEPS, "steps": steps})
    frames = sequence_animation(pair, digits, side=3, seed=5)
    mean = sample(pair, digits.x, 9, seed=5)["mean"].double().reshape(3, 3, 8, 8).numpy()
    assert len(frames) == steps
    for k, frame in enumerate(frames, start=1):
        images, end = images_in(rows_of(frame)[0], 8, 3), 8 * k // steps
        np.testing.assert_array_equal(images[:, :, :end], mean[:, :, :end])
        assert (images[:, :, end:] == np.float32(HIDDEN)).all()
        assert f"t = 1 to {k} of {steps}" in frame.axes[0].get_title(loc="left")


def test_an_animation_shows_every_frame_and_rests_at_the_last(digits, tmp_path):
    pair = MODELS["vrnn"](**STEPS)
    frames = sequence_animation(pair, digits, side=2)
    path = save_frames(frames, tmp_path / "a.gif", seconds=0.1, pause=1.5)
    shown, milliseconds = [], []
    with Image.open(path) as gif:
        assert gif.info["loop"] == 0
        for i in range(gif.n_frames):
            gif.seek(i)
            milliseconds.append(gif.info["duration"])
            shown.append(np.asarray(gif.convert("RGB")).astype(int))
    assert milliseconds == [100] * 7 + [1500]
    for i in (0, 4, 7):
        save(frames[i], tmp_path / "frame.png")
        with Image.open(tmp_path / "frame.png") as png:
            assert abs(shown[i] - np.asarray(png.convert("RGB"))).mean() < 1
    again = sequence_animation(pair, digits, side=2)
    assert save_frames(again, tmp_path / "b.gif", 0.1, 1.5).read_bytes() == path.read_bytes()


def test_completion_keeps_the_top_half_to_the_bit_and_draws_the_rest(digits, tmp_path):
    fig = completion(MODELS["vrnn"](**STEPS), digits)
    save(fig, tmp_path / "completion.png")
    picture, names = rows_of(fig)
    images = images_in(picture, 8, 8)
    x = digits.x[:8].double().reshape(8, 8, 8).numpy()
    assert names == ["x", "shown", "completed", "completed", "completed"]
    np.testing.assert_array_equal(images[0], x)
    for row in images[1:]:
        np.testing.assert_array_equal(row[:, :4], x[:, :4])
    assert (images[1, :, 4:] == np.float32(HIDDEN)).all()
    completed = images[2:, :, 4:]
    assert ((completed > 0) & (completed < 1)).all()
    assert all(abs(completed[i] - completed[j]).max() > 0 for i, j in ((0, 1), (0, 2), (1, 2)))


def test_what_is_hidden_is_not_seen(digits):
    pair = MODELS["vrnn"](**STEPS)
    other = digits.x.clone()
    other[:, 32:] = 1 - other[:, 32:]
    others = data.Dataset("mine", "test", other, (8, 8))
    assert torch.equal(complete(pair, digits), complete(pair, others))
    other[:, 24:32] = 1 - other[:, 24:32]
    assert (complete(pair, digits) - complete(pair, others))[:, 32:].abs().max() > 0


def test_what_is_completed_goes_on_from_the_latents_of_what_is_shown(digits):
    half = digits.x.reshape(-1, 8, 8)[:, 3:4].expand(-1, 4, -1)  # row 4 again and again
    completed = complete(Repeats(), digits).reshape(-1, 8, 8)
    torch.testing.assert_close(completed[:, 4:], half, atol=1e-3, rtol=0)


def test_a_guide_that_looks_ahead_is_told_by_what_it_does(digits):
    smoothing, filtering = MODELS["vrnn:smoothing"](**STEPS), MODELS["vrnn"](**STEPS)
    started = MODELS["vrnn:smoothing"](**STEPS)
    started.start_from(filtering)  # it could look ahead, and does not yet
    for pair, filters in (
        (filtering, True),
        (MODELS["vrnn:steps"](**STEPS), True),
        (smoothing, False),
        (started, True),
        (Repeats(), True),
        (Repeats(ahead=1), False),
    ):
        assert info_of(pair, digits).filters is filters
        assert (completion(pair, digits) is not None) is filters
    assert completion(MODELS["vae"](**NETS), digits) is None
    assert sequence_animation(MODELS["vae"](**NETS), digits) is None


def test_codes_of_a_sequence_are_those_of_all_steps(digits):
    pair = MODELS["vrnn"](**STEPS)
    codes = codes_of(info_of(pair, digits), digits.x)
    means = encode(pair, digits.x)
    assert torch.equal(codes, torch.cat([means[f"z_{t}"] for t in range(1, 9)], dim=1))
    ax = latent_scatter(pair, digits).axes[0]
    assert "t-SNE of 16 dimensions" in ax.get_title(loc="left")
    points = np.asarray(ax.collections[0].get_offsets())
    for text in ax.texts:
        of_class = points[digits.labels.numpy() == int(text.get_text())]
        np.testing.assert_allclose(text.get_position(), np.median(of_class, axis=0), rtol=1e-5)
    assert {int(t.get_text()) for t in ax.texts} == set(digits.labels.tolist())


# All of it


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
