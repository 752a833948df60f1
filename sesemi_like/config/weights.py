"""Where weights come from: a checkpoint, a run's folder, or a part of one under other names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..errors import suggest
from .run_folder import weights_file

_KEYS = ("path", "prefix", "into")


@dataclass(frozen=True)
class WeightsSource:
    """A file of weights, and which of its tensors are taken under which names.

    Attributes:
        file: The file.
        prefix: Takes the tensors under this name alone, without it: `encoder` makes
            ``encoder.conv.weight`` to ``conv.weight``; empty takes all.
        into: The name that is put in front of what is taken.
    """

    file: Path
    prefix: str = ""
    into: str = ""

    @classmethod
    def parse(cls, value: Any) -> WeightsSource:
        """Reads `run.pretrained_checkpoint_path`.

        Args:
            value: A path, or a mapping with `path`, `prefix` and `into`. The path of a run's folder
                stands for its best checkpoint, or its last where none is the best.

        Raises:
            ValueError: If it is neither, or nothing is there; the message is a sentence fragment.
        """
        given = OmegaConf.to_container(value) if isinstance(value, DictConfig) else value
        if isinstance(given, str | Path):
            return cls(weights_file(given))
        if not isinstance(given, Mapping) or not isinstance(given.get("path"), str):
            raise ValueError(f"needs a path, or a mapping with {', '.join(_KEYS)}")
        for name in given:
            if name not in _KEYS:
                raise ValueError(f"has no key {name!r}; {suggest(str(name), _KEYS, noun='keys')}")
        prefix, into = (str(given.get(name) or "").strip(".") for name in _KEYS[1:])
        return cls(weights_file(given["path"]), prefix, into)

    def renamed(self, name: str) -> str | None:
        """What a tensor of the file is called here; None for one that is not taken."""
        start = f"{self.prefix}." if self.prefix else ""
        if not name.startswith(start):
            return None
        return (f"{self.into}." if self.into else "") + name.removeprefix(start)
