"""`gallery.fit` and `gallery.load`."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gallery.python.fitted import Fit
from gallery.python.frames import names_of_file
from gallery.python.request import Request, request
from gallery.runs import training
from gallery.runs.folder import read_history
from gallery.runs.hashes import check_unchanged
from gallery.runs.loop import Training
from gallery.runs.prepare import noise_of, prepare, print_summary
from gallery.runs.progress import ProgressListener, progress_listener
from inference import SVI

__all__ = ["fit", "load"]


class _Recorder:
    """A listener that keeps losses and history, and passes everything on to another one."""

    def __init__(self, shown: ProgressListener | None) -> None:
        self.shown, self.losses, self.history = shown, list[Tensor](), list[dict[str, Any]]()

    def begin(self, svi: SVI, run: Any) -> None:
        if self.shown:
            self.shown.begin(svi, run)

    def step(self, step: int, losses: Tensor) -> None:
        self.losses.append(losses)
        if self.shown:
            self.shown.step(step, losses)

    def epoch(self, line: dict[str, Any]) -> None:
        self.history.append(line)
        if self.shown:
            self.shown.epoch(line)

    def close(self) -> None:
        if self.shown:
            self.shown.close()


def fit(
    model: Any,
    data: Any = None,
    *,
    recipe: str | None = None,
    validation: bool | None = None,
    transform: str | None = None,
    label: Any = None,
    covariates: Any = None,
    columns: Sequence[str] | None = None,
    one_hot: Sequence[str] = (),
    codes: Sequence[str] = (),
    progress: bool = True,
    **options: Any,
) -> Fit:
    """Fit a model to data, with its recipe where it has one; to the same bits as `gallery fit`.

    An interrupt (Ctrl-C) after the first epoch ends it with a warning; the `Fit` then has the weights of that step.

    >>> import gallery
    >>> fitted = gallery.fit("linear_regression", epochs=1, progress=False)
    >>> fitted.pair
    LinearRegression(
      (q): ParameterDict(
          (A): Parameter containing: [torch.FloatTensor of size 2x2]
          (log_s): Parameter containing: [torch.FloatTensor of size 2]
          (m): Parameter containing: [torch.FloatTensor of size 2]
      )
    )
    >>> [row["truth"] for row in fitted.summary()]
    [0.5, 1.5]

    :param model: a name (`gallery list`), a class, or an instance, which is then fitted itself
    :param data: a name such as "digits:threshold"; or an array, a tensor, a DataFrame, a `data.Dataset`, a pair
        (x, labels), or an iterable of batches of tensors, split into 80 % train, 10 % validation and 10 % test; or a
        dictionary of such by split. Those of the recipe if None
    :param recipe: name of another recipe of the model
    :param validation: whether the validation rows are kept out of the training data
    :param transform: how data in memory are read: "real" for values as they are, else a pixel transform
    :param label: labels (n,) of data in memory, or the name of their column in a DataFrame or a table's file
    :param covariates: covariates (n, p) of data in memory, or the names of their columns
    :param columns: the columns of a DataFrame or a table that are x; all others that are left if None
    :param one_hot: columns of categories there, each read as a column of zeros and ones for each category
    :param codes: columns of categories there, read as numbers from 0
    :param progress: whether progress is shown, and of own data what was read
    :param options: hyper-parameters of the model, and settings of the fit: fields of `inference.Settings`
    :raises RunError: if the arguments do not go together
    :raises DataError: if the data are invalid
    :raises InferenceError: if pair, data and settings do not go together, or the loss is not finite
    """
    found = request(model, data, options, recipe, validation, transform, label, covariates, columns, one_hot, codes)
    if progress:
        print_summary(found.run, found.splits, found.arrays is not None)
    svi = prepare(found.run, found.splits, found.pair)
    recorder = _Recorder(progress_listener() if progress else None)
    loop = Training(found.run, svi, found.splits, None, recorder)
    try:
        with noise_of(found.run):
            loop.run_to_end()
    except KeyboardInterrupt:
        if not recorder.history:
            raise
        warnings.warn(f"interrupted at step {svi.step} of {svi.steps}: the fit has the weights of then.", stacklevel=2)
    finally:
        recorder.close()
    return Fit(found, svi.pair, recorder.history, torch.cat(recorder.losses).cpu(), loop.seconds, svi)


def load(folder: str | Path, trust: bool = False) -> Fit:
    """Load a finished run: one of `gallery fit`, or of `Fit.save`.

    >>> import gallery, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     try:
    ...         gallery.load(folder)
    ...     except ValueError as error:
    ...         print(str(error).replace(folder, "RUN"))
    RUN holds no run: there is no RUN/run.json.

    :param trust: execute the file that run.json names, also if you have not fitted it
    :raises RunError: if the folder holds no run, or its data have changed
    """
    folder = Path(folder)
    run, pair = training.load(folder, trust)
    splits, history = run.datasets(), read_history(folder)
    check_unchanged(folder, run.data, splits, "Restore the data.")
    losses = torch.tensor([line["loss"] for line in history])
    found = Request(run, splits, names=names_of_file(run.data))
    return Fit(found, pair, history, losses, history[-1]["seconds"] if history else 0.0, None, folder)
