"""Checkpoints: tensors and JSON metadata in one atomic safetensors file, never a pickle, and random states."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from inference.errors import InferenceError
from inference.files import write_atomically

__all__ = ["load_tensors", "random_state", "save_tensors", "set_random_state"]


def save_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write one atomic safetensors file.

    :param tensors: by name, on any device
    :param about: metadata, which JSON can represent
    :raises InferenceError: if it cannot be written; the previous file is kept
    """
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    write_atomically(path, save(tensors, {"about": json.dumps(about)}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return (tensors on the CPU, metadata) of a file written by `save_tensors`.

    :raises InferenceError: if it is missing or damaged
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118 (not a dict)
    except FileNotFoundError:
        raise InferenceError(f"there is no file {path}.") from None
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:100]
        raise InferenceError(f"{path} is damaged ({reason}); nothing was changed.") from error


def random_state() -> dict[str, Tensor]:
    """Return the states of torch's random generators: the CPU's, and those of the CUDA devices in use."""
    state = {"rng.cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        state |= {f"rng.cuda.{i}": value for i, value in enumerate(torch.cuda.get_rng_state_all())}
    return state


def set_random_state(state: dict[str, Tensor]) -> None:
    """Restore the states of torch's random generators that `random_state` returned."""
    torch.set_rng_state(state["rng.cpu"])
    for i in range(torch.cuda.device_count()):
        if f"rng.cuda.{i}" in state:
            torch.cuda.set_rng_state(state[f"rng.cuda.{i}"], i)
