"""What the sources mention and the gallery does not hold: one sentence each, with references."""

__all__ = ["ELSEWHERE"]

ELSEWHERE: tuple[tuple[str, str, str], ...] = (
    (
        "[L], [B]",
        "generative adversarial networks, and their union with a VAE",
        "They have no likelihood and no guide, so no bound could be stated: Goodfellow and others, Generative "
        "adversarial nets, 2014; Larsen and others, Autoencoding beyond pixels using a learned similarity metric, "
        "2016.",
    ),
    (
        "[L]",
        "energy-based models",
        "Their normalising constant is not known, and training needs samples of the model: LeCun and others, A "
        "tutorial on energy-based learning, 2006.",
    ),
    (
        "[L]",
        "undirected graphs, and belief propagation on general graphs",
        "The gallery has the directed chain `hmm`, where belief propagation is exact, and sums out discrete variables "
        "in `gmvae` and `gaussian_mixture`. For general graphs: Koller and Friedman, Probabilistic graphical models, "
        "2009.",
    ),
    (
        "[L]",
        "graph neural networks",
        "No data set of the gallery is a graph: Kipf and Welling, Variational graph auto-encoders, 2016.",
    ),
    (
        "[L]",
        "autoregressive models of pixels",
        "`vrnn` draws an image row by row, with a latent variable behind each row. Models without latent variables: "
        "van den Oord, Kalchbrenner and Kavukcuoglu, Pixel recurrent neural networks, 2016.",
    ),
    (
        "[L], [B]",
        "disentangled codes, and the beta-VAE's purpose",
        "`--beta` weights the KL, and `gallery reproduce vae:notes` draws rate against distortion; no measure of "
        "disentanglement is computed, for none is agreed on: Higgins and others, beta-VAE, 2017; Locatello and others, "
        "Challenging common assumptions in the unsupervised learning of disentangled representations, 2019.",
    ),
    (
        "[B]",
        "causal relations, and models from the laws of physics",
        "No model of the gallery is of an intervention; `pyro.do` computes one. Pearl, Causality, 2009; Cranmer, "
        "Brehmer and Louppe, The frontier of simulation-based inference, 2020.",
    ),
)
"""(sources, subject, words), with `code` in the words."""
