"""The sections of `gallery list` and of the index page, and the families in each."""

from dataclasses import dataclass

__all__ = ["SECTIONS", "Section", "section_of"]


@dataclass(frozen=True)
class Section:
    """A section: its title, what it is about in a sentence, and its families."""

    title: str
    about: str
    families: tuple[str, ...]


SECTIONS = (
    Section(
        "Exact evidence",
        "Small models whose evidence is computed exactly, so every bound can be compared with it.",
        (
            "exponential_gaussian",
            "squared_gaussian",
            "linear_regression",
            "logistic_regression",
            "eight_schools",
            "item_response",
            "loaded_die",
            "gaussian_mixture",
            "hmm",
            "state_space",
            "factor_analysis",
            "ppca",
        ),
    ),
    Section(
        "Topics",
        "Documents as mixtures of topics, by the counts of their words: by coordinate ascent and by an encoder.",
        ("lda", "prod_lda"),
    ),
    Section(
        "Deterministic codes",
        "Autoencoders as pairs: the guide is a point, so there is no bound. The metrics are the reconstruction error "
        "and the quality of the codes as features.",
        (
            "autoencoder",
            "denoising_autoencoder",
            "sparse_autoencoder",
            "k_sparse_autoencoder",
            "contractive_autoencoder",
        ),
    ),
    Section(
        "Variational autoencoders",
        "Plain, conditional on a class, semi-supervised, with a discrete latent, and for sequences.",
        ("vae", "cvae", "ss_vae", "gmvae", "vrnn", "deep_markov"),
    ),
)


def section_of(family: str) -> str:
    """Return the title of the section of a family.

    >>> section_of("vae")
    'Variational autoencoders'
    """
    return next(section.title for section in SECTIONS if family in section.families)
