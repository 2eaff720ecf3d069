"""Which data sets need files: the pages and `gallery demo` do not read these."""

import pytest

import data
from data.synthetic import SYNTHETIC
from gallery.catalogue.needed import needs_files
from gallery.catalogue.recipes import RECIPES
from gallery.models import MODELS
from gallery.report.site.hero import exact_panel, hero_of


@pytest.mark.parametrize("name", RECIPES)
def test_all_but_embedded_and_drawn_sets_need_files(name):
    assert needs_files(RECIPES[name].data) == (RECIPES[name].data.partition(":")[0] not in ("digits", *SYNTHETIC))


@pytest.mark.integration
@pytest.mark.parametrize("family", [name for name in MODELS if ":" not in name])
def test_the_first_picture_of_a_page_needs_no_files(family, tmp_path, monkeypatch):
    monkeypatch.setenv("GALLERY_DATA", str(tmp_path / "none"))
    with pytest.raises(data.DataError):
        data.load("mnist:grey")
    exact_panel(family, tmp_path, labels=False)
    hero_of(family)
