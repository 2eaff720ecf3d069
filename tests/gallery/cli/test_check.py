"""`gallery check` and `gallery new`: each fault is named by its clause, and none is a traceback."""

import re
from pathlib import Path

import numpy as np
import pyro
import pytest
import torch
from broken import BROKEN, DATA, DISCRETE, DRAW, INIT, LAST, PLATES, PRIOR, TORCH, write
from cases import FITTED, REFUSED, arguments, build

from gallery.cli.new import SHAPES
from gallery.models import MODELS
from inference.contract import CLAUSES
from inference.pairs.info import inspect_pair

DIGITS = ("--data", "digits:threshold", "--epochs", 1, "--run", "run")

pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.mark.parametrize("fault", BROKEN)
def test_each_fault_is_named_by_its_clause(run, fault):
    clauses, words, changes = BROKEN[fault]
    code, out, err = run("check", write(changes))
    assert code == 2
    assert err.count("\n") == 1
    assert f"of the contract: {clauses}." in err, out
    for word in words:
        assert word in out[out.index("\nbroken") :]


def test_grey_pixels_under_a_bernoulli(run):
    code, out, err = run("check", write({}), "--data", "digits:grey")
    assert code == 2
    assert "of the contract: support." in err
    assert "Bernoulli needs values in {0, 1}" in out


@pytest.mark.parametrize("fn", ["Dirichlet(({} + {}).exp())", "Beta({}.exp(), {}.exp()).to_event(1)"])
def test_a_distribution_that_torch_lacks_on_the_meta_device_is_a_remark_without_a_remedy(run, fn):
    prior, guide = (f"pyro.sample('z', dist.{fn.format(*of)})" for of in (("zero", "zero"), ("loc", "pre_scale")))
    code, out, _ = run("check", write({PRIOR: f"z = {prior}", DRAW: guide}))
    assert code == 0, out
    assert "is not checked in meta, where torch lacks an operation of it" in out
    assert "another distribution" not in out


def test_settings_that_a_model_changes_are_restored(run):
    for fault in ("another default dtype", "no gradients any more", "a parameter in the store"):
        run("check", write(BROKEN[fault][2]))
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert not list(pyro.get_param_store().keys())


@pytest.mark.parametrize(
    "changes",
    [
        {DRAW: DRAW.replace("F.softplus(pre_scale)", "self.decoder[0].weight.detach().norm(dim=0)")},
        {
            LAST: f"        self.known = nn.Linear(data_dim, latent_dim).requires_grad_(False)\n{LAST}",
            DRAW: DRAW.replace("pre_scale", "self.known(x)"),
        },
        {DATA: f'{DATA}\n            pyro.deterministic("mean", self.decoder(z).detach(), event_dim=1)'},
        {**TORCH, INIT: f"{INIT}        self.kept = torch.ones(3)\n"},
        {**TORCH, INIT: f"{INIT}        self.seen = torch.zeros(3, dtype=torch.bool)\n"},
    ],
    ids=["borrowed", "frozen", "shown", "kept and not used", "flags that are not used"],
)
def test_constants_and_frozen_weights_pass(run, changes):
    code, out, _ = run("check", write(changes))
    assert code == 0, out


def test_a_prior_of_numpy_is_no_cut_gradient(run):
    numpy = {"import pyro\n": "import numpy as np\nimport pyro\n", "zero + 1)": "zero + 1 + np.random.rand())"}
    code, _, err = run("check", write(numpy))
    assert code == 2
    assert err.endswith("breaks a clause of the contract: repeatable.\n")


def test_a_branch_on_values_is_a_remark(run):
    code, out, _ = run("check", write({PLATES[0]: f"        if x.sum() > -1:\n            pass\n{PLATES[0]}"}))
    assert code == 0
    assert "broken" not in out
    assert out.count("remark") == 2
    assert "mine.py:34: if x.sum() > -1:" in out


NOT_REPARAMETRISED = {
    "import pyro.d": "from pyro.distributions.testing import fakes\nimport pyro.d",
    DRAW: DRAW.replace("dist.N", "fakes.NonreparameterizedN"),
}


@pytest.mark.parametrize("objective", ["trace", "analytic", "graph", "loo:4", "iwae:4", "free-bits:0.1"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (NOT_REPARAMETRISED, "draws of z are not reparametrised, so their gradient is that of the score function"),
        (DISCRETE, "draws of y are discrete, so their gradient is that of the score function"),
    ],
    ids=["not reparametrised", "discrete"],
)
def test_draws_without_a_gradient_pass_where_a_fit_scores_them(run, changes, words, objective):
    name = write(changes)
    scored = objective in ("trace", "graph", "loo:4")
    code, out, err = run("check", name, "--objective", objective)
    assert code == (0 if scored else 2), out
    assert (words in out) == (objective == "trace")
    assert scored or "draws" in err
    assert run("fit", name, *DIGITS, "--batch-size", 600, "--objective", objective)[0] == code


def test_a_discrete_latent_may_be_scored_or_summed_out(run):
    assert run("check", write(DISCRETE), "--objective", "score")[0] == 0
    mark = '), infer={"enumerate": "parallel"}'
    marked = {old: new.replace("0.5)", f"0.5{mark}").replace("0])", f"0]{mark}") for old, new in DISCRETE.items()}
    code, out, _ = run("check", write(marked, "marked.py"))
    assert code == 0, out
    code, out, _ = run("check", "marked.py:Skeleton", "--objective", "trace")
    assert code == 2
    assert 'objective="enum"' in out


DEFAULT = {
    "exponential_gaussian:per_datum",
    "linear_regression",
    "loaded_die",
    "autoencoder:map",
    "cvae",
    "state_space:local_level",
}


@pytest.mark.parametrize(
    "name", [name if name in DEFAULT else pytest.param(name, marks=pytest.mark.slow) for name in FITTED]
)
def test_a_model_of_the_gallery_passes(run, name):
    """All of them, small, are held to the same clauses by test_contract."""
    code, out, err = run("check", name)
    assert (code, err) == (0, ""), out
    statuses = [line.split()[:2] for line in out.splitlines() if not line.startswith(" ")]
    assert [clause for _, clause in statuses] == ["data", *CLAUSES]
    assert {status for status, _ in statuses} == {"ok"}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_model_that_shows_a_fault_is_refused_for_it(run, name):
    code, out, err = run("check", name)
    assert code == 2
    assert err.endswith("of the contract: support.\n")
    assert "KL(guide || prior) is infinite" in out


PER_DATUM = """
import pyro, torch
import pyro.distributions as dist
from torch import nn


class Mine(nn.Module):
    def __init__(self, total: int, data_dim: int):
        super().__init__()
        self.total, self.q = total, nn.Embedding(total, data_dim)

    def model(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x, total=None):
        pyro.module("q", self.q)
        with pyro.plate("data", total or len(x), subsample_size=len(x)) as rows:
            pyro.sample("z", dist.Normal(self.q(rows), 1.0).to_event(1))
"""


SHARED = """

class Shared(Mine):
    def __init__(self, total: int, data_dim: int, given_dim: int):
        super().__init__(total, data_dim)
        self.given_dim, self.theta = given_dim, nn.ParameterDict({"slope": torch.zeros(given_dim, data_dim)})
        self.level = nn.ParameterDict({"loc": torch.zeros(())})

    def model(self, x, given, total=None):
        pyro.module("theta", self.theta)
        level = pyro.sample("level", dist.Normal(x.new_zeros(()), 1.0))
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0).to_event(1))
            mean = z + level[..., None] + given @ self.theta["slope"]
            pyro.sample("x", dist.Normal(mean, 1.0).to_event(1), obs=x)

    def guide(self, x, given, total=None):
        pyro.module("level", self.level)
        pyro.sample("level", dist.Normal(self.level["loc"], 1.0))
        super().guide(x, total)
"""


@pytest.mark.parametrize("name", ["Mine", "Shared"])
@pytest.mark.parametrize("data", [[], ["--data", "digits:grey"], ["--data", "own.npz:real"]])
def test_values_for_each_data_point_of_ones_own_model(run, name, data):
    Path("mine.py").write_text(PER_DATUM + SHARED)
    drawn = np.random.default_rng(0).normal(size=(30, 5))
    np.savez("own.npz", x=drawn[:, :3], covariates=drawn[:, 3:])
    data = ["--data", "line"] if name == "Shared" and data == ["--data", "digits:grey"] else data
    code, out, _ = run("check", f"mine.py:{name}", *data)
    assert code == 0, out


def test_data_that_suit_the_model(run):
    assert "12 rows of digits:threshold" in run("check", write({}))[1]
    normal = {
        DATA: DATA.replace("dist.Bernoulli(logits=self.decoder(z))", "dist.Normal(self.decoder(z), zero[:, :1] + 1)")
    }
    assert "12 rows of digits:grey" in run("check", write(normal, "normal.py"))[1]
    fixed = {
        "nn.Linear(data_dim, hidden)": "nn.Linear(9, hidden)",
        "nn.Linear(hidden, data_dim)": "nn.Linear(hidden, 9)",
    }
    code, out, _ = run("check", write(fixed, "fixed.py"))
    assert (code, "12 rows of draws of the model itself" in out) == (0, True)
    np.savez("own.npz", x=np.eye(4, 6))
    assert "on 5 or more" in run("check", write({}), "--data", "own.npz:threshold")[2]


def test_new_writes_a_model_that_passes_and_fits(run, tmp_path):
    code, out, _ = run("new", "my_model")
    assert code == 0
    assert run(*out.splitlines()[1].split()[1:])[0] == 0
    (line,) = out.splitlines()[3:]
    assert all(name in line for names in SHAPES.values() for name in names)
    code, shown, _ = run(*re.search("`gallery (.*?)`", line)[1].split())
    assert (code, "Deep Markov model" in shown) == (0, True)
    assert (Path(line.rpartition("files in ")[2].rstrip(")")) / "deep_markov.py").exists()
    assert run("fit", "my_model.py:MyModel", *DIGITS, "--hidden", 8)[0] == 0
    written = (tmp_path / "my_model.py").read_text()
    assert "keleton" not in written
    code, _, err = run("new", "my_model")
    assert (code, err.count("\n")) == (2, 1)
    assert "nothing was written" in err
    assert (tmp_path / "my_model.py").read_text() == written
    assert run("new", "other", "--out", "models.py")[0] == 0
    assert "class Other(" in (tmp_path / "models.py").read_text()


def test_models_to_copy_have_their_shape():
    def info(name):
        return inspect_pair(build(name), arguments(name))

    assert all("step_dim" in MODELS[name].capabilities for name in SHAPES["sequences"])
    assert all("missing_values" in MODELS[name].capabilities for name in SHAPES["missing values"])
    for name in SHAPES["a second plate"]:
        plates = {frame.name for site in info(name).model.nodes.values() for frame in site.get("cond_indep_stack", ())}
        assert len(plates) == 2
    assert all(info(name).has_global_latent for name in SHAPES["global latents"])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["my-model"], "letters, digits and _"),
        (["2nd"], "letters, digits and _"),
        (["class"], "letters, digits and _"),
        (["_"], "letters, digits and _"),
        (["mine.py"], "letters, digits and _"),
        (["tensor"], "Tensor is the name of a class or module"),
        (["mine", "--out", "mine.txt"], ".py"),
        (["mine", "--out", "no/mine.py"], "no folder no"),
    ],
)
def test_names_that_are_none(refused, tmp_path, arguments, word):
    refused(["new", *arguments], word)
    assert not list(tmp_path.iterdir())


def test_a_diagram_is_drawn_of_what_suits_the_model(run):
    for name in (write({}), "vae"):
        assert run("show", name, "--diagram", "drawn.svg")[0] == 0
        assert "</svg>" in Path("drawn.svg").read_text()
