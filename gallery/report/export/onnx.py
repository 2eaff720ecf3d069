"""Encoder and decoder of a pair as ONNX, for any number of data points.

    encoder.onnx    x (and given) to the parameters of the guide's distributions: z.loc, z.scale, ...
    decoder.onnx    the latents (and given) to E[x | latents]

`len(x)` is a Python integer, so a traced graph would be fixed to one number of rows. While tracing, `len` is therefore
replaced in the modules of the pair and of Pyro's plate by a function that returns the symbolic size.

A file is written if onnxruntime and torch agree within TOLERANCE for one data point, for two and for all.
"""

import json
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import onnx
import onnxruntime
import pyro
import torch
from pyro.poutine.subsample_messenger import SubsampleMessenger
from torch import Tensor, nn

from data import Dataset
from gallery.errors import RunError
from gallery.report.export.networks import NoNetworkError, decoder, encoder
from gallery.runs.registry import format_error
from gallery.runs.specification import Run
from inference import Pair, eval_mode
from inference.files import make_folder, write_atomically
from inference.pairs.run import arguments, repeat

__all__ = ["TOLERANCE", "as_onnx", "check", "write"]

TOLERANCE = 1e-5  # absolute for values up to 1, else relative
NO_OPERATOR = re.compile(r"No ONNX function found for <OpOverload\(op='(?:\w+\.)*(\w+)'")


def _length(value: Any) -> int | torch.SymInt:
    return value.shape[0] if isinstance(value, Tensor) else len(value)


@contextmanager
def _symbolic(pair: Pair) -> Iterator[None]:
    """Let `len` of a tensor be symbolic in the modules of the pair and of Pyro's plate.

    Pyro's validation reads values, which a tracer has not, so it is off. Warnings of the tracer are ignored.
    """
    names = {cls.__module__ for module in pair.modules() for cls in type(module).__mro__}
    others = {name for name in names if name.partition(".")[0] in {"torch", *sys.stdlib_module_names}}
    with ExitStack() as stack:
        for name in {SubsampleMessenger.__module__} | names - others:
            stack.enter_context(patch.dict(vars(sys.modules[name]), {"len": _length}))
        stack.enter_context(pyro.validation_enabled(False))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield


def as_onnx(pair: Pair, module: nn.Module, inputs: dict[str, Tensor], about: dict[str, str]) -> bytes:
    """Convert an encoder or decoder to ONNX, check it, and return the content of the file.

    :param inputs: examples by name, (n, ...) each; inputs that no output depends on are left out of the file
    :param about: the metadata of the file
    :raises NoNetworkError: if it cannot be traced or converted
    :raises RunError: if onnxruntime and torch differ
    """
    what = f"The {type(module).__name__.lower()} of {type(pair).__name__}"
    with eval_mode(pair):
        outputs = list(module(*inputs.values()))
    shapes = tuple({0: torch.export.Dim("n")} for _ in inputs)
    try:
        with eval_mode(pair), _symbolic(pair):
            graph = torch.export.export(module, tuple(inputs.values()), dynamic_shapes=(shapes,), strict=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # internal to the converter
            program = torch.onnx.export(
                graph, dynamic_shapes=(shapes,), input_names=list(inputs), output_names=outputs, verbose=False
            )
    except Exception as error:  # tracer and converter raise errors of any class
        raise NoNetworkError(f"{what} cannot be written as ONNX: {_reason(error)}") from error
    assert program is not None  # it is if the call writes no file
    proto = program.model_proto
    used = {name for node in proto.graph.node for name in node.input} | {o.name for o in proto.graph.output}
    for unused in [value for value in proto.graph.input if value.name not in used]:
        proto.graph.input.remove(unused)
    onnx.helper.set_model_props(proto, about)
    content = proto.SerializeToString()
    check(what, content, pair, module, inputs)
    return content


def _reason(error: Exception) -> str:
    """Return in one line why a tracer or converter failed."""
    if "Constraints violated" in str(error):
        return "traced by torch, its number of rows becomes a constant."
    if missing := NO_OPERATOR.search(str(error)):
        return f"ONNX has no operator {missing[1]}."
    return format_error(error)


def check(what: str, content: bytes, pair: Pair, module: nn.Module, inputs: dict[str, Tensor]) -> None:
    """Compare onnxruntime with torch on one data point, on two, and on all inputs.

    :raises NoNetworkError: if onnxruntime cannot load the file
    :raises RunError: if they differ by more than TOLERANCE
    """
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its classes
        raise NoNetworkError(f"{what} cannot be written as ONNX: {format_error(error)[:200]}") from error
    for n in (1, 2, len(next(iter(inputs.values())))):
        rows = {name: value[:n] for name, value in inputs.items()}
        with eval_mode(pair):
            expected = module(*rows.values())
        feed = {value.name: rows[value.name].numpy() for value in session.get_inputs()}
        for (name, target), actual in zip(expected.items(), session.run(list(expected), feed), strict=True):
            actual = torch.from_numpy(actual)
            worst = ((actual - target).abs() / target.abs().clamp(min=1)).max().item()
            if actual.shape != target.shape or not worst <= TOLERANCE:
                raise RunError(f"{what} differs as ONNX from torch by {worst:.2g} in {name}; no file was written.")


def write(run: Run, pair: Pair, dataset: Dataset, folder: Path) -> tuple[list[Path], list[str]]:
    """Write encoder.onnx and decoder.onnx into a folder; nothing is written on an error.

    :param dataset: data for the check
    :return: (the paths, the reasons why a network is missing)
    :raises RunError: if the pair has neither network, or onnxruntime and torch differ
    """
    pair, dataset = pair.to("cpu"), dataset.to("cpu")
    args, contents, reasons = arguments(pair, dataset.scored(), dataset.given), {}, []
    if len(args[0]) == 1:  # a tracer treats a size of 1 as constant
        args = repeat(args, 2)
    about = {"model": run.model, "keywords": json.dumps(run.keywords), "data": run.data}
    for name, make in {"encoder": encoder, "decoder": decoder}.items():
        try:
            module, inputs, families = make(pair, args)
            contents[folder / f"{name}.onnx"] = as_onnx(pair, module, inputs, about | families)
        except NoNetworkError as error:
            reasons.append(str(error))
    if not contents:
        raise RunError(" ".join(reasons))
    make_folder(folder)
    for path, content in contents.items():
        write_atomically(path, content)
    return list(contents), reasons
