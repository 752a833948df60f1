"""Checkpoints read: what of one fits a learner, and whether a run can go on from it."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, ConfigProblem
from .base import Learner

log = logging.getLogger(__name__)

_RUN_KEYS = {"state_dict", "global_step", "loops", "optimizer_states", "pytorch-lightning_version"}


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


def resume_problems(
    learner: Learner, path: str, *, key: str, max_iterations: int | None
) -> list[ConfigProblem]:
    """Finds what keeps a learner from going on where a checkpoint stopped.

    Args:
        learner: The learner that is to go on.
        path: A checkpoint of a run.
        key: The config key that names the path, for messages.
        max_iterations: Steps of the whole run; None is open-ended, or nothing is to be trained.

    Raises:
        ConfigError: If the file cannot be read.
    """
    content = _read(path, key)
    if not set(content) >= _RUN_KEYS:
        expected = "is no checkpoint of a run; run.pretrained_checkpoint_path loads weights alone"
        return [ConfigProblem(key, path, expected)]
    found = []
    own, given = learner.state_dict(), content["state_dict"]
    misfits = sorted(n for n in own if n not in given or own[n].shape != given[n].shape)
    misfits += sorted(n for n in given if n not in own)
    if misfits:
        found.append(f"its model is another one, see {_listed(misfits)}")
    if max_iterations is not None and content["global_step"] >= max_iterations:
        steps = content["global_step"]
        found.append(f"it has made {steps} steps of {max_iterations}: nothing is left to train")
    groups = [state["param_groups"][0] for state in content["optimizer_states"]]
    settings = learner.configured_optimizer().param_groups[0]
    if max_iterations is not None and any(_differ(settings, group) for group in groups):
        found.append("its optimizer is another one")
    return [ConfigProblem(key, path, expected) for expected in found]


def _differ(own: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Whether two optimizers have other settings, or trained other numbers of parameters."""
    return bool(set(own) - set(given)) or len(own["params"]) != len(given["params"])


def read_state(path: str, *, key: str) -> dict[str, Tensor]:
    """Reads the tensors of a checkpoint, with ``weights_only=True``.

    Args:
        path: A Lightning checkpoint, or a file with a state dict.
        key: The config key that names the path, for messages.

    Raises:
        ConfigError: If the file cannot be read or holds no tensors.
    """
    content = _read(path, key)
    state = content.get("state_dict", content)
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ConfigError([ConfigProblem(key, path, "holds no weights; give a checkpoint")])
    return tensors


def _read(path: str, key: str) -> Mapping[str, Any]:
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError([ConfigProblem(key, path, f"cannot be read: {reason}")]) from error
    return content if isinstance(content, Mapping) else {}


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f", ... ({len(names)} in all)" if len(names) > 5 else "")
