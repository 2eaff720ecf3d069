"""Where tensors come from: `data.load("mnist:threshold", split="train")` is a frozen `Dataset`.

    dataset.py    what is loaded, what a file of a set holds, and the one error of this package
    laws.py       from stored pixels to the values a likelihood scores
    synthetic.py  sets drawn from a known model
    images.py     digits, and the 28 x 28 sets of torchvision
    files.py      a user's own .npz, .npy or folder of pictures
    catalogue.py  names: load, located, download, describe

Importing this package touches neither the network nor any data on disk, and nothing is ever unpickled.
"""

import os
import runpy

from data import synthetic
from data.catalogue import Row, describe, download, load, located
from data.dataset import DataError, Dataset

__all__ = ["DataError", "Dataset", "Row", "describe", "download", "load", "located", "synthetic"]

_NAMES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "_names.py")
runpy.run_path(_NAMES)["check_names"](("gallery", "inference"), needed=False)
