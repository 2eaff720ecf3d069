"""Data sets, each split a frozen `Dataset` of tensors.

    dataset.py    `Dataset`, what a reader returns before the pixel transform (`Source`), and `DataError`
    pixels.py     pixel transforms: from stored pixels to the values that a likelihood scores
    synthetic.py  sets drawn from a known model
    images.py     the digits of scikit-learn and the 28 x 28 sets of torchvision
    files.py      the user's .npz or .npy file, or folder of images
    catalogue.py  names of data sets: load, absolute_name, download, describe

Importing this package reads neither the network nor any data on disk. No file is ever unpickled.

    >>> import data
    >>> train = data.load("digits:threshold", "train")
    >>> train.x.shape, train.support
    (torch.Size([1200, 64]), Boolean())
"""

from data import synthetic
from data.catalogue import SetInfo, absolute_name, describe, download, load
from data.dataset import DataError, Dataset

__all__ = ["DataError", "Dataset", "SetInfo", "absolute_name", "describe", "download", "load", "synthetic"]
