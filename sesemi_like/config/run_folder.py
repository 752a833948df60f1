"""What lies where in the folder of a run: its checkpoints, its summary, its stages."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

SUMMARY = "summary.json"
"""The file that a run writes last; a folder that lacks it belongs to a run that has not ended."""


def read_summary(folder: Path) -> dict[str, Any] | None:
    """Reads the summary of a run.

    Args:
        folder: The run's folder.

    Returns:
        What ``summary.json`` holds, or None where there is none that can be read.
    """
    try:
        content = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def last_checkpoint(folder: Path) -> Path:
    """The file from which the run of a folder goes on; it need not be there."""
    return folder / "checkpoints" / "last.ckpt"


def best_checkpoint(folder: Path) -> Path | None:
    """The best checkpoint: the one that the summary names, or the only one beside the last.

    Args:
        folder: A run's folder, which may have been moved since.
    """
    checkpoints = folder / "checkpoints"
    try:
        path = (read_summary(folder) or {})["best"]["path"]
    except (TypeError, KeyError):
        others = [p for p in checkpoints.glob("*.ckpt") if not p.name.startswith("last")]
        return others[0] if len(others) == 1 else None
    beside = checkpoints / Path(path).name
    return next((file for file in (beside, Path(path)) if file.is_file()), None)


def stage_folders(folder: Path) -> list[Path]:
    """The folders of the stages of a run, in order: ``1_align``, ``2_end2end``."""
    found = (path for path in folder.glob("*_*") if path.is_dir())
    numbered = [path for path in found if re.match(r"\d+_", path.name)]
    return sorted(numbered, key=lambda path: int(path.name.partition("_")[0]))


def weights_file(path: str | Path) -> Path:
    """The file of weights that a path stands for.

    Args:
        path: A file, which is returned; or the folder of a run, of which it is the best
            checkpoint, or the last one where none is the best. Of a run of stages it is that of
            the last stage which has one.

    Raises:
        ValueError: If there is none; the message is a sentence fragment.
    """
    place = Path(path)
    if place.is_file():
        return place
    if not place.is_dir():
        raise ValueError("no such file; give a checkpoint's path, or the folder of a run")
    for folder in (place, *reversed(stage_folders(place))):
        file = best_checkpoint(folder) or last_checkpoint(folder)
        if file.is_file():
            return file
    raise ValueError("is a folder without checkpoints/last.ckpt; give a run's: dir/id/<time>")
