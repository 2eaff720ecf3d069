"""The pages in Chromium: nothing fails or complains, nothing is too wide for a phone, and what can be moved moves."""

import functools
import http.server
import threading

import pytest
from built_site import built

from gallery.catalogue.entries import NAMES

NAMELESS = """[...document.querySelectorAll("img, svg, canvas")].filter(it => !it.closest("[aria-hidden=true]"))
  .filter(it => !(it.getAttribute("alt") || it.getAttribute("aria-label") || it.querySelector("title")))
  .map(it => it.outerHTML.slice(0, 200))"""
SCROLLS = "it => [it.scrollWidth - it.clientWidth, it.scrollHeight - it.clientHeight]"
UNSIZED = """[...document.images].filter(it => !(it.getAttribute("width") && it.getAttribute("height")
  && it.closest("a, details"))).length"""
SMALL = """share => [...document.querySelectorAll(".mat img")]
  .filter(it => it.checkVisibility() && it.clientWidth < share * it.getAttribute("width")).map(it => it.src)"""
UNHINTED = """[...document.querySelectorAll("main *")].filter(it => it.scrollWidth > it.clientWidth + 1
  && /auto|scroll/.test(getComputedStyle(it).overflowX) && !/gradient/.test(getComputedStyle(it).backgroundImage))
  .map(it => it.outerHTML.slice(0, 200))"""
LOOSE = """[...document.querySelectorAll("main *")].filter(it => /flex|grid/.test(getComputedStyle(it).display)
  && !it.closest(".explorer") && it.children.length
  && [...it.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
  .map(it => it.outerHTML.slice(0, 200))"""
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return built(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def served(site):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def all_pictures_loaded(page):
    page.evaluate("""async () => {
      const images = [...document.images];
      for (const image of images) image.loading = "eager";
      await Promise.all(images.map(image => image.decode()));
    }""")


def readable_unfolded(page, share, name):
    """Assert that with all details open no picture is too small to read, and that what scrolls has a shadow.

    Labels of figures have 8 points; text beside elements in a flexible box would have gaps before its commas.
    """
    page.evaluate("document.querySelectorAll('details').forEach(it => { it.open = true })")
    all_pictures_loaded(page)
    assert page.evaluate(SMALL, share) == [], name
    assert page.evaluate(UNHINTED) == [], name
    assert page.evaluate(LOOSE) == [], name
    assert page.evaluate(TOO_WIDE) <= 0, name


def test_every_page_from_disk_on_a_phone(site, visit):
    page = visit()
    for path in sorted(site.glob("*.html")):
        page.goto(path.as_uri())
        all_pictures_loaded(page)
        assert page.evaluate(TOO_WIDE) <= 0, path.name
        assert page.evaluate(NAMELESS) == [], path.name
        readable_unfolded(page, 0.5, path.name)


@pytest.mark.parametrize("name", ["map", "api"])
def test_names_in_tables_are_not_broken_on_a_phone(site, visit, name):
    page = visit()
    page.goto((site / f"{name}.html").as_uri())
    for table in page.locator(".stacked").all():
        assert table.evaluate(SCROLLS)[0] == 0
    row = page.locator(".stacked tbody tr").first
    lefts = {cell.bounding_box()["x"] for cell in row.locator("td").all()}
    assert len(lefts) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_from_a_server(site, served, visit, scheme):
    page = visit(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    for path in sorted(site.glob("*.html")):
        page.goto(f"{served}/{path.name}")
        all_pictures_loaded(page)
        assert page.evaluate(TOO_WIDE) <= 0, path.name
        if scheme == "light":
            readable_unfolded(page, 0.65, path.name)


def test_folded_answers_and_moving_pictures_open(site, visit):
    page = visit()
    page.goto((site / "vrnn.html").as_uri())
    for summary in page.locator("summary").all():
        summary.click()
    all_pictures_loaded(page)
    assert page.evaluate(TOO_WIDE) <= 0
    assert page.locator("details:not([open])").count() == 0


def test_the_skip_link_leads_to_the_content(site, visit):
    page = visit()
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"


@pytest.mark.parametrize("width", [pytest.param(390, marks=pytest.mark.slow), 1280])
def test_explorers_move_by_keyboard_and_mouse(site, visit, width):
    """On the pages of the runs, and on those of their models, under the policy that lets no other script run."""
    page = visit(viewport={"width": width, "height": 900})
    paths = [path for path in sorted(site.glob("*.html")) if 'class="explorer"' in path.read_text(encoding="utf-8")]
    assert len(paths) >= 2 + 2  # of two runs and of their models
    read = """it => new Promise(requestAnimationFrame).then(() =>
      [...it.querySelectorAll('output, [data-number]')].map(e => e.textContent).join() + (it.dataset.shown ?? ""))"""
    for path in paths:
        page.goto(path.as_uri())
        (explorer,) = page.locator("figure.explorer").all()
        control = explorer.locator("[role=application], [role=slider], input[type=range]").first
        draws = control.get_attribute("role") == "application"
        texts = [explorer.evaluate(read)]
        control.focus()
        page.keyboard.press("Space" if draws else "ArrowLeft")
        texts.append(explorer.evaluate(read))
        control.scroll_into_view_if_needed()
        box = control.bounding_box()
        x, y = box["x"] + min(20, box["width"] / 2), box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 15, y - 40)
        page.mouse.up()
        texts.append(explorer.evaluate(read))
        assert len(set(texts)) == 3, (path.name, texts)
        assert page.evaluate("getSelection().toString()") == "", path.name


def test_a_script_that_is_not_of_an_explorer_does_not_run(site, browser):
    """The policy stands behind the escaping: a script that was put into a page is refused."""
    page = browser.new_context().new_page()
    page.goto((site / "index.html").as_uri())
    page.evaluate("""() => {
      const script = document.createElement("script");
      script.textContent = "window.ran = true";
      document.body.append(script);
    }""")
    assert page.evaluate("window.ran") is None
    page.context.close()


def test_on_paper(site, visit):
    page = visit()
    page.goto((site / "factor_analysis.html").as_uri())
    page.emulate_media(media="print")
    assert not page.locator("body > header").is_visible()
    assert page.locator("main").is_visible()


def test_a_model_page_leads_with_its_picture_and_its_code(site, visit):
    """The hero begins above pixel 700, and `model` and `guide` are seen without scrolling their pane, at 80 columns."""
    page = visit(viewport={"width": 1280, "height": 800})
    for name in NAMES:
        page.goto((site / f"{name}.html").as_uri())
        assert page.locator("#hero :is(img, svg, canvas)").first.bounding_box()["y"] < 700, name
        pane = page.locator("#pane-pyro pre")
        assert "def model(" in pane.inner_text()
        assert pane.evaluate(SCROLLS) == [0, 0], name
        assert page.evaluate(UNSIZED) == 0, name


def test_the_page_of_a_run_leads_with_its_picture_and_its_verdicts(site, visit):
    page = visit(viewport={"width": 1280, "height": 800})
    paths = [path for path in site.glob("run-*.html") if 'id="hero"' in path.read_text(encoding="utf-8")]
    assert len(paths) == 2
    for path in paths:
        page.goto(path.as_uri())
        picture, verdicts, table = (
            page.locator(it).first.bounding_box()["y"]
            for it in ("#hero :is(img, svg, canvas)", ".verdicts", "table.numbers")
        )
        assert picture < 700, path.name
        assert picture < verdicts < table, path.name


def test_code_has_tabs_without_scripts_and_a_button_with_them(site, visit):
    plain = visit(java_script_enabled=False)
    page = visit()
    for one in (plain, page):
        one.goto((site / "vae.html").as_uri())
        one.locator("label[for=tab-plain]").click()
        assert one.locator("#code-plain").is_visible()
        assert not one.locator("#code-pyro").is_visible()
    assert not plain.locator("#pane-plain .copy").is_visible()
    page.locator("#pane-plain .copy").click()
    page.locator("#pane-plain .copy", has_text="Copied").wait_for()


def test_a_card_is_a_link_as_a_whole_with_a_thumbnail_of_four_to_three(site, visit):
    page = visit(viewport={"width": 1280, "height": 800})
    page.goto((site / "index.html").as_uri())
    all_pictures_loaded(page)
    assert page.locator(".cards > li > a").count() == len(NAMES)
    assert (
        page.evaluate("""[...document.querySelectorAll(".cards img, .panels img")]
      .filter(it => it.naturalWidth !== 640 || it.naturalHeight !== 480).length""")
        == 0
    )
    assert page.locator(".panels img").count() == 4
    page.locator(".cards .number").first.click()
    assert page.url.endswith("exponential_gaussian.html")


OVERLAPS = """family => {
  for (const it of document.querySelectorAll("math")) if (family) it.style.fontFamily = family;
  const boxes = [...document.querySelectorAll("dt, dd")].filter(it => it.offsetParent && it.closest(".lines"))
    .map(it => [it.textContent, (it.querySelector("math[display]") || it).getBoundingClientRect()]);
  const before = (a, b) => a.right <= b.left + 1 || a.bottom <= b.top + 1;
  const bad = [];
  boxes.forEach(([text, a], i) => boxes.slice(i + 1).forEach(([other, b]) => {
    if (!before(a, b) && !before(b, a)) bad.push([text, other]);
  }));
  return [boxes.length, bad];
}"""
HOLE = """() => Math.max(...[...document.querySelectorAll(".lines > div")].map(it => {
  const formula = (it.querySelector("math[display]") || it.querySelector("dt")).getBoundingClientRect();
  const gloss = it.querySelector("dd").getBoundingClientRect();
  return gloss.top < formula.bottom - 1 ? gloss.left - formula.right : 0;  // 0: the gloss is below
}))"""
LARGEST_HOLE = 24 * 16  # pixels: the column of formulas and the gap after it


@pytest.mark.parametrize(
    ("family", "width"),
    [("", 1280), ("'Gallery mathematics', monospace", 390), pytest.param("serif", 1280, marks=pytest.mark.slow)],
)
def test_no_formula_overlaps_its_neighbour_or_leaves_a_hole_beside_it(site, visit, family, width):
    page = visit(viewport={"width": width, "height": 800})
    for name in NAMES:
        page.goto((site / f"{name}.html").as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(it => { it.open = true })")
        page.evaluate("document.fonts.ready.then(() => 0)")
        count, bad = page.evaluate(OVERLAPS, family)
        if "Gallery" in family:
            loaded = "document.fonts.load(`16px 'Gallery mathematics'`, '\\u{1d465}').then(it => it.length)"
            assert page.evaluate(loaded), name
        assert count > 4, name
        assert bad == [], name
        assert page.evaluate(HOLE) < LARGEST_HOLE, name


def test_without_scripts_the_picture_stands_for_the_explorer(site, visit):
    page = visit(java_script_enabled=False, viewport={"width": 1280, "height": 800})
    page.goto((site / "loaded_die.html").as_uri())
    assert page.locator("#hero img").bounding_box()["y"] < 700
    assert not page.locator("#hero .explorer").is_visible()
