"""Files that are whole or not there: tensors and a few words of JSON in one safetensors file, never a pickle."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from inference.errors import InferenceError
from inference.files import write_atomically


def save_tensors(path: Path, tensors: dict[str, Tensor], about: dict) -> None:
    """One atomic safetensors file of tensors (any device) and of `about`, which has to be JSON."""
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    write_atomically(path, save(tensors, {"about": json.dumps(about)}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    """(tensors on the CPU, about) of a file of `save_tensors`.

    :raises InferenceError: if it is missing or damaged; nothing is written
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118 (not a dict)
    except FileNotFoundError:
        raise InferenceError(f"there is no {path}.") from None
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:100]
        raise InferenceError(f"{path} is damaged ({reason}); nothing was changed.") from error


def random_state() -> dict[str, Tensor]:
    """The states of torch's random generators, the CPU's and every CUDA device's in use."""
    state = {"rng.cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        state |= {f"rng.cuda.{i}": value for i, value in enumerate(torch.cuda.get_rng_state_all())}
    return state


def set_random_state(state: dict[str, Tensor]) -> None:
    """Puts back what `random_state` gave."""
    torch.set_rng_state(state["rng.cpu"])
    for i in range(torch.cuda.device_count()):
        if f"rng.cuda.{i}" in state:
            torch.cuda.set_rng_state(state[f"rng.cuda.{i}"], i)
