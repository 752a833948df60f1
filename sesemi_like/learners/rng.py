"""The state of the process's random number generators, as values a checkpoint may hold."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def state() -> dict[str, Any]:
    """Reads the generators of torch (every device), NumPy and Python.

    Returns:
        Tensors and plain values only, so that a checkpoint loads with ``weights_only=True``.
    """
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    numpy_state = [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64))]
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "torch": torch.get_rng_state(),
        "cuda": cuda,
        "numpy": [*numpy_state, int(position), int(has_gauss), float(gauss)],
        "python": random.getstate(),
    }


def restore(saved: Mapping[str, Any]) -> None:
    """Puts the generators back where :func:`state` found them.

    Args:
        saved: What :func:`state` returned; generators of GPUs that are not there are left out.
    """
    torch.set_rng_state(saved["torch"].cpu())
    for device, value in enumerate(saved["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(value.cpu(), device)
    name, keys, *rest = saved["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    version, internal, gauss = saved["python"]
    random.setstate((version, tuple(internal), gauss))
