"""`run.resume: auto`: what an earlier run of the same id has left to go on from."""

from __future__ import annotations

import copy
import logging
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..config.command_line import choices
from ..config.from_run import COMPOSED
from ..config.mode import find_mode
from ..config.run_folder import last_checkpoint, read_summary
from ..config.stages import Stage
from ..errors import ConfigError, ConfigProblem
from ..learners.checkpoints.resume_checks import no_run
from ..locks import is_claimed
from ..models.weights import read_metadata
from .agreement import agree
from .modes import MODES
from .status import FINISHED

log = logging.getLogger(__name__)

_LENGTHS = {"run": ("num_epochs", "num_iterations"), "trainer": ("max_epochs", "max_steps")}
_STAMP = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d")


@dataclass(frozen=True)
class Earlier:
    """An earlier run that goes on, in its own folder, or that has finished.

    Attributes:
        folder: Its folder.
        checkpoint: Its newest complete checkpoint; None where it has finished.
        step: The steps of that checkpoint.
    """

    folder: str
    checkpoint: str | None = None
    step: int = 0

    @property
    def has_finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.checkpoint is None


def find_earlier(config: DictConfig) -> Earlier | None:
    """Finds the newest run of the same id, mode and place in a sweep that left something.

    Args:
        config: A composed config.

    Returns:
        The run, the same on all processes; None where there is none, `run.resume` is null, or
        nothing is trained.

    Raises:
        ConfigError: If that run is going on.
    """
    if config.run.resume is None or not find_mode(config, MODES).trains:
        return None
    settings: dict[str, Any] = {"key": "run.resume", "num_nodes": config.run.num_nodes}
    found = agree("EARLIER_RUN", lambda: _as_plain(_find(config)), **settings)
    return Earlier(**found) if found else None


@dataclass(frozen=True)
class EarlierStages:
    """An earlier run of stages that goes on, in its own folder.

    Attributes:
        folder: Its folder; None where there is none.
        seed: Its seed.
        finished: The names of the stages that have ended.
        left: What the others go on from, by name.
    """

    folder: str | None = None
    seed: int | None = None
    finished: Sequence[str] = ()
    left: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def has_finished(self, stage: Stage) -> bool:
        """Whether a stage is not to be repeated."""
        return stage.name in self.finished

    def interrupted(self, stage: Stage) -> Earlier | None:
        """What a stage goes on from; None where it begins."""
        return Earlier(**self.left[stage.name]) if stage.name in self.left else None


def find_earlier_stages(config: DictConfig, stages: Sequence[Stage]) -> EarlierStages:
    """Finds the newest run of these stages, of the same id and place in a sweep.

    Args:
        config: A composed config.
        stages: Its stages.

    Returns:
        The run, the same on all processes; it is empty where there is none or `run.resume` is null.

    Raises:
        ConfigError: If that run is going on.
    """
    if config.run.resume is None:
        return EarlierStages()
    settings: dict[str, Any] = {"key": "run.resume", "num_nodes": config.run.num_nodes}
    return EarlierStages(
        **agree("EARLIER_RUN", lambda: asdict(_find_stages(config, stages)), **settings)
    )


def _find_stages(config: DictConfig, stages: Sequence[Stage]) -> EarlierStages:
    for folder in earlier_folders(config):
        _refuse_claimed(folder, config)
        finished = [s.name for s in stages if read_summary(folder / s.folder) is not None]
        if longer := _stage_that_is_longer(config, folder, stages, finished):
            finished.remove(longer)
        left = {}
        for stage in stages:
            place = folder / stage.folder
            if stage.name not in finished and (found := newest_checkpoint(place)):
                _remove_newer(place, found[1])
                left[stage.name] = asdict(Earlier(str(place), str(found[0]), found[1]))
        if finished or left:
            seed = OmegaConf.select(_composed(folder), "run.seed")
            return EarlierStages(str(folder), seed, finished, left)
        log.info("%s: no stage left a checkpoint to go on from: passed over", folder)
    return EarlierStages()


def _stage_that_is_longer(
    config: DictConfig, folder: Path, stages: Sequence[Stage], finished: Sequence[str]
) -> str | None:
    """The last stage that has begun, if it has ended and is to have another length now.

    Raises:
        ConfigError: If it is an earlier one, with whose weights another has begun.
    """
    begun = [
        s for s in stages if s.name in finished or (folder / s.folder / "checkpoints").is_dir()
    ]
    for stage in begun:
        is_run = config.run.stage in (None, stage.name)
        place = folder / stage.folder
        if not is_run or stage.name not in finished or _has_length_of(stage.config, place):
            continue
        if stage is begun[-1]:
            return stage.name
        expected = (
            f"stage {stage.name} of {folder} has ended with another length, and the next has "
        )
        expected += "begun with its weights; null runs all anew"
        raise ConfigError([ConfigProblem("run.resume", config.run.resume, expected)])
    return None


def _refuse_claimed(folder: Path, config: DictConfig) -> None:
    if is_claimed(folder):
        expected = f"{folder} is being written by a run that goes on"
        raise ConfigError([ConfigProblem("run.resume", config.run.resume, expected)])


def continued(config: DictConfig, earlier: Earlier) -> DictConfig:
    """The config of a run that goes on.

    Args:
        config: A composed config.
        earlier: What it goes on from.
    """
    config = copy.deepcopy(config)
    config.run.resume_from_checkpoint = earlier.checkpoint
    config.run.pretrained_checkpoint_path = None
    return config


def _as_plain(earlier: Earlier | None) -> dict[str, Any] | None:
    return asdict(earlier) if earlier else None


def _find(config: DictConfig) -> Earlier | None:
    for folder in earlier_folders(config):
        _refuse_claimed(folder, config)
        summary = read_summary(folder) or {}
        if summary.get("status") == FINISHED and _has_length_of(config, folder):
            return Earlier(str(folder))
        if found := newest_checkpoint(folder):
            path, step = found
            _remove_newer(folder, step)
            return Earlier(str(folder), str(path), step)
        log.info("%s: the run left no checkpoint to go on from: passed over", folder)
    return None


def earlier_folders(config: DictConfig) -> Iterator[Path]:
    """The folders of runs of the same id, mode and place in a sweep, the newest first.

    Args:
        config: A composed config.
    """
    parent, label = Path(config.run.dir) / config.run.id, choices().label
    suffix = re.compile((re.escape(f"_{label}") if label else "") + r"(?:-(\d+))?")
    found = []
    for folder in parent.iterdir() if parent.is_dir() else ():
        stamp = _STAMP.match(folder.name)
        number = suffix.fullmatch(folder.name[stamp.end() :]) if stamp else None
        if stamp and number and _is_alike(config, folder):
            found.append((stamp.group(), int(number[1] or 1), folder))
    return (folder for _, _, folder in sorted(found, reverse=True))


def _is_alike(config: DictConfig, folder: Path) -> bool:
    """Whether a run was of the same mode, and of stages or not."""
    theirs = _composed(folder)
    mode = OmegaConf.select(theirs, "run.mode")
    return bool(
        mode == config.run.mode and bool(theirs.get("stages")) == bool(config.get("stages"))
    )


def _composed(folder: Path) -> DictConfig:
    try:
        content = OmegaConf.load(folder / COMPOSED)
    except Exception:  # torn, or of an earlier version
        return OmegaConf.create()
    return content if isinstance(content, DictConfig) else OmegaConf.create()


def _has_length_of(config: DictConfig, folder: Path) -> bool:
    """Whether a run is as long as a config says: a longer one goes on."""
    theirs = _composed(folder)
    keys = [f"{section}.{name}" for section, names in _LENGTHS.items() for name in names]
    return all(OmegaConf.select(config, key) == OmegaConf.select(theirs, key) for key in keys)


def newest_checkpoint(folder: Path) -> tuple[Path, int] | None:
    """The newest complete checkpoint of a run that training can go on from, and its steps.

    Files that are torn or incomplete are passed over with a message.

    Args:
        folder: The run's folder.
    """
    last = last_checkpoint(folder)
    found = []
    for path, content in _checkpoints(folder):
        if isinstance(content, str):
            log.warning("%s is passed over: %s", path, content)
        elif content.get("optimizer_states") is None:
            continue  # the weights alone, of the best step
        elif reason := no_run(content):
            log.warning("%s is passed over: it %s", path, reason)
        else:
            found.append((int(content["global_step"]), path == last, path))
    for step, _, path in sorted(found, reverse=True):
        if torn := _torn_part(path):
            log.warning("%s is passed over: %s is damaged", path, torn)
        else:
            return path, step
    return None


def _checkpoints(folder: Path) -> Iterator[tuple[Path, Any]]:
    """Checkpoints with what each holds, or the reason why that cannot be read."""
    for path in sorted(folder.glob("checkpoints/*.ckpt")):
        try:
            content = read_metadata(path)
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            yield path, f"it cannot be read ({reason or type(error).__name__})"
            continue
        yield path, content if isinstance(content, dict) else "it is no checkpoint"


def _torn_part(path: Path) -> str | None:
    """The first entry of a checkpoint whose bytes are not those that were written."""
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


def _remove_newer(folder: Path, step: int) -> None:
    """Removes weights of steps after the checkpoint, which are going to be made again."""
    for path, content in _checkpoints(folder):
        is_weights = isinstance(content, dict) and content.get("optimizer_states") is None
        if is_weights and int(content.get("global_step", 0)) > step:
            log.info("%s is of a step that is made again: removed", path)
            path.unlink()
