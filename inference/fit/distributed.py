"""One fit in several processes, on one host or many: `torchrun --nproc-per-node=2 -m -- gallery fit ...`.

Every process has the same weights, takes its own rows of each minibatch and draws its own noise. Gradients are averaged
over the processes once a step. So N processes make the steps of one process with N times the batch size.
"""

import os
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from inference.errors import InferenceError
from inference.pairs.streams import stream

__all__ = ["any_worker", "gather", "join", "leave", "mean", "rank", "seed_noise", "workers"]

T = TypeVar("T")


def join() -> None:
    """Join the processes that torchrun started: by NCCL if this host has a GPU for each, else by gloo."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or dist.is_initialized():
        return
    if enough := torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"])):
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if enough else "gloo")


def leave() -> None:
    """End what `join` began."""
    if dist.is_initialized():
        dist.destroy_process_group()


def workers() -> int:
    """Return the number of processes of this fit."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0; process 0 writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def seed_noise(seed: int) -> None:
    """Seed torch's generators differently in every process; with one process they stay as they are."""
    if workers() > 1:
        torch.manual_seed(stream(seed, "noise", rank()))


def _lost_process(error: RuntimeError) -> InferenceError:
    reason = (str(error).splitlines() or [""])[0][:100]
    return InferenceError(f"another process of this fit has ended ({reason}).", "Resume the run from its checkpoint.")


def mean(tensors: list[Any]) -> list[Any]:
    """Average each tensor over the processes, in one message.

    :param tensors: tensors, or None for the gradient of an unused parameter; a None has to be None in every process
    :raises InferenceError: if another process has ended
    """
    if workers() == 1:
        return tensors
    present = [t for t in tensors if t is not None]
    flat = torch.cat([t.flatten().to(present[-1].dtype) for t in present])
    try:
        dist.all_reduce(flat)
    except RuntimeError as error:
        raise _lost_process(error) from error
    parts = iter((flat / workers()).split([t.numel() for t in present]))
    return [t if t is None else next(parts).view_as(t).to(t.dtype) for t in tensors]


def any_worker(flag: bool) -> bool:
    """Return whether the flag is set in any of the processes, which have to call this together."""
    return flag if workers() == 1 else any(gather(flag))


def gather(value: T) -> list[T]:
    """Return the `value` of every process, in the order of their numbers.

    :raises InferenceError: if another process has ended
    """
    if workers() == 1:
        return [value]
    values: list[T] = [value] * workers()
    try:
        dist.all_gather_object(values, value)
    except RuntimeError as error:
        raise _lost_process(error) from error
    return values
