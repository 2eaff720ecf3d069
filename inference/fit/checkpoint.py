"""Checkpoints: tensors and JSON metadata in one atomic safetensors file, never a pickle, and random states."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from inference.errors import InferenceError
from inference.files import write_atomically

__all__ = ["load_tensors", "random_state", "save_tensors", "set_random_state"]

_HASH = "sha256"  # the key of the hash among the metadata


def save_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write one atomic safetensors file, with the hash of its tensors and metadata in its header.

    :param tensors: by name, on any device
    :param about: metadata, which JSON can represent
    :raises InferenceError: if it cannot be written; the previous file is kept
    """
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    about = json.loads(json.dumps(about))
    write_atomically(path, save(tensors, {"about": json.dumps({_HASH: _hash(tensors, about), **about})}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return (tensors on the CPU, metadata) of a file written by `save_tensors`.

    A file of version 0.1 has no hash, and is read without this check.

    :raises InferenceError: if it is missing or damaged
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
        (length,) = struct.unpack_from("<Q", content)
        about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["about"])
        tensors = load(content)
        expected = about.pop(_HASH, None)
        if expected is not None and expected != _hash(tensors, about):
            raise ValueError("its content has changed since it was written")
        return tensors, about
    except FileNotFoundError:
        raise InferenceError(f"there is no file {path}.") from None
    except (SafetensorError, struct.error, LookupError, TypeError, AttributeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:100]
        raise InferenceError(f"{path} is damaged ({reason}); nothing was changed.") from error
    except (MemoryError, RecursionError, OverflowError) as error:  # of sizes in a damaged header
        raise InferenceError(f"{path} is damaged ({type(error).__name__}); nothing was changed.") from error


def _hash(tensors: dict[str, Tensor], about: dict[str, Any]) -> str:
    """Return the SHA-256 of names, types, shapes and values of tensors, and of the metadata."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name!r} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data if value.numel() else b"")
    return digest.hexdigest()


def random_state() -> dict[str, Tensor]:
    """Return the states of torch's random generators: the CPU's, and those of the CUDA devices in use."""
    state = {"rng.cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        state |= {f"rng.cuda.{i}": value for i, value in enumerate(torch.cuda.get_rng_state_all())}
    return state


def set_random_state(state: dict[str, Tensor]) -> None:
    """Restore what `random_state` returned."""
    torch.set_rng_state(state["rng.cpu"])
    for i in range(torch.cuda.device_count()):
        if f"rng.cuda.{i}" in state:
            torch.cuda.set_rng_state(state[f"rng.cuda.{i}"], i)
