"""Explorers in a browser: what they show is what torch computes, and mouse and keyboard change it."""

import base64
import json
import re
from dataclasses import replace

import pytest
import torch
from broken import write

from gallery.errors import RunError
from gallery.figures.info import decode, info_of
from gallery.models.exponential_gaussian import ExponentialGaussian
from gallery.models.vae import VAE
from gallery.report.explorers import explorer
from gallery.report.explorers.fragment import fragment, packed
from gallery.report.explorers.network import Network, as_packed
from gallery.report.site import _explored
from gallery.report.site.run_pages import runs_below
from gallery.runs import training as runs
from gallery.runs.specification import Run
from inference import encode, sample

COPY = """shown => {  // read from a copy: what is shown may stay on the GPU
  const copy = new OffscreenCanvas(shown.width, shown.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(shown, 0, 0);
  return [shown.height, shown.width, ...copy.getImageData(0, 0, shown.width, shown.height).data];
}"""
LIPSCHITZ = {"sigmoid": 1 / 4, "continuous_bernoulli": 1 / 12, "identity": 1.0}  # of the mean in the last output

PLANES = {  # model, data, keywords
    "vae": ("vae", "digits:threshold", {"latent_dim": 2, "hidden": [32], "activation": "tanh"}),
    "vae-5": ("vae", "digits:dequantized", {"latent_dim": 5, "hidden": [24, 16]}),
    "cvae": ("cvae", "digits:threshold", {"latent_dim": 3, "hidden": [32]}),
    "ss_vae": ("ss_vae", "digits:threshold:100-labels", {"latent_dim": 2, "hidden": [32]}),
    "gmvae": ("gmvae", "digits:threshold", {"latent_dim": 4, "components": 5, "hidden": [32]}),
    "autoencoder": ("autoencoder", "digits:grey", {"latent_dim": 16}),
}
MINE = "mine.py:Skeleton", "digits:threshold", {"latent_dim": 3, "hidden": 16}
OWN = {  # the skeleton with these changes, in a file of its own: a decoder that ends in an affine layer
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
    "own by hand": {"self.decoder(z)": "self.decoder[2](self.decoder[0](z).relu())"},
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
    "global": ("linear_regression", "line", {}),
    "per data point": ("exponential_gaussian:per_datum", "exponential_gaussian", {}),
    "vectors": ("gaussian_mixture", "gaussian_mixture", {}),
    **dict.fromkeys(NOT_ITS_DECODER, MINE),
    "one number": ("vae", "digits:threshold", {"latent_dim": 1, "hidden": [8]}),
}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """fitted(name): the folder of a short run."""
    made = {}

    def fit(name):
        if name not in made:
            model, data, keywords = (PLANES | OTHERS | NONE | dict.fromkeys(FAULTY, MINE))[name]
            folder = tmp_path_factory.mktemp("runs") / "run"
            settings = {"epochs": 4, "precision": "float32", "compile": False}
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder.parent)
                if name in WRITTEN:
                    write(WRITTEN[name])
                patch.setattr("gallery.figures.draw", lambda *_, **__: [])
                runs.start(Run.of(model, None, data, keywords, settings), folder)
            made[name] = folder, None if name in FAULTY else explorer(folder)
        return made[name]

    return fit


@pytest.fixture
def visit(visit, tmp_path):
    """visit(fragments, ...): a page of them, opened from disk; none of the pages may complain or ask for anything."""
    asked = []

    def open_page(*fragments, **context):
        head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>explorers</title>'
        style = "<style>:root { color-scheme: light dark }</style>"
        file = tmp_path / "page.html"
        file.write_text(f'<!doctype html><html lang="en">{head}{style}{"".join(fragments)}</html>', encoding="utf-8")
        page = visit(**context)
        page.on("request", lambda request: request.url.startswith("data:") or asked.append(request.url))
        page.goto(file.as_uri())
        return page

    yield open_page
    assert [url for url in asked if not url.endswith("page.html")] == []


def loaded(folder):
    """(pair, test data) as an explorer has them."""
    run, pair = runs.load(folder)
    run = replace(run, settings=replace(run.settings, precision="float64", device="cpu"))
    return pair.double().eval(), run.datasets()["test"]


def inline(page):
    return json.loads(page.text_content('[data-part="data"]'))


def part(page, name):
    return page.locator(f'[data-part="{name}"]')


def pixels(page, channel=0):
    """The picture as it is shown, in ink: (height, width), 0 to 1 in steps of 1 / 255."""
    found = part(page, "picture").evaluate(COPY)
    height, width, *rgba = found
    return 1 - torch.tensor(rgba, dtype=torch.float64).reshape(height, width, 4)[..., channel] / 255


def said(page):
    return part(page, "said").inner_text()


def value_text(page):
    return part(page, "pad").get_attribute("aria-valuetext")


def of_text(page):
    """The two numbers of the position that is said."""
    return [float(v.replace("−", "-")) for v in re.findall(r"= (−?[\d.]+)", value_text(page))]


def slide(page, name, to):
    """Moves a slider by the keyboard."""
    part(page, name).focus()
    page.keyboard.press("Home")
    for _ in range(to):
        page.keyboard.press("ArrowRight")


def code(pair, test, data, point, choice):
    """z at a point of the plane, and what it is given, worked out from the definition: (1, d) and keywords."""
    info = info_of(pair, test)
    given = torch.tensor([choice]) if info.conditional else None
    codes = encode(pair, test.x, test.given if info.conditional else None)["z"]
    d = codes.shape[1]
    directions = torch.eye(2).double()
    if d > 2:
        directions = torch.linalg.eigh(codes.T.cov())[1][:, -2:].flip(1)  # of the largest variance first
        shown = torch.tensor([place[:2] for place in data["codes"]]).double()
        directions = directions * (codes[: len(shown)] @ directions * shown).sum(0).sign()  # a sign is nobody's choice
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


def rounding(pair, z, given, mean):
    """How far a pixel may be off for weights of 12 bits: half a scale for each weight, carried through the layers; the
    activations do not stretch a difference."""
    network, y = Network.of(pair.decoder), None if given is None else torch.eye(10).double()[given]
    act = {"relu": torch.relu, "tanh": torch.tanh}[network.activation]
    with torch.no_grad():
        first, *others = network.layers
        h = first(z if y is None else torch.cat([z, y], 1))
        error = 1e-6 * h.abs()  # float32
        for layer in others:
            h = act(h)
            half = layer.weight.abs().amax(1) / 2047 / 2
            weight = layer.weight.abs() + half.unsqueeze(1)
            error = error @ weight.T + half * h.abs().sum() + 1e-6 * (weight @ h.abs().T).T
            h = layer(h)
        return LIPSCHITZ[mean] * error


@pytest.mark.parametrize("name", PLANES)
def test_the_picture_is_the_decoders(name, fitted, visit):
    folder, html = fitted(name)
    page, (pair, test) = visit(html), loaded(folder)
    data, choices = inline(page), part(page, "choice").count()
    step, pad = (data["a"][1] - data["a"][0]) / 40, part(page, "pad")
    for choice in (0, 3) if choices else (0,):
        if choices:
            part(page, "choice").select_option(index=choice)
        pad.focus()
        page.keyboard.press("Home")
        before, was = pixels(page), said(page)
        page.keyboard.press("Shift+ArrowLeft")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowUp")
        a, b = data["starts"][choice]
        point = (max(a - 5 * step, data["a"][0]), min(b + 2 * step, data["b"][1]))
        latents, given = code(pair, test, data, point, choice)
        with torch.no_grad():
            mean = decode(pair, test.x, latents, given).mean.reshape(8, 8)
        bound = rounding(pair, latents["z"], given, data["mean"]).reshape(8, 8)
        assert bound.max() < 0.02, "a bound so wide would prove nothing"
        off = (pixels(page) - mean.clamp(0, 1)).abs()
        assert (off <= bound + 0.5 / 255).all(), (off - bound).max()
        assert not torch.equal(pixels(page), before)
        assert said(page) != was
        torch.testing.assert_close(of_text(page), list(point), atol=0.00501, rtol=0)
        assert value_text(page) in part(page, "picture").get_attribute("aria-label")


def test_the_pointer_moves_the_point(fitted, visit):
    page = visit(fitted("vae")[1])
    data, before, box = inline(page), pixels(page), part(page, "pad").bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.1 * box["height"], steps=3)
    page.mouse.up()
    page.mouse.move(box["x"], box["y"])  # no button is down: not followed
    a, b = data["a"], data["b"]
    expected = [a[0] + 0.8 * (a[1] - a[0]), b[1] - 0.1 * (b[1] - b[0])]
    torch.testing.assert_close(of_text(page), expected, atol=0.01 * (a[1] - a[0]), rtol=0)
    assert not torch.equal(pixels(page), before)


def test_what_is_said_of_the_rounding_is_its_largest_effect_at_the_marks(fitted):
    folder, html = fitted("vae")
    pair, test = loaded(folder)
    z = encode(pair, test.x)["z"][:300]
    with torch.no_grad():
        packed_logits = as_packed(Network.of(pair.decoder)).outputs(z)
        off = (packed_logits.sigmoid() - pair.decoder(z).mean).abs().max().item()
    stated = float(re.search(r"off by more than ([\d.]+)\.", html)[1])
    assert off <= stated < off + 0.001


def test_a_class_keeps_the_point_and_a_component_moves_it(fitted, visit):
    for name, moves in (("cvae", False), ("gmvae", True)):
        page = visit(fitted(name)[1])
        before, at = pixels(page), value_text(page)
        part(page, "choice").select_option(index=2)
        assert (value_text(page) != at) == moves
        assert not torch.equal(pixels(page), before)
        assert re.match(r"Given (class|component) 2\.", said(page))


def test_densities_and_numbers_are_those_of_the_library(fitted, visit):
    folder, html = fitted("densities")
    page, (pair, _) = visit(html), loaded(folder)
    data, shown = inline(page), []
    z = torch.tensor(data["z"], dtype=torch.float64)
    for i in (3, 40):
        slide(page, "x", i)
        x = torch.tensor([[data["x"][i]]], dtype=torch.float64)
        assert part(page, "x").get_attribute("aria-valuetext") in said(page)
        with torch.no_grad():
            exact = pair.posterior(x)
            guide = pair.family(*pair.eta(x).unbind(-1))
            evidence = pair.log_evidence(x).item()
            ends = torch.linspace(-20, 5, 200_001, dtype=torch.float64)  # of log z: KL(guide || exact) by quadrature
            log_q, log_p = (fn.log_prob(ends.exp().unsqueeze(-1)).squeeze(-1) for fn in (guide, exact))
            gap = torch.trapezoid((log_q + ends).exp() * (log_q - log_p), ends).item()
        for name, fn in (("truth", exact), ("guide", guide)):
            drawn = page.locator(f"polyline.{name}").get_attribute("points").split()
            y = torch.tensor([float(place.split(",")[1]) for place in drawn], dtype=torch.float64)
            density = (196 - y) / 192 * data["top"]
            with torch.no_grad():  # z = 0 may be no point of the support
                expected = fn.log_prob(z[1:].unsqueeze(-1)).exp().squeeze(-1).clamp(max=2 * data["top"])
            torch.testing.assert_close(density[1:], expected, atol=0.006 / 192 * data["top"] + 1e-5, rtol=0)
        numbers = [float(v.replace("−", "-")) for v in re.findall(r"[=±] (−?[\d.]+)", said(page))]
        _, log_p_x, elbo, lost, error = numbers
        assert log_p_x == pytest.approx(evidence, abs=5.1e-5)
        assert elbo == pytest.approx(log_p_x - lost, abs=1.6e-4)
        assert lost == pytest.approx(gap, abs=4 * error + 1e-4)
        shown.append(said(page))
    assert shown[0] != shown[1]
    box = part(page, "x").bounding_box()
    page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    assert said(page) not in shown


def test_rows_appear_from_the_top(fitted, visit):
    folder, html = fitted("rows")
    page, (pair, test) = visit(html), loaded(folder)
    mean = sample(pair, test.x, 12)["mean"].reshape(12, 8, 8)

    def images():
        return pixels(page).unfold(0, 8, 10).unfold(1, 8, 10).reshape(12, 8, 8)

    torch.testing.assert_close(images(), mean, atol=0.501 / 255, rtol=0)  # all rows at first
    slide(page, "told", 3)
    torch.testing.assert_close(images()[:, :3], mean[:, :3], atol=0.501 / 255, rtol=0)
    assert images()[:, 3:].unique().tolist() == pytest.approx([0.15], abs=0.501 / 255)
    assert said(page) == "3 of 8 rows: 3 drawn by it."
    part(page, "set").select_option(index=1)
    slide(page, "told", 8)
    assert images()[4:8, :4].equal(images()[:4, :4])
    torch.testing.assert_close(images()[:4, :4], test.x[:4].reshape(4, 8, 8)[:, :4], atol=0.501 / 255, rtol=0)
    assert said(page) == "8 of 8 rows: 4 shown to the model, 4 drawn by it."


def test_play_goes_on_by_itself_and_by_hand_where_motion_is_reduced(fitted, visit):
    page = visit(fitted("rows")[1])
    slide(page, "told", 1)
    play = part(page, "play")
    play.focus()
    page.keyboard.press("Enter")
    assert play.inner_text() == "Pause"
    page.wait_for_function("document.querySelector('[data-part=told]').value === '8'")
    page.wait_for_function("document.querySelector('[data-part=play]').textContent === 'Play'")
    assert said(page).startswith("8 of 8 rows")
    still = visit(fitted("rows")[1], reduced_motion="reduce")
    slide(still, "told", 1)
    part(still, "play").click()
    still.wait_for_timeout(400)
    assert said(still) == "2 of 8 rows: 2 drawn by it."
    assert part(still, "play").inner_text() == "Next row"


def test_steps_of_training_move_the_model(fitted, visit):
    folder, html = fitted("training")
    page, (pair, test) = visit(html), loaded(folder)
    data = inline(page)
    assert data["steps"][0] == 0
    assert data["steps"][-1] == 125  # 4 epochs of 1000 rows, 32 at a time
    assert "the run&#x27;s, to the bit" in html  # fitted once more: the same weights
    with torch.no_grad():
        evidence = pair.log_evidence(test.x).mean().item()
    last = said(page)
    assert f"log p(x) = {evidence:.4f}".replace("-", "−") in last
    circles = (
        "[...document.querySelectorAll('[data-part=view-1] .drawn')].map(c => [c.cx.baseVal.value, c.cy.baseVal.value])"
    )
    noise = torch.frombuffer(bytearray(base64.b64decode(data["noise"])), dtype=torch.float32).double().reshape(-1, 5)
    with torch.no_grad():
        x = noise[:, :2] @ pair.theta["W"].T + pair.sigma * noise[:, 2:]
    drawn = torch.tensor(page.evaluate(circles), dtype=torch.float64)
    expected = 75 + 75 / data["edge"] * x[:, [0, 2]] * torch.tensor([1.0, -1.0])
    torch.testing.assert_close(drawn, expected, atol=0.0051, rtol=1e-6)
    slide(page, "step", 5)
    assert said(page).startswith(f"After step {data['steps'][5]}:")
    assert said(page) != last
    assert not torch.equal(torch.tensor(page.evaluate(circles), dtype=torch.float64), drawn)


def test_all_stand_on_one_page_of_a_phone_in_the_dark(fitted, visit):
    names = ["vae", "gmvae", "densities", "rows", "training", "vae"]
    for scheme in ("light", "dark"):
        page = visit(*(fitted(name)[1] for name in names), color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.locator("output").count() == len(names)
        texts = [output.inner_text() for output in page.locator("output").all()]
        assert all(texts)
        part(page, "pad").first.focus()
        page.keyboard.press("ArrowRight")
        after = [output.inner_text() for output in page.locator("output").all()]
        assert [a != b for a, b in zip(texts, after, strict=True)] == [True] + [False] * 5
        assert page.locator("[id]").count() == 0
        for element in page.locator("svg[role], canvas, input, select").all():
            assert element.evaluate("e => e.ariaLabel || (e.labels && e.labels[0].textContent.trim())")


def test_nothing_in_a_name_becomes_a_script(visit):
    hostile = "</script><script>console.log('run')</script><img src=x onerror=console.log(1)>"
    data = {
        "x": [0.0],
        "z": [0.0, 1.0],
        "top": 1.0,
        "evidence": [0],
        "elbo": [0],
        "gap": [0],
        "error": [1],
        "more": hostile,
    }
    data |= {name: packed(torch.zeros(2)) for name in ("prior", "exact", "guide")}
    body = '<svg data-part="picture"></svg><input type="range" data-part="x" max="0"><output data-part="said"></output>'
    page = visit(fragment("densities", hostile, body, data))
    assert inline(page)["more"] == hostile
    assert page.locator("figcaption").inner_text() == hostile


@pytest.mark.parametrize("name", NONE)
def test_there_is_none_where_there_is_nothing_to_explore(name, fitted):
    assert fitted(name)[1] is None


@pytest.mark.parametrize("name", FAULTY)
def test_a_fault_of_ones_own_file_is_said_and_the_pages_are_written(name, fitted):
    said, ((run,), _) = [], runs_below(fitted(name)[0])
    assert _explored(run, said.append) is None
    assert "same dtype" in said[0]
    assert "mine.py:37" in said[0]


def test_a_decoder_of_another_kind_is_left_alone():
    assert Network.of(None) is None
    assert Network.of(torch.nn.Linear(2, 3)) is None
    pair = VAE(data_dim=6, hidden=(5,), activation="tanh")
    assert Network.of(pair.decoder).activation == "tanh"
    pair.decoder[0][1] = torch.nn.GELU()
    assert Network.of(pair.decoder) is None
    assert not hasattr(ExponentialGaussian(), "decoder")


def test_a_folder_without_a_run_is_refused_in_words(tmp_path):
    with pytest.raises(RunError, match="holds no run"):
        explorer(tmp_path)
