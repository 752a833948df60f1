"""Loads a local file of weights into a backbone, whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..torch_files import UnreadableFileError, read_torch_file

log = logging.getLogger(__name__)

CONTAINERS = ("state_dict", "model")
PREFIXES = ("module.", "network.")


def load_weights(network: nn.Module, path: str, classifier: Collection[str] = ()) -> None:
    """Loads every weight and buffer of a network from a file.

    Args:
        network: The network; it is left as it is if the file does not fit.
        path: A ``.safetensors`` file, or one of `torch.save`: a state dict, alone or under
            ``state_dict`` or ``model``.
        classifier: Names of layers that the network has no longer; their weights in the file are
            left out, and named in the log.

    Raises:
        ValueError: If there is no such file, it cannot be read, or it has fewer, other or more
            weights than the network.
    """
    if not Path(path).is_file():
        raise ValueError(f"checkpoint_path: found {path!r}; there is no such file")
    given, own = _bare(_read(path)), network.state_dict()
    left_out = {n for n in given if n not in own and n.startswith(tuple(classifier))}
    given = {name: value for name, value in given.items() if name not in left_out}
    if problem := _difference(own, given):
        raise ValueError(f"checkpoint_path: {path!r} does not fit the model: {problem}")
    # Files older than the counter of batches lack it; nothing but momentum: null reads it.
    network.load_state_dict(own | given)
    if left_out:
        log.info("%s: left out the classifier's %s", path, ", ".join(sorted(left_out)))


def _read(path: str) -> dict[str, Tensor]:
    try:
        content = _content(path)
    except UnreadableFileError as error:
        raise ValueError(f"checkpoint_path: {path!r} cannot be read: {error}") from None
    except Exception as error:  # Each format has its own, from no mapping to a broken header.
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"checkpoint_path: {path!r} cannot be read: {reason}") from None
    for container in CONTAINERS:
        if isinstance(content.get(container), Mapping):
            content = content[container]
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _content(path: str) -> dict[str, Any]:
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        return dict(load_file(path))
    content = read_torch_file(path)
    if not isinstance(content, Mapping):
        raise TypeError(f"it holds a {type(content).__name__} instead of a state dict")
    return dict(content)


def _bare(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Takes off a prefix that wrappers put before every name."""
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in given):
            given = {name.removeprefix(prefix): value for name, value in given.items()}
    return given


def _difference(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """Says what keeps a file from fitting; empty if it fits."""
    lacking = [n for n in own if n not in given and not n.endswith("num_batches_tracked")]
    others = [
        f"{name} {tuple(given[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    found = {
        "it lacks": lacking,
        "it has": others,
        "the model has no": [name for name in given if name not in own],
    }
    return "; ".join(f"{what} {_some(names)}" for what, names in found.items() if names)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
