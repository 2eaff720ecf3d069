"""The two networks of a pair as ONNX, for any number of data at a time.

    encoder.onnx    x (and given) to the parameters of the guide's distributions: z.loc, z.scale, ...
    decoder.onnx    the latents (and given) to E[x | latents]

`len(x)` is a number to Python, so a graph would be one for as many data as it was traced with. While tracing, `len` is
therefore another function in the files of the pair and of Pyro's plate, which says the symbolic size.

A file is kept if onnxruntime finds what torch does, within TOLERANCE, for one datum, for two and for all there are.
"""

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
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
from inference import eval_mode
from inference.files import write_atomically
from inference.pairs.run import arguments, repeat

TOLERANCE = 1e-5  # of a value, or of its size where that is more than 1


def _length(thing) -> int | torch.SymInt:
    return thing.shape[0] if isinstance(thing, Tensor) else len(thing)


@contextmanager
def _symbolic(pair: nn.Module) -> Iterator[None]:
    """In the files of the pair and of Pyro's plate, `len` of a tensor may be symbolic. Pyro asks nothing of values, and
    the tracer tells nothing of itself."""
    names = {cls.__module__ for module in pair.modules() for cls in type(module).__mro__}
    others = {name for name in names if name.partition(".")[0] in {"torch", *sys.stdlib_module_names}}
    with ExitStack() as stack:
        for name in {SubsampleMessenger.__module__} | names - others:
            stack.enter_context(patch.dict(vars(sys.modules[name]), {"len": _length}))
        stack.enter_context(pyro.validation_enabled(False))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield


def as_onnx(pair: nn.Module, module: nn.Module, inputs: dict[str, Tensor], about: dict[str, str]) -> bytes:
    """The file of a function of a pair, checked.

    :param inputs: examples by name, (n, ...) each; those that nothing depends on are left out of the file
    :raises NoNetworkError: if it cannot be traced or converted
    :raises RunError: if onnxruntime finds other values than torch
    """
    what = f"The {type(module).__name__.lower()} of {type(pair).__name__}"
    with eval_mode(pair):
        outputs = list(module(*inputs.values()))
    shapes = tuple({0: torch.export.Dim("n")} for _ in inputs)
    try:
        with eval_mode(pair), _symbolic(pair):
            graph = torch.export.export(module, tuple(inputs.values()), dynamic_shapes=(shapes,), strict=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the converter about itself
            program = torch.onnx.export(
                graph, dynamic_shapes=(shapes,), input_names=list(inputs), output_names=outputs, verbose=False
            )
    except Exception as error:  # whatever a tracer and a converter can meet in a model
        raise NoNetworkError(f"{what} cannot be written as ONNX: {format_error(error)}") from error
    proto = program.model_proto
    used = {name for node in proto.graph.node for name in node.input} | {o.name for o in proto.graph.output}
    for unused in [value for value in proto.graph.input if value.name not in used]:
        proto.graph.input.remove(unused)
    onnx.helper.set_model_props(proto, about)
    content = proto.SerializeToString()
    check(what, content, pair, module, inputs)
    return content


def check(what: str, content: bytes, pair: nn.Module, module: nn.Module, inputs: dict[str, Tensor]) -> None:
    """:raises RunError: if onnxruntime finds other values than torch for one datum, two, or all of the inputs"""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for n in (1, 2, len(next(iter(inputs.values())))):
        few = {name: value[:n] for name, value in inputs.items()}
        with eval_mode(pair):
            expected = module(*few.values())
        feed = {value.name: few[value.name].numpy() for value in session.get_inputs()}
        for (name, wanted), found in zip(expected.items(), session.run(list(expected), feed), strict=True):
            found = torch.from_numpy(found)
            worst = ((found - wanted).abs() / wanted.abs().clamp(min=1)).max().item()
            if found.shape != wanted.shape or not worst <= TOLERANCE:
                raise RunError(f"{what} differs as ONNX from torch by {worst:.2g} in {name}: nothing was written.")


def write(run: Run, pair: nn.Module, dataset: Dataset, folder: Path) -> tuple[list[Path], list[str]]:
    """Writes encoder.onnx and decoder.onnx into a folder; (their paths, why there is no such file).

    :param dataset: data that the files are checked on
    :raises RunError: if the pair has neither, or one of them is not what torch computes; nothing is written then
    """
    pair, dataset = pair.to("cpu"), dataset.to("cpu")
    args, contents, reasons = arguments(pair, dataset.scored(), dataset.given), {}, []
    if len(args[0]) == 1:  # a tracer takes a size of 1 for one that is always 1
        args = repeat(args, 2)
    said = {"model": run.model, "keywords": json.dumps(run.keywords), "data": run.data}
    for name, make in {"encoder": encoder, "decoder": decoder}.items():
        try:
            module, inputs, families = make(pair, args)
            contents[folder / f"{name}.onnx"] = as_onnx(pair, module, inputs, said | families)
        except NoNetworkError as error:
            reasons.append(str(error))
    if not contents:
        raise RunError(" ".join(reasons))
    folder.mkdir(exist_ok=True)
    for path, content in contents.items():
        write_atomically(path, content)
    return list(contents), reasons
