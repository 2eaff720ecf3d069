"""Why a run has no explorer: a clause for the line that `gallery site` prints."""

from data import Dataset
from gallery.figures.info import info_of
from gallery.models.eight_schools import EightSchools
from gallery.models.factor_analysis import FactorAnalysis
from gallery.models.gaussian_mixture import GaussianMixture
from gallery.models.hmm import HMM
from gallery.models.item_response import ItemResponse
from gallery.models.lda import LDA
from gallery.models.linear_regression import LinearRegression
from gallery.models.loaded_die import LoadedDie
from gallery.models.logistic_regression import LogisticRegression
from gallery.models.ppca import PPCA
from inference import Pair
from inference.pairs.capabilities import exact

__all__ = ["reason"]

WITH_ONE = (
    EightSchools,
    FactorAnalysis,
    GaussianMixture,
    HMM,
    ItemResponse,
    LDA,
    LinearRegression,
    LoadedDie,
    LogisticRegression,
    PPCA,
)
"""Models whose explorer is for them alone."""


def reason(pair: Pair, test: Dataset) -> str:
    """Return why no explorer applies to a pair and its data.

    :param pair: in float64 on the CPU, like the data
    """
    name, info = type(pair).__name__, info_of(pair, test)
    for cls in WITH_ONE:
        if isinstance(pair, cls):
            if exact(pair, "posterior") is None and exact(cls, "posterior") is not None:
                return f"that of {cls.__name__} shows its exact posterior, and {name} has no method `posterior`."
            return f"that of {cls.__name__} cannot show data or parameters like these."
    if info.has_global_latent:
        return f"a latent of {name} is shared by all data, and explorers move those of one data point."
    if info.is_per_data_point:
        return f"{name} has parameters for each data point, and so none for a new x."
    shapes = {code: info.guide_sites[code]["fn"].event_shape for code in info.codes}
    if [len(shape) for shape in shapes.values()] != [1]:
        codes = [f"{code} ({' x '.join(map(str, shape))})" for code, shape in shapes.items()]
        few = ", ".join(codes[:2]) + ", ..." * (len(codes) > 2)
        return f"explorers move one code, a vector, and the codes of {name} are {few or 'none'}."
    if not test.is_image:
        return f"explorers of codes show images, and rows of {test.name} are none."
    return (
        f"a page cannot compute x from the code of {name}: it needs two numbers or more, and layers of `decoder` alone."
    )
