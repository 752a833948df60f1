"""Reads files of weights (.pt, .pth, .ckpt, .safetensors) without running code that they hold."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

CONTAINERS = ("state_dict", "model")
"""Keys under which files keep a state dict beside other content."""


class UnreadableWeightsError(ValueError):
    """A file from which no weights can be read; the message is the reason."""


@dataclass(frozen=True)
class Weights:
    """What a file of weights holds.

    Attributes:
        tensors: The tensors of its state dict by name.
        content: Everything in the file; of a bare state dict, the tensors.
    """

    tensors: dict[str, Tensor]
    content: Mapping[str, Any]


def read_weights(path: str | Path) -> Weights:
    """Reads a file of weights onto the CPU.

    Args:
        path: A ``.safetensors`` file, or one that `torch.save` wrote (read with
            ``weights_only=True``): a state dict, alone or under ``state_dict`` or ``model``, or a
            Lightning checkpoint.

    Returns:
        The tensors, of any number, and the rest of the file.

    Raises:
        UnreadableWeightsError: If the file cannot be read, is damaged, is of another kind, or holds
            objects other than tensors and plain values, which could run any code.
    """
    file = Path(path)
    content = _read_safetensors(file) if file.suffix == ".safetensors" else _read_torch(file)
    if not isinstance(content, Mapping):
        kind = type(content).__name__
        raise UnreadableWeightsError(f"it holds a {kind} instead of a state dict")
    state: Mapping[Any, Any] = content
    for container in CONTAINERS:
        if isinstance(state.get(container), Mapping):
            state = state[container]
    tensors = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    return Weights(tensors, content)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Reads what a checkpoint holds beside its tensors, which stay on disk until they are used.

    Args:
        path: A file that ``torch.save`` has written.

    Raises:
        Exception: Whatever ``torch.load`` raises for a file that cannot be read.
    """
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return content


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except OSError as error:
        raise UnreadableWeightsError(error.strerror or str(error)) from error
    except SafetensorError as error:
        reason = "the file is empty" if _is_empty(path) else f"it is no safetensors file ({error})"
        raise UnreadableWeightsError(reason) from error


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that torch has not written
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UnreadableWeightsError(error.strerror or str(error)) from error
    except Exception as error:  # unpickling raises anything on the bytes of another kind of file
        raise UnreadableWeightsError(_reason(path, error)) from error


def _reason(path: Path, error: Exception) -> str:
    if _is_empty(path):
        return "the file is empty"
    if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path):
        match = re.search(r"(?:GLOBAL|unsupported class|class) ([\w.]+)", str(error))
        kind = f" ({match.group(1)})" if match else ""
        return f"it holds objects{kind} other than tensors and plain values"
    with path.open("rb") as file:
        is_archive = file.read(2) == b"PK"
    return "the file is damaged or truncated" if is_archive else "torch.save did not write it"


def _is_empty(path: Path) -> bool:
    return path.stat().st_size == 0
