"""The texts of the model pages: formulas, exercises, references, and the same loss in plain PyTorch."""

import re

import pytest
import torch
from cases import N, arguments, build, objective
from commands import check_command
from cyclopts import CycloptsError
from latex2mathml.converter import convert
from torch import nn

from gallery.catalogue import entries
from gallery.catalogue.entries import LETTERS, NAMES, corrections, entry, sources_map
from gallery.catalogue.plain import LOSSES
from gallery.errors import RunError
from gallery.models import MODELS
from gallery.models._nn import PixelHead
from inference import SVI, Settings

every = pytest.mark.parametrize("name", NAMES)


def texts(entry):
    """Yield all texts of an entry."""
    yield from (words for part in (entry.story, entry.guide, entry.bound) for _, words in part)
    yield from (entry.intro, *entry.mistakes)
    yield from (text for rows in (entry.exercises, entry.neighbours) for row in rows for text in row.values())


# content of the files


@every
def test_the_introduction_has_three_to_five_sentences(name):
    assert 3 <= len(re.findall(r"[.?!](?=\s|$)", entry(name).intro)) <= 5
    assert "Notice" in entry(name).intro
    assert 2 <= len(entry(name).mistakes) <= 4


def test_every_model_has_an_entry():
    assert {path.stem for path in entries.FOLDER.glob("*.toml")} == set(NAMES) == {n.partition(":")[0] for n in MODELS}


@every
def test_every_formula_is_rendered(name):
    one = entry(name)
    formulas = [latex for part in (one.story, one.guide, one.bound) for latex, _ in part]
    for text in texts(one):
        assert text.count("$") % 2 == 0, text
        formulas += re.findall(r"\$([^$]+)\$", text)
    for latex in formulas:
        assert "\\" not in convert(latex.replace("<", r"\lt ")), latex  # unknown commands are left unchanged


@every
def test_nothing_is_empty(name):
    one = entry(name)
    assert min(map(len, (one.story, one.guide, one.bound, one.neighbours, one.sources))) >= 1
    assert 2 <= len(one.exercises) <= 5
    assert all(text.strip() == text.strip("\n") != "" for text in texts(one))
    assert name not in {row["model"] for row in one.neighbours}


@every
def test_commands_named_in_words_could_be_typed(name):
    for text in texts(entry(name)):
        for command in re.findall(r"`(gallery [^`]+)`", text):
            check_command(command)
    for row in entry(name).sources:
        check_command(row["command"])


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("gallery fit hm", ["model 'hm'", "Did you mean 'hmm'"]),
        ("gallery fit hmm --stats 3", ["--stats"]),
        ("gallery reproduce hmmm", ["recipe 'hmmm'", "'hmm'"]),
        ("gallery fot hmm", ["fot"]),
        ("rm -r hmm", ["no command of the gallery"]),
        ("gallery fit 'hmm", ["quotation"]),
    ],
)
def test_a_command_that_could_not_be_typed_fails_the_check(command, words):
    with pytest.raises((ValueError, CycloptsError)) as caught:
        check_command(command)
    for word in words:
        assert word in str(caught.value)


def test_references_are_whole_and_the_same_everywhere():
    known = {}
    for name in NAMES:
        matches = re.findall(r"^@(\w+)\{(\w+),\n(.*?)^\}$", entry(name).bibtex, flags=re.MULTILINE | re.DOTALL)
        assert len(matches) == entry(name).bibtex.count("@") >= 1, name
        for kind, key, body in matches:
            assert body.count("{") == body.count("}")
            fields = dict(re.findall(r"^  (\w+) = \{(.*?)\},?$", body, flags=re.MULTILINE | re.DOTALL))
            venue = {"article": "journal", "inproceedings": "booktitle", "book": "publisher"}.get(kind)
            assert fields.keys() >= {"author", "title", "year", venue or "title"}, key
            assert fields["year"] in key
            assert known.setdefault(key, body) == body, key


def test_every_wrong_statement_about_a_model_is_on_its_page():
    shown = [row["statement"] for name in NAMES for row in entry(name).corrections()]
    left = {row["statement"] for row in corrections()} - set(shown)
    assert left == {'The notes state that GANs "may lack full support over the data".'}  # the gallery has no GAN


def test_the_map_leads_from_every_source_to_its_entries():
    rows = sources_map()
    order = list(dict.fromkeys(row["source"] for row in rows))
    assert order[: len(LETTERS)] == list(LETTERS)
    assert [order.index(row["source"]) for row in rows] == sorted(order.index(row["source"]) for row in rows)
    assert {row["entry"] for row in rows} == set(NAMES)
    assert sum(len(entry(name).sources) for name in NAMES) == len(rows)


VALID = (entries.FOLDER / "hmm.toml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('model = "vrnn"', 'model = "vrn"', ["neighbour 'vrn'", "Did you mean 'vrnn'"]),
        ("wrong = []", 'wrong = ["the ELBO is"]\nright = []', ["right", "unknown"]),
        ("wrong = []", "", ["wrong", "missing"]),
        ("wrong = []", 'wrong = ["not in the file"]', ["0 statements"]),
        ("wrong = []", 'wrong = ["VAE"]', ["statements", "quote a part of exactly one"]),
        ("story = [", 'story = [\n["x"],', ["story", "[LaTeX, text]"]),
        ("question = ", "quest = ", ["exercises", "answer, question"]),
        ("wrong = []", "wrong = [", ["broken.toml", "line"]),
    ],
)
def test_an_invalid_file_is_refused_in_one_line(tmp_path, old, new, words):
    assert old in VALID
    (tmp_path / "broken.toml").write_text(VALID.replace(old, new))
    with pytest.raises(RunError) as caught:
        entries.read(tmp_path / "broken.toml")
    message = str(caught.value)
    assert message.startswith("broken.toml: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_an_unknown_entry_is_refused():
    with pytest.raises(RunError, match=r"no entry 'vea'. Did you mean 'vae'"):
        entry("vea")


# the same step in plain PyTorch


def same_step(name, pair, x, *given):
    """The plain loss and its gradients are those of the recipe's objective, for the same noise."""
    svi = SVI(pair, x, *given, settings=Settings(objective=objective(name), batch_size=N))
    torch.manual_seed(1)
    expected = svi.loss(torch.arange(N)) / N
    torch.manual_seed(1)
    loss = LOSSES[name](pair, x, *given)
    torch.testing.assert_close(loss, expected, rtol=1e-8, atol=1e-8)
    gradients = (torch.autograd.grad(value, svi.parameters) for value in (loss, expected))
    for plain, of_pyro in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, of_pyro, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", LOSSES)
def test_plain_pytorch_makes_the_step_of_the_recipe(name):
    same_step(name, build(name).double(), *arguments(name, torch.float64))


def test_plain_pytorch_draws_from_the_tail_in_single_precision():
    pair = build("exponential_gaussian").float()
    nn.init.zeros_(pair.eta[-1].weight)
    with torch.no_grad():
        pair.eta[-1].bias.copy_(torch.tensor([-7.0, 0.5]))  # what the recipe's fit has for the least x
    torch.manual_seed(0)
    assert LOSSES["exponential_gaussian"](pair, torch.full((1000, 1), -2.0)).isfinite()


@pytest.mark.parametrize("name", ["autoencoder", "vae", "cvae", "ss_vae"])
@pytest.mark.parametrize("likelihood", ["continuous_bernoulli", "gaussian"])
def test_plain_pytorch_under_other_likelihoods(name, likelihood):
    pair, (x, *given) = build(name), arguments(name, torch.float64)
    pair.decoder[1] = PixelHead(pair.decoder[1].linear.in_features, x.shape[1], likelihood)
    same_step(name, pair.double(), x.sigmoid(), *given)


@pytest.mark.parametrize("corruption", ["masking", "gaussian", "salt_pepper"])
def test_plain_pytorch_under_other_corruptions(corruption):
    pair = build("denoising_autoencoder").double()
    pair.corruption = corruption
    same_step("denoising_autoencoder", pair, *arguments("denoising_autoencoder", torch.float64))


@pytest.mark.parametrize("labels", [-1, 2])
def test_plain_pytorch_where_no_label_is_known_and_where_all_are(labels):
    x, given = arguments("ss_vae", torch.float64)
    same_step("ss_vae", build("ss_vae").double(), x, torch.full_like(given, labels))
