"""Sentences, mathematics, code and Markdown are escaped; the policy permits known scripts only."""

from built_site import HOSTILE

from gallery.report.site.page import policy
from gallery.report.site.text import code, markdown, mathematics, words


def test_words_mathematics_and_code_escape():
    assert "<script" not in words(f"{HOSTILE} $\\text{{{HOSTILE}}}$ `{HOSTILE}`")
    assert "<script" not in mathematics(HOSTILE)
    assert "<script" not in code(HOSTILE)
    assert "<script" not in markdown(f"| {HOSTILE} |\n|---|\n| [a](javascript:alert) |", HOSTILE)
    assert "href" not in markdown("[a](javascript:alert(1))", "")


def test_a_name_is_one_word_in_mathematics():
    assert "<mi>Normal</mi>" in mathematics(r"z \sim \mathrm{Normal}(0, 1)")


def test_scripts_are_permitted_by_their_hash():
    assert "script-src 'none'" in policy([])
    assert policy(["<script>1</script>"]) != policy(["<script>2</script>"])
    assert "'none'; base" in policy(['<script type="application/json">1</script>'])
