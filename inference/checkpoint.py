"""Files that are whole or not there: tensors and a few words of JSON in one safetensors file, never a pickle."""

import json
import os
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from .pairs import InferenceError


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file beside `path` and moves it there: a reader, or a crash, sees the old file or the new one.

    :raises InferenceError: if it cannot be written (disk full, no permission); the old file is untouched
    """
    path = Path(path)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        kept = "the previous one is kept; " if path.exists() else ""
        raise InferenceError(f"cannot write {path}: {error.strerror}; {kept}make room and resume.") from error


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
