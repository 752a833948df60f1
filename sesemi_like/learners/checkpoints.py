"""Checkpoints: loads weights and says what matched, and carries the best one over."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn

from ..errors import ConfigError, ConfigProblem

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Match:
    """How the names of a checkpoint and a module compare.

    Attributes:
        loaded: Names whose weights were loaded.
        reshaped: Names that both have, with different shapes; not loaded.
        unused: Names that the checkpoint alone has.
        untouched: Names that the module alone has; they keep their values.
    """

    loaded: list[str]
    reshaped: list[str]
    unused: list[str]
    untouched: list[str]

    def __str__(self) -> str:
        rest = {
            "of another shape": self.reshaped,
            "only in the checkpoint": self.unused,
            "only in the model": self.untouched,
        }
        lines = [f"loaded {len(self.loaded)} tensors"]
        lines += [f"{len(n)} {what}: {_listed(n)}" for what, n in rest.items() if n]
        return "; ".join(lines)


def load_weights(module: nn.Module, path: str, *, key: str) -> Match:
    """Loads what matches by name and shape, and logs what did not.

    Args:
        module: The module that takes the weights, usually a learner.
        path: A Lightning checkpoint, or a file with a state dict.
        key: The config key that names the path, for messages.

    Returns:
        What was loaded and what was not.

    Raises:
        ConfigError: If the file cannot be read or nothing in it fits.
    """
    given = read_state(path, key=key)
    own = module.state_dict()
    fits = {n: t for n, t in given.items() if n in own and own[n].shape == t.shape}
    if not fits:
        expected = f"nothing in it fits the model, whose tensors are {_listed(list(own))}"
        raise ConfigError([ConfigProblem(key, path, expected)])
    module.load_state_dict(fits, strict=False)
    match = Match(
        loaded=sorted(fits),
        reshaped=sorted(n for n in given if n in own and n not in fits),
        unused=sorted(n for n in given if n not in own),
        untouched=sorted(n for n in own if n not in given),
    )
    log.info("%s: %s", path, match)
    return match


class CarryBestOver(pl.Callback):
    """Lets a resumed run, whose folder is a new one, go on from the best checkpoint so far.

    Lightning forgets the best checkpoint where the folder has changed, and would take the first one
    after resuming for the best. The old file stays where it is.
    """

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Rewrites the folder in the state of callbacks whose best checkpoint still exists."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        states = checkpoint.get("callbacks", {})
        for callback in trainer.checkpoint_callbacks:
            state = states.get(callback.state_key, {})
            if "dirpath" in state and Path(state.get("best_model_path", "")).is_file():
                state["dirpath"] = getattr(callback, "dirpath", None)


def read_state(path: str, *, key: str) -> dict[str, Tensor]:
    """Reads the tensors of a checkpoint, with ``weights_only=True``.

    Args:
        path: A Lightning checkpoint, or a file with a state dict.
        key: The config key that names the path, for messages.

    Raises:
        ConfigError: If the file cannot be read or holds no tensors.
    """
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError([ConfigProblem(key, path, f"cannot be read: {reason}")]) from error
    state = content.get("state_dict", content) if isinstance(content, Mapping) else {}
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ConfigError([ConfigProblem(key, path, "holds no weights; give a checkpoint")])
    return tensors


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f", ... ({len(names)} in all)" if len(names) > 5 else "")
