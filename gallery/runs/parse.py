"""JSON files as typed dataclasses, with a message for each field that is wrong.

parse(Settings, {"epochs": 1.5}, "run.json: settings.")    # run.json: settings.epochs is 1.5; expected an integer.
"""

import json
import math
import types
import typing
from collections.abc import Collection, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from gallery.errors import RunError
from inference import InferenceError

__all__ = [
    "HistoryLine",
    "Metrics",
    "Position",
    "describe_type",
    "has_type",
    "in_lines",
    "parse",
    "parse_metrics",
    "read_json",
    "renamed",
    "rounded",
    "wrong",
]

T = TypeVar("T")
Number = typing.NewType("Number", float)  # NaN and infinity included, as in the bounds of a poor fit
MOST_BYTES = 2**28  # of a JSON file
_WORDS: dict[Any, str] = {
    int: "an integer",
    float: "a finite number",
    Number: "a number",
    str: "a string",
    bool: "true or false",
    dict: "an object",
    list: "a list",
    type(None): "null",
}


@dataclass(frozen=True)
class HistoryLine:
    """A line of history.jsonl; held-out numbers by split and name. `evaluated` is false where there are none."""

    epoch: int
    step: int
    loss: float
    loss_is_bound: bool
    lr: float
    beta: float
    seconds: float
    test: dict[str, Number] | None = None
    validation: dict[str, Number] | None = None
    collapsed: list[str] | None = None
    evaluated: bool | None = None
    weight_error: float | None = None


@dataclass(frozen=True)
class Position:
    """The position of a fit in its checkpoint.

    :param step: steps done
    :param count: steps of the current epoch that are done
    :param seconds: of training
    :param history: the hash of the lines of history.jsonl up to the last whole epoch
    :param first_loss: loss of the first step, nats per data point
    :param products: who computes the matrix products, as `SVI.products`; None in a file of an earlier version
    """

    step: int
    count: int
    seconds: float
    history: str | None = None
    first_loss: float | None = None
    products: Literal["default", "onednn"] | None = None


@dataclass(frozen=True)
class Metrics:
    """The content of metrics.json: the metrics of each split by name, and facts about the fit."""

    test: dict[str, Any]
    train: dict[str, Any]
    is_bound: bool
    seconds: float
    steps: int
    device: str
    data: str
    data_hash: str
    epochs: int | None = None
    steps_per_second: float | None = None
    processor: str | None = None
    products: str | None = None
    simulated: dict[str, Any] | None = None
    convergence: dict[str, Any] | None = None


@dataclass(frozen=True)
class Entry:
    """A number of metrics.json with its errors."""

    value: Number | None
    unit: str | None = None
    n: int | None = None
    se: Number | None = None
    mc_se: Number | None = None


def read_json(path: Path, text: str | None = None) -> Any:
    """Return the content of a JSON file.

    :param text: the text, where it is a part of the file
    :raises RunError: if it is no file, cannot be read, or is not JSON
    """
    try:
        if text is None:
            if path.exists() and not path.is_file():
                raise RunError(f"{path} is no file.")
            if path.stat().st_size > MOST_BYTES:
                raise RunError(f"{path} is damaged: it has more than {MOST_BYTES >> 20} MiB. Nothing was changed.")
            text = path.read_text(encoding="utf-8")
        return json.loads(text)
    except FileNotFoundError:
        raise RunError(f"there is no file {path}.") from None
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:80]
        raise RunError(f"{path} is damaged ({reason}); nothing was changed.") from error


def has_type(value: Any, kind: Any) -> bool:
    """Return whether a value of JSON has a type: a class, X | None, Literal, list[X], Sequence[X] or dict[str, X].

    An integer is a float too; a float is finite. Any other annotation admits every value.

    >>> has_type(1, float), has_type(True, int), has_type([1, 2.5], list[int]), has_type(None, int | None)
    (True, False, False, True)
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is None:
        kind = type(None)
    if origin in (Union, types.UnionType):
        return any(has_type(value, one) for one in arguments)
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in arguments)
    if origin is tuple and arguments[1:] != (...,):
        return isinstance(value, list | tuple)
    if origin in (list, tuple, Sequence, Collection):
        inner = arguments[0] if arguments else Any
        return isinstance(value, list | tuple) and all(has_type(one, inner) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(has_type(one, arguments[1]) for one in value.values())
    if kind in (float, Number):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (kind is Number or _is_finite(value))
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind in (bool, str, dict, list, type(None)):
        return isinstance(value, kind)
    return True


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def describe_type(kind: Any) -> str:
    """Return a type in words, such as "an integer or null"."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(describe_type, arguments)))
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is dict:
        return f"an object whose values are each {describe_type(arguments[1])}"
    if origin is not None:
        return f"a list, each {describe_type(arguments[0])}"
    return _WORDS.get(kind, getattr(kind, "__name__", str(kind)))


def parse(cls: type[T], content: Any, where: str, others: bool = False) -> T:
    """Return JSON content as a dataclass.

    :param where: begins the message, such as "runs/a/run.json: settings."
    :param others: whether there may be fields that the class does not have; they are left out
    :raises RunError: if a field is missing or unknown, or has another type or a value that the class refuses
    """
    assert is_dataclass(cls)
    if not isinstance(content, dict):
        raise wrong(where.rstrip(". "), content, dict)
    hints = typing.get_type_hints(cls)
    names = {field.name: field for field in fields(cls)}
    for name in content.keys() - names.keys() if not others else ():
        raise RunError(f"{where}{name[:80]} is unknown to this version.", f"Expected {', '.join(names)}.")
    values: dict[str, Any] = {}
    for name, field in names.items():
        if name in content:
            if is_dataclass(hints[name]):
                values[name] = parse(typing.cast(type, hints[name]), content[name], f"{where}{name}.")
            elif has_type(content[name], hints[name]):
                values[name] = content[name]
            else:
                raise wrong(f"{where}{name}", content[name], hints[name])
        elif field.default is MISSING and field.default_factory is MISSING:
            raise RunError(f"{where}{name} is missing. Nothing was changed.")
    try:
        return cls(**values)
    except InferenceError as error:
        raise RunError(f"{where.rstrip('.')}: {error.message}") from error


def rounded(content: Any, digits: int = 12, of_lists: int = 7) -> Any:
    """Return JSON with its numbers rounded to significant digits, those in lists, standard errors and seconds to fewer.

    >>> rounded({"value": 0.12345678901234, "se": 0.0123456, "curve": [{"elbo": 0.12345678901234}]})
    {'value': 0.123456789012, 'se': 0.01235, 'curve': [{'elbo': 0.1234568}]}
    """
    if isinstance(content, dict):
        fewer = {"se": 4, "mc_se": 4, "seconds": 4}  # a standard error from 10,000 data points has an error of 0.7 %
        return {key: rounded(value, fewer.get(key, digits), of_lists) for key, value in content.items()}
    if isinstance(content, list):
        return [rounded(value, of_lists, of_lists) for value in content]
    return float(f"{content:.{digits}g}") if isinstance(content, float) else content


def in_lines(content: Any, depth: int) -> str:
    """Return JSON as text, with a line for each item down to a depth, and what is deeper within its line.

    >>> print(in_lines({"rows": [{"a": 1, "b": [2, 3]}, {"a": 4}]}, 2))
    {
    "rows":[
    {"a":1,"b":[2,3]},
    {"a":4}
    ]
    }
    """
    if depth and content and isinstance(content, list):
        return "[\n" + ",\n".join(in_lines(item, depth - 1) for item in content) + "\n]"
    if depth and content and isinstance(content, dict):
        return "{\n" + ",\n".join(f"{json.dumps(k)}:{in_lines(of, depth - 1)}" for k, of in content.items()) + "\n}"
    return json.dumps(content, separators=(",", ":"))


def renamed(content: Any) -> Any:
    """Return an object of a file with the setting `compile` of earlier versions as `engine`, and `until` as it was.

    >>> renamed({"lr": 0.1, "compile": False})
    {'lr': 0.1, 'engine': 'pyro'}

    :param content: settings, or an object with them; anything else is returned as it is
    """
    if isinstance(content, dict) and isinstance(content.get("settings"), dict):
        return content | {"settings": {"until": "epochs"} | renamed(content["settings"])}
    if not isinstance(content, dict) or content.get("compile", "") not in (None, True, False):
        return content
    engine = {None: "auto", True: "compiled", False: "pyro"}[content["compile"]]
    return {name: value for name, value in content.items() if name != "compile"} | {"engine": engine}


def wrong(field: str, value: Any, kind: Any) -> RunError:
    """Return the error for a field of another type, with the value as it is in the file."""
    shown = json.dumps(value, default=repr)
    shown = shown if len(shown) <= 60 else f"{shown[:60]}..."
    return RunError(f"{field} is {shown}; expected {describe_type(kind)}. Nothing was changed.")


def parse_metrics(path: Path) -> dict[str, Any]:
    """Return the content of a metrics.json.

    :raises RunError: if it is missing or damaged, or a number in it has another type
    """
    content = read_json(path)
    parse(Metrics, content, f"{path}: ", others=True)
    for split in ("test", "train", "simulated"):
        _check_entries(content.get(split, {}), f"{path}: {split}.")
    return content


def _check_entries(entries: dict[str, Any], where: str) -> None:
    for name, entry in entries.items():
        if name == "undefined" and not has_type(entry, dict[str, str] | str):
            raise wrong(f"{where}undefined", entry, dict[str, str])
        if not isinstance(entry, dict):
            continue
        if "value" in entry:
            parse(Entry, entry, f"{where}{name}.", others=True)
        elif name != "undefined":
            _check_entries(entry, f"{where}{name}.")
