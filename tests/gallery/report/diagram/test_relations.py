"""The graph of a pair has the nodes, kinds, parents and shapes of its code."""

import copy
from xml.etree import ElementTree as ET

import pyro
import pyro.distributions as dist
import pytest
import torch
from cases import arguments, build
from diagram_cases import SVG, drawn, in_plate, pair_of
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import nn

from gallery.models import MODELS
from gallery.report.diagram import Node, relations, svg
from inference import param_scope

every = pytest.mark.parametrize("name", list(MODELS))
of_both = pytest.mark.parametrize("of", ["model", "guide"])
KNOWN = {  # each node with its kind and parents
    ("vae", "model"): "z latent; x observed z decoder; decoder network",
    ("vae", "guide"): "x input; z latent x encoder; encoder network",
    ("cvae", "model"): "z latent given prior; x observed z given decoder; given input; decoder network; prior network",
    ("cvae", "guide"): "x input; given input; z latent x given encoder; encoder network",
    ("gmvae", "model"): "y enumerated; z latent y prior; x observed z decoder; prior network; decoder network",
    ("gmvae", "guide"): "x input; y enumerated x classifier; z latent x y encoder; classifier network; encoder network",
    ("ss_vae", "guide"): "x input; given input; y enumerated x given classifier; z latent x y encoder; "
    "classification factor x given classifier; classifier network; encoder network",
    ("denoising_autoencoder", "guide"): "x input; u latent; corrupted deterministic x u; "
    "z deterministic corrupted encoder; encoder network",
    ("contractive_autoencoder", "guide"): "x input; z deterministic x encoder; contraction factor z encoder; "
    "encoder network",
    ("contractive_autoencoder:deep", "guide"): "x input; z deterministic x encoder; contraction factor x encoder; "
    "encoder network",
    ("linear_regression", "model"): "w latent; x observed w given; given input",
    ("linear_regression", "guide"): "w latent q; q network",
    ("eight_schools", "model"): "mu latent; tau latent; eta latent; theta deterministic mu tau eta; "
    "x observed theta given; given input",
    (
        "eight_schools",
        "guide",
    ): "x input; given input; mu latent q; tau latent mu q; eta latent x given mu tau; q network",
    (
        "eight_schools:centred",
        "model",
    ): "mu latent; tau latent; theta latent mu tau; x observed theta given; given input",
    ("eight_schools:centred", "guide"): "row input; mu latent q; tau latent q; theta latent row q; q network",
    ("exponential_gaussian:per_datum", "guide"): "row input; z latent row eta; eta network",
    ("deep_markov", "model"): "z latent transition; x observed z emitter; transition network; emitter network",
    ("deep_markov", "guide"): "x input; h deterministic x combiner; z latent h combiner; combiner network",
    ("gaussian_mixture", "model"): "y enumerated theta; x observed y theta; theta network",
    ("gaussian_mixture", "guide"): "",
    ("vrnn:smoothing", "guide"): "x_1 input; x_2 input; x_3 input; "
    "h_1 deterministic recurrence; z_1 latent x_1 x_2 x_3 h_1 encoder backward_recurrence C; "
    "h_2 deterministic x_1 h_1 z_1 recurrence; z_2 latent x_2 x_3 h_2 encoder backward_recurrence C; "
    "h_3 deterministic x_2 h_2 z_2 recurrence; z_3 latent x_3 h_3 encoder backward_recurrence C; "
    "encoder network; backward_recurrence network; C network; recurrence network",
}


def words(diagram):
    return "; ".join(" ".join([node.name, node.kind, *diagram.parents(node.name)]) for node in diagram.nodes)


@pytest.mark.parametrize(("name", "of"), KNOWN)
def test_known_graphs(name, of):
    assert words(drawn(name, of)) == KNOWN[name, of]


def test_nodes_know_their_distributions_shapes_plates_and_parameters():
    model, guide = drawn("gmvae", "model"), drawn("denoising_autoencoder", "guide")
    assert model["y"] == Node("y", "enumerated", "OneHotCategorical", (3,), ("data",))
    assert model["prior"].parameters == (("linear.weight", (4, 3)), ("linear.bias", (4,)))
    assert model.plates == (("data", 12),)
    assert drawn("deep_markov", "guide")["h"].auxiliary
    assert not drawn("vrnn", "guide")["h_2"].auxiliary  # the model computes it too
    assert guide["u"] == Node("u", "latent", "Uniform", (6,), ("data",), auxiliary=True, masked=True)
    assert drawn("autoencoder", "model")["z"].masked
    assert drawn("linear_regression", "model")["w"] == Node("w", "latent", "MultivariateNormal", (3,))
    assert drawn("loaded_die:softmax", "guide")["p"].distribution == "Softmax(MultivariateNormal)"
    assert relations(build("vae"), arguments("vae"), total=60_000).plates == (("data", 60_000),)


@of_both
@every
def test_no_edge_is_missing(name, of):
    """What changes the density of a site, all draws being held, is one of its parents, or a computed parent's."""
    pair, (x, *given), diagram = build(name), tuple(a[:4] for a in arguments(name)), drawn(name, of)
    pair.train("vrnn" not in name)  # it has one site per step in evaluation mode only

    def run(x, given, held):
        torch.manual_seed(0)
        with param_scope(), pyro.validation_enabled(False), torch.no_grad():
            trace = poutine.trace(poutine.condition(getattr(pair, of), data=held)).get_trace(x, *given)
            trace.compute_log_prob()
        return {
            key: site for key, site in trace.nodes.items() if site["type"] == "sample" and not site_is_subsample(site)
        }

    draws = {key: site["value"] for key, site in run(x, given, {}).items() if not site["is_observed"]}
    usual = run(x, given, draws)
    computed = {key for key, site in usual.items() if site["infer"].get("_deterministic")}

    def parents(child):
        direct = diagram.parents(child)
        return [*direct, *(parent for key in computed & {*direct} for parent in parents(key))]

    def check(parent, x=x, given=given, held=draws):
        for child, site in run(x, given, held).items():
            same = torch.equal(site["log_prob"], usual[child]["log_prob"])
            assert same or child == parent or parent in parents(child), (parent, child)

    for key, value in draws.items():
        check(key, held=draws | {key: value.flip(0) if value.dim() else value + 0.1})
    steps = {"hmm": 6, "state_space": 6, "vrnn": 3}.get(name.partition(":")[0], 1)
    for t, part in enumerate(torch.eye(steps).repeat_interleave(x.shape[1] // steps, 1).bool(), start=1):
        check("x" if steps == 1 else f"x_{t}", x=torch.where(part, 1 - x, x))
    if given:
        check("given", given=[given[0].flip(0)])
    for key, network in pair.named_children():
        before = copy.deepcopy(network.state_dict())
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        check(key.removeprefix("conditional_"))
        network.load_state_dict(before)


def test_nothing_is_left_changed():
    def model(self, x, total=None):
        pyro.module("net", self.net)
        with in_plate(x):
            pyro.sample("x", dist.Normal(self.net(x.new_ones(len(x), 2)), 1).to_event(1), obs=x)

    pair = pair_of(model, net=nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1))).eval()
    pyro.param("mine", torch.tensor(1.0))
    before, random = copy.deepcopy(pair.state_dict()), torch.get_rng_state()
    assert words(relations(pair, (torch.ones(3, 1),))) == "x observed net; net network"
    assert torch.equal(random, torch.get_rng_state())
    assert list(pyro.get_param_store().keys()) == ["mine"]
    assert not pair.training
    assert all(torch.equal(value, before[key]) for key, value in pair.state_dict().items())
    with pytest.raises(ValueError, match="to satisfy the constraint"):  # Pyro checks values as before
        dist.Normal(0.0, torch.tensor(-1.0))


def test_names_that_a_site_has_already_and_nested_plates():
    def model(self, x, total=None):
        pyro.module("z", self.net)
        with in_plate(x):
            z = pyro.sample("z", dist.Normal(x.sum(1), 1))
            mean = self.net(z.unsqueeze(-1))
            mean = pyro.deterministic("mean", mean, event_dim=1)
            with pyro.plate("pixels", 2):
                pyro.sample("x", dist.Normal(mean.T, 1), obs=x.T)

    diagram = relations(pair_of(model, net=nn.Linear(1, 2)), (torch.ones(3, 2),))
    assert words(diagram) == (
        "z latent x (input); mean deterministic z z (network); x observed mean; x (input) input; z (network) network"
    )
    assert dict(diagram.plates) == {"data": 3, "pixels": 2}
    assert diagram["x"].plates == ("data", "pixels")
    outer, inner, *_ = ET.fromstring(svg(diagram, "")).iter(f"{SVG}rect")
    assert float(outer.get("width")) > float(inner.get("width"))


def test_what_a_tensor_was_written_into_or_looked_up_in_is_followed():
    def model(self, x, total=None):
        pyro.module("table", self.table)
        with in_plate(x):
            y = pyro.sample("y", dist.Categorical(x.new_ones(3)))
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1))
            mean = x.new_zeros(len(x), 2)
            mean[:, 0] = z
            mean += torch.eye(3)[:, :2][y]
            u = pyro.sample("u", dist.Normal(self.table(y), 1).to_event(1))
            pyro.sample("x", dist.Normal(mean, torch.ones_like(u)).to_event(1), obs=x)

    diagram = relations(pair_of(model, table=nn.Embedding(3, 2)), (torch.ones(3, 2),))
    assert words(diagram) == "y latent; z latent; u latent y table; x observed y z; table network"


def test_a_guide_that_reads_categories_reads_all_of_x():
    def model(self, x, total=None):
        with in_plate(x):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1))
            for t in range(2):
                pyro.sample(f"x_{t + 1}", dist.Normal(z, 1), obs=x[:, t])

    def guide(self, x, total=None):
        pyro.module("table", self.table)
        with in_plate(x):
            pyro.sample("z", dist.Normal(self.table(x.long()).sum((1, 2)), 1))

    pair = pair_of(model, guide, table=nn.Embedding(5, 1))
    assert words(relations(pair, (torch.ones(3, 2),), "guide")) == "x input; z latent x table; table network"
