"""A document whose words are added and removed: its posterior over topics, by the coordinate ascent of the library."""

import torch
from torch import Tensor

from data import Dataset
from gallery.figures.topics import SHOWN
from gallery.models.lda import LDA, Smoothed
from gallery.report.explorers.fragment import buttons, fragment, legend, options, packed, readings, slider

__all__ = ["topics"]

WORDS, EXAMPLES = 64, 12  # of a vocabulary, at most; documents of the test data
DOUBLINGS = 4  # of the concentration, up and down


def topics(pair: LDA, test: Dataset) -> str | None:
    """Return the explorer of latent Dirichlet allocation; None for more than 20 topics, and where the words do
    not lie on a small grid.

    :param pair: the page has its topics, its concentration, and as many steps of coordinate ascent
    :param test: its first documents are in the page
    """
    if pair.shape[0] > SHOWN:
        return None
    if not (test.is_image and len(test.shape) == 2 and test.x.shape[1] <= WORDS):
        return None
    number = pair.shape[0]
    with torch.no_grad():
        beta, weights = pair.topics(), weights_of(pair)
    data = {
        "alpha": pair.alpha,
        "steps": pair.sweeps,
        "shape": list(test.shape),
        "topics": packed(beta),
        "weights": packed(weights),
        "x": test.x[:EXAMPLES].long().tolist(),
    }
    marks = [("box k0", "mean share of a topic in this document"), ("box k1", "of the chosen topic")]
    marks += [("chain", "± sd"), ("prior", "prior mean"), ("guide", "bound after each step")]
    choose = [("example", "Next test document"), ("clear", "No words")]
    choose += [("add", "Ten words of the topic"), ("remove", "Remove words")]
    numbers = [("words", "words N", ""), ("bound", "bound on log p(x)", "nats"), ("kl", "KL(q(θ) || p(θ))", "nats")]
    numbers += [("perplexity", "its perplexity, at most", ""), ("share", "share of the topic", ""), ("sd", "sd", "")]
    numbers += [("dealt", "words dealt to it", "")]
    body = f"""{legend(*marks)}
<div class="stage aside">
<div class="words">
<p>document x: a click <span data-part="does">adds</span> a word</p>
<svg data-part="document" role="application" tabindex="0"></svg>
{buttons(*choose)}
</div>
<svg data-part="shares" role="img"></svg>
<div class="words two">
<div><p>expected: N E[θ]ᵀβ</p><svg data-part="expected" role="img"></svg></div>
<div><p data-part="of">dealt to the topic</p><svg data-part="dealt" role="img"></svg></div>
</div>
<svg data-part="ascent" role="group"></svg>
</div>
<div class="controls">
<label>topic <select data-part="topic">{options([str(k + 1) for k in range(number)])}</select></label>
{slider("alpha", "concentration α of the prior, doubled or halved by each step", -DOUBLINGS, DOUBLINGS, 0)}
</div>
{readings(*numbers)}
<output data-part="status"></output>"""
    latent = isinstance(pair, Smoothed)
    caption = (
        f"Each cell is a word, with its count in the document. The chart has the shares θ of {number} topics, whose "
        "words are the pictures below it, under q(θ) = Dirichlet(γ). γ starts from equal shares, and each step of "
        "coordinate ascent deals every word to the topics and adds up what each has received. The bound is that of "
        "q(θ) q(z) with the topics z of the words; it never falls. "
        + ("The topics are latent: the bound leaves out their own KL. " if latent else "")
        + "N is the number of words."
    )
    hint = (
        "Try: choose “No words”, add the words of a row one by one, and see when the posterior settles on one topic. "
        "Then add a word of a column. Go back to step 0: how does the ascent begin?"
    )
    return fragment("topics", caption, body, data, hint, ("plot", "special"))


def weights_of(pair: LDA) -> Tensor:
    """Return beta as steps of coordinate ascent take it, (topics, data_dim): exp(E[log beta]) where it is latent."""
    if not isinstance(pair, Smoothed):
        return pair.topics()
    concentration = pair.concentration
    return (concentration.digamma() - concentration.sum(-1, keepdim=True).digamma()).exp()
