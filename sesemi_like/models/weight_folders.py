"""Reads folders of weights as model hubs lay them out: safetensors, whole or in shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from .weights import UnreadableWeightsError, read_weights

WHOLE = ("model.safetensors", "pytorch_model.bin")
"""Files with all weights, the first there is counts."""

INDEX = "model.safetensors.index.json"
"""Says which shard each tensor lies in: ``{"weight_map": {tensor: file}}``."""


def read_folder(folder: str | Path) -> dict[str, Tensor]:
    """Reads the weights of a folder onto the CPU.

    Args:
        folder: Holds ``model.safetensors.index.json`` and the shards it names, or one of
            :data:`WHOLE`, or a single ``.safetensors`` file of any name.

    Returns:
        The tensors by name.

    Raises:
        UnreadableWeightsError: If there are no weights in it, or a file cannot be read or is
            missing.
    """
    path = Path(folder)
    if (path / INDEX).is_file():
        return _read_shards(path)
    whole = [path / name for name in WHOLE if (path / name).is_file()]
    found = whole or sorted(path.glob("*.safetensors"))
    if not found or (not whole and len(found) > 1):
        names = ", ".join(file.name for file in found) or "no .safetensors file"
        raise UnreadableWeightsError(
            f"it has {names}; needs {WHOLE[0]}, or {INDEX} with the shards it names"
        )
    return read_weights(found[0]).tensors


def architecture_of(folder: str | Path) -> str | None:
    """The model that the ``config.json`` of a folder names; None where it names none."""
    config = _json(Path(folder) / "config.json")
    found = config.get("architecture") or config.get("architectures") or config.get("model_type")
    found = found[0] if isinstance(found, list) and found else found
    return found if isinstance(found, str) else None


def expected_of(folder: str | Path) -> dict[str, Any]:
    """What the ``config.json`` of a folder says of its images, as timm's `pretrained_cfg` does."""
    found = _json(Path(folder) / "config.json").get("pretrained_cfg")
    return found if isinstance(found, dict) else {}


def _read_shards(folder: Path) -> dict[str, Tensor]:
    places = _json(folder / INDEX).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise UnreadableWeightsError(f"{INDEX} in it has no weight_map of tensors to files")
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        if not (folder / name).is_file():
            raise UnreadableWeightsError(f"{INDEX} in it names {name}, which is not there")
        tensors |= read_weights(folder / name).tensors
    if lacking := sorted(set(places) - set(tensors)):
        raise UnreadableWeightsError(f"{places[lacking[0]]} in it has no tensor {lacking[0]}")
    return {name: tensors[name] for name in places}


def _json(file: Path) -> dict[str, Any]:
    """The content of a JSON file; empty where there is none or it is no mapping."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
