"""Warnings on the command line."""

import warnings
from pathlib import Path

from gallery.cli import fit
from gallery.cli.warned import warned_once


def test_a_warning_of_the_gallery_is_one_line_and_others_have_their_place():
    before = warnings.formatwarning
    with warned_once():
        assert warnings.formatwarning("a figure is left out", UserWarning, fit.__file__, 1) == (
            "gallery: a figure is left out\n"
        )
        for kind, file in ((UserWarning, str(Path("mine.py").resolve())), (FutureWarning, fit.__file__)):
            assert file in warnings.formatwarning("beware", kind, file, 1)
    assert warnings.formatwarning is before
