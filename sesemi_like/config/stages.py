"""`stages`: configs by name, each laid over the rest, which are checked as the runs they become."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import ConfigError, ConfigProblem, suggest
from .learners import LEARNERS
from .mode import Modes
from .schema import schema_problems
from .structs import AppConfig

PREVIOUS, SCRATCH = "previous", "scratch"
_START = "start_from"
_WEIGHTS = "run.pretrained_checkpoint_path"
_SECTIONS = ("run", "data", "learner", "trainer", _START)

_SHARED = {
    "id": "names the whole run",
    "dir": "is of the whole run",
    "mode": "is of the whole run",
    "stage": "chooses among stages",
    "resume": "is of the whole run",
    "resume_from_checkpoint": f"is for a single run; give {_START}",
    "pretrained_checkpoint_path": f"is for a single run; give {_START}",
    "from_run": "is for the command line",
    "tags": "are of the whole run",
    "gpus": "is the same in all stages: processes are launched once",
    "num_nodes": "is the same in all stages: processes are launched once",
    "accelerator": "is the same in all stages: processes are launched once",
}
"""Keys of `run` that no stage has of its own, and why."""


@dataclass(frozen=True)
class Stage:
    """One of the runs that a config with stages stands for.

    Attributes:
        name: Its name.
        number: Its place among all stages, from 1; those that are null count too.
        config: The config of its run.
        follows: Whether it begins with the last weights of the stage before it.
    """

    name: str
    number: int
    config: DictConfig
    follows: bool

    @property
    def folder(self) -> str:
        """The name of its folder in that of the whole run."""
        return f"{self.number}_{self.name}"


def has_stages(config: DictConfig, modes: Modes) -> bool:
    """Whether a config is run in stages: modes that do not train ignore them.

    Args:
        config: A composed config.
        modes: What `run.mode` may name.
    """
    mode = modes.get(str(OmegaConf.select(config, "run.mode")))
    return bool(config.get("stages")) and mode is not None and mode.trains


def stages_of(config: DictConfig) -> list[Stage]:
    """Lays every stage over the rest of its config.

    Args:
        config: A composed config; stages that are null are left out.

    Raises:
        ConfigError: If one does not fit, with the mistakes in all of them.
    """
    problems: list[ConfigProblem] = [*_choice_problems(config)]
    stages: list[Stage] = []
    for number, (name, content) in enumerate(_contents(config), start=1):
        if content is None:
            continue
        wrong = [*_content_problems(str(name), content, config)]
        start = content.get(_START) if isinstance(content, dict) else None
        if start == PREVIOUS and not stages:
            expected = f"no stage comes before it; give {SCRATCH}, a checkpoint or a run's folder"
            wrong.append(ConfigProblem(f"stages.{name}.{_START}", start, expected))
        problems += wrong
        if wrong:
            continue
        try:
            laid, follows = _laid_over(config, content), bool(stages) and start in (None, PREVIOUS)
        except OmegaConfBaseException as error:
            key = ".".join(filter(None, ["stages", str(name), str(error.full_key or "")]))
            reason = str(error).strip().splitlines()[0]
            problems.append(ConfigProblem(key, "a value that does not fit", reason))
            continue
        if start is not None or stages:
            given = None if follows or start == SCRATCH else start
            OmegaConf.update(laid, _WEIGHTS, given)
        stages.append(Stage(str(name), number, laid, follows))
    if problems:
        raise ConfigError(problems)
    return stages


def by_stage(
    config: DictConfig, problems_of: Callable[[DictConfig], Iterable[ConfigProblem]]
) -> list[ConfigProblem]:
    """Collects the problems of all stages, each under the key of its stage.

    Args:
        config: A composed config with stages.
        problems_of: Checks the config of a single run.
    """
    try:
        stages = stages_of(config)
    except ConfigError as error:
        return error.problems
    return name_stages({stage.name: list(problems_of(stage.config)) for stage in stages})


def name_stages(found: dict[str, list[ConfigProblem]]) -> list[ConfigProblem]:
    """Puts the problems of stages under their keys, ``stages.<name>.<key>``.

    Args:
        found: Problems by stage; one that all of several stages have is told once, without them.
    """
    counts = Counter(text for problems in found.values() for text in {*map(str, problems)})
    shared = {text for text, count in counts.items() if count == len(found) > 1}
    return [
        problem if str(problem) in shared else _in_stage(problem, name)
        for name, problems in found.items()
        for problem in problems
    ]


def _in_stage(problem: ConfigProblem, name: str) -> ConfigProblem:
    key = _START if problem.key == _WEIGHTS else problem.key
    return ConfigProblem(f"stages.{name}.{key}", problem.value, problem.expected)


def _contents(config: DictConfig) -> list[tuple[Any, Any]]:
    content: Any = OmegaConf.to_container(config.stages, resolve=False)
    return list(content.items())


def _choice_problems(config: DictConfig) -> Iterator[ConfigProblem]:
    names = [name for name, content in _contents(config) if content is not None]
    if not names:
        expected = "all are null; stages=null runs the config without stages"
        yield ConfigProblem("stages", [name for name, _ in _contents(config)], expected)
    if config.run.stage is not None and config.run.stage not in names:
        expected = suggest(config.run.stage, names, noun="stages")
        yield ConfigProblem("run.stage", config.run.stage, expected)
    if config.run.resume_from_checkpoint is not None:
        expected = "is for a single run; run.resume=auto goes on with a run of stages"
        path = config.run.resume_from_checkpoint
        yield ConfigProblem("run.resume_from_checkpoint", path, expected)


def _content_problems(name: str, content: Any, config: DictConfig) -> Iterator[ConfigProblem]:
    """Finds a wrong name, keys that are not a stage's own, unknown keys and wrong types."""
    key = f"stages.{name}"
    if not re.fullmatch(r"\w[\w.-]*", name):
        yield ConfigProblem(key, name, "needs a name of letters, digits, _, - and .")
    if not isinstance(content, dict):
        yield ConfigProblem(key, content, "needs a mapping of what is different in this stage")
        return
    rest = {section: value for section, value in content.items() if section != _START}
    if rest.get("stages") is not None:
        yield ConfigProblem(f"{key}.stages", rest["stages"], "a stage has none of its own")
    for problem in schema_problems(rest, AppConfig, key):
        word = problem.key.removeprefix(f"{key}.")
        unknown = word in rest and word not in _SECTIONS
        expected = f"no such key; {suggest(word, _SECTIONS, noun='keys')}"
        yield ConfigProblem(problem.key, problem.value, expected) if unknown else problem
    learner, run = rest.get("learner"), rest.get("run")
    if isinstance(learner, dict):
        target = learner.get("_target_", OmegaConf.select(config, "learner._target_"))
        if entry := LEARNERS.get(str(target)):
            yield from schema_problems(learner, entry.struct, f"{key}.learner")
    if isinstance(run, dict):
        for word in sorted(set(run) & set(_SHARED)):
            yield ConfigProblem(f"{key}.run.{word}", run[word], f"{word} {_SHARED[word]}")


def _laid_over(config: DictConfig, content: dict[str, Any]) -> DictConfig:
    """The config with a stage's values; a learner of another class replaces the whole section."""
    base = copy.deepcopy(config)
    OmegaConf.set_readonly(base, False)
    OmegaConf.set_struct(base, False)
    base.stages, base.run.stage = None, None
    rest = {section: value for section, value in content.items() if section != _START}
    target = (rest.get("learner") or {}).get("_target_")
    if target not in (None, OmegaConf.select(config, "learner._target_")):
        base.learner = OmegaConf.create(rest.pop("learner"))
    laid = OmegaConf.merge(base, OmegaConf.create(rest))
    assert isinstance(laid, DictConfig)
    return laid
