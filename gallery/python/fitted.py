"""A fitted pair with its data: what `gallery.fit` and `gallery.load` return."""

import inspect
import tempfile
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from data import DataError, Dataset
from data.labels import UNKNOWN, label_values, numbered
from data.memory import rows_like
from gallery.errors import RunError
from gallery.python.arrays import array_of, other_arrays
from gallery.python.evaluation import Evaluation
from gallery.python.frames import columns_as
from gallery.python.request import Request
from gallery.runs.finish import write_run
from gallery.runs.folder import copy_run
from gallery.runs.metrics import evaluate_split
from gallery.runs.rows import places_of
from gallery.runs.summary import summarise
from gallery.runs.table import Table, as_html, file_name
from inference import SVI, Pair, encode, reconstruct, sample
from inference.counts import whole_number
from inference.pairs.data_checks import check_scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gallery.python.comparing import Compared

__all__ = ["Fit"]

KINDS = (
    "manifold",
    "reconstructions",
    "smoothed",
    "regression",
    "posterior",
    "components",
    "samples",
    "latent",
    "learning_curve",
)
"""The kinds of picture in the order in which `Fit.plot` prefers them."""


class Fit:
    """A fitted pair with its data, as `gallery.fit` and `gallery.load` return it.

    >>> import gallery, torch
    >>> x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    >>> fitted = gallery.fit("factor_analysis", data=x, epochs=2, progress=False)
    >>> len(fitted.losses), fitted.encode()["z"].shape, fitted.sample(5)["x"].shape
    (3, torch.Size([6, 2]), torch.Size([5, 3]))

        pair        the fitted model and guide
        run         model, hyper-parameters, data and settings
        splits      the data by split: train, test, and validation where it was kept apart
        losses      (steps,) the loss of every step, nats per data point; (epochs,) of every epoch of a loaded fit
        history     a dictionary for every epoch, as in history.jsonl
        seconds     of the training

    :param found: model, data and settings
    :param svi: the finished fit; None of a loaded one
    :param folder: of a loaded fit
    """

    def __init__(
        self,
        found: Request,
        pair: Pair,
        history: list[dict[str, Any]],
        losses: Tensor,
        seconds: float,
        svi: SVI | None = None,
        folder: Path | None = None,
    ) -> None:
        self._request, self.pair, self.history, self.losses, self.seconds = found, pair, history, losses, seconds
        self.run, self.splits, self._svi, self._folder = found.run, found.splits, svi, folder

    def __repr__(self) -> str:
        last = self.history[-1]
        numbers = [f"loss {last['loss']:.4f}"]
        for split in ("validation", "test"):
            for name, value in last.get(split, {}).items():
                if name in ("elbo", "reconstruction"):
                    numbers.append(f"{split} {name.replace('elbo', 'ELBO')} {value:.4f}")
        rows, steps = len(self.splits["train"]), last["step"]
        return "\n".join(
            (
                f"{self._model} on {self._data}: {rows:,} training rows, {steps:,} steps in {self.seconds:.1f} s",
                f"  {', '.join(numbers)}, in nats per data point",
                "  .evaluate() .summary() .plot() .sample() .encode() .reconstruct() .compare() .save(folder)",
            )
        )

    def _repr_html_(self) -> str:
        return as_html(repr(self))

    @property
    def _model(self) -> str:
        return Path(self.run.model).name

    @property
    def _data(self) -> str:
        return file_name(self.run.data)

    def _rows(self, x: Any, given: Any, split: str) -> Dataset:
        """Return a split, or other data in the form of the fitted ones, validated against the pair."""
        if x is None:
            if split not in self.splits:
                raise RunError(f"there is no split {split!r}.", f"Use one of {', '.join(self.splits)}.")
            return self.splits[split]
        train = self.splits["train"]
        if own := [of_fit for of_fit in self.splits.values() if of_fit is x]:
            return own[0]
        if isinstance(x, Dataset):
            rows = replace(x.to(train.x.device, train.x.dtype), first_row=None)
            if x.labels is not None and x.label_values != train.label_values:
                rows = self._labelled(rows, label_values(x.labels, x.label_values))
        else:
            arrays = other_arrays(x, given, train, self._request.names)
            covariates = arrays.get("covariates")
            rows = replace(
                train,
                name="the given data",
                split="new",
                x=rows_like(train, arrays["x"]),
                labels=None,
                covariates=None if covariates is None else torch.as_tensor(covariates).to(train.x),
                known=None,
                transform=None,
                first_row=None,
            )
            rows = self._labelled(rows, arrays["labels"]) if "labels" in arrays else rows
        check_scored(self.pair, rows.scored(), rows.given)
        return rows

    def _labelled(self, rows: Dataset, labels: np.ndarray) -> Dataset:
        """Return rows with labels as the fitted data have them; with other ones where the model ignores labels.

        :raises DataError: if the model conditions on labels, and one is none of the fitted data's
        """
        train = self.splits["train"]
        try:
            return replace(rows, labels=self._classes(labels), classes=train.classes, label_values=train.label_values)
        except DataError:
            if self._is_conditional:
                raise
        numbers, values, _ = numbered("the given data", {"labels": labels})
        classes = torch.as_tensor(numbers["labels"]).to(train.x.device)
        return replace(rows, labels=classes, classes=len(values), label_values=values)

    @property
    def _is_conditional(self) -> bool:
        """Whether the model conditions on labels or covariates."""
        return "given" in inspect.signature(self.pair.model).parameters

    def _classes(self, labels: np.ndarray) -> Tensor:
        """Return labels, as the fitted data have them, as numbers of classes (n,).

        :raises DataError: if a label is none of the fitted data's
        """
        train = self.splits["train"]
        if (labels != UNKNOWN).any():
            values = train.label_values or (range(train.classes) if train.classes else None)
            labels = numbered("the given data", {"labels": labels}, values)[0]["labels"]
        return torch.as_tensor(labels).to(train.x.device)

    def evaluate(self, x: Any = None, given: Any = None, *, split: str = "test", particles: int = 16) -> Evaluation:
        """Estimate bounds on the evidence, with their errors and verdicts.

        :param x: (n, ...) other data, read as the fitted ones: integers are pixels of their levels, and get their pixel
            transform; of a DataFrame the columns that were fitted, by name; those of the split if None
        :param given: (n, ...) labels, as the fitted data have them, or covariates of x
        :param split: train, validation or test
        :param particles: draws of the guide for each data point, which is also the k of IWAE-k
        :return: a dictionary by name, as in metrics.json
        """
        rows = self._rows(x, given, split)
        numbers = evaluate_split(self.pair, rows, particles, seed=self.run.settings.seed)
        return Evaluation(numbers, self._model, file_name(rows.name), rows.split if x is None else "new")

    def summary(self, seed: int = 0) -> Table:
        """Return mean, sd, 5 % and 95 % quantile of the latents under the guide, and their true values where known."""
        return summarise(self.pair, self.splits, seed)

    def sample(self, n: int = 64, given: Any = None, seed: int = 0) -> dict[str, Tensor]:
        """Draw n data points from the model: "x", (n, d), the latents by name, and "mean", E[x | latents].

        :param given: (n, ...) labels or covariates that a conditional model conditions on; those of the test data, in
            turn, if None
        :raises RunError: if the model conditions on nothing, and `given` is something
        """
        test, n = self.splits["test"], whole_number(n, "n")
        if given is None:
            own = test.given if self._is_conditional else None
            return sample(self.pair, test.x, n, None if own is None else own[torch.arange(n) % len(test)], seed)
        if not self._is_conditional:
            raise RunError(f"{self._model} conditions on nothing, so that its draws have no `given`.", "Leave it out.")
        kind = "labels" if test.covariates is None else "covariates"
        array = array_of(columns_as(given, "covariates", self._request.names), kind)
        values = self._classes(array) if test.covariates is None else torch.as_tensor(array).to(test.x)
        return sample(self.pair, test.x, n, values, seed)

    def encode(self, x: Any = None, given: Any = None, *, split: str = "test") -> dict[str, Tensor]:
        """Compute the codes of data: the mean of the guide at every latent, (n, ...), by name.

        :param x: (n, ...) other data; those of the split if None
        """
        rows = self._rows(x, given, split)
        with places_of(rows, self.pair):
            return encode(self.pair, rows.scored(), rows.given, self.run.settings.seed)

    def reconstruct(self, x: Any = None, given: Any = None, *, split: str = "test") -> Tensor:
        """Compute E[x' | z], (n, d), with one draw of z from the guide at each data point.

        :param x: (n, ...) other data; those of the split if None
        """
        rows = self._rows(x, given, split)
        with places_of(rows, self.pair):
            return reconstruct(self.pair, rows.scored(), rows.given, self.run.settings.seed)

    def plot(self, kind: str | None = None, ax: "Axes | None" = None) -> Any:
        """Draw a picture of the fit.

        :param kind: name of the picture, such as "samples" or "learning_curve"; the most telling that applies if None
        :param ax: matplotlib axes to draw in, whose place a picture of several panels takes; a new figure if None
        :return: the figure; for an animation the figures of its frames
        :raises RunError: if there is no such picture of this pair, with the names of those that apply, or if `ax` is
            given for an animation
        """
        from gallery.figures import FIGURES, Subject
        from gallery.figures.cell import drawing_into

        subject = Subject(self.pair, self.splits["train"], self.splits["test"], self.history, self.run.settings.seed)
        applying = [name for name, (applies, _) in FIGURES.items() if applies(subject)]
        figure = ax and ax.figure  # axes that are replaced by panels have none
        for name in [kind] if kind is not None else [name for name in KINDS if name in applying]:
            with nullcontext() if ax is None else drawing_into(ax):
                drawing = FIGURES[name][1](subject) if name in applying else None
            if drawing is not None:
                return figure or drawing
        raise RunError(
            f"there is no picture {kind!r} of this fit.",
            f"Use one of {', '.join(applying)}.",
        )

    def compare(self, **options: Any) -> "Compared":
        """Fit the same model to the same data in several ways; the options are those of `gallery.compare`."""
        from gallery.python.comparing import compare_request

        return compare_request(self._request, **options)

    def to_arviz(self, n: int = 100, draws: int = 200, seed: int = 0, *, split: str = "test") -> Any:
        """Return draws of the guide, log-likelihoods and new data as ArviZ's data structure.

        :param n: number of data points
        :param draws: of the guide for each data point
        :raises RunError: if ArviZ is not installed
        """
        from gallery.report.export import need

        n, draws = whole_number(n, "n"), whole_number(draws, "draws")
        need("arviz", "to_arviz")
        import arviz

        from gallery.report.export.arviz import write

        with tempfile.TemporaryDirectory() as folder:
            path = write(self.run, self.pair, self._rows(None, None, split).head(n), Path(folder) / "d.nc", draws, seed)
            return arviz.from_netcdf(str(path)).load()

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Write the fit as a run, which `gallery.load` and every command read: weights, metrics, history and figures.

        :param overwrite: replace a run that the folder holds
        :raises RunError: if the folder holds other files, the model cannot be built in another process, or the fit was
            interrupted
        """
        folder = Path(folder)
        if self._svi is None:
            assert self._folder is not None
            copy_run(self._folder, folder, overwrite)
            return folder
        if self._svi.step < self._svi.steps:
            raise RunError(
                f"the fit was interrupted at step {self._svi.step} of {self._svi.steps}, and a run is whole.",
                "Fit with fewer epochs, or by `gallery fit`, which goes on after an interrupt.",
            )
        run, arrays = self._request.stored_in(folder)
        write_run(run, self._svi, self.splits, folder, self.history, self.seconds, overwrite, arrays)
        return folder
