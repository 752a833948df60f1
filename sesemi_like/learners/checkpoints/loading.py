"""Learners for use in Python, rebuilt from a checkpoint or from the folder of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ...config.locate import locate
from ...config.run_folder import weights_file
from ...errors import ConfigError, ConfigProblem
from ...models.weights import read_metadata
from ..base import Learner

_KEY = "load_model"


def load_model(path: str | Path, *, map_location: Any = "cpu") -> Learner:
    """Loads a trained learner, ready to use: in evaluation mode, without its data.

    Args:
        path: A checkpoint; or the folder of a run, of which the best checkpoint is loaded, or the
            last one where none is the best. Of a run of stages it is that of the last stage.
        map_location: The device that its tensors are put on, as `torch.load` takes it.

    Returns:
        The learner, of the class that was trained: `predict_batch` runs what is evaluated on a
        batch of fields.

    Raises:
        ConfigError: If there is no such file or folder, or it holds no learner.
    """
    try:
        file = weights_file(path)
    except ValueError as error:
        raise _error(path, str(error)) from error
    try:
        content = read_metadata(file)
    except Exception as error:
        raise _error(file, f"cannot be read: {_first_line(error)}") from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise _error(file, "is no checkpoint of a run; give one that a run has written")
    learner = _learner_class(file, content)
    try:
        return learner.load_from_checkpoint(file, map_location=map_location)
    except (RuntimeError, KeyError, TypeError) as error:
        raise _error(file, f"does not fit {learner.__name__}: {_first_line(error)}") from error


def _learner_class(file: Path, content: dict[str, Any]) -> type[Learner]:
    """The class of the learner that wrote a checkpoint, or that its run's config names."""
    target = content.get("learner") or _target_beside(file)
    if target is None:
        expected = "does not say of which learner it is; load it by that class's"
        raise _error(file, f"{expected} load_from_checkpoint")
    found = locate(str(target), _KEY).func
    if not (isinstance(found, type) and issubclass(found, Learner)):
        raise _error(file, f"is of {target}, which is no learner")
    return found


def _target_beside(file: Path) -> str | None:
    """The learner in the config of the run whose checkpoint this is, of an earlier version."""
    config = file.parent.parent / "config.yaml"
    if not config.is_file():
        return None
    target = OmegaConf.select(OmegaConf.load(config), "learner._target_")
    return None if target is None else str(target)


def _error(path: str | Path, expected: str) -> ConfigError:
    return ConfigError([ConfigProblem(_KEY, str(path), expected)])


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
