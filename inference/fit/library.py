"""Compile a traced graph into a shared library, which is kept on disk.

    call = compile_library(graph, args)

torch's ahead-of-time compiler writes a library that holds the whole graph, the calls of its operators included. A call
then has no overhead of Python, and another process that has the same graph loads the library in milliseconds, without a
compiler. The parameters are arguments of the library: it has their shapes, not their values.

Libraries are kept in $XDG_CACHE_HOME/latent-gallery/steps, or ~/.cache without it, which may be deleted at any time.
Where it cannot be written, every process compiles anew.
"""

import functools
import hashlib
import logging
import os
import platform
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

__all__ = ["compile_library", "library_folder", "lift_tensors", "load_library"]

MOST = 100  # libraries that are kept; the oldest are removed
HASH = "sha256"  # the file with the hash of the others

OPTIONS: dict[str, Any] = {
    "fallback_random": True,  # draw from torch's generator, as the graph does
    "aot_inductor.precompile_headers": False,  # they take longer than they save
    "aot_inductor.enable_line_tables": False,
    "aot_inductor.enable_frame_pointer": False,
}


def compile_library(
    graph: fx.GraphModule, args: tuple[Tensor, ...], optimise: bool = False
) -> Callable[..., tuple[Tensor, ...]]:
    """Return a function that runs a graph on the CPU, for arguments of the shapes of `args`, which are not checked.

    :param optimise: optimise the calls of operators too, which takes seconds more and saves .05 ms a call
    :raises Exception: of any kind, where this version of torch cannot compile the graph so
    """
    lifted, tensors = lift_tensors(graph)
    outputs = _drop_constant_outputs(lifted)
    run = load_library(lifted, [*args, *tensors], optimise)
    constants = [tensor.detach() for tensor in tensors]

    def call(*args: Tensor) -> tuple[Any, ...]:
        computed = run([*args, *constants])
        return tuple(computed if outputs is None else [value if i is None else computed[i] for i, value in outputs])

    return call


def load_library(
    graph: fx.GraphModule, inputs: list[Tensor], optimise: bool = False
) -> Callable[[list[Tensor]], list[Tensor]]:
    """Return a function that runs a graph without constant tensors on the CPU, as `compile_library` does.

    :param inputs: the arguments of the graph, for whose shapes and types it is compiled
    :raises Exception: of any kind, where this version of torch cannot compile the graph so
    """
    if not all(value.layout == torch.strided for value in inputs):
        raise TypeError("a library takes dense tensors alone")  # others are compiled, and fail when it is called
    options = OPTIONS | {"aot_inductor.compile_wrapper_opt_level": "O1" if optimise else "O0"}
    path = _library(library_folder() / _key(graph, inputs, options), graph, inputs, options)
    return torch._C._aoti.AOTIModelContainerRunnerCpu(str(path), 1).run


def library_folder() -> Path:
    """Return the folder in which libraries are kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "latent-gallery" / "steps"


def lift_tensors(graph: fx.GraphModule) -> tuple[fx.GraphModule, list[Tensor]]:
    """Return a copy of a graph whose constant tensors are further arguments, and these tensors, each once."""
    lifted, nodes, placeholders = fx.Graph(), {}, {}
    tensors: list[Tensor] = []
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            nodes[node] = lifted.placeholder(node.name)
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            tensor: Any = functools.reduce(getattr, node.target.split("."), graph)
            if id(tensor) not in placeholders:
                placeholders[id(tensor)] = lifted.placeholder(f"tensor_{len(tensors)}")
                tensors.append(tensor)
            nodes[node] = placeholders[id(tensor)]
    for node in graph.graph.nodes:
        if node not in nodes:
            nodes[node] = lifted.node_copy(node, nodes.__getitem__)
            nodes[node].meta.clear()  # of another trace, from which the compiler would take its shapes
    return fx.GraphModule({}, lifted), tensors


def _drop_constant_outputs(graph: fx.GraphModule) -> list[tuple[int | None, object]] | None:
    """Drop outputs that are no tensors, such as the gradient of an unused weight; return how to put them back."""
    (output,) = graph.graph.find_nodes(op="output")
    values = output.args[0]
    kept = [value for value in values if isinstance(value, fx.Node)]
    if len(kept) == len(values):
        return None
    output.args = (tuple(kept),)
    graph.recompile()
    numbers = iter(range(len(kept)))
    return [(next(numbers), None) if isinstance(value, fx.Node) else (None, value) for value in values]


def _key(graph: fx.GraphModule, inputs: list[Tensor], options: dict[str, Any]) -> str:
    """Return a hash of all that the library depends on: graph, shapes, torch and its settings, processor."""
    shapes = [(value.dtype, tuple(value.shape), value.stride()) for value in inputs]
    settings = torch.get_num_threads(), torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    codes = [part.code for part in graph.modules() if isinstance(part, fx.GraphModule)]  # the graphs within it
    parts = [*codes, shapes, sorted(options.items()), torch.__version__, _processor(), settings]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


@functools.cache
def _processor() -> str:
    """Return the instructions of this processor: a folder may be shared by several machines."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return platform.platform() + platform.processor()


def _library(folder: Path, graph: fx.GraphModule, inputs: list[Tensor], options: dict[str, Any]) -> Path:
    """Return the path of the library of a graph: that in the folder, if it is whole, else one that is compiled now."""
    if _is_whole(folder):
        with suppress(OSError):
            os.utime(folder)  # the last use
        return folder / "step.so"
    with torch.no_grad(), _quiet():
        path = Path(str(torch._inductor.aot_compile(graph, tuple(inputs), options=options)))
    with suppress(OSError):  # the folder cannot be written, or another process was faster
        _keep(path, folder)
    return path


def _keep(path: Path, folder: Path) -> None:
    """Copy a library into a folder, which appears as a whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_oldest(folder.parent)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="new-") as temporary:
        new = Path(temporary) / "library"
        new.mkdir()
        for suffix in (".so", ".json"):  # the second lists operators that are called through torch
            with suppress(FileNotFoundError):
                shutil.copy(path.with_suffix(suffix), new / f"step{suffix}")
        (new / HASH).write_text(_hash(new))
        if not _is_whole(folder):
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(new, folder)


def _is_whole(folder: Path) -> bool:
    """Return whether a folder holds a library as it was written: to load a damaged one can end the process."""
    try:
        return (folder / HASH).read_text() == _hash(folder)
    except (OSError, ValueError):
        return False


def _hash(folder: Path) -> str:
    """Return the SHA-256 of the files of a library."""
    files = sorted(folder.glob("step.*"))
    return hashlib.sha256(b"".join(file.name.encode() + file.read_bytes() for file in files)).hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the compiler, which warns of itself and of operators that it calls through torch."""
    loggers = [logging.getLogger(name) for name in ("torch._inductor", "torch.utils.cpp_extension")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _remove_oldest(folder: Path) -> None:
    with suppress(OSError):
        kept = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
        for path in kept[:-MOST]:
            shutil.rmtree(path, ignore_errors=True)
