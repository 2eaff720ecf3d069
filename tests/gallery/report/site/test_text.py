"""Sentences, mathematics, code and Markdown are escaped; the policy permits known scripts only."""

from built_site import HOSTILE

from gallery.report.site.page import policy
from gallery.report.site.text import code, markdown, mathematics, sentence, words


def test_words_mathematics_and_code_escape():
    assert "<script" not in words(f"{HOSTILE} $\\text{{{HOSTILE}}}$ `{HOSTILE}`")
    assert "<script" not in mathematics(HOSTILE)
    assert "<script" not in code(HOSTILE)
    assert "<script" not in markdown(f"| {HOSTILE} |\n|---|\n| [a](javascript:alert) |", HOSTILE)
    assert "href" not in markdown("[a](javascript:alert(1))", "")


def test_a_flag_is_not_broken_at_its_hyphens():
    assert '<span class="nowrap">--latent-dim</span> 3' in words("`gallery fit vae --latent-dim 3`")
    assert "nowrap" not in words("`a - b`, `p(x | z)`, `logistic-5`")


def test_a_name_is_one_word_in_mathematics():
    assert "<mi>Normal</mi>" in mathematics(r"z \sim \mathrm{Normal}(0, 1)")


def test_a_sign_is_no_difference_and_a_logarithm_has_a_space():
    assert '<mo form="prefix">&#x02212;</mo>' in mathematics(r"\log p(z) = -z")
    assert '<mo form="prefix">&#x02212;</mo>' in mathematics(r"\mathbb{E}[-\log p(x)]")
    assert "prefix" not in mathematics("a - b")
    assert mathematics(r"\rho \log p") == mathematics(r"\rho\,\log\,p")
    assert mathematics(r"[\log p]") == mathematics(r"[\log\,p]")


def test_no_line_begins_with_the_punctuation_after_a_formula():
    assert words("of $x$, and $y$") == f'of <span class="nowrap">{mathematics("x")},</span> and {mathematics("y")}'


def test_a_sentence_begins_with_a_capital_letter_and_a_formula_does_not():
    assert sentence("squared error") == "Squared error"
    assert sentence("log p(x), exact") == "log p(x), exact"


def test_scripts_are_permitted_by_their_hash():
    assert "script-src 'none'" in policy([])
    assert policy(["<script>1</script>"]) != policy(["<script>2</script>"])
    assert "'none'; base" in policy(['<script type="application/json">1</script>'])
