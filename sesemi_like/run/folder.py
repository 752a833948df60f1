"""The folder of a run: created or gone on in, marked while it is written to, and its configs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from ..config.command_line import choices
from ..config.from_run import COMPOSED, composed_text
from ..config.instantiate import plain
from ..config.run_folder import SUMMARY
from ..errors import ConfigError, ConfigProblem
from ..files import RUN_FOLDER, write_atomically
from ..locks import Claim, is_claimed
from ..report import make_run_folder
from .agreement import agree


def open_folder(config: DictConfig, earlier: Path | None = None) -> Path:
    """Creates the folder of a run, or takes that of the run which it goes on with.

    Args:
        config: A composed config.
        earlier: The folder to take, as that of a stage or of the run that goes on; no longer does
            it count as that of a finished run.

    Returns:
        The folder, the same on all processes.

    Raises:
        ConfigError: If none can be made.
    """
    folder = earlier or Path(
        agree(
            "FOLDER",
            lambda: str(_create(config)),
            key="run.dir",
            num_nodes=config.run.num_nodes,
        )
    )
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SUMMARY).unlink(missing_ok=True)
    note_folder(folder)
    return folder


@rank_zero_only
def note_folder(folder: Path) -> None:
    """Notes the folder of a run where a sweep reads it."""
    os.environ[RUN_FOLDER] = str(folder)


def _create(config: DictConfig) -> Path:
    try:
        return make_run_folder(config.run.dir, config.run.id, choices().label)
    except OSError as error:
        expected = f"no folder can be made there: {error.strerror or error}"
        raise ConfigError([ConfigProblem("run.dir", config.run.dir, expected)]) from error


@rank_zero_only
def remove_empty(folder: Path) -> None:
    """Removes the folder of a run that cannot begin, unless something has been written to it."""
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Marks a folder as one that is written to, so that no other run goes on in it.

    Args:
        folder: The run's folder.
    """
    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        yield
        return
    claim = Claim(folder, of_forked=False)
    try:
        yield
    finally:
        claim.release()
        is_claimed(folder)  # removes the mark


@rank_zero_only
def write_configs(config: DictConfig, folder: Path, seed: int) -> None:
    """Writes the config of a run, once with all values resolved and once to compose it again.

    Args:
        config: The composed config.
        folder: The run's folder.
        seed: The run's seed.
    """
    resolved = OmegaConf.create(plain(config))
    resolved.run.seed = seed
    write_atomically(folder / "config.yaml", OmegaConf.to_yaml(resolved))
    write_composed(config, folder, seed)


@rank_zero_only
def write_composed(config: DictConfig, folder: Path, seed: int) -> None:
    """Writes what a run was composed of, ``${...}`` left open.

    Args:
        config: The composed config.
        folder: The run's folder.
        seed: The run's seed.
    """
    chosen = choices()
    groups = {"config": chosen.config, "groups": chosen.groups}
    write_atomically(folder / COMPOSED, composed_text(config, seed=seed, chosen=groups))
