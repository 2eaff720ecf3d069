"""Names of data sets: each fault is one line, and the catalogue lists every set."""

from importlib.util import find_spec

import pytest
from data_inputs import fault

import data
from data.pixels import PIXEL_TRANSFORMS

REUTERS = [] if find_spec("lda") else ["reuters"]  # which the package holds


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("digits", ["'digits' needs a pixel transform", "digits:grey", "digits:dynamic"]),
        ("digits:", ["needs a pixel transform"]),
        ("digits:gray", ["'gray'", "Did you mean 'grey'?", "digits:threshold"]),
        ("digits:real", ["no pixel transform 'real'"]),
        ("mnits:grey", ["unknown data set 'mnits'", "Did you mean 'mnist'?", "factor_analysis"]),
        ("fashion_mnist:grey", ["Did you mean 'fashion-mnist'?"]),
        ("", ["unknown data set ''"]),
        ("line:grey", ["takes no pixel transform", "'line' alone"]),
        ("./some.npz:gray", ["unknown pixel transform 'gray'", "Did you mean 'grey'?"]),
        ("./none.npz:grey", ["./none.npz does not exist"]),
        ("none.npy", ["none.npy does not exist"]),
        ("no/such/folder:grey", ["no/such/folder does not exist"]),
        ("~no_such_user/x.npz", ["does not exist"]),
        (__file__, ["is no file of arrays"]),
    ],
)
def test_names_that_mean_nothing(name, words):
    fault(*words, name=name)


def test_splits_and_seeds_that_mean_nothing():
    fault("unknown split 'valid'", "Did you mean 'validation'?", name="digits:grey", split="valid")
    fault("'factor_analysis' has no validation split", "train, test", name="factor_analysis", split="validation")
    fault("'line' has no validation split", name="line", split="validation")
    fault("seed -1", name="digits:static", seed=-1)


def test_the_catalogue_lists_every_set_and_which_are_here(tmp_path):
    rows = {row.name: row for row in data.describe(tmp_path)}
    absent = ["mnist", "fashion-mnist", "kmnist", "static_mnist", "jsb_chorales", *REUTERS]
    assert [name for name in rows if not rows[name].available] == absent
    assert rows["digits"].transforms == PIXEL_TRANSFORMS
    assert rows["line"].transforms == ()
    for name in ("digits:grey", "factor_analysis", "exponential_gaussian", "line"):
        size = rows[name.split(":")[0]].size
        for part in size.split(", "):
            number, split = part.split()
            assert len(data.load(name, split)) == int(number.replace(",", ""))
    for name in rows:  # every name of the catalogue is understood
        if rows[name].available:
            loaded = data.load(":".join((name, *rows[name].transforms[:1])))
            assert rows[name].has_classes == (loaded.classes is not None)
