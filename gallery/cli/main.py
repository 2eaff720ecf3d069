"""The command line: `gallery COMMAND ...`, also `python -m gallery`.

Modules of commands are imported when the command runs, and torch with them.

fit.py        gallery fit, gallery demo
compare.py    gallery compare
runs.py       gallery resume, evaluate, summary, sample, export
catalogue.py  gallery list, show, data
check.py      gallery check
course.py     gallery lesson, grade
new.py        gallery new
results.py    gallery reproduce, bench, site

The flags of `fit` are read off the model's constructor and `inference.Settings`. An error is one line, with exit code
2; --debug shows the traceback. The packages below name settings in their errors; here a setting becomes a flag.
"""

import errno
import importlib
import importlib.metadata
import itertools
import os
import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress

from cyclopts import App, CycloptsError, UnknownOptionError, UnusedCliTokensError

from gallery.cli.flags import WORDS, as_typed
from gallery.cli.warned import warned_once
from gallery.runs.registry import format_error, line_of
from inference.errors import UserError

__all__ = ["COMMANDS", "app", "command_of", "main", "version"]


def version() -> str:
    """Return the version of the installed distribution."""
    return importlib.metadata.version("latent-gallery")


app = App(
    name="gallery",
    help="The gallery of latent variable models in Pyro.",
    help_format="plaintext",
    version=version,
    suppress_keyboard_interrupt=False,
    default_parameter=WORDS,
)
COMMANDS: dict[str, tuple[str, str]] = {
    "fit": ("fit:fit_app", "Fit a model: `gallery fit MODEL --help` lists its flags."),
    "compare": (
        "compare:compare_app",
        "Fit a model in several ways and compare them: `gallery compare MODEL --help` lists its flags.",
    ),
    "data": ("catalogue:data_app", "List the data sets, or fetch one."),
    "list": (
        "catalogue:list_models",
        "List the models in groups: seconds of a fit by its recipe, whether it needs data, and its story in a line.",
    ),
    "reproduce": (
        "results:reproduce_recipes",
        "Run recipes, seed by seed, into a ledger beside the published results; an interrupted command continues.",
    ),
    "show": (
        "catalogue:show",
        "Print the story of a model, its hyper-parameters and its published results; or draw its plate diagram.",
    ),
    "resume": ("runs:resume", "Continue an interrupted run from its checkpoint."),
    "evaluate": ("runs:evaluate", "Evaluate a fitted run: bounds with their standard errors, KL, active units."),
    "summary": (
        "runs:summary",
        "Print the latents of a fitted run: mean, standard deviation, quantiles, and the truth where it is known.",
    ),
    "sample": ("runs:sample", "Draw samples from a fitted model: a figure of pictures, or arrays in an .npz file."),
    "export": (
        "runs:export",
        "Write a fitted run for other programs: its draws for ArviZ, or its encoder and decoder as ONNX.",
    ),
    "check": (
        "check:check",
        "Check a model against the contract of CONTRIBUTING.md: each fault, at which site, and how to correct it.",
    ),
    "lesson": ("course:lesson", "Write the notebook of a lesson of the course, with holes for the exercises."),
    "grade": (
        "course:grade",
        "Run a notebook of the course, and check each exercise by its value: which holds, and what is wrong.",
    ),
    "new": ("new:new", "Write a new model, which can be fitted to digits without a change."),
    "bench": (
        "results:bench",
        "Time a step beside stock Pyro, plain PyTorch, NumPyro where it is installed, and the matrix products alone.",
    ),
    "demo": (
        "fit:demo",
        "Fit three models with exact answers and a VAE, and write the gallery's pages with them; one to two minutes.",
    ),
    "site": ("results:site", "Write the gallery as static pages, to be opened from disk or put on any web server."),
}
"""By command: where it is in this package, and the first line of its help, which needs no import."""
for _name, (_place, _help) in COMMANDS.items():
    app.command(f"gallery.cli.{_place}", name=_name, help=_help)

_OF_MODEL = {"fit": ("gallery.cli.fit", "fit_command"), "compare": ("gallery.cli.compare", "compare_command")}


def command_of(arguments: list[str]) -> tuple[App, list[str]]:
    """Return the command and its remaining arguments: `fit MODEL` and `compare MODEL` have flags read off the model."""
    if len(arguments) > 1 and arguments[0] in _OF_MODEL and not arguments[1].startswith("-"):
        command_name, model, *rest = arguments
        command = App(
            name=f"gallery {command_name} {model}",
            help_format="plaintext",
            version=version,
            suppress_keyboard_interrupt=False,
            default_parameter=WORDS,
        )
        module, function = _OF_MODEL[command_name]
        command.default(getattr(importlib.import_module(module), function)(model))
        return command, rest
    return app, arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    :param argv: the arguments; those of the process if None
    :return: the exit code: 0; 2 for an error that the user can correct; 130 after Ctrl-C; 1 where the reader of the
        output has closed the pipe, or an exercise of the course does not hold
    """
    try:
        with warned_once():
            code = _main(argv)
        print(end="", flush=True)  # the rest of the output, while a closed pipe can still be caught
    except BrokenPipeError:
        _discard_output()
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise
        _discard_output()
        _complain(f"cannot write the output: {error.strerror or error}.")
        return 2
    return code


def _discard_output() -> None:
    """Drop the rest of the output, which Python would flush once more at its end."""
    with suppress(OSError, ValueError):  # a replaced stream has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str) -> None:
    with suppress(OSError):  # the error output may be full as well
        print(f"gallery: {message}", file=sys.stderr, flush=True)


def _main(argv: Sequence[str] | None) -> int:
    warnings.filterwarnings("ignore", "Encountered (NaN|\\+/-inf)", UserWarning)  # the fit raises a clearer error
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    words = list(itertools.takewhile(lambda argument: not argument.startswith("-"), arguments))
    try:
        command, rest = command_of(arguments)
        function, given, _ = command.parse_args(rest, exit_on_error=False, print_error=False)
        if "torch" in sys.modules:
            sys.modules["torch"].set_flush_denormal(True)  # before its first parallel operation
        outcome = function(*given.args, **given.kwargs)
    except _errors_of_users() as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, UnknownOptionError):
            _complain(_unknown_flag(error, " ".join(words)))
            return 2
        if isinstance(error, UnusedCliTokensError):
            _complain(_unused_words(error.unused_tokens or [], words[0] if words else ""))
            return 2
        hint = ""
        place = line_of(error)
        hint += f" ({place})" if place and place not in str(error) else ""
        _complain(f"{message_of(error, words[0] if words else '')}{hint}")
        return 2
    except Exception as error:
        message = _message_of_other(error, arguments)
        if message is None:
            raise
        if debug:
            traceback.print_exc()
        _complain(message)
        return 2
    except KeyboardInterrupt as stop:
        again = f"; `gallery resume {stop.args[0]}` continues from the checkpoint" if stop.args else ""
        again = AFTER_A_STOP.get(words[0] if words else "", again)
        _complain(f"stopped{again}")
        return 130
    return outcome if type(outcome) is int else 0


AFTER_A_STOP = {
    "compare": "; the same command continues with the remaining rows",
    "reproduce": "; the same command continues",
    "grade": "; nothing was written",
}
"""By command, how to go on after Ctrl-C; a fit names its folder."""
NO_SIZES = ("--seed", "--first-seed", "--run", "--out", "--data", "--ledger")  # their numbers take no memory
COLUMNS = re.compile(r"`(columns|label|covariates|one_hot|codes)`")
"""Settings of a table in a message."""
ON_DATA = ("check", "compare", "evaluate", "export", "show")
OF_TABLES = ("--columns", "--label", "--covariates", "--one-hot", "--codes")
"""Commands with --data, and the flags that `fit` alone has for the columns of a table."""
FORMER = {"--compile": "--engine compiled", "--no-compile": "--engine pyro"}
"""Flags of earlier versions, and what is in their place."""


def _errors_of_users() -> tuple[type[Exception], ...]:
    """Return the classes of errors that a user can correct; that of the package `data` if that was imported."""
    data = sys.modules.get("data.dataset")
    return (CycloptsError, UserError) if data is None else (CycloptsError, UserError, data.DataError)


def _unknown_flag(error: UnknownOptionError, command: str) -> str:
    """Return the message for an unknown flag: the present name of one of an earlier version, else who lists all."""
    flag = (error.token.keyword if error.token else "") or ""
    if flag in FORMER:
        return f"{flag} has another name. Use {FORMER[flag]}."
    if command.split(" ")[0] in ON_DATA and flag in OF_TABLES:
        return f"{flag} is a flag of `gallery fit`. Here it is part of the data: --data 'x.csv?columns=a,b&label=c'."
    return f"{' '.join(str(error).split())} `gallery {command} --help` lists them."


def _unused_words(unused: Sequence[str], command: str) -> str:
    """Return the message for words beyond those that a command takes, as where a list is written with spaces."""
    hint = f"Separate the values of a list by commas alone; `gallery {command} --help` lists what it takes."
    return f"unexpected {' '.join(map(repr, unused))}. {hint}"


def _message_of_other(error: Exception, arguments: list[str]) -> str | None:
    """Return the line for an error of a user's model, of the system, or of a size that no memory holds; else None."""
    if line_of(error) is not None:
        return format_error(error)
    if isinstance(error, OSError) and error.filename is None:  # of the output: `main` handles it
        return None
    if isinstance(error, OSError):
        return f"{str(error.filename)[:200]}: {error.strerror}."
    from gallery.runs.memory import describe_allocation  # imports torch

    if (reason := describe_allocation(error)) is None:
        return None
    setting = _largest_setting(arguments)
    return f"this takes more than there is: {reason}. " + (f"Use a smaller {setting}." if setting else "Use less data.")


def _largest_setting(arguments: list[str]) -> str | None:
    """Return the flag with the largest number of a command line, which may be part of a word, as in iwae:1000."""
    numbers: list[tuple[float, str]] = []
    flag = None
    for word in arguments:
        name, _, value = word.partition("=")
        flag = name if name.startswith("--") else flag
        if flag is None or flag in NO_SIZES:
            continue
        for part in re.split("[:,]", value or word):
            with suppress(ValueError):
                numbers.append((float(part), flag))
    return max(numbers)[1] if numbers else None


def message_of(error: Exception, command: str = "") -> str:
    """Return the message of an error in one line, with a remedy (setting, value) as a flag: `Use --setting value.`

    What chooses the columns of a table becomes a flag too: `one_hot`, between backquotes, is --one-hot.

    :param command: whose flag it is; `compare` takes objectives, in the plural
    """
    if not (isinstance(error, UserError) and isinstance(error.remedy, tuple)):
        return COLUMNS.sub(lambda match: f"--{match[1].replace('_', '-')}", " ".join(str(error).split()))
    name, value = error.remedy
    if command == "compare" and name == "objective":
        name = "objectives"
    flag = as_typed({name: {"True": True, "False": False}.get(value, value)})
    return " ".join(f"{error.message} Use {flag}.".split())
