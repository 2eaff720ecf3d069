"""Terms are linked once on a page, and nothing but text is changed."""

import re

import pytest

from gallery.report.site.glossary import TERMS, link_terms

ELBO = '<a class="term" href="glossary.html#elbo">ELBO</a>'


def test_the_first_use_is_linked():
    assert link_terms("<p>An ELBO, the ELBO.</p>") == f"<p>An {ELBO}, the ELBO.</p>"
    assert 'href="glossary.html#posterior-collapse">posterior collapse</a>' in link_terms("<p>posterior collapse</p>")


@pytest.mark.parametrize("tag", ["h2", "code", "pre", "summary", "script", "style", "svg", "math"])
def test_headings_code_and_scripts_are_unchanged(tag):
    html = f"<{tag}><b>ELBO</b> < gap</{tag}>" if tag in ("script", "style") else f"<{tag}><b>ELBO</b></{tag}>"
    assert link_terms(html) == html
    assert link_terms(f"{html}<p>ELBO</p>") == f"{html}<p>{ELBO}</p>"


def test_attributes_links_and_parts_of_words_are_unchanged():
    for html in ('<img alt="the ELBO">', '<a href="x.html">the ELBO</a>', "ELBOW, per_nat, prior-free", "&lt;b&gt;"):
        assert link_terms(html) == html


def test_terms_are_in_order_and_each_finds_itself():
    names = [term.name.lower() for term in TERMS]
    assert names == sorted(names)
    for term in TERMS:
        assert len(re.findall("[.]( |$)", term.words)) <= 4
        assert (
            link_terms(re.sub("[^a-z -]", "", term.name.lower()) if term.name.islower() else term.name).count("<a") >= 1
        )
