"""Resuming: what keeps a run from going on where a checkpoint stopped, and what makes it differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...config.learners import LEARNERS, with_defaults
from ...config.locate import locate
from ...errors import ConfigError, ConfigProblem, as_yaml
from ...schedulers.lr import WarmupLR
from .. import param_groups
from ..base import Learner
from .matching import Match, hparams_differences, list_names
from .reading import Checkpoint, differences, log_once

_INITIAL = {"pretrained", "weights", "checkpoint_path"}
"""Settings of a backbone that do not matter once other weights have been loaded."""

_OPTIMIZATION = {"optimizer", "trainable", *param_groups.SETTINGS}
"""Settings that the state of an optimizer depends on."""


def check_resuming(
    learner: Learner,
    path: str,
    *,
    key: str,
    max_iterations: int | None,
    may_be_over: bool = False,
) -> None:
    """Checks that a learner can go on where a checkpoint stopped; warns where it ends elsewhere.

    Args:
        learner: The learner that is to go on, whose `inputs` and `facts` are known.
        path: A checkpoint of a run.
        key: The config key that names the path, for messages.
        max_iterations: Steps of the whole run; None is open-ended.
        may_be_over: Whether all steps may have been made, so that only what follows them is left.

    Raises:
        ConfigError: If it cannot, or settings would be ignored in silence.
    """
    checkpoint = Checkpoint.read(path, key=key)
    if reason := no_run(checkpoint.content):
        raise checkpoint.problem(f"{reason}; run.pretrained_checkpoint_path loads weights alone")
    checkpoint = checkpoint.completed(learner)
    problems = [
        *_model_problems(learner, checkpoint),
        *([] if may_be_over else _length_problems(checkpoint, max_iterations)),
        *_optimizer_problems(learner, checkpoint),
    ]
    if problems:
        raise ConfigError(ConfigProblem(key, path, expected) for expected in problems)
    found = [*_fact_differences(learner, checkpoint), *differences(learner, checkpoint)]
    found += _hparams_differences(learner, checkpoint)
    if found:
        log_once(
            "%s: the run will not end where it would have without a break, nor where one of these "
            "settings would: %s",
            key,
            "; ".join(dict.fromkeys(found)),
        )


def no_run(content: Mapping[str, Any]) -> str | None:
    """Says why a file is not what a run can be resumed from.

    Args:
        content: Everything in the file.

    Returns:
        A sentence fragment; None where it is a whole checkpoint.
    """
    if not isinstance(content.get("loops"), Mapping) or "pytorch-lightning_version" not in content:
        return "is no checkpoint of a run"
    steps, states = content.get("global_step"), content.get("optimizer_states")
    if states is None:
        last = Path("checkpoints") / "last.ckpt"
        return f"holds weights without what training needs to go on, which is in {last}"
    is_whole = isinstance(steps, int) and isinstance(states, list)
    if not is_whole or not all(_has_groups(state) for state in states):
        return "is no checkpoint of a run"
    return None


def _has_groups(state: Any) -> bool:
    groups = state.get("param_groups") if isinstance(state, Mapping) else None
    return isinstance(groups, list) and bool(groups) and isinstance(groups[0], Mapping)


def _model_problems(learner: Learner, checkpoint: Checkpoint) -> Iterator[str]:
    match = Match.between(learner.state_dict(), checkpoint.tensors)
    if not match.is_whole:
        misfits = [*match.reshaped, *match.untouched, *match.unused]
        yield f"its model is another one, see {list_names(sorted(misfits))}"
    own, theirs = learner.inputs, checkpoint.inputs
    if own and theirs and own.classes and theirs.classes and own.classes != theirs.classes:
        mine, others = list_names(own.classes), list_names(theirs.classes)
        yield f"its classes are {others}, those of the data {mine}: labels would mean other classes"


def _length_problems(checkpoint: Checkpoint, max_iterations: int | None) -> Iterator[str]:
    steps = checkpoint.content["global_step"]
    if max_iterations is not None and steps >= max_iterations:
        yield f"it has made {steps} steps of {max_iterations}: nothing is left to train"


def _optimizer_problems(learner: Learner, checkpoint: Checkpoint) -> Iterator[str]:
    """Finds settings that would be ignored: the state of a resumed run brings its own."""
    states = [state["param_groups"] for state in checkpoint.content["optimizer_states"]]
    groups = learner.build_optimizer().param_groups
    changed = [
        f"{key} is {as_yaml(theirs)}, here {as_yaml(own)}"
        for key, own, theirs in _changes(learner, checkpoint)
        # An earlier version had no such setting, which is the same as false.
        if key.partition(".")[0] in _OPTIMIZATION and (own or theirs)
    ]
    if changed or any(_differ(groups, given) for given in states):
        yield "its optimizer is another one, whose settings it keeps" + (
            f": {'; '.join(changed)}" if changed else ""
        )
    schedule = learner.settings.get("lr_scheduler") or {}
    keeps = [
        f"{key} is {as_yaml(theirs)}, here {as_yaml(own)}"
        for key, own, theirs in _changes(learner, checkpoint)
        if key.startswith("lr_scheduler.")
    ]
    if keeps and not _follows_settings(schedule.get("scheduler")):
        yield f"its schedule keeps its settings: {'; '.join(keeps)}"


def _differ(own: list[dict[str, Any]], given: list[Any]) -> bool:
    """Whether two optimizers have other groups, of other settings or numbers of parameters."""
    return len(own) != len(given) or any(
        set(mine) - set(theirs)
        or len(mine["params"]) != len(theirs["params"])
        or mine.get("name") != theirs.get("name")
        for mine, theirs in zip(own, given, strict=True)
    )


def _follows_settings(schedule: Any) -> bool:
    """Whether a schedule's settings are not part of what a checkpoint brings."""
    target = str(schedule.get("_target_")) if isinstance(schedule, Mapping) else ""
    names = {kind.__name__ for kind in WarmupLR.__subclasses__()}
    return target.startswith("sesemi_like.") and target.rpartition(".")[2] in names


def _changes(learner: Learner, checkpoint: Checkpoint) -> list[tuple[str, Any, Any]]:
    if not checkpoint.hparams:
        return []
    both: list[Mapping[str, Any]] = [learner.settings, checkpoint.hparams]
    for entry in LEARNERS.values():
        kind: Any = locate(entry.struct._target_, learner.key).func
        if isinstance(learner, kind):
            both = [with_defaults(hparams, entry) for hparams in both]
    return list(hparams_differences(*both))


def _hparams_differences(learner: Learner, checkpoint: Checkpoint) -> Iterator[str]:
    for key, own, theirs in _changes(learner, checkpoint):
        if key.rpartition(".")[2] not in _INITIAL:
            yield f"{learner.key}.{key} is {as_yaml(own)} instead of {as_yaml(theirs)}"


def _fact_differences(learner: Learner, checkpoint: Checkpoint) -> Iterator[str]:
    """Compares numbers of the runs, and names what of the data does not go on where it stopped."""
    theirs = checkpoint.content.get("run")
    if isinstance(theirs, Mapping) and theirs:
        for key, own, other in hparams_differences(learner.facts, theirs):
            if key not in ("samplers", "streams"):
                yield f"{key} is {as_yaml(own)} instead of {as_yaml(other)}"
    else:
        yield "it is of an earlier version, whose runs drew otherwise"
    for name in learner.facts.get("samplers", []):
        yield f"{name} may draw its order from a generator of its own, which was elsewhere then"
    for name in learner.facts.get("streams", []):
        yield f"{name} is a stream, which is read from its beginning again"
