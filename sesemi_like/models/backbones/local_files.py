"""Loads a local file or folder of weights into a backbone, whole or not at all."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from ..weight_folders import architecture_of, read_folder
from ..weights import UnreadableWeightsError, read_weights

log = logging.getLogger(__name__)

Tensors = dict[str, Tensor]
Convert = Callable[[Tensors], Tensors]

_PRETRAINING = re.compile(r"(decoder\w*|mask_token)(\.|$)")
"""Names of what masked autoencoders have for pretraining alone (arXiv 2111.06377)."""

_POOLED_NORM = ("fc_norm.weight", "fc_norm.bias")
"""Timm's norm behind the average over tokens, which stands in place of ``norm`` before it."""


@dataclass
class _Found:
    """Tensors on their way into a network.

    Attributes:
        tensors: Those that are taken.
        left_out: What is not taken, by the reason.
        initial: The network's own that keep their values.
    """

    tensors: Tensors
    left_out: dict[str, list[str]] = field(default_factory=dict)
    initial: list[str] = field(default_factory=list)

    def leave_out(self, names: Collection[str], reason: str) -> None:
        if names:
            self.left_out.setdefault(reason, []).extend(sorted(names))
            self.tensors = {n: tensor for n, tensor in self.tensors.items() if n not in names}


def load_local_file(
    network: nn.Module,
    path: str,
    classifier: Collection[str] = (),
    convert: Convert | None = None,
) -> None:
    """Loads every weight and buffer of a network from a file or folder.

    Names may have a common beginning in it, such as ``module.``; what lies beside that is left out.

    Args:
        network: The network; it is left unchanged if the file does not fit.
        path: A file that :func:`sesemi_like.models.weights.read_weights` reads, or a folder that
            :func:`sesemi_like.models.weight_folders.read_folder` reads.
        classifier: Names of layers that the network no longer has; their weights in the file are
            left out and listed in the log, as is what only pretraining has.
        convert: Fits the tensors of a file that does not fit as it is: it renames them, and
            resizes position embeddings to another size of images.

    Raises:
        ValueError: If there is no such file or folder, it cannot be read, or it has fewer, other or
            more weights than the network.
    """
    own, given = network.state_dict(), _read(path)
    found = _selected(own, _below_prefix(own, given, path), classifier)
    if convert is not None and _difference(own, found):
        found = _converted(own, found, convert, classifier)
    if problem := _difference(own, found):
        raise ValueError(
            f"checkpoint_path: {path!r} does not fit the model: {problem}{_origin(path)}"
        )
    # Files older than the counter of batches lack it; only BatchNorm with momentum: null reads it.
    network.load_state_dict(own | found.tensors)
    for reason, names in found.left_out.items():
        log.info("%s: left out %s %s", path, reason, ", ".join(names))
    if found.initial:
        log.info("%s: %s keep their initial values", path, ", ".join(found.initial))


def _read(path: str) -> Tensors:
    if not Path(path).exists():
        raise ValueError(f"checkpoint_path: found {path!r}; there is no such file or folder")
    try:
        return read_folder(path) if Path(path).is_dir() else read_weights(path).tensors
    except UnreadableWeightsError as error:
        raise ValueError(f"checkpoint_path: {path!r} cannot be read: {error}") from None


def _below_prefix(own: Collection[str], given: Tensors, path: str) -> _Found:
    """Takes the tensors below the prefix with which most of the network's own are there.

    Where that is less than half of them the names are others, which a conversion may know.
    """
    counts: Counter[str] = Counter()
    for name in given:
        parts = name.split(".")
        for place in range(len(parts)):
            if ".".join(parts[place:]) in own:
                counts["".join(f"{part}." for part in parts[:place])] += 1
    most = max(counts.values(), default=0)
    best = [prefix for prefix, count in counts.items() if count == most]
    if "" in best or most < len(own) / 2:
        return _Found(given)
    if len(best) > 1:
        raise ValueError(
            f"checkpoint_path: {path!r} has the model's weights below each of "
            f"{', '.join(repr(prefix) for prefix in sorted(best))}; give a file with one of them, "
            "or run.pretrained_checkpoint_path with a prefix"
        )
    (prefix,) = best
    found = _Found(given)
    found.leave_out(
        [n for n in given if not n.startswith(prefix)], f"what is not below {prefix!r}:"
    )
    found.tensors = {name.removeprefix(prefix): value for name, value in found.tensors.items()}
    return found


def _selected(own: Collection[str], found: _Found, classifier: Collection[str]) -> _Found:
    """Leaves out what belongs to other parts than the network: a classifier, a decoder."""
    more = [name for name in found.tensors if name not in own]
    found.leave_out([n for n in more if n.startswith(tuple(classifier))], "the classifier's")
    more = [name for name in found.tensors if name not in own]
    found.leave_out([n for n in more if _PRETRAINING.match(n)], "what only pretraining has:")
    pooled = [name for name in _POOLED_NORM if name in own and name not in found.tensors]
    if pooled:
        norms = [f"norm.{n.rpartition('.')[2]}" for n in pooled]
        norms = [name for name in norms if name in found.tensors and name not in own]
        found.initial = pooled if norms else []
        found.leave_out(norms, "the norm of unpooled tokens:")
    return found


def _converted(
    own: Mapping[str, Tensor], found: _Found, convert: Convert, classifier: Collection[str]
) -> _Found:
    """What a library's conversion makes of tensors; as they were where it cannot."""
    try:
        tensors = convert(dict(found.tensors))
    except Exception as error:  # It expects the names of certain files.
        log.debug("the conversion failed: %s", error)
        return found
    resized = [
        f"{name} from {tuple(found.tensors[name].shape)} to {tuple(tensor.shape)}"
        for name, tensor in tensors.items()
        if name in found.tensors and tensor.shape != found.tensors[name].shape
    ]
    made = _selected(own, _Found(tensors, found.left_out, found.initial), classifier)
    if resized:
        log.info("resized %s", ", ".join(resized))
    return made


def _difference(own: Mapping[str, Tensor], found: _Found) -> str:
    """Describes what keeps tensors from fitting; empty if they fit."""
    given = found.tensors
    missing = [
        name
        for name in own
        if name not in (*given, *found.initial) and not name.endswith("num_batches_tracked")
    ]
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


def _origin(path: str) -> str:
    """Names the model that a folder says it is of."""
    name = architecture_of(path) if Path(path).is_dir() else None
    return f"; its config.json says that it is of {name}" if name else ""


def _first(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
