"""Find which entries of the latents belong to a sequence, where x has NaN after the end of shorter ones."""

import torch
from pyro import poutine
from torch import Tensor

from inference.pairs.capabilities import capability
from inference.pairs.handlers import SetRows
from inference.pairs.pair import Pair
from inference.pairs.run import cuda_devices, eval_mode, same_buffers
from inference.pairs.sites import Site, is_local

__all__ = ["data_within", "entries_within", "left_out", "lengths"]

Within = dict[str, Tensor]


def lengths(x: Tensor, step_dim: int) -> Tensor:
    """Count the steps of each sequence up to its last entry that is not NaN, (n,) integers; at least 1.

    >>> lengths(torch.tensor([[1.0, 2.0, torch.nan], [torch.nan, 3.0, 4.0]]), 1)
    tensor([2, 3])

    :param x: (n, T step_dim)
    """
    observed = ~x.isnan().unflatten(1, (-1, step_dim)).all(2)
    return (observed.flip(1).cumsum(1) > 0).sum(1).clamp(min=1)


def data_within(pair: Pair, x: Tensor) -> Tensor | None:
    """Return which entries of x belong to steps of their sequences, in the shape of x: booleans.

    :param x: (n, ...), flat or not
    :return: None where all do: every sequence is of full length, or the pair does not declare `step_dim`
    """
    flat, step_dim = x.reshape(len(x), -1), capability(pair, "step_dim")
    if not step_dim or flat.shape[1] % step_dim or not flat[:, -step_dim:].isnan().any():
        return None
    ends = step_dim * lengths(flat, step_dim)
    return (torch.arange(flat.shape[1], device=x.device) < ends.unsqueeze(1)).reshape(x.shape)


def entries_within(pair: Pair, args: tuple[Tensor, ...]) -> Within | None:
    """Return which entries of the latents belong to steps of their sequences, (n, *shape) booleans by site.

    The latents of a sequence are those that the pair has for it alone: model and guide are run on one row of each
    length, cut at its end, where a site of later steps is absent, or has fewer entries. Draws of the other entries of a
    padded row have no density, or say what would follow.

    Random generators, buffers and Pyro's parameter store are left as they were.

    :param args: (x,) or (x, given), (n, ...) each
    :return: the sites with entries after an end; none where all sequences are of full length, or the pair does not
        declare `step_dim`. None if it is unknown, since the pair refuses shorter sequences
    """
    if (of_x := data_within(pair, args[0])) is None:
        return {}
    ends = of_x.reshape(len(of_x), -1).sum(1)  # of entries of x
    try:
        full = _shapes(pair, args, 0, of_x[0].numel())
        alone = {end: _shapes(pair, args, int((ends == end).nonzero()[0]), end) for end in ends.unique().tolist()}
    except Exception:  # any error of a model that takes sequences of one length
        return None
    within: Within = {}
    for name, shape in full.items():
        kept = of_x.new_zeros(len(of_x), *shape)
        for end, shapes in alone.items():
            if name in shapes:
                part = of_x.new_zeros(shape)
                part[tuple(slice(size) for size, _ in zip(shapes[name], shape, strict=False))] = True
                kept[ends == end] = part
        if not kept.all():
            within[name] = kept
    return within


def _shapes(pair: Pair, args: tuple[Tensor, ...], row: int, width: int) -> dict[str, torch.Size]:
    """Return the shape of each latent of a data point, and of what is computed from them, for a row of x cut there."""
    x, *rest = (a[row : row + 1] for a in args)
    few, rows = (x.reshape(1, -1)[:, :width], *rest), torch.tensor([row], device=x.device)
    with torch.random.fork_rng(cuda_devices(pair)), eval_mode(pair, None), same_buffers(pair), SetRows(rows):
        guide = poutine.trace(pair.guide).get_trace(*few, total=len(args[0]))
        model = poutine.trace(poutine.replay(pair.model, guide)).get_trace(*few, total=len(args[0]))
    sites: dict[str, Site] = {**guide.nodes, **model.nodes}
    return {
        name: site["value"].shape[1:]
        for name, site in sites.items()
        if site["type"] == "sample"
        and is_local(site)
        and (not site["is_observed"] or "_deterministic" in site["infer"])
    }


def left_out(values: dict[str, Tensor], within: Within | None) -> dict[str, Tensor]:
    """Return values of sites with NaN in place of the entries after the end of a sequence.

    :param values: (..., n, *shape) each
    :param within: what `entries_within` returns
    """
    parts = {name: kept for name, kept in (within or {}).items() if name in values}
    return values | {name: values[name].where(kept, torch.nan) for name, kept in parts.items()}
