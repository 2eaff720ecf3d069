"""Why a run has no explorer: a clause for the line that `gallery site` prints."""

from collections.abc import Iterable

from data import Dataset
from gallery.figures.info import info_of
from inference import Pair
from inference.pairs.capabilities import exact

__all__ = ["reason"]


def reason(pair: Pair, test: Dataset, classes: Iterable[type]) -> str:
    """Return why no explorer applies to a pair and its data.

    :param pair: in float64 on the CPU, like the data
    :param classes: those that have an explorer for them alone
    """
    name, info = type(pair).__name__, info_of(pair, test)
    for cls in classes:
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
