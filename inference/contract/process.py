"""Clauses on a pair within a process: it is repeatable, saved and moved as a whole, and changes no global state."""

from collections.abc import Iterator

import pyro
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from inference.contract.case import FEW, Case, Finding
from inference.evaluation.metrics import monitor_elbo
from inference.fit.graph import UntraceableError, traced
from inference.pairs.autoguides import pyro_sample_fault
from inference.pairs.handlers import FittedRows
from inference.pairs.pair import Pair
from inference.pairs.properties import distribution_of
from inference.pairs.run import param_scope
from inference.pairs.sites import is_flat
from inference.pairs.values import distribution_tensors

SEED = 7919  # unlikely to be the seed of a pair
FROM_X = "make new tensors from x, e.g. by x.new_zeros(...), and register constants as buffers"
REPEATS = 5  # losses of the same seed after the first: what is drawn now and then may be equal in two
NOISE = "draw all noise from torch's generator, which the setting seed controls, and none from random or numpy"


def repeatable(case: Case) -> Iterator[Finding]:
    """the same seed gives the same weights and the same loss"""
    pair, again = case.pair(), case.pair()
    weights = again.state_dict()
    if any(not torch.equal(value, weights[name]) for name, value in pair.state_dict().items()):
        yield Finding(f"with the same seed the constructor draws different weights: {NOISE}.")
        return
    first = case.loss(pair)
    if any(case.loss(pair) != first for _ in range(REPEATS)):
        yield Finding(f"with the same seed and weights the loss differs: {NOISE}, and keep no state between calls.")


def state(case: Case) -> Iterator[Finding]:
    """state_dict holds everything that a pair learns"""
    pair, hidden = case.pair(), False
    known = {id(item) for item in (*pair.parameters(), *pair.buffers(), *pair.modules())}
    buffers = list(pair.buffers())
    for path, module in pair.named_modules():
        for name, value in vars(module).items():
            if name in ("_parameters", "_buffers", "_modules"):
                continue
            within = list(value.values()) if isinstance(value, dict) else value
            within = within if isinstance(within, list | tuple) else [within]
            for kind, remedy in ((Tensor, f"self.register_buffer({name!r}, ...)"), (nn.Module, "an nn.ModuleList")):
                items = [item for item in within if isinstance(item, kind) and id(item) not in known]
                if any(not _is_copy(item, buffers) and _is_used(case, pair, item) for item in items):
                    hidden = True
                    yield Finding(
                        f"{'.'.join(filter(None, ['self', path, name]))} keeps a {kind.__name__} that is neither in "
                        f"state_dict nor moved by .to(device): use {remedy}, or an nn.Parameter if it is learnt."
                    )
    other = case.pair(seed=1)
    other.load_state_dict(pair.state_dict())
    if not hidden and case.loss(other) != case.loss(pair) == case.loss(pair):  # where it repeats itself
        yield Finding(
            "with the weights of another pair loaded, the loss differs from that pair's: the constructor computes "
            "something that is not in state_dict. Make it a buffer, or compute it from the hyper-parameters."
        )


def _is_copy(item: Tensor | nn.Module, buffers: list[Tensor]) -> bool:
    """Return whether an item has the values of a buffer, such as the masks that Pyro's masked networks share."""
    return isinstance(item, Tensor) and any(item.shape == b.shape and torch.equal(item, b) for b in buffers)


def _is_used(case: Case, pair: Pair, item: Tensor | nn.Module) -> bool:
    """Return whether the loss, or the bound in evaluation mode, depends on a tensor that the pair keeps.

    Of a module it is not known: True.
    """
    if not isinstance(item, Tensor):
        return True

    x, *given = case.args

    def numbers() -> tuple[float, dict[str, float]]:
        with FittedRows():
            return case.loss(pair).item(), monitor_elbo(pair, x, given[0] if given else None)

    content, first, before = item.detach(), numbers(), item.detach().clone()
    content.copy_(~before if item.dtype == torch.bool else before + 1)
    try:
        return numbers() != first
    except Exception:  # whatever another value leads to
        return True
    finally:
        content.copy_(before)


def leftovers(case: Case) -> Iterator[Finding]:
    """settings of torch and Pyro, the seed and the parameter store are unchanged afterwards"""
    with param_scope():
        case.pair()
        if names := list(pyro.get_param_store().keys()):
            yield Finding(
                f"the constructor leaves {', '.join(names)} in Pyro's store: call pyro.module in model and guide."
            )
    case.run(FEW, SEED)
    if torch.initial_seed() != SEED:
        yield Finding(
            "the pair seeds torch's generator, which overrides the setting seed and checkpoints: remove the call."
        )
    for name, value in case.left.items():
        yield Finding(f"the pair changes {name} to {value} for the whole process: remove the change.")


def device(case: Case) -> Iterator[Finding]:
    """new tensors take the device and the dtype of x: in float64, and on the meta device"""
    for place in (torch.float64, torch.device("meta")):
        with pyro.validation_enabled(place == torch.float64):  # the meta device has no values to read
            ran = case.run(len(case.args[0]), place=place)
            moved = case.args[0].to(place)
            if fault := pyro_sample_fault(case.pair(), ran.model, moved):
                yield Finding(fault)
                return
            failed = [("a step", error) for error in ran.errors[:1]]
            for part, name, site in ran.sites:
                try:
                    tensors = [site["value"]] if is_flat(site) else [site["value"], site["fn"].log_prob(site["value"])]
                except Exception as error:  # any error of a distribution
                    failed.append((f"{name} of the {part}", error))
                    continue
                if any(tensor.is_floating_point() and place not in (tensor.dtype, tensor.device) for tensor in tensors):
                    yield Finding(f"{name} of the {part} does not follow x to {place}: {FROM_X}.")
        for what, raised in failed[:1]:
            # torch lacks the operation on the meta device, or a distribution whose parameters have followed lacks it
            unknown = isinstance(raised, NotImplementedError) or _has_followed(distribution_of(raised)[0], place)
            reads = "item() cannot be called on meta" in str(raised)  # reported by `traceable`
            if unknown and place != torch.float64:
                yield Finding(f"{what} is not checked in {place}, where torch lacks an operation of it.", remark=True)
                return
            remedy = "" if unknown else "it depends on values; " if reads else f"{FROM_X}; "
            yield Finding(
                f"{what} cannot be computed in {place}: {remedy}the error of torch is", raised, remark=unknown or reads
            )


def _has_followed(fn: Distribution | None, place: torch.dtype | torch.device) -> bool:
    """Return whether there is a distribution, and its parameters have this dtype or device."""
    tensors = [] if fn is None else distribution_tensors(fn).values()
    return len(tensors) > 0 and all(place in (t.dtype, t.device) for t in tensors if t.is_floating_point())


def traceable(case: Case) -> Iterator[Finding]:
    """the operations of a step do not depend on values, so it can be traced once and compiled"""
    loss = case.minibatch_loss(case.pair().train())
    x = case.args[0]
    try:
        traced(loss.gradients, (x.new_zeros(()), torch.arange(len(x)), x.new_ones(()), *case.args))
    except UntraceableError as error:
        yield Finding(f"every step is run by Pyro, which is slower: {error}", remark=True)
