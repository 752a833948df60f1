"""Runs a config in stages: all are rehearsed, then each is run, with the weights handed on."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from pytorch_lightning.utilities import rank_zero_only

from ..config.check import check
from ..config.run_folder import SUMMARY, last_checkpoint, read_summary
from ..config.stages import Stage, name_stages, stages_of
from ..errors import ConfigError, ConfigProblem
from ..learners.checkpoints.reading import log_once
from ..learners.checkpoints.starting import misfit_of_previous
from ..report import write_summary
from .folder import in_use, note_folder, open_folder, write_composed
from .modes import MODES
from .prepared import Prepared
from .resuming import EarlierStages, continued, find_earlier_stages
from .seed import choose_seed
from .status import FINISHED

Rehearse = Callable[[DictConfig, Sequence[ConfigProblem]], Prepared]
"""Prepares the run of a stage and its Trainer's section, and writes nothing."""

RunOnce = Callable[[DictConfig, Sequence[ConfigProblem], Path], dict[str, Any]]
"""Executes the run of a stage in a folder."""


def run_stages(
    config: DictConfig,
    problems: Sequence[ConfigProblem],
    *,
    rehearse: Rehearse,
    run_once: RunOnce,
) -> dict[str, Any]:
    """Executes the stages of a config in order, those apart that an earlier run has finished.

    Args:
        config: A composed config with stages.
        problems: Mistakes found so far; they are reported together with those found here.
        rehearse: Prepares a single run.
        run_once: Executes a single run.

    Returns:
        The content of the whole run's ``summary.json``: figures are those of the last stage, and
        `stages` has each stage's own.

    Raises:
        ConfigError: If a stage cannot work; raised before the first one begins.
    """
    try:
        stages = stages_of(config)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from error
    earlier = EarlierStages() if problems else find_earlier_stages(config, stages)
    left = [s for s in stages if _is_chosen(s, config) and not earlier.has_finished(s)]
    if earlier.folder and not left:
        return _tell(config, stages, Path(earlier.folder))
    given = config.run.seed if config.run.seed is not None else earlier.seed
    seed = choose_seed(given, num_nodes=config.run.num_nodes)
    missing = _missing_weights(stages, left, earlier)
    _rehearse_all([_seeded(stage, seed) for stage in left], [*problems, *missing], rehearse)
    folder = open_folder(config, Path(earlier.folder) if earlier.folder else None)
    write_composed(config, folder, seed)
    try:
        with in_use(folder):
            for stage in left:
                log_once(
                    "stage %s of %s: %s", stage.number, len(stages), stage.name, is_warning=False
                )
                begun = _begun(_seeded(stage, seed), stages, folder, earlier)
                run_once(begun, (), folder / stage.folder)
                _free_memory()
            return _summarize(config, stages, folder)
    finally:
        note_folder(folder)


def _is_chosen(stage: Stage, config: DictConfig) -> bool:
    return config.run.stage in (None, stage.name)


def _seeded(stage: Stage, seed: int) -> Stage:
    """The stage with the seed of the whole run, unless it has its own."""
    laid = copy.deepcopy(stage.config)
    if laid.run.seed is None:
        laid.run.seed = seed
    return Stage(stage.name, stage.number, laid, stage.follows)


def _tell(config: DictConfig, stages: Sequence[Stage], folder: Path) -> dict[str, Any]:
    chosen = config.run.stage
    what = f"stage {chosen} of {folder}" if chosen else str(folder)
    log_once("%s has finished; run.resume=null runs it anew", what, is_warning=False)
    note_folder(folder)
    return _summarize(config, stages, folder)


def _before(stage: Stage, stages: Sequence[Stage]) -> Stage:
    """The stage whose weights a stage begins with."""
    return max((s for s in stages if s.number < stage.number), key=lambda s: s.number)


def _missing_weights(
    stages: Sequence[Stage], left: Sequence[Stage], earlier: EarlierStages
) -> list[ConfigProblem]:
    """Finds stages that would begin with the weights of one that has not run and is not run now."""
    running = {stage.name for stage in left}
    problems = []
    for stage in left:
        before = _before(stage, stages) if stage.follows else None
        if before is None or before.name in running or earlier.has_finished(before):
            continue
        expected = f"begins with the weights of {before.name}, which has not run: give start_from, "
        expected += "or run.resume=auto to go on with a run that has finished it"
        problems.append(ConfigProblem("run.stage", stage.name, expected))
    return problems


def _rehearse_all(
    stages: Sequence[Stage], problems: Sequence[ConfigProblem], rehearse: Rehearse
) -> None:
    """Prepares all stages, one after the other, and keeps nothing of them."""
    found: dict[str, list[ConfigProblem]] = {}
    tensors: Mapping[str, torch.Tensor] = {}
    for stage in stages:
        try:
            prepared = rehearse(stage.config, check(stage.config, MODES))
        except ConfigError as error:
            found[stage.name], tensors = error.problems, {}
            continue
        learner, strict = prepared.learner, stage.config.run.strict_loading
        misfit = misfit_of_previous(learner, tensors, strict) if stage.follows and tensors else None
        key = "run.pretrained_checkpoint_path"
        found[stage.name] = [ConfigProblem(key, "previous", misfit)] if misfit else []
        tensors = {name: value.to("meta") for name, value in learner.state_dict().items()}
        del prepared, learner
        _free_memory()
    everything = [*problems, *name_stages(found)]
    if everything:
        raise ConfigError(everything)


def _begun(
    stage: Stage, stages: Sequence[Stage], folder: Path, earlier: EarlierStages
) -> DictConfig:
    """The config of a stage's run with the weights that it begins with, or goes on from."""
    if found := earlier.interrupted(stage):
        sentence = "goes on after step %s in %s, its metrics and logs included"
        log_once(sentence, found.step, found.folder, is_warning=False)
        return continued(stage.config, found)
    laid = copy.deepcopy(stage.config)
    if stage.follows:
        path = last_checkpoint(folder / _before(stage, stages).folder)
        laid.run.pretrained_checkpoint_path = str(path)
        if laid.run.strict_loading is None:  # a later stage may have networks of its own
            laid.run.strict_loading = False
    return laid


def _free_memory() -> None:
    """Frees what the Trainer of a stage leaves in reference cycles."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _summarize(config: DictConfig, stages: Sequence[Stage], folder: Path) -> dict[str, Any]:
    """Summarizes the stages that have run, and writes it."""
    found = {stage: read_summary(folder / stage.folder) for stage in stages}
    ended = {stage: summary for stage, summary in found.items() if summary is not None}
    names = ("status", "reason", "folder", "steps", "seconds", "headline", "best")
    content = {
        **(list(ended.values())[-1] if ended else {}),
        **_status(found),
        "steps": sum(summary["steps"] for summary in ended.values()),
        "seconds": round(sum(summary["seconds"] for summary in ended.values()), 2),
        "folder": str(folder),
        "stages": {s.name: {n: ended[s].get(n) for n in names} for s in ended},
    }
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        write_summary(folder / SUMMARY, content)
    return content


def _status(found: Mapping[Stage, Mapping[str, Any] | None]) -> dict[str, Any]:
    """The status of the whole run: finished once all of its stages are."""
    left = [stage.name for stage, summary in found.items() if summary is None]
    if left:
        return {"status": f"stopped: without {', '.join(left)}", "reason": None}
    stopped = {
        stage.name: summary["status"]
        for stage, summary in found.items()
        if summary and summary["status"] != FINISHED
    }
    name = next(iter(stopped), None)
    return {"status": f"{stopped[name]} ({name})" if name else FINISHED, "reason": None}
