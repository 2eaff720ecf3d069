"""Data sets, each split a frozen `Dataset` of tensors.

    dataset.py    `Dataset`, what a reader returns before the pixel transform (`Source`), and `DataError`
    pixels.py     pixel transforms: from stored pixels to the values that a likelihood scores
    synthetic.py  sets drawn from a known model
    sequences.py  sequences of unequal length
    images.py     the digits of scikit-learn and the 28 x 28 sets of torchvision
    binarized.py  the original static binarisation of MNIST
    chorales.py   the chorales of Bach
    files.py      the user's file or folder: splits, levels, checks
    arrays.py     arrays of an .npz or .npy file, checked and converted in blocks
    tables.py     CSV, TSV and Parquet files
    folders.py    images of a folder
    labels.py     labels as classes 0 .. K - 1
    splits.py     one split of the rows of a file
    memory.py     arrays in memory, checked and split as a file
    summary.py    what was read, in a few lines
    catalogue.py  names of data sets: load, load_splits, absolute_name, is_file, download, describe

Importing this package reads neither the network nor any data on disk. No file is ever unpickled.

    >>> import data
    >>> train = data.load("digits:threshold", "train")
    >>> train
    digits:threshold, train: 1,200 rows of shape (8, 8), float32 in {0, 1}, 10 classes
    >>> train.x.shape
    torch.Size([1200, 64])
"""

import os
import runpy

from data import synthetic
from data.catalogue import SetInfo, absolute_name, describe, download, is_file, load, load_splits
from data.dataset import DataError, Dataset
from data.memory import from_arrays
from data.sequences import padded
from data.summary import summary
from data.tables import table_name

__all__ = [
    "DataError",
    "Dataset",
    "SetInfo",
    "absolute_name",
    "describe",
    "download",
    "from_arrays",
    "is_file",
    "load",
    "load_splits",
    "padded",
    "summary",
    "synthetic",
    "table_name",
]

_NAMES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "_names.py")
runpy.run_path(_NAMES)["check_names"](("gallery", "inference"), needed=False)
