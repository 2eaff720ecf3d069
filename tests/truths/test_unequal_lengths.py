"""Sequences of unequal length: NaN after the end of one adds nothing to its bounds, codes or statistics."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from cases import SMALL
from discrete_cases import ENUM, perturbed
from pyro.poutine.util import site_is_subsample
from torch import nn
from vae_cases import N, close, small

from gallery.cli.check import findings_of, sentence_of
from gallery.models._nn import reverse
from gallery.models.hmm import HMM
from gallery.models.vrnn import VRNN
from gallery.models.vrnn_smoothing import SmoothingVRNN
from gallery.models.vrnn_vectorised import VectorisedVRNN
from inference import SVI, InferenceError, Settings, check_fit, eval_mode
from inference.contract import CLAUSES, Case
from inference.pairs.run import importance_traces

WIDTH = SMALL["data_dim"] // SMALL["steps"]
LENGTHS = torch.arange(N) % SMALL["steps"] + 1
sequential = pytest.mark.parametrize("cls", [VRNN, VectorisedVRNN, SmoothingVRNN])


@pytest.fixture
def x():
    return (torch.rand(N, SMALL["data_dim"], dtype=torch.float64) > 0.5).double()


def cut(x, lengths, width):
    """The rows of x with NaN after these numbers of steps."""
    return x.masked_fill(torch.arange(x.shape[1]) >= width * lengths.unsqueeze(1), torch.nan)


def weights(pair, x):
    """log p(x, z) - log q(z | x) of each row, for the same noise at each step."""
    with eval_mode(pair, seed=None):
        torch.manual_seed(2)
        model, guide = importance_traces(pair, (x,))
        for trace in (model, guide):
            trace.compute_log_prob(lambda _, site: not site_is_subsample(site))
        sums = [sum(site["log_prob"] for site in of.nodes.values() if "log_prob" in site) for of in (model, guide)]
    return sums[0] - sums[1]


@sequential
def test_each_sequence_among_others_has_the_weights_that_it_has_alone(cls, x):
    pair = small(cls)
    together = weights(pair, cut(x, LENGTHS, WIDTH))
    for length in range(1, SMALL["steps"] + 1):
        alone = weights(pair, x[:, : WIDTH * length])
        close(together[length == LENGTHS], alone[length == LENGTHS])
    assert (together - alone).abs().max() > 1e-2


@sequential
@pytest.mark.parametrize("objective", ["trace", "analytic"])
def test_loss_and_gradient_are_those_of_the_sequences_alone(cls, objective, x):
    pair, found = small(cls), []
    for rows in (cut(x, torch.tensor([2]).expand(N), WIDTH), x[:, : 2 * WIDTH]):
        fit = SVI(pair, rows, settings=Settings(objective=objective))
        torch.manual_seed(2)
        loss = fit.loss(torch.arange(N))
        found.append([loss, *torch.autograd.grad(loss, list(pair.parameters()))])
    for padded, alone in zip(*found, strict=True):
        close(padded, alone)


def test_a_chain_has_the_evidence_and_the_statistics_of_its_observed_steps():
    pair, x = perturbed(HMM()), torch.randn(N, 5, dtype=torch.float64)
    lengths = torch.arange(N) % 5 + 1
    padded = cut(x, lengths, 1)
    alone = [pair.log_evidence(row[:length].unsqueeze(0)) for row, length in zip(x, lengths.tolist(), strict=True)]
    close(pair.log_evidence(padded), torch.cat(alone))
    close(SVI(pair, padded, settings=ENUM).loss(torch.arange(N)), -torch.cat(alone).sum())
    steps = [pair.e_step(row[:length].unsqueeze(0)) for row, length in zip(x, lengths.tolist(), strict=True)]
    for name, value in pair.e_step(padded).items():
        close(value, torch.stack([of_one[name] for of_one in steps]).mean(0))


def test_a_missing_step_within_a_chain_is_summed_out():
    pair, x = perturbed(HMM()), torch.randn(N, 4, dtype=torch.float64)
    gaps = x.clone()
    gaps[:, 1] = torch.nan
    grid = torch.linspace(-60, 60, 60_001, dtype=torch.float64)  # the trapezoid rule is exact for such densities
    rows = x[:1].repeat(len(grid), 1)
    rows[:, 1] = grid
    close(pair.log_evidence(gaps[:1]), torch.trapezoid(pair.log_evidence(rows).exp(), grid).log().unsqueeze(0))
    before = pair.log_evidence(gaps).sum()
    pair.m_step(pair.e_step(gaps))
    assert pair.log_evidence(gaps).sum() > before


def test_nan_within_a_sequence_is_refused_where_it_cannot_be_summed_out(x):
    pair = VectorisedVRNN(**{name: SMALL[name] for name in ("data_dim", "steps", "latent_dim", "state_dim", "hidden")})
    check_fit(pair, cut(x, LENGTHS, WIDTH).float())
    inside, part, empty = (x.float().clone() for _ in range(3))
    inside[3, :WIDTH], part[3, -1], empty[3] = torch.nan, torch.nan, torch.nan
    for wrong, fault in ((inside, "NaN within its sequence"), (part, "NaN within its sequence"), (empty, "no value")):
        with pytest.raises(InferenceError, match=rf"row 3 of x has {fault}; .*whole steps of 2"):
            check_fit(pair, wrong)
    with pytest.raises(InferenceError, match=r"rows of 5 entries, no whole steps of 2"):
        check_fit(pair, x[:, :5].float())


class Unmasked(HMM):
    """Scores zeros after the end of a sequence."""

    def model(self, x, total=None):
        super().model(x.nan_to_num(), total)


class UnmaskedLatents(VRNN):
    """Masks what is observed after the end, and not the latents."""

    def guide(self, x, total=None):
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            self.infer(x, lambda t, q: pyro.sample(f"z_{t}", q))


class OneSite(nn.Module):
    """x: (n, T), with a latent for each step in one site, so that sequences of other lengths have other noise."""

    capabilities, step_dim = ("step_dim",), 1
    dropout = 0.0

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(1, 2)

    def masks_latents(self):
        return True

    def model(self, x, total=None):
        within = ~x.isnan()
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0).mask(within).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).mask(within).to_event(1), obs=x.nan_to_num())

    def guide(self, x, total=None):
        pyro.module("encoder", self.encoder)
        seen = nn.functional.dropout(x.nan_to_num(), self.dropout, self.training)
        loc, log_scale = self.encoder(seen.unsqueeze(-1)).unbind(-1)
        with pyro.plate("data", total or len(x), subsample_size=len(x)):
            q = dist.Normal(loc, log_scale.exp())
            pyro.sample("z", (q.mask(~x.isnan()) if self.masks_latents() else q).to_event(1))


class Dropped(OneSite):
    dropout = 0.3


class UnmaskedOneSite(Dropped):
    def masks_latents(self):
        return False


class MaskedInTraining(OneSite):
    def masks_latents(self):
        return self.training


class Conditional(UnmaskedOneSite):
    def model(self, x, given, total=None):
        super().model(x, total)

    def guide(self, x, given, total=None):
        super().guide(x + given, total)


class OfOneLength(UnmaskedOneSite):
    def model(self, x, total=None):
        super().model(x.unflatten(1, (3, 2)).flatten(1), total)

    def guide(self, x, total=None):
        super().guide(x.unflatten(1, (3, 2)).flatten(1), total)


UNMASKED = [Unmasked, UnmaskedLatents, UnmaskedOneSite, MaskedInTraining, Conditional]


def findings_on(cls, x):
    sizes = {name: SMALL[name] for name in ("data_dim", "steps", "latent_dim", "state_dim", "hidden")}
    given = (torch.randn(N, 1),) if cls is Conditional else ()
    return findings_of(
        CLAUSES["padding"], Case(lambda: cls(**(sizes if issubclass(cls, VRNN) else {})), (x.float(), *given))
    )


@pytest.mark.parametrize("cls", UNMASKED)
def test_the_contract_finds_steps_after_the_end_that_count(cls, x):
    (finding,) = findings_on(cls, x)
    assert "with NaN after the end of its sequences x has the loss" in sentence_of(finding)
    assert not finding.remark


@pytest.mark.parametrize("cls", [HMM, VRNN, VectorisedVRNN, OneSite, Dropped])
def test_the_contract_accepts_masked_steps_whatever_the_order_of_the_noise(cls, x):
    assert not findings_on(cls, x)


def test_the_contract_remarks_that_it_does_not_check_a_model_of_one_length(x):
    (finding,) = findings_on(OfOneLength, x)
    assert finding.remark
    assert "sequences of half the length are refused" in sentence_of(finding)


@pytest.mark.parametrize("width", [0, -1, 2.0, "2", True])
def test_the_contract_wants_a_whole_number_of_entries_a_step(width, x):
    case = Case(type("Other", (OneSite,), {"step_dim": width}), (x.float(),))
    (finding,) = findings_of(CLAUSES["capabilities"], case)
    assert "step_dim must be an integer of at least 1" in sentence_of(finding)


def test_sequences_are_reversed_within_their_lengths():
    values = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]).unsqueeze(-1)
    within = torch.tensor([[True, True, True], [True, True, False], [False, False, False]])
    reversed_values = reverse(values, within)
    assert reversed_values.squeeze(-1).tolist() == [[3, 2, 1], [5, 4, 6], [7, 8, 9]]
    assert torch.equal(reverse(reversed_values, within), values)
