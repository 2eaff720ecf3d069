"""Figure of topics by variational inference and by Gibbs sampling: the perplexity of held-out words."""

from typing import Any

from matplotlib.figure import Figure

from gallery.figures.style import BLUE, GREY, INK, ORANGE, dress, figure

__all__ = ["gibbs"]

WAYS = {"coordinate ascent": BLUE, "Gibbs sampling": ORANGE}  # of the shares of a document


def gibbs(results: dict[str, Any], words: int) -> Figure:
    """Draw the perplexity by how topics and shares are inferred, and by how much it exceeds that of Gibbs sampling.

    :param results: the content of gibbs.json, which `gallery.ledger.experiments.lda` writes
    :param words: of the vocabulary: the perplexity of a uniform choice
    """
    found = results["perplexity"]
    fig = figure(9.4, 3.0)
    left, right = fig.subplots(1, 2, sharey=True)
    dress(left, "Perplexity of the other half of the words", "perplexity ± standard error over documents")
    dress(right, "Coordinate ascent, less Gibbs for both", "difference of perplexity ± 2 standard errors")
    for i, by in enumerate(found.values()):
        for shift, (way, colour) in zip((-0.13, 0.13), WAYS.items(), strict=True):
            label, of = f"shares by {way}" if i == 0 else None, by[way]
            left.errorbar(of["value"], i + shift, xerr=of["se"], fmt="o", color=colour, capsize=3, label=label)
        more = by["more than by Gibbs sampling"]
        right.errorbar(more["value"], i, xerr=2 * more["se"], fmt="o", color=BLUE, capsize=3)
    left.axvline(words, color=GREY, linewidth=1.2)
    left.text(words - 0.1, len(found) - 0.7, f"a guess\namong {words}", ha="right", va="bottom", fontsize=8, color=INK)
    left.set_xlim(18, words + 0.4)
    left.legend(frameon=False, fontsize=8, labelcolor=INK, loc="center")
    right.axvline(0, color=GREY, linewidth=1.2)
    left.set_yticks(range(len(found)), [f"topics: {name}" for name in found])
    left.set_ylim(len(found) - 0.5, -0.5)
    return fig
