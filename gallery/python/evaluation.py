"""The numbers of `Fit.evaluate`."""

from typing import Any

from gallery.runs.report import metrics_table
from gallery.runs.table import as_html

__all__ = ["Evaluation"]


class Evaluation(dict[str, Any]):
    """The numbers of `Fit.evaluate`: a dictionary of estimates by name that prints as a table.

    >>> Evaluation({"elbo": {"value": -1.5, "se": 0.1, "n": 9}}, "vae", "digits:grey", "test")
    vae on digits:grey, 9 test rows    nats per data point, higher is better
      ELBO  -1.5000 +- 0.1
      +- is one standard error over the data
    """

    def __init__(self, numbers: dict[str, Any], model: str, data: str, split: str) -> None:
        super().__init__(numbers)
        self._heading = model, data, split

    def __repr__(self) -> str:
        return "\n".join(metrics_table(self, *self._heading))

    def _repr_html_(self) -> str:
        return as_html(repr(self))
