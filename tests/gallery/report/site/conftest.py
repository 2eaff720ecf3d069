"""The built site and its parsed pages."""

import pytest
from built_site import Page, built


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return built(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def pages(site):
    """The pages by the names of their files."""
    return {path.name: Page(path.read_text(encoding="utf-8")) for path in sorted(site.glob("*.html"))}
