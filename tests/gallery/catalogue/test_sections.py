"""The sections of the models agree with what their classes declare."""

from gallery.catalogue.entries import NAMES
from gallery.catalogue.sections import SECTIONS, section_of
from gallery.models import MODELS
from gallery.models.autoencoder import Autoencoder
from inference.pairs.capabilities import declared, exact


def test_each_family_has_one_section():
    assert sorted(name for section in SECTIONS for name in section.families) == sorted(NAMES)


def test_sections_are_those_of_the_classes():
    exact_evidence, topics, deterministic, _ = (section.title for section in SECTIONS)
    for name in NAMES:
        cls = MODELS[name]
        assert (section_of(name) == exact_evidence) == (exact(cls, "log_evidence") is not None), name
        assert (section_of(name) == topics) == ("topics" in declared(cls)), name
        assert (section_of(name) == deterministic) == issubclass(cls, Autoencoder), name
