"""Latents of steps after the end of a sequence are left out: codes, draws and summaries are those of it alone."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from cases import arguments, build
from discrete_cases import perturbed
from torch import nn

import data
from gallery.models.deep_markov import DeepMarkov
from gallery.models.hmm import HMM
from gallery.models.vrnn import VRNN
from gallery.models.vrnn_smoothing import SmoothingVRNN
from gallery.models.vrnn_vectorised import VectorisedVRNN
from gallery.runs import summary
from gallery.runs.summary import summarise
from inference import encode, evaluate, reconstruct
from inference.evaluation.jacobian import jacobian_norm
from inference.pairs.ends import entries_within

N, T = 6, 4
LENGTHS = torch.tensor([2, 4, 1, 3, 2, 4])
SIZES = {"data_dim": 3 * T, "steps": T, "latent_dim": 2, "state_dim": 4, "hidden": (5,)}


class Coded(nn.Module):
    """A code z of the sequence, as long as the sequence has steps, and a latent s_t at each: as two sites."""

    capabilities, step_dim = ("step_dim",), 1

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(1, T)

    def model(self, x, total=None):
        within = ~x.isnan()
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), T), 1.0).to_event(1))
            s = pyro.sample("s", dist.Normal(z.mean(1, True).expand(x.shape), 1.0).mask(within).to_event(1))
            pyro.deterministic("twice", 2 * s, event_dim=1)
            pyro.sample("x", dist.Normal(s, 1.0).mask(within).to_event(1), obs=x.nan_to_num())

    def guide(self, x, total=None):
        pyro.module("encoder", self.encoder)
        within, values = ~x.isnan(), x.nan_to_num()
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            pyro.sample("z", dist.Normal(self.encoder(values.sum(1, True)), 1.0).to_event(1))
            pyro.sample("s", dist.Normal(0.7 * values, 0.5).mask(within).to_event(1))


class OfOneLength(Coded):
    def guide(self, x, total=None):
        super().guide(x.reshape(len(x), T), total)


PAIRS = {
    "hmm": HMM,
    "vrnn": lambda: VectorisedVRNN(**SIZES),
    "vrnn:steps": lambda: VRNN(**SIZES),
    "vrnn:smoothing": lambda: SmoothingVRNN(**SIZES),
    "deep_markov": lambda: DeepMarkov(step_dim=3, latent_dim=2, hidden=4, state_dim=5),
    "coded": Coded,
}
every = pytest.mark.parametrize("name", PAIRS)


def padded(name):
    """(pair, x with NaN after the end, entries of a step) in float64."""
    pair, width = perturbed(PAIRS[name]().double()), 1 if name in ("hmm", "coded") else 3
    x = torch.randn(N, width * T, dtype=torch.float64)
    x = x if width == 1 else (x > 0).double()
    return pair, x.masked_fill(torch.arange(width * T) >= width * LENGTHS.unsqueeze(1), torch.nan), width


def alone(x, row, width):
    return x[row : row + 1, : width * LENGTHS[row]]


def dataset(x, width=1):
    shape = (x.shape[1],) if width == 1 else (x.shape[1] // width, width)
    return data.Dataset("cases", "test", x, shape)


@every
def test_the_code_of_a_padded_sequence_is_that_of_the_sequence_alone(name):
    pair, x, width = padded(name)
    together = encode(pair, x)
    for row in range(N):
        expected = encode(pair, alone(x, row, width))
        for site, codes in together.items():
            code = codes[row]
            part = expected[site][0] if site in expected else code[:0]
            torch.testing.assert_close(code[~code.isnan()].reshape(part.shape), part, rtol=0, atol=1e-8)
    assert any(codes.isnan().any() for codes in together.values())


def test_a_code_of_the_whole_sequence_is_kept_and_what_is_computed_from_steps_is_not():
    pair, x, _ = padded("coded")
    within = entries_within(pair, (x,))
    assert within.keys() == {"s", "twice"}
    assert torch.equal(within["s"], ~x.isnan())
    assert torch.equal(within["twice"], ~x.isnan())


@every
def test_nothing_is_left_out_of_sequences_of_full_length(name):
    pair, x, _ = padded(name)
    assert entries_within(pair, (x.nan_to_num(),)) == {}
    assert not any(code.isnan().any() for code in encode(pair, x.nan_to_num()).values())


def test_of_a_model_that_takes_one_length_it_is_unknown(monkeypatch):
    monkeypatch.setattr(summary, "DRAWS", 20)
    pair, (_, x, _) = OfOneLength().double(), padded("coded")
    assert entries_within(pair, (x,)) is None
    table = summarise(pair, dict.fromkeys(("train", "test"), dataset(x)))
    assert "also after the end of their sequences" in str(table)


@every
def test_reconstructions_end_with_their_sequences(name):
    pair, x, width = padded(name)
    ended = torch.arange(width * T) >= width * LENGTHS.unsqueeze(1)
    assert torch.equal(reconstruct(pair, x).isnan(), ended)


@pytest.mark.parametrize("name", ["vrnn", "deep_markov", "coded"])
def test_variances_and_derivatives_of_codes_are_of_steps_within(name):
    pair, x, width = padded(name)
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.mul_(3)  # so that some codes vary, and some do not
    codes = encode(pair, x)
    columns = [column[~column.isnan()] for code in codes.values() for column in code.reshape(N, -1).T]
    active = sum(bool(column.var() > 0.01) for column in columns if len(column) > 1)
    assert evaluate(pair, x, particles=1)["active_units"] == active
    each = [jacobian_norm(pair, alone(x, row, width)) for row in range(N)]
    torch.testing.assert_close(jacobian_norm(pair, x), torch.cat(each), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["vrnn", "vrnn:smoothing", "deep_markov"])
def test_one_draw_is_the_same_in_a_summary_and_for_arviz(name, monkeypatch):
    """Of one sequence, whose steps are drawn from the first on."""
    monkeypatch.setattr(summary, "DRAWS", 1)
    pair, x, width = padded(name)
    found = []
    for rows in (x[:1], alone(x, 0, width)):
        sets = dataset(rows, width)
        found.append({row["latent"]: row["mean"] for row in summarise(pair, {"train": sets, "test": sets})})
    assert found[0] == pytest.approx(found[1], abs=1e-8)
    groups = pytest.importorskip("gallery.report.export.arviz", reason="pip install latent-gallery[arviz]").groups
    first, second = (groups(pair, dataset(rows, width), draws=1) for rows in (x[:1], alone(x, 0, width)))
    for site, values in first["posterior"].data_vars.items():
        kept = torch.as_tensor(values.values).flatten()
        kept = kept[~kept.isnan()]
        expected = second["posterior"].get(site)
        assert len(kept) == (0 if expected is None else expected.size)
        assert not len(kept) or torch.equal(kept, torch.as_tensor(expected.values).flatten())


@every
def test_the_file_for_arviz_has_no_draws_after_the_end(name):
    groups = pytest.importorskip("gallery.report.export.arviz", reason="pip install latent-gallery[arviz]").groups
    pair, x, width = padded(name)
    exported = groups(pair, dataset(x, width), draws=2)
    within = entries_within(pair, (x,))
    for group in ("posterior", "prior"):
        for site, kept in within.items():
            if site in exported[group]:
                values = torch.as_tensor(exported[group][site].values)
                assert torch.equal(values.isnan(), ~kept.expand(values.shape))
    drawn, observed = (exported[group]["x"].values for group in ("posterior_predictive", "observed_data"))
    assert (torch.as_tensor(drawn).isnan() == torch.as_tensor(observed).isnan()).all()


def test_the_summary_of_states_has_their_posterior_at_the_sequences_that_have_the_step():
    pair, x, _ = padded("hmm")
    x, steps = x.repeat(20, 1), LENGTHS.repeat(20)
    shares = {row["latent"]: row["mean"] for row in summarise(pair, dict.fromkeys(("train", "test"), dataset(x)))}
    posterior = pair.expected_counts(x)[2]  # (n, T, states), 0 after the end
    for t in range(T):
        rows = t < steps
        draws = rows.sum() * -(-summary.DRAWS // len(x))
        for state, share in enumerate((posterior[rows, t].sum(0) / rows.sum()).tolist()):
            assert abs(shares[f"y_{t + 1} = {state}"] - share) < 4 * (share * (1 - share) / draws) ** 0.5


def test_a_step_that_no_sequence_has_is_left_out_of_a_summary(monkeypatch):
    monkeypatch.setattr(summary, "DRAWS", 20)
    pair, x, _ = padded("deep_markov")
    short = dataset(x[LENGTHS < 4], 3)
    names = [row["latent"] for row in summarise(pair, {"train": short, "test": short})]
    assert names == [f"z[{t}, {i}]" for t in range(3) for i in range(2)]


@pytest.mark.parametrize("name", ["hmm", "gaussian_mixture", "gmvae"])
def test_one_row_has_the_code_that_it_has_among_others(name):
    pair, (x, *_) = perturbed(build(name)), arguments(name, torch.float64)
    for site, codes in encode(pair, x, seed=None).items():
        if site == "y" or site.startswith("y_"):
            torch.testing.assert_close(encode(pair, x[:1])[site], codes[:1], rtol=0, atol=1e-8)
