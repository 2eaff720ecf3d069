"""Figures of images with one observed site per step: animations and completions."""

import numpy as np
import pytest
import torch
from PIL import Image
from sequence_cases import NETS, STEPS, Repeats, images_in, rows_of

import data
from gallery.figures import completion, latent_scatter, save, save_frames, sequence_animation
from gallery.figures.info import codes_of, info_of
from gallery.figures.sequence import HIDDEN, complete
from gallery.models import MODELS
from inference import encode, sample


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


def test_hidden_rows_do_not_change_the_completion(digits):
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


def test_a_guide_filters_if_its_draws_do_not_depend_on_later_steps(digits):
    smoothing, filtering = MODELS["vrnn:smoothing"](**STEPS), MODELS["vrnn"](**STEPS)
    started = MODELS["vrnn:smoothing"](**STEPS)
    started.start_from(filtering)  # it can depend on later steps, but does not yet
    for pair, filters in (
        (filtering, True),
        (MODELS["vrnn:steps"](**STEPS), True),
        (smoothing, False),
        (started, True),
        (Repeats(), True),
        (Repeats(ahead=1), False),
    ):
        assert info_of(pair, digits).filters is filters
        figures = [fig for fig in [completion(pair, digits)] if fig]
        assert [len(rows_of(fig)[1]) for fig in figures] == [5] * filters
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
