"""One model, every way to fit it: objectives, guides and samplers side by side, against the truth where it is known.

    comparison = Comparison(Run.of("factor_analysis"), ("trace", "score", "iwae:5"), samplers=("em",))
    result = compare(comparison, Path("runs/compare"), jobs=2)

The folder gets compare.json with everything, bound.png, variance.png and, in rows/, a file for each row as it ends:
what is there is not run again. Rows run in processes of joblib; on a cluster whose hosts share the folder in those of
dask, within

    client = dask.distributed.Client("tcp://HOST:8786")
    with joblib.parallel_config(backend="dask"):
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from gallery.compare.report import ending, tables
from gallery.compare.rows import SAMPLERS, USUAL, Comparison, Row, refusal, usual
from gallery.compare.work import asked, carry_out, fit, noise, sample, sides
from gallery.errors import RunError
from gallery.runs.system import processor
from inference.files import write_atomically

__all__ = ["SAMPLERS", "USUAL", "Comparison", "Row", "compare", "tables", "usual"]


def compare(
    comparison: Comparison, folder: Path, jobs: int = 2, command: str = "", say: Callable[[str], None] = print
) -> dict:
    """Carries out what the folder does not hold yet; returns what compare.json holds.

    :param jobs: processes at a time, each on one thread
    :raises RunError: if nothing applies to the model, no row can be finished, or the folder holds another comparison
    """
    from gallery.figures.comparison import bound, variance
    from gallery.figures.style import save

    if jobs < 1:
        raise RunError(f"--jobs is at least 1, not {jobs}.")
    splits = comparison.run.datasets()
    train = splits["train"]
    told = {way: refusal(comparison, Row(*way, 0), train) for way in comparison.ways}
    refused = {Row(*way, 0).label: reason for way, (reason, _) in told.items() if reason}
    if len(refused) == len(told):
        raise RunError(f"nothing applies to {comparison.run.model}. {'; '.join(map(': '.join, refused.items()))}")
    split = "train" if any(whole for _, whole in told.values()) else "test"
    for label, reason in refused.items():
        say(f"refused: {label}: {reason}")
    rows = [row for row in comparison.rows if not told[row.name, row.guide][0]]
    try:
        (folder / "rows").mkdir(parents=True, exist_ok=True)
        whole = folder.absolute()  # processes that are used again are where they began
    except OSError as error:
        raise RunError(f"cannot make the folder {folder}: {error.strerror}.") from error

    def carried_out(work: Callable[..., dict], tasks: dict[Row, tuple], end: str = ".json") -> dict[Row, dict]:
        calls = {}
        for row, at in tasks.items():
            about = asked(comparison, row, split, train.hash) | {"at": [other and other.label for other in at]}
            calls[row] = work, row.file(whole, end), about, comparison, row, whole, split, *at
        return dict(zip(tasks, _carried_out(list(calls.values()), jobs, say), strict=True))

    done = carried_out(fit, {row: () for row in rows if row.sampler in ("", "em")})
    fitted = [row for row, found in done.items() if found["status"] == "finished" and not row.sampler]

    def reference(row: Row) -> Row | None:
        return next((other for other in fitted if other.seed == row.seed and row.guide in ("", other.guide)), None)

    for name, work in (("nuts", sample), ("ais", sides)):
        done |= carried_out(work, {row: (reference(row),) for row in rows if row.sampler == name})
    for row, found in carried_out(noise, {row: (reference(row),) for row in fitted}, ".noise.json").items():
        done[row] = done[row] | {name: found[name] for name in ("at", "noise") if name in found}
    about = json.loads(comparison.run.to_json(train))
    result = {
        "command": command,
        **{name: about[name] for name in ("model", "keywords", "data", "data_hash", "validation", "versions")},
        "settings": {name: v for name, v in about["settings"].items() if name not in ("objective", "seed")},
        **{name: value for name, value in asdict(comparison).items() if name != "run"},
        "split": split,
        "n": len(splits[split]),
        "device": str(train.x.device),
        "processor": processor(),
        "jobs": jobs,
        "refused": refused,
        "rows": [
            asdict(row) | {"label": row.label} | {name: v for name, v in done[row].items() if name != "asked"}
            for row in rows
        ],
    }
    write_atomically(folder / "compare.json", (json.dumps(result, indent=1) + "\n").encode())
    if not any(found["status"] == "finished" for found in done.values()):
        raise RunError(f"no row could be finished. {rows[0].label}: {done[rows[0]]['reason']}")
    for name, figure in (("bound", bound(result)), ("variance", variance(result))):
        if figure is not None:
            save(figure, folder / f"{name}.png")
    return result


def _carried_out(calls: list[tuple], jobs: int, say: Callable[[str], None]) -> list[dict]:
    """What the files of all calls of `carry_out` hold, after the calls whose files are not there."""
    left = [call for call in calls if _held(call[1], call[2]) is None]
    if len(left) < len(calls):
        say(f"{calls[0][0].__name__}: {len(calls) - len(left)} of {len(calls)} rows are there already")
    try:
        ended = joblib.Parallel(jobs, return_as="generator_unordered")(joblib.delayed(carry_out)(*c) for c in left)
        for number, found in enumerate(ended, start=1):
            say(f"{left[0][0].__name__} {number}/{len(left)} {ending(found)}")
    except TerminatedWorkerError as error:
        raise RunError(
            "a process was killed, perhaps for want of memory: the same command goes on, with fewer --jobs."
        ) from error
    return [json.loads(call[1].read_text()) for call in calls]


def _held(path: Path, about: dict) -> dict | None:
    """What a row's file holds, if the row was finished.

    :raises RunError: if it was asked for with other settings
    """
    try:
        content = json.loads(path.read_text())
        before = content["asked"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged: remove it, and the row is run again.") from error
    if other := [name for name in about if name != "at" and before.get(name) != about[name]]:
        raise RunError(
            f"{path} is of a comparison with another {', '.join(other)}: remove the folder, or choose another --out."
        )
    return content if content["status"] == "finished" and before == about else None
