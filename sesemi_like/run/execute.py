"""Executes a run: prepares it, creates its folder, executes its mode, and writes its summary."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.utilities import rank_zero_only

from ..config.resolvers import app_attributes
from ..config.run_folder import read_summary
from ..config.stages import has_stages
from ..data.counts import sample_counts, unreadable_counts
from ..data.loading.keys import TRAIN, display_name
from ..data.row_choice import write_rows
from ..devices import tune_process
from ..errors import ConfigError, ConfigProblem
from ..learners.checkpoints.reading import log_once
from ..report import print_opening, quiet_libraries
from ..trainer.build import build_trainer, build_trainer_section
from .folder import in_use, note_folder, open_folder, remove_empty, write_configs
from .modes import MODES
from .monitors import explain_trainer_errors, monitor_problems
from .prepare import prepare
from .prepared import Prepared
from .resuming import continued, find_earlier
from .stages import run_stages
from .summary import report_run, summarize

log = logging.getLogger(__name__)


@quiet_libraries()
def run(config: DictConfig, problems: Iterable[ConfigProblem] = ()) -> dict[str, Any]:
    """Prepares the run that a config describes, and executes its mode.

    Args:
        config: A composed config.
        problems: Mistakes found so far; they are reported together with those found here.

    Returns:
        The content of ``summary.json``. Its ``headline`` is the best value of the figure that the
        run is judged by, else the last one, else the test's; None where it was not measured. A
        sweep may choose by it.

    Raises:
        ConfigError: If the run cannot work; raised before anything is written.
    """
    problems = list(problems)
    if has_stages(config, MODES):
        return run_stages(config, problems, rehearse=_rehearse, run_once=_run_once)
    earlier = None if problems else find_earlier(config)
    if earlier is None:
        return _run_once(config, problems)
    if earlier.has_finished:
        log_once("%s has finished; run.resume=null runs it anew", earlier.folder, is_warning=False)
        note_folder(Path(earlier.folder))
        return read_summary(Path(earlier.folder)) or {}
    sentence = "goes on after step %s in %s, its metrics and logs included"
    log_once(sentence, earlier.step, earlier.folder, is_warning=False)
    return _run_once(continued(config, earlier), problems, Path(earlier.folder))


def _run_once(
    config: DictConfig, problems: Iterable[ConfigProblem], folder: Path | None = None
) -> dict[str, Any]:
    """Executes a run in a folder of its own, or in that of the run that it goes on with."""
    started = time.monotonic()
    tune_process()
    prepared = prepare(config, problems)
    with app_attributes(prepared.attributes):
        trainer, folder = _build_trainer(prepared, folder)
        with in_use(folder):
            _write_inputs(prepared, folder)
            _announce(prepared)
            _warn_of_random_weights(prepared)
            with explain_trainer_errors():
                training = prepared.mode.carry_out(prepared, trainer)
            seconds = time.monotonic() - started
            content = summarize(prepared, trainer, folder, training=training, seconds=seconds)
            if trainer.is_global_zero:
                report_run(content, prepared, folder)
    return content


def _rehearse(config: DictConfig, problems: Iterable[ConfigProblem]) -> Prepared:
    """Prepares a run and its Trainer's section as if it began, and writes nothing."""
    prepared = prepare(config, problems, decodes=False)
    with app_attributes(prepared.attributes):
        _trainer_section(prepared)
    return prepared


def _trainer_section(prepared: Prepared) -> dict[str, Any]:
    """Builds what the section `trainer` describes, and checks what it watches."""
    section = build_trainer_section(prepared.config)
    if prepared.mode.trains and (problems := monitor_problems(prepared, section["callbacks"])):
        raise ConfigError(problems)
    return {**section, **prepared.validation}


def _build_trainer(prepared: Prepared, folder: Path | None) -> tuple[pl.Trainer, Path]:
    """Builds the Trainer, and creates the folder that it writes to, unless one is given."""
    config, section = prepared.config, _trainer_section(prepared)
    folder = open_folder(config, folder)
    try:
        trainer = build_trainer(
            config,
            section,
            prepared.devices,
            prepared.evaluation,
            prepared.length,
            folder,
            prepared.headline,
        )
    except ConfigError:
        remove_empty(folder)
        raise
    return trainer, folder


@rank_zero_only
def _write_inputs(prepared: Prepared, folder: Path) -> None:
    write_configs(prepared.config, folder, prepared.seed)
    prepared.data.labels.write_list(folder / "labels.csv")
    loaders = prepared.data.loaders
    sources = {
        display_name(name, loaders): (parts.config["dataset"], parts.dataset)
        for name, parts in loaders.items()
    }
    write_rows(sources, folder / "rows.csv")


@rank_zero_only
def _announce(prepared: Prepared) -> None:
    data, devices = prepared.data, prepared.devices
    counts = data.labels.counts()
    labels = {display_name(TRAIN + n, data.loaders): sum(c.values()) for n, c in counts.items()}
    where = f"{devices.world_size} x {devices.accelerator}"
    sizes, unreadable = sample_counts(data.datasets), unreadable_counts(data.datasets)
    print_opening(prepared.config.run.id, sizes, labels, _length(prepared), where, unreadable)


def _length(prepared: Prepared) -> str:
    """How long the run is, in words."""
    if not prepared.mode.trains:
        return prepared.mode.name.lower()
    steps = prepared.length.steps
    return f"{steps:,} steps" if steps else "training"


def _warn_of_random_weights(prepared: Prepared) -> None:
    run = prepared.config.run
    is_given = run.resume_from_checkpoint or run.pretrained_checkpoint_path
    if not prepared.mode.trains and not is_given:
        log.warning("run.pretrained_checkpoint_path is null: the learner has random weights")
