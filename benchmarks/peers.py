"""semilearn 0.3.2 (USB, arXiv:2208.07204) without its packages for speech, text and tracking.

It is built for CUDA; without one, its calls of `torch.cuda` are replaced by ones for the CPU. Its
own settings are not changed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from torch import Tensor

UNUSED = ("torchaudio", "wandb", "aim", "transformers", "skimage", "skimage.util")


def import_semilearn() -> Any:
    """Imports the peer, with stand-ins for packages that FixMatch on images never calls.

    They stand in for installed ones too: pip may bring a torchaudio built for another CUDA than
    torch, which does not load, and what is imported for nothing would count as the peer's memory.
    """
    for name in UNUSED:
        stand_in = MagicMock(name=name)
        stand_in.__spec__, stand_in.__path__ = ModuleSpec(name, None), []
        sys.modules[name] = stand_in
    import semilearn

    return semilearn


@contextmanager
def without_cuda() -> Iterator[None]:
    """Replaces `.cuda()` by a call that keeps tensors on the CPU, and CUDA events by empty ones."""
    if torch.cuda.is_available():
        yield
        return
    with (
        patch.object(Tensor, "cuda", lambda self, *_, **__: self),
        patch.object(torch.cuda, "Event", MagicMock(return_value=_Event())),
        patch.object(torch.cuda, "synchronize", lambda *_: None),
    ):
        yield


class _Event:
    def record(self) -> None:
        """Records nothing."""

    def elapsed_time(self, other: Any) -> float:
        """Answers zero milliseconds."""
        return 0.0


class CIFAR10InMemory:
    """Stands in for torchvision's CIFAR10: given images instead of a download."""

    images: np.ndarray
    targets_given: np.ndarray

    def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
        self.data, self.targets = self.images, self.targets_given.tolist()


def fixmatch(images: np.ndarray, targets: np.ndarray, steps: int, **settings: Any) -> Any:
    """Builds semilearn's FixMatch on images (N, 32, 32, 3) with its published CIFAR-10 settings.

    Args:
        images: uint8 (N, 32, 32, 3).
        targets: int (N,).
        steps: Training steps.
        **settings: Further keys of its config.
    """
    return algorithm("fixmatch", images, targets, steps, **{"hard_label": True, **settings})


def algorithm(
    name: str,
    images: np.ndarray,
    targets: np.ndarray,
    steps: int,
    builder: Callable[..., Any] | None = None,
    **settings: Any,
) -> Any:
    """Builds one of semilearn's algorithms on images, with its own defaults.

    Args:
        name: The algorithm, as semilearn registers it.
        images: uint8 (N, 32, 32, 3).
        targets: int (N,).
        steps: Training steps.
        builder: Builds its network from ``num_classes``; None is that of the config key `net`.
        **settings: Further keys of its config.
    """
    semilearn = import_semilearn()
    CIFAR10InMemory.images, CIFAR10InMemory.targets_given = images, targets
    config = {
        "algorithm": name,
        "save_dir": tempfile.mkdtemp(),
        "epoch": 1,
        "num_train_iter": steps,
        "num_eval_iter": 10**9,
        "num_log_iter": 10**9,
        "num_labels": 40,
        "net": "wrn_28_2",
        "lr": 0.03,
        **settings,
    }
    with patch("torchvision.datasets.CIFAR10", CIFAR10InMemory):
        arguments = semilearn.get_config(config)
        for key, value in {"distributed": False, "world_size": 1, "rank": 0}.items():
            setattr(arguments, key, value)
        arguments.gpu = 0 if torch.cuda.is_available() else None
        net = builder or semilearn.get_net_builder(arguments.net, arguments.net_from_name)
        built = semilearn.get_algorithm(arguments, net, tb_log=None, logger=MagicMock())
    if torch.cuda.is_available():
        built.model = built.model.cuda()
        built.ema_model = built.ema_model.cuda()
    return built
