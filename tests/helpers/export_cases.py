"""Refusals of a command, and pairs with their data, for the tests of exports."""

import cases
import torch

import data
from gallery.cli.main import main


def refused(capsys, *arguments):
    """Return the one line of the error of a command."""
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def small(name, dtype=torch.float64):
    """Return a pair by name with the data of the helper `cases`."""
    torch.manual_seed(0)
    x, *given = cases.arguments(name, dtype)
    kind = {} if not given else {"covariates" if given[0].is_floating_point() else "labels": given[0]}
    return cases.build(name).to(dtype), data.Dataset("cases", "train", x, (x.shape[1],), **kind)
