"""What tells predictions of other weights, data or settings apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ..._version import __version__
from ...data.loading.parts import LoaderParts
from ...data.readers import Draws, StampedReader
from ...data.samples import Samples
from ...data.sources.image_reader import file_loader_of
from ...learners import Learner
from ...trees import tensors_of

_NO_MATTER = frozenset(
    {"num_workers", "pin_memory", "pin_memory_device", "prefetch_factor", "persistent_workers",
     "timeout", "multiprocessing_context"}
)  # fmt: skip
"""Keys of a loader that change how fast its rows come, and not what they are."""


def fingerprint(learner: Learner, parts: LoaderParts, settings: Mapping[str, Any]) -> str:
    """Hashes all that predictions depend on: weights, rows, files, settings and versions.

    Args:
        learner: The learner, with the weights that predict.
        parts: The loader of what is predicted.
        settings: Further settings that decide on the content of the file.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.sha256()
    loader = {key: value for key, value in parts.config.items() if key not in _NO_MATTER}
    versions = {"sesemi_like": __version__, "torch": torch.__version__, "numpy": np.__version__}
    described = [settings, learner.settings, loader, versions]
    digest.update(json.dumps(described, sort_keys=True, default=str).encode())
    for name, tensor in learner.state_dict().items():
        _add(digest, name, tensor)
    assert isinstance(parts.dataset, Samples)
    _add_rows(digest, parts.dataset)
    if parts.dataset.draws is Draws.NOTHING:  # the first samples differ otherwise
        for tensor in tensors_of(parts.sample_batch):
            _add(digest, "sample", tensor)
    return digest.hexdigest()[:32]


def _add(digest: Any, name: str, tensor: Any) -> None:
    if not isinstance(tensor, torch.Tensor):  # what a module keeps beside its weights
        return
    digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
    content = tensor.detach().cpu().contiguous().reshape(-1)
    digest.update(content.view(torch.uint8).numpy())


def _add_rows(digest: Any, samples: Samples) -> None:
    """Adds positions, names and, where rows are files, what is known of these."""
    digest.update(samples.positions.tobytes())
    for name in samples.row_ids():
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
    if (files := file_loader_of(samples)) is not None:
        for position in samples.positions.tolist():
            digest.update(files.fingerprint(position).encode() + b"\0")
    elif isinstance(samples.read, StampedReader):
        digest.update(samples.read.stamp.encode())
