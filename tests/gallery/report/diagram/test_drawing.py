"""The picture of a diagram has every node, without overlaps, and escapes names."""

import itertools
import math
from xml.etree import ElementTree as ET

import pyro
import pyro.distributions as dist
import pytest
import torch
from cases import arguments, build
from diagram_cases import SVG, drawn, in_plate, pair_of, texts
from pyro import poutine
from pyro.poutine.util import site_is_subsample

from gallery.cli.main import main
from gallery.models import MODELS
from gallery.report.diagram import Diagram, factorisation, relations, svg
from gallery.report.diagram.factorisation import fold, series
from gallery.report.diagram.graph import in_greek
from gallery.report.diagram.layout import RADIUS, arrange, frame
from gallery.report.diagram.routes import routes
from inference import param_scope

every = pytest.mark.parametrize("name", list(MODELS))
of_both = pytest.mark.parametrize("of", ["model", "guide"])


@of_both
@every
def test_every_site_is_in_a_picture_that_is_whole_and_apart(name, of):
    diagram = drawn(name, of)
    picture, diagram = svg(diagram, f"The {of} of {name}"), diagram.in_greek()
    folded = fold(diagram)
    with param_scope():
        trace = poutine.trace(getattr(build(name).train("vrnn" not in name), of)).get_trace(*arguments(name))
    sites = {key for key, site in trace.nodes.items() if site["type"] == "sample" and not site_is_subsample(site)}
    assert {in_greek(site) for site in sites} <= {node.name for node in diagram.nodes}
    steps = {node.name: step for nodes in series(diagram).values() for step, node in nodes.items()}
    shown = [node for node in diagram.nodes if not folded or steps.get(node.name, 0) <= 2]
    written = texts(picture)
    for node in shown:
        assert (node.name.replace("_", "") if node.name in steps else node.name) in written
    root = ET.fromstring(picture)
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text == f"The {of} of {name}"
    assert root.find(f"{SVG}desc").text == factorisation(diagram)
    assert "href" not in picture
    assert "url(" not in picture
    edges = [edge for edge in diagram.edges if {*edge} <= {node.name for node in shown}]
    assert len(list(root.iter(f"{SVG}polygon"))) == len(list(root.iter(f"{SVG}path"))) == len(edges)

    part = Diagram(of, tuple(shown), tuple(edges), diagram.plates)
    shapes, via = arrange(part, steps, bool(folded))
    for edge, curve in routes(edges, shapes, via).items():
        for shape in (shape for key, shape in shapes.items() if key not in edge):
            assert all(math.hypot(x - shape.x, y - shape.y) > RADIUS for x, y in points_of(curve)), (edge, shape)
    boxes = {key: (s.x - s.rx, s.y - s.ry, s.x + s.right, s.y + s.ry) for key, s in shapes.items()}
    for plate, _ in diagram.plates:
        boxes[plate] = frame(shapes.values(), plate, bool(folded))
    for a, b in itertools.combinations(boxes, 2):
        (l0, t0, r0, b0), (l1, t1, r1, b1) = boxes[a], boxes[b]
        within = b not in shapes and a in shapes and b in shapes[a].node.plates
        assert within or r0 < l1 or r1 < l0 or b0 < t1 or b1 < t0, (a, b)
    left, top, width, height = map(float, root.get("viewBox").split())
    for box in boxes.values():
        assert left <= box[0]
        assert top <= box[1]
        assert box[2] <= left + width
        assert box[3] <= top + height


def points_of(curve, n=20):
    """Points of the cubic curves start, (control, control, end), ...."""
    for i in range(0, len(curve) - 1, 3):
        for s in (k / n for k in range(n + 1)):
            weights = ((1 - s) ** 3, 3 * s * (1 - s) ** 2, 3 * s**2 * (1 - s), s**3)
            yield tuple(sum(w * p[j] for w, p in zip(weights, curve[i : i + 4], strict=True)) for j in (0, 1))


def test_names_of_greek_letters_are_letters():
    letters = {"theta_12": "θ_12", "log_sigma": "log_σ", "mu": "μ", "eta1": "η1", "lambda_x": "λ_x", "zeta": "ζ"}
    for name, letter in {**letters, "data": "data", "weight": "weight", "pins": "pins", "phis": "phis"}.items():
        assert in_greek(name) == letter
    written = texts(svg(drawn("factor_analysis", "model"), "title"))
    assert "θ" in written  # a box, and a parameter in it
    assert any(text.startswith("pre_σ  ") for text in written)
    assert "p(z_t | z_t-1; θ)" in texts(svg(drawn("state_space", "model"), "title"))

    def model(self, x, total=None):
        for name in ("mu", "μ"):
            pyro.sample(name, dist.Normal(x.new_zeros(()), 1))

    assert {"mu", "μ"} <= set(texts(svg(relations(pair_of(model), (torch.ones(3, 1),)), "title")))


@of_both
def test_a_plate_beside_the_data_has_a_frame_of_its_latents_alone(of):
    diagram = drawn("item_response:bayesian", of)
    assert diagram.plates == (("items", 6), ("data", 12))
    shapes, _ = arrange(diagram, {}, False)
    items, rows = (frame(shapes.values(), plate, False) for plate in ("items", "data"))
    assert rows[2] < items[0]  # the right side of one is at the left of the other
    assert {name for name, shape in shapes.items() if items[0] < shape.x < items[2]} >= {"a", "b"}
    assert "items, N = 6" in texts(svg(diagram, "title"))


def test_notes_on_what_has_no_density():
    written = texts(svg(drawn("eight_schools", "model"), "title"))
    assert written[written.index("θ") + 1 :][:2] == ["deterministic", "scalar"]
    written = texts(svg(drawn("denoising_autoencoder", "guide"), "title"))
    assert written[written.index("u") + 1 :][:2] == ["Uniform", "not scored"]
    assert written[written.index("z") + 1] == "deterministic"
    assert "not scored" in texts(svg(drawn("autoencoder", "model"), "title"))


def test_a_hostile_name_is_text_and_nothing_else():
    hostile = """</text><script>alert("1")</script>&'\x00\ud800"""

    def model(self, x, total=None):
        with in_plate(x):
            z = pyro.sample(hostile, dist.Normal(x.new_zeros(len(x)), 1))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1).to_event(1), obs=x)

    picture = svg(relations(pair_of(model), (torch.ones(3, 1),)), hostile)
    root = ET.fromstring(picture)
    assert {element.tag for element in root.iter()} <= {
        SVG + tag for tag in ("svg", "title", "desc", "g", "rect", "ellipse", "path", "polygon", "text")
    }
    shown = hostile.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
    assert shown in texts(picture)
    assert root.find(f"{SVG}title").text == shown
    assert f"p({shown}) p(x | {shown})" == root.find(f"{SVG}desc").text


def test_the_command(tmp_path, capsys):
    path = tmp_path / "fa.svg"
    assert main(["show", "factor_analysis", "--diagram", str(path), "--of", "guide"]) == 0
    assert ET.parse(path).getroot().find(f"{SVG}desc").text == "q(z | x; φ)"
    for wrong, message in (("fa.png", "expected a path that ends in .svg"), ("none/fa.svg", "Create it first")):
        assert main(["show", "factor_analysis", "--diagram", str(tmp_path / wrong)]) == 2
        assert message in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["fa.svg"]
