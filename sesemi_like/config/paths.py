"""Whether the folders and files that a run reads are there, checked without torch."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import ConfigProblem, suggest
from .check import named_loaders
from .mode import Mode, Modes
from .stages import by_stage, has_stages

_OF_FOLDERS, _OF_FILES = ("image_folder", "image_files"), ("csv",)


def missing_data(config: DictConfig, modes: Modes) -> list[ConfigProblem]:
    """Finds folders and files of built-in kinds of data set that do not exist.

    Of train loaders, the one of the supervised loss is checked; whether the others are read at all
    is known once the loss heads are built.

    Args:
        config: A composed config.
        modes: What `run.mode` may name.

    Returns:
        The problems; none where the config cannot be read, which other checks report.
    """
    if has_stages(config, modes):
        return by_stage(config, lambda stage: missing_data(stage, modes))
    mode = modes.get(config.run.mode)
    if mode is None:
        return []
    try:
        return [
            problem
            for key, loader in named_loaders(config.data)
            if key in _keys_read(config, mode)
            for problem in _problems(loader.dataset, f"{key}.dataset", config.run.data_root)
        ]
    except (OmegaConfBaseException, OSError, TypeError, ValueError):
        return []


def _keys_read(config: DictConfig, mode: Mode) -> list[str]:
    keys = [f"data.{split}" for split in mode.loads]
    loss: Any = OmegaConf.select(config, "learner.hparams.model.supervised_loss")
    if "train" in mode.loads and loss is not None and loss.get("scale_factor", 1) != 0:
        keys.append(f"data.train.{loss.get('input_data', 'supervised')}")
    return keys


def _problems(dataset: DictConfig, key: str, data_root: str | None) -> Iterator[ConfigProblem]:
    kind, root = dataset.get("name"), dataset.get("root") or ""
    if kind not in (*_OF_FOLDERS, *_OF_FILES) or root.startswith(("http://", "https://")):
        return
    place = Path(data_root or ".") / root
    if kind in _OF_FILES and not place.is_file():
        expected = f"no such file; {_neighbors(place) or 'give the path of a CSV file'}"
        yield ConfigProblem(f"{key}.root", str(place), expected)
    elif kind in _OF_FOLDERS and not place.is_dir():
        expected = f"no such folder; {_neighbors(place) or 'give a folder'}"
        where = f"{key}.root" if root else "run.data_root"
        yield ConfigProblem(where, str(place), expected)
    elif kind in _OF_FOLDERS:
        yield from _missing_subsets(dataset.get("subset"), place, f"{key}.subset")


def _missing_subsets(subset: Any, folder: Path, key: str) -> Iterator[ConfigProblem]:
    if subset is None or isinstance(subset, bool):
        return
    names = [subset] if isinstance(subset, str | int) else list(subset)
    there = [path.name for path in folder.iterdir() if path.is_dir()]
    known = {unicodedata.normalize("NFC", name) for name in there}
    for name in map(str, names):
        if unicodedata.normalize("NFC", name) not in known and not (folder / name).is_dir():
            shown = [name for name in there if not name.startswith(".")]
            expected = f"no such folder in {folder}; {suggest(name, shown, noun='it has')}"
            yield ConfigProblem(key, name, expected)


def _neighbors(place: Path) -> str:
    """What the folder of a path that does not exist holds."""
    folder = place.parent
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return suggest(place.name, names, noun=f"{folder} holds") if names else ""
