"""The commands on the gallery as a whole: `gallery reproduce`, `bench` and `site`."""

import sys
from json import dumps
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console

from gallery.catalogue.recipes import RECIPES
from gallery.errors import RunError, unknown
from gallery.runs.parse import has_type, read_json
from inference.files import write_atomically

__all__ = ["bench", "reproduce_recipes", "site"]


def reproduce_recipes(
    *names: str,
    seeds: int = 5,
    first_seed: int = 0,
    quick: bool = False,
    out: Path = Path("reproduced"),
    ledger: Path | None = None,
    only: str = "1/1",
) -> None:
    """Run recipes, seed by seed, into a ledger beside the published results; an interrupted command continues.

    :param names: Recipes (`gallery show MODEL` lists those of a model); all of them if none is named.
    :param seeds: Number of seeds.
    :param first_seed: The first of them.
    :param quick: A few epochs each, on the embedded digits instead of larger images.
    :param out: Folder of the runs.
    :param ledger: The file with the numbers [OUT/ledger.json].
    :param only: I/N: every N-th of the runs, from the I-th on, so that the N jobs of a cluster's array share them.
    """
    from gallery.ledger.reproduce import reproduce

    if seeds < 1 or first_seed < 0:
        raise RunError(f"--seeds must be at least 1 and --first-seed at least 0, not {seeds} and {first_seed}.")
    if first_seed + seeds > 2**63:
        raise RunError(f"--first-seed and --seeds must stay below 2**63, not {first_seed} and {seeds}.")
    for name in names:
        if name not in RECIPES:
            raise unknown("recipe", name, RECIPES, "gallery show MODEL")
    file = ledger or out / "ledger.json"
    if not file.name or file.is_dir():
        raise RunError(f"--ledger is a file, and {file} is a folder.")
    reproduce(names or RECIPES, range(first_seed, first_seed + seeds), out, file, quick, share=_share(only))
    print(f"ledger: {file}")


def _share(only: str) -> tuple[int, int]:
    """Return (i, N) of "I/N".

    :raises RunError: unless 1 <= I <= N
    """
    parts = only.split("/")
    if len(parts) == 2 and all(part.isascii() and part.isdecimal() for part in parts):
        i, n = map(int, parts)
        if 1 <= i <= n:
            return i, n
    raise RunError(f"--only is I/N with 1 <= I <= N, such as 2/8, not {only!r}.")


def bench(
    *names: str,
    json: Path | None = None,
    threads: int | None = None,
    seconds: float = 2.0,
    growth: bool = False,
    whole_fits: bool = False,
    profile: bool = False,
    merge: Path | None = None,
) -> None:
    """Time a step beside stock Pyro, plain PyTorch, NumPyro where it is installed, and the matrix products alone.

    :param names: Models; if none is named, one of each family that is also written in plain PyTorch.
    :param json: A file for the numbers.
    :param threads: Of the CPU.
    :param seconds: For which each contestant is timed.
    :param growth: Also time how the step grows with batch size, particles, components and length: minutes more.
    :param whole_fits: Also time whole fits, from the start of the process to its files: minutes more.
    :param profile: Also measure the parts of the compiled step, on the CPU: minutes more.
    :param merge: Time nothing: add this file, of tests/gpu/run.sh, to the file of --json, under the name of its device.
    :raises RunError: if the folder of the file is missing, or a number is not positive
    """
    if merge is not None:
        print(_merged(merge, json))
        return
    import torch

    from gallery.bench import bench as run_bench
    from gallery.bench.report import caption, for_terminal

    if json is not None and not json.parent.is_dir():
        raise RunError(f"there is no folder {json.parent}: make it first.")
    if json is not None and json.is_dir():
        raise RunError(f"--json is a file, and {json} is a folder.")
    if not seconds > 0 or (threads is not None and threads < 1):
        raise RunError(f"--seconds and --threads must be positive, not {seconds} and {threads}.")
    if threads is not None:
        torch.set_num_threads(threads)
    content = run_bench(names, seconds, growth, whole_fits, profile)
    console = Console(width=140 if not sys.stdout.isatty() else None)
    console.print(for_terminal(content))
    console.print(caption(content))
    if json is not None:
        write_atomically(json, (dumps(content, indent=2) + "\n").encode())
        print(json)


def _merged(part: Path, whole: Path | None) -> Path:
    """Add the measurements of a device to the file of a benchmark, under "devices"; return the file.

    :raises RunError: if one of the files is not what it should be
    """
    if whole is None:
        raise RunError("--merge adds a file to that of --json, which is missing.")
    contents = []
    for path in (part, whole):
        content = read_json(path)
        if not has_type(content, dict[str, Any]) or not has_type(content.get("hardware"), dict[str, Any]):
            raise RunError(f"{path} is not a file of `gallery bench` or of tests/gpu/run.sh; nothing was changed.")
        contents.append(content)
    measured, content = contents
    content["devices"] = content.get("devices", {}) | {str(measured["hardware"].get("device")): measured}
    write_atomically(whole, (dumps(content, indent=2) + "\n").encode())
    return whole


def site(
    *,
    runs: Path | None = None,
    out: Path = Path("site"),
    open: Annotated[bool, Parameter(negative=())] = False,
    trust: bool = False,
) -> None:
    """Write the gallery as static pages, to be opened from disk or put on any web server.

    :param runs: A folder; every finished run below it gets a page.
    :param out: Folder of the pages, new, empty or of an earlier site.
    :param open: Open the first page in a browser.
    :param trust: Execute the files that the runs name, also if you have not fitted them.
    """
    from gallery.report.site import write_site

    index = write_site(out, runs, trust=trust).resolve()
    print(f"site: {index}")
    if open:
        import webbrowser

        if not webbrowser.open(index.as_uri()):
            print("no browser could be opened: open the file above in one.", file=sys.stderr)
