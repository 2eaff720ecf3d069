"""`gallery.compare`: ways to fit one model, side by side."""

import io
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from gallery.comparison import compare as run_comparison
from gallery.comparison import default_objectives, tables
from gallery.comparison.rows import Comparison
from gallery.python.request import Request, request
from gallery.runs.folder import ARRAYS
from gallery.runs.table import Table, as_html
from inference.files import make_folder, write_atomically

__all__ = ["Compared", "compare", "compare_request"]

COLUMNS = ("elbo", "iwae", "evidence", "gap")
WIDTH = 150  # of the tables


class Compared:
    """A comparison, as `gallery.compare` returns it; it prints as its tables.

    >>> from gallery.python.comparing import Compared
    >>> row = {"label": "trace", "seed": 0, "status": "finished", "elbo": {"value": -1.5, "mc_se": 0.1}, "seconds": 2.0}
    >>> Compared({"rows": [row]}).table
      fit    seed  status    ELBO  ELBO mc_se  seconds
      trace     0  finished  -1.5         0.1        2

    :param content: the content of compare.json
    """

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content

    @property
    def table(self) -> Table:
        """A row for every way and seed: bounds with their Monte Carlo errors, passes of data, seconds."""
        rows = []
        for one in self.content["rows"]:
            row = {"fit": one["label"], "seed": one["seed"], "status": one["status"]}
            for name in COLUMNS:
                if isinstance(entry := one.get(name), dict) and "value" in entry:
                    shown = {"elbo": "ELBO", "iwae": "IWAE", "evidence": "log p(x)"}.get(name, name)
                    row |= {shown: entry["value"]}
                    row |= {f"{shown} mc_se": entry["mc_se"]} if entry.get("mc_se") else {}
            row |= {name: one[name] for name in ("gradients", "passes", "seconds", "reason") if name in one}
            rows.append(row)
        return Table(rows)

    @property
    def rows(self) -> Any:
        """The rows of the table as a pandas DataFrame; as a list of dictionaries where pandas is not installed."""
        return self.table.frame() if find_spec("pandas") else list(self.table)

    def plot(self, kind: str = "bound") -> Any:
        """Return the figure of the bounds ("bound"), the gradients' variances ("variance") or the errors of the
        posterior mean against gradient evaluations ("error"); None without any."""
        from gallery.figures.comparison import bound, variance
        from gallery.figures.posterior_error import error

        return {"bound": bound, "variance": variance, "error": error}[kind](self.content)

    def __repr__(self) -> str:
        console = Console(file=io.StringIO(), width=WIDTH)
        for part in tables(self.content):
            console.print(part, soft_wrap=isinstance(part, str), markup=False, highlight=False)
        return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]

    def _repr_html_(self) -> str:
        return as_html(repr(self))


def compare(model: Any, data: Any = None, **options: Any) -> Compared:
    """Fit a model in several ways and compare them: objectives, guides and samplers, each with several seeds.

    >>> import gallery, torch
    >>> x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    >>> compared = gallery.compare("factor_analysis", x, objectives="trace", seeds=1, epochs=1, eval_draws=2, log=None)
    >>> len(compared.table), round(compared.table[0]["gap"], 1) > 0
    (1, True)

    :param model: as in `gallery.fit`; a class of a notebook, or an instance, cannot be compared
    :param data: as in `gallery.fit`
    :param options: objectives, guides and samplers (names, see `gallery compare MODEL --help`), seeds, eval_draws,
        nuts_draws, jobs (processes at a time, 1), folder (of the results: finished rows in it are not run again; a
        temporary one if left out), log (a function of a line for every row that ends; None for silence); and those of
        `gallery.fit`
    :raises RunError: if nothing applies to the model, or no row can be finished
    """
    own = {name: options.pop(name) for name in OPTIONS if name in options}
    data_options = {name: options.pop(name) for name in DATA_OPTIONS if name in options}
    return compare_request(request(model, data, options, **data_options), **own)


OPTIONS = ("objectives", "guides", "samplers", "seeds", "eval_draws", "nuts_draws", "jobs", "folder", "log")
DATA_OPTIONS = ("recipe", "validation", "transform", "label", "covariates", "columns", "one_hot", "codes")


def compare_request(
    found: Request,
    objectives: Sequence[str] | None = None,
    guides: Sequence[str] = ("own",),
    samplers: Sequence[str] = (),
    seeds: int = 3,
    eval_draws: int = 64,
    nuts_draws: int = 500,
    jobs: int = 1,
    folder: str | Path | None = None,
    log: Any = print,
) -> Compared:
    """Compare ways to carry out a request; for the parameters see `compare`."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary if folder is None else folder)
        run, arrays = found.stored_in(place)
        if arrays:
            make_folder(place)
            write_atomically(place / ARRAYS, arrays)
        names = [None if given is None else tuple([given] if isinstance(given, str) else given)
                 for given in (objectives, guides, samplers)]  # fmt: skip
        chosen = default_objectives(run) if names[0] is None else names[0]
        comparison = Comparison(run, chosen, names[1] or (), names[2] or (), seeds, eval_draws, nuts_draws)
        return Compared(run_comparison(comparison, place, jobs, log=log or (lambda line: None)))
