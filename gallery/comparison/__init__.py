"""Compare ways to fit one model: objectives, guides and samplers, and the exact evidence where it is known.

    comparison = Comparison(Run.of("factor_analysis"), ("trace", "score", "iwae:5"), samplers=("em",))
    result = compare(comparison, Path("runs/compare"), jobs=2)

The folder gets compare.json with all results, bound.png, variance.png, error.png where the posterior is known and, in
rows/, a file for each row as it ends.
A finished row is not run again. Rows run in processes of joblib. On a cluster whose hosts share the folder they run in
processes of dask, within

    client = dask.distributed.Client("tcp://HOST:8786")
    with joblib.parallel_config(backend="dask"):
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

import data
from gallery.comparison.process import run_row_of
from gallery.comparison.report import progress_line, tables
from gallery.comparison.rows import DEFAULT_OBJECTIVES, KEYS, SAMPLERS, Comparison, Row, default_objectives, refusal
from gallery.comparison.verdict import verdict
from gallery.comparison.work import (
    approximate,
    bound_evidence,
    compare_with_nuts,
    fit,
    measure_noise,
    sample,
    specification,
)
from gallery.errors import RunError
from gallery.runs.parse import in_lines, renamed, rounded
from gallery.runs.prepare import check_missing
from gallery.runs.system import processor
from gallery.runs.table import file_name
from inference.files import make_folder, write_atomically

__all__ = ["DEFAULT_OBJECTIVES", "SAMPLERS", "Comparison", "Row", "compare", "default_objectives", "tables"]


def compare(
    comparison: Comparison, folder: Path, jobs: int = 2, command: str = "", log: Callable[[str], None] = print
) -> dict[str, Any]:
    """Run the rows of a comparison that the folder does not hold yet.

    :param jobs: processes at a time, each on one thread
    :param command: the command as it was typed, kept in compare.json
    :param log: receives a line for every row that ends
    :return: the content of compare.json
    :raises RunError: if nothing applies to the model, x has missing values that it does not mask, no row can be
        finished, or the folder holds another comparison
    """
    from gallery.figures.comparison import bound, variance
    from gallery.figures.posterior_error import error
    from gallery.figures.style import save

    if jobs < 1:
        raise RunError(f"jobs must be at least 1, not {jobs}.")
    splits = comparison.run.datasets()
    train = splits["train"]
    if data.is_file(comparison.run.data):
        name = comparison.run.data
        log("\n".join(data.summary(splits)).replace(name, file_name(name)))
    check_missing(comparison.run, comparison.run.build(), splits)
    checked = {way: refusal(comparison, Row(*way, 0), train) for way in comparison.ways}
    errors = {Row(*way, 0).label: error for way, (error, _) in checked.items() if error is not None}
    refused = {label: " ".join(str(error).split()) for label, error in errors.items()}
    if len(refused) == len(checked):
        raise _nothing_applies(comparison.run.model, errors)
    split = "train" if any(train_only for _, train_only in checked.values()) else "test"
    for label, reason in refused.items():
        log(f"refused: {label}: {reason}")
    rows = [row for row in comparison.rows if checked[row.name, row.guide][0] is None]
    labels = dict.fromkeys(row.label for row in rows)
    log(f"{len(rows)} rows, {comparison.seeds} for each of: {'; '.join(labels)}")
    make_folder(folder / "rows")
    warned: set[str] = set()
    path = folder.absolute()  # processes that are used again keep the working directory of their start

    def run_all(
        work: Callable[..., dict[str, Any]], tasks: dict[Row, tuple[Row | None, ...]], suffix: str = ".json"
    ) -> dict[Row, dict[str, Any]]:
        calls = {}
        for row, at in tasks.items():
            spec = specification(comparison, row, split, train.hash) | {"at": [other and other.label for other in at]}
            calls[row] = work, row.file(path, suffix), spec, comparison, row, path, split, *at
        contents = _run_calls(list(calls.values()), jobs, log)
        for text in dict.fromkeys(text for content in contents for text in content.get("warnings", ())):
            if text not in warned:
                log(f"warning: {text}")
                warned.add(text)
        return dict(zip(tasks, contents, strict=True))

    done = run_all(fit, {row: () for row in rows if row.sampler in ("", "em")})
    fitted = [row for row, content in done.items() if content["status"] == "finished" and not row.sampler]

    def reference(row: Row) -> Row | None:
        return next((other for other in fitted if other.seed == row.seed and row.guide in ("", other.guide)), None)

    for name, work in (("nuts", sample), ("ais", bound_evidence), ("pathfinder", approximate)):
        done |= run_all(work, {row: (reference(row),) for row in rows if row.sampler == name})
    for row, content in run_all(measure_noise, {row: (reference(row),) for row in fitted}, ".noise.json").items():
        done[row] = done[row] | {name: content[name] for name in ("at", "noise") if name in content}
    chains = {row.seed: row for row in done if row.sampler == "nuts" and row.file(path, ".safetensors").exists()}
    unknown = [row for row in fitted if row.seed in chains and "n" not in done[row].get("posterior", ())]
    references = run_all(compare_with_nuts, {row: (chains[row.seed],) for row in unknown}, ".reference.json")
    for row, content in references.items():
        done[row] = done[row] | {"posterior": content.get("posterior", {"undefined": content.get("reason")})}
    spec = json.loads(comparison.run.to_json(splits))
    result = {
        "command": command,
        "model": Path(spec["model"]).name,  # of a file, without its folders, which the command has
        **{name: spec[name] for name in ("keywords", "data", "data_hash", "validation", "versions")},
        "settings": {name: v for name, v in spec["settings"].items() if name not in ("objective", "seed")},
        **{KEYS.get(name, name): value for name, value in asdict(comparison).items() if name != "run"},
        "split": split,
        "n": len(splits[split]),
        "device": str(train.x.device),
        "processor": processor(),
        "jobs": jobs,
        "refused": refused,
        "rows": [
            asdict(row)
            | {"label": row.label}
            | rounded({n: v for n, v in done[row].items() if n != "asked"}, of_lists=6)
            for row in rows
        ],
    }
    result["verdict"] = verdict(result)
    write_atomically(folder / "compare.json", (in_lines(result, 2) + "\n").encode())
    if not any(content["status"] == "finished" for content in done.values()):
        raise RunError(f"no row could be finished. {rows[0].label}: {done[rows[0]]['reason']}")
    for name, figure in (("bound", bound(result)), ("variance", variance(result)), ("error", error(result))):
        if figure is not None:
            save(figure, folder / f"{name}.png")
    return result


def _nothing_applies(model: str, errors: dict[str, Exception]) -> RunError:
    """Return the error for a comparison all of whose rows are refused; the remedy of a single row is kept."""
    if len(errors) > 1:
        return RunError(f"nothing applies to {model}. {'; '.join(f'{label}: {e}' for label, e in errors.items())}")
    ((label, error),) = errors.items()
    message = getattr(error, "message", str(error))
    return RunError(f"nothing applies to {model}. {label}: {message}", getattr(error, "remedy", None))


def _run_calls(calls: list[tuple], jobs: int, log: Callable[[str], None]) -> list[dict[str, Any]]:
    """Run the calls of `run_row` whose files are missing; return the content of the files of all calls."""
    missing = [call for call in calls if _read_row(call[1], call[2]) is None]
    if len(missing) < len(calls):
        log(f"{calls[0][0].__name__}: {len(calls) - len(missing)} of {len(calls)} rows are there already")
    try:
        ended = joblib.Parallel(jobs, return_as="generator_unordered")(
            joblib.delayed(run_row_of)(os.getpid(), *c) for c in missing
        )
        for number, content in enumerate(ended, start=1):
            log(f"{missing[0][0].__name__} {number}/{len(missing)} {progress_line(content)}")
    except TerminatedWorkerError as error:
        raise RunError(
            "a process was killed, perhaps for lack of memory. Repeat the command with fewer jobs; it continues."
        ) from error
    return [json.loads(call[1].read_text()) for call in calls]


def _read_row(path: Path, spec: dict[str, Any]) -> dict[str, Any] | None:
    """Return the content of a row's file; None if there is no file, or the row was not finished.

    :raises RunError: if the file is damaged, or of a row with other settings
    """
    try:
        content = json.loads(path.read_text())
        before = renamed(content["asked"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged. Remove it and repeat the command, which runs its row again.") from error
    if other := [name for name in spec if name != "at" and before.get(name) != spec[name]]:
        raise RunError(
            f"{path} is of a comparison with another {', '.join(other)}. Remove the folder, or choose another one."
        )
    return content if content["status"] == "finished" and before == spec else None
