"""The pages: what they say is what is there, nothing is fetched, and nothing that comes from outside is believed."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from built_site import FOLDER, HOSTILE, built, fit_undrawn
from PIL import Image

import data
from gallery.catalogue.entries import NAMES, entry
from gallery.catalogue.recipes import RECIPES
from gallery.cli.main import main
from gallery.errors import RunError
from gallery.ledger import tables
from gallery.ledger.reproduce import read
from gallery.models.factor_analysis import FactorAnalysis
from gallery.report.site import _write_index
from gallery.report.site.folder import replaced
from gallery.report.site.k_hat import trust
from gallery.report.site.numbers import headline, numbers, spread
from gallery.report.site.page import PAGES, policy
from gallery.report.site.pictures import hang, thumbnail
from gallery.report.site.run_pages import runs_below, without_folders
from gallery.report.site.sections import card, recipes_of
from gallery.report.site.svi_example import fit
from gallery.report.site.text import code, markdown, mathematics, words
from gallery.runs.specification import Run
from inference.fit.checkpoint import load_tensors, save_tensors


class Page(HTMLParser):
    """Tags of a page with their attributes, and the text between them; scripts as what they hold."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.text, self.scripts, self._script = [], "", [], False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._script = tag == "script"

    def handle_endtag(self, tag):
        self._script = False

    def handle_data(self, data):
        if self._script:
            self.scripts.append(data)
        else:
            self.text += data

    def all(self, tag, attribute):
        return [attributes[attribute] for name, attributes in self.tags if name == tag and attribute in attributes]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return built(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def pages(site):
    """The pages by the names of their files."""
    return {path.name: Page(path.read_text(encoding="utf-8")) for path in sorted(site.glob("*.html"))}


def test_every_model_has_a_page_and_a_card(pages):
    assert pages.keys() >= {f"{name}.html" for name in NAMES} | PAGES.keys()
    assert set(pages["index.html"].all("a", "href")) >= {f"{name}.html" for name in NAMES}


def test_links_and_pictures_resolve(site, pages):
    for name, page in pages.items():
        anchors = {attributes.get("id") for _, attributes in page.tags}
        for target in page.all("a", "href"):
            file, _, anchor = target.partition("#")
            ids = {attributes.get("id") for _, attributes in pages[file].tags} if file else anchors
            assert not anchor or anchor in ids, (name, target)
        for source in page.all("img", "src"):
            with Image.open(site / source) as image:
                image.verify()


def test_pages_are_built_alike(pages):
    """Landmarks, one heading of the first level and none left out after it, words for pictures, boxes that scroll."""
    for name, page in pages.items():
        tags = [tag for tag, _ in page.tags]
        assert [tags.count(tag) for tag in ("main", "header", "footer", "h1")] == [1] * 4, name
        levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
        assert all(after <= before + 1 for before, after in pairwise(levels)), (name, levels)
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert len(ids) == len(set(ids)), name
        for tag, attributes in page.tags:
            if tag == "img":
                assert len(attributes["alt"]) > 20
                assert Path(attributes["src"]).name not in attributes["alt"]
            if attributes.get("role") == "region":
                assert attributes["aria-label"]
                assert attributes["tabindex"] == "0"


def test_a_page_and_its_pictures_are_small(site, pages):
    for name, page in pages.items():
        size = sum((site / source).stat().st_size for source in set(page.all("img", "src")))
        assert (site / name).stat().st_size + size < 3_000_000, name


def test_nothing_is_asked_for(site, pages):
    for name, page in pages.items():
        html = (site / name).read_text(encoding="utf-8")
        assert "default-src 'none'" in page.all("meta", "content")[1]
        loaded = [v for tag, of in page.tags for key, v in of.items() if key in ("src", "srcset", "data", "poster")]
        assert all(not re.match(r"\w+:|//", source) for source in loaded), name
        assert page.all("link", "href") == ["data:,"]  # no icon, or browsers ask for one
        assert not {tag for tag, _ in page.tags} & {"iframe", "object", "embed", "base", "form"}, name
        assert not re.search(r"@import|url\(", html), name


def test_a_hostile_name_is_text(pages):
    (page,) = (page for name, page in pages.items() if name.startswith("run-") and "script" in name)
    assert FOLDER in page.text
    assert "onerror" not in {key for _, attributes in page.tags for key in attributes}
    index = pages["index.html"]
    assert index.scripts == []
    assert "script-src 'none'" in index.all("meta", "content")[1]
    for page in pages.values():
        assert not any("alert" in script for script in page.scripts)


def test_a_hostile_model_and_its_metrics_are_text(pages):
    """What the reader's own file, its data and metrics.json say is shown, and never run by a page."""
    (page,) = (page for name, page in pages.items() if name.endswith("-own.html"))
    assert page.text.count("alert(1)") >= 4  # a number, its unit, what is undefined and why, docstrings
    assert "onerror=alert(2)>\"'.npz:grey" in page.text  # of a path to data the last part
    assert page.scripts == []
    assert not any("samples" in source for source in page.all("img", "src"))
    assert "</code></pre>" in page.text


def test_pages_do_not_say_where_files_are_on_the_disk(site, pages):
    assert without_folders("/home/me/my.py:Mine") == "my.py:Mine"
    assert without_folders("/home/me/images/:grey") == "images:grey"
    assert without_folders("mnist:threshold:100-labels") == "mnist:threshold:100-labels"
    assert not [name for name, page in pages.items() if str(site.parent) in page.text]


def test_a_damaged_run_is_left_out(tmp_path):
    whole = Run.of("exponential_gaussian", None, None, {}, {}).to_json(data.load("exponential_gaussian"))
    damaged = [("{}", "{}"), ('{"model": "v', "{}"), ("[]", "{}"), (whole, '{"test": 1}'), (whole, "{")]
    for test in ({"elbo": {"value": 1.0, "se": "a"}}, {"undefined": [1]}, {"kl_per_latent": {"z": ["a"]}}):
        damaged.append((whole, json.dumps({"test": test})))
    for i, (about, metrics) in enumerate(damaged):
        (tmp_path / "runs" / str(i)).mkdir(parents=True)
        (tmp_path / "runs" / str(i) / "run.json").write_text(about)
        (tmp_path / "runs" / str(i) / "metrics.json").write_text(metrics)
    found, skipped = runs_below(tmp_path / "runs")
    assert found == []
    assert len(skipped) == len(damaged)
    with pytest.raises(RunError, match="no folder"):
        runs_below(tmp_path / "none")


def test_what_a_model_page_says(pages):
    text = " ".join(pages["vae.html"].text.split())
    ledger = read(tables.LEDGER / "ledger.json")
    for recipe in recipes_of("vae"):
        assert ledger.get(recipe.name, {"command": f"gallery reproduce {recipe.name}"})["command"] in text
        for number in numbers(recipe, ledger.get(recipe.name)):
            assert number.measured in text
            assert number.published in text
    assert "def guide(self, x: Tensor" in text
    for exercise in entry("vae").exercises:
        assert re.split(r"[$`]", exercise["answer"])[0].strip() in text


def test_a_card_says_its_number_or_that_there_is_none(tmp_path):
    ledger = read(tables.LEDGER / "ledger.json")
    empty = card("vae", {}, tmp_path, [], tmp_path)
    assert (empty.number, empty.picture) == (None, "")
    full = card("vae", ledger, tables.LEDGER, [], tmp_path)
    measured = ledger["vae"]["runs"]["0"]["test"]["elbo"]
    assert float(full.number.measured) == pytest.approx(measured["value"], abs=0.005)
    assert full.number.error("se") == f"{measured['se']:.2g}"
    assert full.number.n == "10,000"
    assert "mnist:dequantized" in full.data
    assert full.number.meaning.startswith("a lower bound")


def test_what_was_not_run_says_so(tmp_path):
    _write_index(tmp_path, {}, [])
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert text.count("Not run yet") == len(NAMES)
    assert "gallery reproduce vae<" in text


def test_the_headline_of_a_point_guide_is_no_bound():
    ledger = read(tables.LEDGER / "ledger.json")
    line = headline(numbers(RECIPES["autoencoder"], ledger["autoencoder"]))
    assert line.name == "squared error"
    assert "no bound" in line.meaning


def test_spread_of_seeds():
    assert spread([]) == ""
    assert spread([-1.0]) == "−1.00"
    assert spread([3.0, 1.0, 2.0]) == "2.00 [1.00, 3.00]"
    assert spread([1.0, 1.0001]) == "1.00"


def test_words_mathematics_and_code_escape():
    assert "<script" not in words(f"{HOSTILE} $\\text{{{HOSTILE}}}$ `{HOSTILE}`")
    assert "<script" not in mathematics(HOSTILE)
    assert "<script" not in code(HOSTILE)
    assert "<script" not in markdown(f"| {HOSTILE} |\n|---|\n| [a](javascript:alert) |", HOSTILE)
    assert "href" not in markdown("[a](javascript:alert(1))", "")


def test_a_name_is_one_word_in_mathematics():
    assert "<mi>Normal</mi>" in mathematics(r"z \sim \mathrm{Normal}(0, 1)")


def test_scripts_are_allowed_by_what_they_say():
    assert "script-src 'none'" in policy([])
    assert policy(["<script>1</script>"]) != policy(["<script>2</script>"])
    assert "'none'; base" in policy(['<script type="application/json">1</script>'])


def test_the_folder_is_replaced_whole_or_not_at_all(tmp_path):
    out = tmp_path / "site"
    for content in (("a.html", "b/c.png"), ("a.html", "d/e.png")):
        with replaced(out) as stage:
            for name in content:
                (stage / name).parent.mkdir(exist_ok=True)
                (stage / name).write_text(name)
    assert {p.relative_to(out).as_posix() for p in out.rglob("*")} == {"a.html", "d", "d/e.png", "contents.txt"}
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(FileNotFoundError), replaced(out) as stage:
        (stage / "a.html").rename(stage / "b.html")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


@pytest.mark.parametrize("strange", ["notes.txt", "pictures/mine.png"])
def test_files_of_others_are_refused(tmp_path, strange, capsys):
    out = tmp_path / "site"
    (out / strange).parent.mkdir(parents=True)
    (out / strange).write_text("mine")
    assert main(["site", "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert strange in message
    assert [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()] == [strange]


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "pictures").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "site" / "contents.txt").write_text("pictures\n")
    with pytest.raises(RunError, match="pictures"), replaced(tmp_path / "site"):
        pass
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_is_no_picture_is_not_hung(tmp_path):
    (tmp_path / "samples.png").write_text(HOSTILE)
    assert hang(tmp_path, tmp_path / "site", "here", "of it") == []
    assert thumbnail(tmp_path / "samples.png", tmp_path / "site", "vae") == ""
    assert not (tmp_path / "site" / "pictures" / "here" / "samples.png").exists()


def test_the_loop_of_the_page_fits():
    """Ten lines of Pyro: the loss of the last epoch is below that of the first, by more than four standard errors."""
    x = data.load("factor_analysis").x
    losses = torch.tensor(fit(FactorAnalysis(), x, epochs=8, lr=1e-2)).reshape(8, -1)
    fallen = losses[0] - losses[-1]
    assert fallen.mean() > 4 * fallen.std() / len(fallen) ** 0.5


def test_weights_that_are_alike_are_trusted_and_a_narrow_guide_is_not(tmp_path):
    """Of a fitted guide that contains the posterior, and of the same one made ten times too narrow: k is 0.99, k-hat
    from 400 draws 0.92 with an error of 0.22, above 0.7 for 84%, of 50 data with an error of 5%."""
    folder = tmp_path / "run"
    fit_undrawn(Run.of("factor_analysis", None, None, {}, {"epochs": 20, "precision": "float32"}), folder)
    good = trust(folder)
    weights, about = load_tensors(folder / "weights.safetensors")
    weights["phi.L"] = weights["phi.L"] / 10
    save_tensors(folder / "weights.safetensors", weights, about)
    above = [int(re.search(r"for (\d+)%", text)[1]) for text in (good, trust(folder))]
    assert above[0] < 20 < 84 - 4 * 5 < above[1]


def test_no_weights_where_there_is_no_density(tmp_path):
    for name in ("linear_regression", "exponential_gaussian:per_datum"):
        fit_undrawn(Run.of(name, None, None, {}, {"epochs": 1}), tmp_path / name)
        assert trust(tmp_path / name) is None
    assert trust(tmp_path) is None
