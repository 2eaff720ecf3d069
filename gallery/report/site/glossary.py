"""The terms of the pages: their definitions, and links to them at their first use on a page."""

import re
from dataclasses import dataclass

__all__ = ["TERMS", "Term", "link_terms"]


@dataclass(frozen=True)
class Term:
    """A term of the glossary.

    :param name: as its heading
    :param words: its definition, with $mathematics$ and `code`
    :param forms: a regular expression of the forms that are linked
    """

    name: str
    words: str
    forms: str

    @property
    def anchor(self) -> str:
        """The id of its definition."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


TERMS = (
    Term(
        "active unit",
        "A coordinate of the code whose mean under the guide varies with x. The others carry no information about x.",
        r"active units?",
    ),
    Term(
        "amortised",
        "An amortised guide computes its distribution from x by one network that all data points share, in place of "
        "separate parameters for each. It is fast, and it also serves new data; what it loses is the amortisation gap.",
        r"amortised|amorti[sz]ation",
    ),
    Term(
        "ELBO",
        "The evidence lower bound, $\\mathbb{E}_{q}[\\log\\,p(x, z) - \\log\\,q(z)]$. It is at most the log evidence, "
        "and equal to it when the guide is the posterior. Training maximises it.",
        r"ELBO",
    ),
    Term(
        "EM",
        "Expectation maximisation: the exact posterior is computed (E step), then the parameters that maximise the "
        "expected log joint density (M step). The evidence never falls.",
        r"EM",
    ),
    Term(
        "enumeration",
        "A discrete latent variable is summed out: every value is tried and weighted by its probability. It is exact, "
        "and has no Monte Carlo error.",
        r"enumerated|enumeration|summed out",
    ),
    Term(
        "evidence",
        "The probability, or density, of the data under the model with the latent variables integrated out: "
        "$p(x) = \\int p(x \\mid z)\\,p(z)\\,dz$. The gallery prints its logarithm.",
        r"evidence",
    ),
    Term(
        "FIVO",
        "The bound of a particle filter on the evidence of a sequence: the guide draws k particles step by step, which "
        "are resampled when a few of them have all the weight. It is IWAE as long as that does not happen.",
        r"FIVO(?:-\d+)?",
    ),
    Term(
        "flow",
        "Invertible layers that move a sample of a simple distribution. The log density is that of the sample, minus "
        "the log determinant of the Jacobian of each layer. An autoregressive layer has a triangular one.",
        r"(?:inverse )?(?:autoregressive )?flows?",
    ),
    Term(
        "gap",
        "Log evidence minus ELBO. It is the KL from the guide to the posterior: at 0 the two are equal. "
        "It can be computed only where the evidence is known.",
        r"gap",
    ),
    Term(
        "guide",
        "The approximate posterior q(z | x), written as a Pyro program that has a sample statement for each latent "
        "variable of the model.",
        r"guides?",
    ),
    Term(
        "IWAE",
        "The importance weighted bound: k samples of the guide a data point, averaged inside the logarithm. It is "
        "at least the ELBO, grows with k, and stays below the log evidence.",
        r"IWAE(?:-\d+)?",
    ),
    Term(
        "k-hat",
        "A number that describes how heavy the tail of the importance weights is. Above 0.7 a few samples "
        "dominate the average, and estimates from them are not to be trusted; IWAE is a bound still, but may lie far "
        "below log p(x).",
        r"k-hat",
    ),
    Term(
        "KL",
        "The Kullback-Leibler divergence $\\mathrm{KL}(q \\,\\|\\, p) = \\mathbb{E}_{q}[\\log\\,q - \\log\\,p]$: 0 for "
        "equal distributions, positive otherwise, and not symmetric.",
        r"KL",
    ),
    Term(
        "latent variable",
        "A random variable of the model that is not observed. Its values are inferred from what is observed.",
        r"latent variables?|latents?",
    ),
    Term(
        "likelihood",
        "The distribution of the data given the latent variables, p(x | z). Its support has to contain the data.",
        r"likelihood",
    ),
    Term(
        "nat",
        "The unit of a natural logarithm: 1 nat is 1.4427 bits. A difference of 1 nat per data point is a factor "
        "of 2.718 in the probability of each data point.",
        r"nats?",
    ),
    Term(
        "particle",
        "One sample of the latent variables from the guide, in an estimate that averages over several.",
        r"particles?",
    ),
    Term(
        "plate",
        "A part of the model that is repeated for every data point, or item, independently. In a diagram it is a box.",
        r"plates?",
    ),
    Term(
        "posterior",
        "The distribution of the latent variables given the data, p(z | x), by Bayes' rule.",
        r"posterior",
    ),
    Term(
        "posterior collapse",
        "The guide equals the prior for every x: the KL is 0, and the code, or a unit of it, carries nothing. It is a "
        "local optimum, or the best fit of a model with much noise, as in the linear VAE (`ppca`).",
        r"posterior collapse|collapsed",
    ),
    Term(
        "prior",
        "The distribution of the latent variables before any data are seen, p(z).",
        r"prior",
    ),
    Term(
        "rate and distortion",
        "The two parts of the negative ELBO: the KL of the code from its prior, and minus the expected log-likelihood. "
        "A weight other than 1 on the KL exchanges one for the other.",
        r"rate and distortion|distortion",
    ),
    Term(
        "reparametrised sample",
        "A sample written as a function of the parameters of the guide and of noise that does not depend on them, "
        "such as $\\mu + \\sigma\\,\\epsilon$. Gradients pass through it.",
        r"reparametrised",
    ),
    Term(
        "standard error",
        "The standard deviation of an estimate. Over data, it says how the number would vary with another "
        "test set; of Monte Carlo, how it varies with other random samples of the same fit.",
        r"standard errors?",
    ),
)
"""The glossary, in alphabetical order."""

SKIPPED = frozenset(
    {
        "a",
        "button",
        "code",
        "h1",
        "h2",
        "h3",
        "h4",
        "label",
        "math",
        "nav",
        "option",
        "output",
        "pre",
        "summary",
        "svg",
        "th",
    }
)
TAGS = re.compile(r"(<script\b.*?</script>|<style\b.*?</style>|<[^>]*>)", flags=re.DOTALL)
LONGEST_FIRST = sorted(TERMS, key=lambda term: -len(term.forms))
WORDS = re.compile("|".join(rf"(?P<t{TERMS.index(it)}>(?<![\w-])(?:{it.forms})(?![\w-]))" for it in LONGEST_FIRST))


def link_terms(html: str) -> str:
    """Link each term of the glossary at its first use in the text of a page.

    Headings, links, code, formulas, drawings and scripts are unchanged.

    :param html: the content of <main>, escaped
    """
    inside: list[str] = []
    linked: set[str] = set()
    parts = TAGS.split(html)
    for i, part in enumerate(parts):
        if i % 2:
            name = re.match(r"</?\s*([a-z0-9]*)", part)
            tag = name[1] if name else ""
            if tag in SKIPPED and part.startswith("</"):
                if tag in inside:
                    inside.remove(tag)
            elif tag in SKIPPED and not part.endswith("/>"):
                inside.append(tag)
        elif not inside:
            parts[i] = WORDS.sub(lambda match: _link(match, linked), part)
    return "".join(parts)


def _link(match: re.Match[str], linked: set[str]) -> str:
    term = TERMS[int(str(match.lastgroup)[1:])]
    if term.anchor in linked:
        return match[0]
    linked.add(term.anchor)
    return f'<a class="term" href="glossary.html#{term.anchor}">{match[0]}</a>'
