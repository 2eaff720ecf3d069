"""One fit in several processes, on one host or many: `torchrun --nproc-per-node=2 -m -- gallery fit ...`.

Every process has the same weights, takes rows of its own from each minibatch and draws its own noise; gradients are
averaged over the processes once a step. So N processes make the steps of one with N times the batch size.
"""

import os

import torch
import torch.distributed as dist
from torch import Tensor

from inference.errors import InferenceError


def join() -> None:
    """Joins the processes that torchrun started: by NCCL where this host has a GPU for each of its, else by gloo."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or dist.is_initialized():
        return
    if enough := torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"])):
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if enough else "gloo")


def leave() -> None:
    """Ends what `join` began."""
    if dist.is_initialized():
        dist.destroy_process_group()


def workers() -> int:
    """The number of processes of this fit."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0; number 0 writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def _gone(error: RuntimeError) -> InferenceError:
    reason = (str(error).splitlines() or [""])[0][:100]
    return InferenceError(f"another process of this fit is gone: resume the run from its checkpoint ({reason}).")


def mean(tensors: list[Tensor | None]) -> list[Tensor | None]:
    """Each tensor averaged over the processes; all travel together. What is None is None everywhere.

    :raises InferenceError: if a process is gone
    """
    if workers() == 1:
        return tensors
    present = [t for t in tensors if t is not None]
    flat = torch.cat([t.flatten().to(present[-1].dtype) for t in present])
    try:
        dist.all_reduce(flat)
    except RuntimeError as error:
        raise _gone(error) from error
    parts = iter((flat / workers()).split([t.numel() for t in present]))
    return [t if t is None else next(parts).view_as(t).to(t.dtype) for t in tensors]


def anyone(flag: bool) -> bool:
    """Is it so in any of the processes? They have to ask together."""
    return flag if workers() == 1 else any(gathered(flag))


def gathered(value) -> list:
    """What every process has for `value`, in their order.

    :raises InferenceError: if a process is gone
    """
    if workers() == 1:
        return [value]
    values = [None] * workers()
    try:
        dist.all_gather_object(values, value)
    except RuntimeError as error:
        raise _gone(error) from error
    return values
