"""What a learner begins with: built for the weights that follow, loaded, and checked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from ...config.facts import DataFacts
from ...config.instantiate import instantiate, plain
from ...config.weights import WeightsSource
from ...errors import ConfigError, ConfigProblem
from ...models.backbones.base import Backbone
from ...models.backbones.pretrained import without_initial_weights
from ..base import Learner
from ..outline import is_outline
from .frozen import find_source
from .matching import Match
from .reading import Checkpoint, load_weights, log_once
from .tensor_names import beside_adapters


def weights_path(run: Mapping[str, Any], *, trains: bool) -> tuple[Any, str] | None:
    """What weights a run is to load by itself, and the config key that names them.

    Without training there is nothing to resume: a checkpoint to resume from is one to load then.

    Args:
        run: The section `run`.
        trains: Whether the run trains.
    """
    resumed, given = run["resume_from_checkpoint"], run["pretrained_checkpoint_path"]
    if resumed is not None and not trains:
        return resumed, "run.resume_from_checkpoint"
    return None if given is None else (given, "run.pretrained_checkpoint_path")


def build_learner(config: DictConfig, facts: DataFacts | None = None, *, trains: bool) -> Learner:
    """Builds a learner, without weights to begin with where a checkpoint brings them all.

    Args:
        config: A composed config.
        facts: What is known of the data. A run that does not train reads other loaders than the
            one whose checkpoint it loads: what that knew of its data comes first then.
        trains: Whether the run trains.

    Raises:
        ConfigError: If it cannot be built.
    """
    settings = plain(config.learner)
    target = {"_target_": settings["_target_"], "_recursive_": False}
    given = {"hparams": settings.get("hparams"), "facts": facts}
    path = weights_path(config.run, trains=trains)
    if not trains and path is not None:
        given["facts"] = _facts_in(*path) or facts

    def build() -> Learner:
        built = instantiate(target, key="learner", **given)
        if not isinstance(built, Learner):
            expected = "is no learner; needs a subclass of sesemi_like.Learner"
            raise ConfigError([ConfigProblem("learner._target_", target["_target_"], expected)])
        return built

    return _build_for_weights(build, config, trains=trains)


def rebuild_learner(learner: Learner, config: DictConfig, *, trains: bool) -> None:
    """Builds the networks and heads of an outline for real, and loads what it begins with.

    Args:
        learner: An outline.
        config: The composed config that it was built of.
        trains: Whether the run trains.

    Raises:
        ConfigError: If it cannot be built, or weights cannot be read.
    """

    def build() -> Learner:
        learner.build()
        return learner

    _build_for_weights(build, config, trains=trains)
    load_start(learner, config, trains=trains)


def _build_for_weights(
    build: Callable[[], Learner], config: DictConfig, *, trains: bool
) -> Learner:
    """Builds a learner without initial weights where those of a checkpoint follow."""
    run = config.run
    resumes, path = run.resume_from_checkpoint is not None, weights_path(run, trains=trains)
    state = torch.get_rng_state()
    with without_initial_weights(resumes or path is not None) as left_out:
        learner = build()
    if resumes and trains:
        path = run.resume_from_checkpoint, "run.resume_from_checkpoint"
    if left_out and not _provides_weights(learner, left_out, path):
        torch.set_rng_state(state)
        learner = build()
    return learner


def _facts_in(path: Any, key: str) -> DataFacts | None:
    """What a checkpoint knows of the data it was trained on; None where it notes nothing."""
    try:
        facts = Checkpoint.read(path, key=key).facts
    except ConfigError:  # reported when it is loaded
        return None
    return DataFacts.from_plain(facts) if facts else None


def _provides_weights(
    learner: Learner, networks: list[nn.Module], named: tuple[Any, str] | None
) -> bool:
    """Whether the checkpoint has every tensor of networks built without weights to begin with."""
    path, key = named or ("", "")
    try:
        given = Checkpoint.read(path, key=key)
    except ConfigError:  # reported when it is loaded
        return True
    own = learner.state_dict()
    loaded = set(Match.between(own, beside_adapters(own, given.tensors)).loaded)
    names = {id(module): name for name, module in learner.named_modules()}
    return all(
        f"{names[id(network)]}.{tensor}" in loaded
        for network in networks
        if id(network) in names
        for tensor in network.state_dict()
    )


def load_start(learner: Learner, config: DictConfig, *, trains: bool) -> list[str]:
    """Loads the weights that a run begins with or is about, if it names any.

    Args:
        learner: The learner, whose `inputs` are known.
        config: A composed config.
        trains: Whether the run trains.

    Returns:
        The names of the tensors that were loaded.

    Raises:
        ConfigError: If they cannot be read or do not fit.
    """
    named = weights_path(config.run, trains=trains)
    if named is None:
        _compare_normalization(learner)
        return []
    path, key = named
    checkpoint = Checkpoint.read(path, key=key)
    strict = config.run.strict_loading
    match = load_weights(learner, checkpoint, strict=strict, evaluates=not trains)
    if not trains and learner.inputs and not learner.inputs.classes and checkpoint.inputs:
        # What is predicted need not know the classes that were learned.
        learner.inputs = replace(learner.inputs, classes=checkpoint.inputs.classes)
    return match.loaded


def _compare_normalization(learner: Learner) -> None:
    """Says where images are normalized otherwise than the first weights of a backbone expect it."""
    given = [m.normalization for m in learner.modules() if isinstance(m, Backbone)]
    expected = next((found for found in given if found is not None), None)
    if learner.inputs is None or expected is None:
        return
    mean, std = expected
    for difference in learner.inputs.differences(replace(learner.inputs, mean=mean, std=std)):
        log_once("%s, which the backbone's weights expect; see data.mean, data.std", difference)


def leave_frozen_out(learner: Learner, config: DictConfig, loaded: Collection[str]) -> None:
    """Has checkpoints leave out what does not train, where `save_frozen` is false.

    A run that goes on leaves out what the checkpoint that it goes on from did.

    Args:
        learner: The learner, with the weights that it begins to train with.
        config: The composed config that it was built of.
        loaded: The names of the tensors that came from `run.pretrained_checkpoint_path`.

    Raises:
        ConfigError: If `save_frozen` is no truth value, or weights are not there yet.
    """
    saves = learner.settings.get("save_frozen", True)
    key = f"{learner.key}.save_frozen"
    if not isinstance(saves, bool):
        raise ConfigError([ConfigProblem(key, saves, "must be true or false")])
    if saves or config.run.resume_from_checkpoint is not None:
        return
    if is_outline(learner):
        expected = "weights must be there before the run; needs run.rehearse=full or none"
        raise ConfigError([ConfigProblem(key, saves, expected)])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch.initial_seed() + 1)
        rebuilt = build_learner(config, learner.data_facts, trains=True)
    given = plain(config.run.pretrained_checkpoint_path)
    if given is not None:
        source = WeightsSource.parse(given)
        names = {"prefix": source.prefix, "into": source.into}
        given = {"path": str(source.file.resolve()), **names}
    learner.frozen = find_source(learner, rebuilt, loaded, given)


def misfit_of_previous(
    learner: Learner, tensors: Mapping[str, Tensor], strict: bool | None
) -> str | None:
    """Says why the weights of an earlier stage do not serve a learner.

    Args:
        learner: The learner that is to take them.
        tensors: The earlier learner's tensors by name; only their shapes matter.
        strict: `run.strict_loading`; anything but True takes any share of them.
    """
    own = learner.state_dict()
    match = Match.between(own, beside_adapters(own, tensors))
    if not match.loaded:
        return f"nothing of the stage before fits the model: {match}"
    if strict and not match.is_whole:
        return f"does not fit the model as run.strict_loading=true asks: {match}"
    return None
