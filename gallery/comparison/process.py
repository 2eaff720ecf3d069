"""Run the work of a row in a process: on one thread, with a file for its results, and never longer than its parent."""

import functools
import json
import os
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from inference.files import write_atomically
from inference.products import using_products

__all__ = ["run_row", "run_row_of"]

PARENT_SECONDS = 1.0  # between two checks whether the parent of a process is there


def run_row_of(parent: int, *call: Any) -> dict[str, Any]:
    """Call `run_row` in a process that ends within PARENT_SECONDS after its parent, also after one that was killed.

    :param parent: the number of the process of the comparison
    """
    if os.getpid() != parent and os.getppid() == parent:
        _end_with(parent)
    return run_row(*call)


@functools.cache
def _end_with(parent: int) -> None:
    def wait() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def run_row(work: Callable[..., dict[str, Any]], path: Path, spec: dict[str, Any], *args: Any) -> dict[str, Any]:
    """Run a row on one thread, and write its specification with its results, or with the reason of its failure.

    :param work: the function of `gallery.comparison.work` that runs it
    :param spec: its `specification`
    :param args: of `work`
    :return: the content of the file
    """
    import torch._inductor.config as inductor

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    warned: list[warnings.WarningMessage] = []
    try:
        products = using_products(None if spec["products"] == "auto" else spec["products"])
        # with fallback_random a compiled step draws the same numbers
        with warnings.catch_warnings(record=True) as recorded:
            warned = recorded
            with inductor.patch(fallback_random=True), torch.random.fork_rng(), products:
                outcome = {"status": "finished", **work(*args)}
    except Exception as error:
        outcome = {"status": "failed", "reason": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
    finally:
        torch.set_num_threads(threads)
    if texts := [*dict.fromkeys(" ".join(str(it.message).split()) for it in warned)]:
        outcome["warnings"] = texts
    content = json.loads(json.dumps({"asked": spec, **outcome}), parse_constant=lambda name: None)  # no Infinity, NaN
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
    return content
