"""What a mode declares, and the check of `run.mode`; the modes themselves are in `run/modes`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..errors import ConfigError, ConfigProblem


@dataclass(frozen=True)
class Mode:
    """One of the values of `run.mode`.

    A mode that does not train works on the weights of a checkpoint.

    Attributes:
        name: The value.
        summary: What a run in this mode does, as `open_cli -h` prints it.
        carry_out: Executes the mode: called with the prepared run and its Trainer, it returns the
            metrics of the last logged training step, the summary's `training`.
        loads: The parts of `data` that are loaded: ``train``, ``val``, ``test``, ``predict``, and
            ``evaluation``: those of them that an evaluator reads. A train loader that an evaluator
            reads is loaded in any case.
        needs: The parts of `data` that must be given.
        trains: Whether it trains, which needs a length and an optimizer.
    """

    name: str
    summary: str
    carry_out: Callable[[Any, Any], Mapping[str, float]]
    loads: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    trains: bool = False


Modes = Mapping[str, Mode]
"""Modes by name."""


def mode_problems(config: DictConfig, modes: Modes) -> Iterator[ConfigProblem]:
    """Checks that `run.mode` names a mode.

    Args:
        config: A composed config, which need not be typed.
        modes: The modes.
    """
    name = OmegaConf.select(config, "run.mode", throw_on_resolution_failure=False)
    if isinstance(name, str) and name not in modes:
        yield ConfigProblem("run.mode", name, f"must be one of {', '.join(modes)}")


def find_mode(config: DictConfig, modes: Modes) -> Mode:
    """Looks up the mode of a run.

    Args:
        config: A composed config.
        modes: The modes.

    Raises:
        ConfigError: If `run.mode` names none of them.
    """
    if problems := list(mode_problems(config, modes)):
        raise ConfigError(problems)
    return modes[config.run.mode]
