"""The struct and the sentence behind a dotted key of a whole run's config."""

from __future__ import annotations

from omegaconf import DictConfig

from .learners import learner_entry
from .schema import field_help, field_of
from .structs import AppConfig


def key_help(key: str, config: DictConfig) -> str:
    """The sentence of a struct about a key; empty where no struct has it.

    Args:
        key: A dotted key.
        config: A composed config, whose learner decides which struct `learner` has.
    """
    field = field_behind(key, config)
    return field_help(*field) if field else ""


def field_behind(key: str, config: DictConfig) -> tuple[type, str] | None:
    """The struct and the name of its field behind a key; None where no struct has it.

    Args:
        key: A dotted key.
        config: A composed config, whose learner decides which struct `learner` has.
    """
    section, _, rest = key.partition(".")
    if section != "learner" or not rest:
        return field_of(AppConfig, key)
    entry = learner_entry(config)
    return field_of(entry.struct, rest) if entry else None
