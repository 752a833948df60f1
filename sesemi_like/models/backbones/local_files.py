"""Loads a local file of weights into a backbone, whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor, nn

from ..weights import UnreadableWeightsError, read_weights

log = logging.getLogger(__name__)

PREFIXES = ("module.", "network.")


def load_local_file(network: nn.Module, path: str, classifier: Collection[str] = ()) -> None:
    """Loads every weight and buffer of a network from a file.

    Args:
        network: The network; it is left unchanged if the file does not fit.
        path: A file that :func:`sesemi_like.models.weights.read_weights` reads.
        classifier: Names of layers that the network no longer has; their weights in the file are
            left out and listed in the log.

    Raises:
        ValueError: If there is no such file, it cannot be read, or it has fewer, other or more
            weights than the network.
    """
    if not Path(path).is_file():
        raise ValueError(f"checkpoint_path: found {path!r}; there is no such file")
    try:
        given = _without_prefix(read_weights(path).tensors)
    except UnreadableWeightsError as error:
        raise ValueError(f"checkpoint_path: {path!r} cannot be read: {error}") from None
    own = network.state_dict()
    left_out = {n for n in given if n not in own and n.startswith(tuple(classifier))}
    given = {name: value for name, value in given.items() if name not in left_out}
    if problem := _difference(own, given):
        raise ValueError(f"checkpoint_path: {path!r} does not fit the model: {problem}")
    # Files older than the counter of batches lack it; only BatchNorm with momentum: null reads it.
    network.load_state_dict(own | given)
    if left_out:
        log.info("%s: left out the classifier's %s", path, ", ".join(sorted(left_out)))


def _without_prefix(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Removes a prefix that wrappers put before every name."""
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in given):
            given = {name.removeprefix(prefix): value for name, value in given.items()}
    return given


def _difference(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """Describes what keeps a file from fitting; empty if it fits."""
    missing = [n for n in own if n not in given and not n.endswith("num_batches_tracked")]
    reshaped = [
        f"{name} {tuple(given[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    differences = {
        "it lacks": missing,
        "it has": reshaped,
        "the model has no": [name for name in given if name not in own],
    }
    return "; ".join(f"{what} {_first(names)}" for what, names in differences.items() if names)


def _first(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
