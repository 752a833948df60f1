"""Every learner's struct and checks, one file each, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from . import classifier
from .base import LearnerEntry

LEARNERS: dict[str, LearnerEntry] = {
    entry.struct._target_: entry for entry in (classifier.LEARNER,)
}
"""The learners that have a struct, by `_target_`; any other takes its `hparams` unchecked."""


def learner_entry(config: DictConfig) -> LearnerEntry | None:
    """Finds the entry of a run's learner, by its struct or, in an untyped config, its `_target_`.

    Args:
        config: A composed config.

    Returns:
        The entry, or None for a learner without a struct.
    """
    struct = OmegaConf.get_type(config, "learner")
    for entry in LEARNERS.values():
        if entry.struct is struct:
            return entry
    target = OmegaConf.select(
        config, "learner._target_", throw_on_missing=False, throw_on_resolution_failure=False
    )
    return LEARNERS.get(str(target))


def with_defaults(hparams: Mapping[str, Any], entry: LearnerEntry) -> Mapping[str, Any]:
    """Fills in the defaults of keys that hyperparameters lack, such as those of earlier versions.

    Args:
        hparams: Hyperparameters as plain values.
        entry: Their learner.

    Returns:
        The same with every key of the struct, or as they are where they do not fit it.
    """
    struct = OmegaConf.structured(entry.struct).hparams
    try:
        filled: Any = OmegaConf.to_container(OmegaConf.merge(struct, dict(hparams)))
    except OmegaConfBaseException:
        return hparams
    return dict(filled)
