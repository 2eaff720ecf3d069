"""Diagrams of the pairs of the helper `cases`, and pairs made of two functions."""

from xml.etree import ElementTree as ET

import pyro
from cases import arguments, build
from torch import nn

from gallery.report.diagram import relations

SVG = "{http://www.w3.org/2000/svg}"


def drawn(name, of):
    return relations(build(name), arguments(name), of)


def texts(picture):
    return ["".join(element.itertext()) for element in ET.fromstring(picture).iter(f"{SVG}text")]


def pair_of(model, guide=lambda self, x, total=None: None, **modules):
    pair = type("Pair", (nn.Module,), {"model": model, "guide": guide})()
    for name, module in modules.items():
        pair.add_module(name, module)
    return pair


def in_plate(x):
    return pyro.plate("data", len(x))
