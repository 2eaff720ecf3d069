"""The sets of the catalogue: which there are, what they hold, and who reads them."""

from data import images
from data.binarized import STATIC_MNIST, static_folder, static_is_here, static_mnist
from data.chorales import JSB_CHORALES, chorales, chorales_are_here, chorales_folder
from data.reuters import REUTERS, reuters, reuters_folder, reuters_is_here
from data.synthetic import SYNTHETIC

__all__ = ["COPIED", "IMAGES", "LABELLED", "PLAIN", "SETS", "TABLE"]

IMAGES = ("digits", *images.TORCHVISION)
COPIED = {  # sets that the user copies: to reader, folder, and whether the files are here
    STATIC_MNIST: (static_mnist, static_folder, static_is_here),
    JSB_CHORALES: (chorales, chorales_folder, chorales_are_here),
    REUTERS: (reuters, reuters_folder, reuters_is_here),
}
PLAIN = (*COPIED, *SYNTHETIC)  # sets whose values take no pixel transform
SETS = (*IMAGES, *PLAIN)
LABELLED = (*IMAGES, "gaussian_mixture")  # sets whose rows have classes
LARGE = "55,000 train, 5,000 validation, 10,000 test"
TABLE = {
    "digits": ("handwritten digits, 8 x 8", "1,200 train, 300 validation, 297 test"),
    "mnist": ("handwritten digits, 28 x 28", LARGE),
    "fashion-mnist": ("articles of clothing, 28 x 28", LARGE),
    "kmnist": ("cursive Japanese characters, 28 x 28", LARGE),
    STATIC_MNIST: ("MNIST binarised by Larochelle and Murray", "50,000 train, 10,000 validation, 10,000 test"),
    JSB_CHORALES: ("chorales of Bach, 88 notes, up to 160 steps", "229 train, 76 validation, 77 test"),
    REUTERS: ("news as counts of 4,258 words, from the package lda", "237 train, 79 validation, 79 test"),
    "factor_analysis": ("two Gaussian factors, x in R^3", "1,000 train, 1,000 test"),
    "factor_analysis_missing": ("the same rows, 30 % of the entries missing", "1,000 train, 1,000 test"),
    "exponential_gaussian": ("z ~ Exponential(1) plus noise", "2,000 train, 500 validation, 1,000 test"),
    "line": ("a noisy line in one covariate", "200 train, 200 test"),
    "logistic": ("zeros and ones, by one covariate", "40 train, 200 test"),
    "eight_schools": ("effects of coaching and their standard errors", "8 train, the same 8 test"),
    "lsat6": ("answers to five items of a test, right or wrong", "1,000 train, the same 1,000 test"),
    "squared_gaussian": ("z ~ Normal(0, 1) squared, plus noise", "2,000 train, 500 validation, 1,000 test"),
    "loaded_die": ("throws of a loaded die, one-hot", "200 train, 200 test"),
    "gaussian_mixture": ("three Gaussian clusters, x in R^2", "1,000 train, 1,000 test"),
    "hmm": ("chains of a hidden Markov model, x in R^10", "400 train, 400 test"),
    "state_space": ("swings that die out, measured with noise, x in R^10", "400 train, 400 test"),
    "topics": ("words of documents on a grid, of ten topics", "1,000 train, 500 test"),
    "nile": ("the annual flow of the Nile, x in R^100", "1 train, the same 1 test"),
}  # set to description and size
