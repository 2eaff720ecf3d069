"""Draw a figure into given axes, in place of a new figure.

    with drawing_into(ax):
        samples(pair, dataset)  # draws into ax

A figure with one panel is drawn in the axes themselves; one with several takes their place.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.gridspec import GridSpec

from gallery.errors import RunError

__all__ = ["Cell", "drawing_into", "next_cell"]

_cells: ContextVar["list[Cell] | None"] = ContextVar("cells", default=None)


class Cell:
    """The place of given axes, used as a figure by a function that draws.

    :param ax: the axes
    """

    def __init__(self, ax: Axes) -> None:
        self.ax, self.panels = ax, list[SubFigure]()

    def add_subplot(self, *args: Any, **keywords: Any) -> Axes:
        """Return the axes, unless there are several panels: then a new one of them."""
        return self._several().add_subplot(*args, **keywords) if args or self.panels else self.ax

    def subplots(self, nrows: int = 1, ncols: int = 1, *, squeeze: bool = True, **keywords: Any) -> Any:
        """Return the axes, or new panels in their place if there are several."""
        if nrows == ncols == 1 and not self.panels:
            return self.ax if squeeze else np.array([[self.ax]])
        return self._several().subplots(nrows, ncols, squeeze=squeeze, **keywords)

    def legend(self, *args: Any, loc: str = "best", **keywords: Any) -> Any:
        """Draw a legend: beside several panels, within a single one, and in one column there."""
        place: Any = self.panels[0] if self.panels else self.ax
        if not self.panels:
            keywords["ncols"], loc = 1, "best" if loc.startswith("outside") else loc
        return place.legend(*args, loc=loc, **keywords)

    @property
    def axes(self) -> list[Axes]:
        """The panels."""
        return self.panels[0].axes if self.panels else [self.ax]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._several(), name)

    def _several(self) -> SubFigure:
        """Return a figure in place of the axes, which are removed."""
        if not self.panels:
            figure, spec, place = self.ax.figure, self.ax.get_subplotspec(), self.ax.get_position()
            self.ax.remove()
            self.panels.append(figure.add_subfigure(spec or GridSpec(1, 1)[0]))
            if spec is None:  # axes that are in no grid
                self.panels[0].bbox_relative.p0, self.panels[0].bbox_relative.p1 = place.p0, place.p1
        return self.panels[0]


@contextmanager
def drawing_into(ax: Axes) -> Iterator[None]:
    """Let the next figure that is drawn in this block be drawn into the axes.

    :raises RunError: if a second one is drawn
    """
    token = _cells.set([Cell(ax)])
    try:
        yield
    finally:
        _cells.reset(token)


def next_cell() -> Cell | None:
    """Return the place for the next figure, None outside of such a block."""
    cells = _cells.get()
    if cells is None:
        return None
    if not cells:
        raise RunError("this drawing has several figures, and ax takes one.", "Leave ax out.")
    return cells.pop()
