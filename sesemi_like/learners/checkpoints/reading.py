"""Checkpoints read: what one holds, what of it fits a learner, and whether that is enough."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from ...config.weights import WeightsSource
from ...errors import ConfigError, ConfigProblem, as_yaml
from ...models.weights import UnreadableWeightsError, read_weights
from ...views.image_inputs import Inputs
from ..base import Learner
from ..outline import is_outline
from . import tensor_names
from .frozen import frozen_tensors, source_in
from .matching import Match, hparams_differences, list_names

log = logging.getLogger(__name__)

MIN_SHARE = 0.5
"""Share of the tensors, and of their values, that weights of the same backbone have at least."""

_INITIAL = {"pretrained", "weights", "checkpoint_path", "freeze"}
"""Settings of a backbone that do not matter once other weights have been loaded."""


@dataclass(frozen=True)
class Checkpoint:
    """What a file of weights holds.

    Attributes:
        path: The file.
        key: The config key that names it, for messages.
        tensors: Its tensors by name.
        content: Everything in it; of a bare state dict, the tensors.
    """

    path: str
    key: str
    tensors: dict[str, Tensor]
    content: Mapping[str, Any]

    @classmethod
    def read(cls, given: Any, *, key: str) -> Checkpoint:
        """Reads a file without running code that it holds.

        Args:
            given: A Lightning checkpoint, or a file with a state dict (also ``.safetensors``); or
                whatever else :meth:`WeightsSource.parse` takes.
            key: The config key that names it, for messages.

        Raises:
            ConfigError: If the file cannot be read or holds no tensors, or none of the name.
        """
        try:
            source = WeightsSource.parse(given)
            path, weights = str(source.file), read_weights(source.file)
        except UnreadableWeightsError as error:
            problem = ConfigProblem(key, str(source.file), f"cannot be read: {error}")
            raise ConfigError([problem]) from error
        except ValueError as error:
            raise ConfigError([ConfigProblem(key, given, str(error))]) from error
        if not weights.tensors:
            raise ConfigError([ConfigProblem(key, path, "holds no weights; give a checkpoint")])
        tensors = tensor_names.translated(weights.tensors)
        taken = {source.renamed(name): tensor for name, tensor in tensors.items()}
        taken.pop(None, None)
        if not taken:
            starts = list_names(dict.fromkeys(name.partition(".")[0] for name in tensors))
            expected = f"no name in it begins with {source.prefix!r}; they begin with {starts}"
            raise ConfigError([ConfigProblem(key, path, expected)])
        return cls(path, key, {str(name): t for name, t in taken.items()}, weights.content)

    @property
    def inputs(self) -> Inputs | None:
        """What images its networks were evaluated on, or None where it does not say."""
        return Inputs.from_plain(self.content.get("data"))

    @property
    def hparams(self) -> Mapping[str, Any]:
        """The hyperparameters of its learner; empty where it does not say."""
        return self._hyperparameter("hparams")

    @property
    def facts(self) -> Mapping[str, Any]:
        """What was known of its data, see `DataFacts`; empty where it does not say."""
        return self._hyperparameter("facts")

    def _hyperparameter(self, name: str) -> Mapping[str, Any]:
        given = self.content.get("hyper_parameters")
        found = given.get(name) if isinstance(given, Mapping) else None
        return found if isinstance(found, Mapping) else {}

    def completed(self, learner: Learner) -> Checkpoint:
        """The checkpoint with the frozen tensors that were left out of it, named as they are here.

        Args:
            learner: A learner built with its initial weights, which may be another one.

        Raises:
            ConfigError: If the learner has such tensors, and their source gives others now.
        """
        source, own = source_in(self.content), learner.state_dict()
        if source is None or not set(source.every_name) & set(own):
            return replace(self, tensors=tensor_names.beside_adapters(own, self.tensors))
        outlined = is_outline(learner)  # it is loaded in the run
        found = own if outlined else frozen_tensors(learner, source)
        left_out = {name: found[name] for name in source.every_name if name in found}
        return replace(self, tensors={**self.tensors, **left_out})

    def problem(self, expected: str) -> ConfigError:
        """The error of a file that is not what was expected."""
        return ConfigError([ConfigProblem(self.key, self.path, expected)])


def load_weights(
    learner: Learner, checkpoint: Checkpoint, *, strict: bool | None, evaluates: bool
) -> Match:
    """Loads what matches by name and shape, and logs what does not and what else differs.

    An EMA teacher of which the checkpoint has nothing begins as a copy of what it averages.

    Args:
        learner: The learner that takes the weights.
        checkpoint: Where they come from.
        strict: `run.strict_loading`: True takes no mismatch at all and False any; None needs at
            least half of the backbone, and every evaluated network whole where `evaluates`.
        evaluates: Whether the learner is to be evaluated as it is, without training.

    Returns:
        What was loaded and what was not.

    Raises:
        ConfigError: If too little fits, or labels would mean other classes than in the
            checkpoint. The learner is left as it was.
    """
    checkpoint, own = checkpoint.completed(learner), learner.state_dict()
    match = Match.between(own, checkpoint.tensors)
    if not match.loaded:
        raise checkpoint.problem(
            f"nothing in it fits the model, whose tensors are {list_names(own)}"
        )
    problems = [*_misfits(learner, match, strict, evaluates)]
    problems += [*_class_problems(learner, checkpoint, match, evaluates)]
    if problems:
        raise ConfigError(
            ConfigProblem(checkpoint.key, checkpoint.path, expected) for expected in problems
        )
    if is_outline(learner):  # it is built for real, and loaded, in the run
        return match
    learner.load_state_dict({n: checkpoint.tensors[n] for n in match.loaded}, strict=False)
    _copy_to_averages(learner, match)
    log_once("%s: %s", checkpoint.path, match, is_warning=not match.is_whole)
    for difference in differences(learner, checkpoint):
        log_once("%s: %s: %s", checkpoint.key, checkpoint.path, difference)
    return match


@rank_zero_only
def log_once(text: str, *arguments: Any, is_warning: bool = True) -> None:
    """Logs a sentence, of several processes by the first one alone.

    Args:
        text: The sentence, with ``%s`` for each argument.
        *arguments: What it is about.
        is_warning: Whether it is a warning or information.
    """
    log.log(logging.WARNING if is_warning else logging.INFO, text, *arguments)


def _misfits(learner: Learner, match: Match, strict: bool | None, evaluates: bool) -> Iterator[str]:
    """Says what of the weights is missing that must be there."""
    if strict is False:
        return
    relax = "run.strict_loading=false loads what fits all the same"
    if strict and not match.is_whole:
        yield f"does not fit the model as run.strict_loading=true asks: {match}"
        return
    if evaluates:
        missing = sorted(tensor_names.evaluated_tensors(learner) - set(match.loaded))
        if missing:
            yield (
                f"lacks {len(missing)} tensors of the networks to be evaluated: "
                f"{list_names(missing)}; {relax}"
            )
        return
    wanted, own = tensor_names.backbone_tensors(learner), learner.state_dict()
    fitting = wanted & set(match.loaded)
    values = sum(own[name].numel() for name in wanted)
    share = min(
        len(fitting) / max(1, len(wanted)),
        sum(own[name].numel() for name in fitting) / max(1, values),
    )
    if wanted and share < MIN_SHARE:
        yield (
            f"has {len(fitting)} of the {len(wanted)} tensors of the backbone, which is another "
            f"one: {match}; {relax}"
        )


def _class_problems(
    learner: Learner, checkpoint: Checkpoint, match: Match, evaluates: bool
) -> Iterator[str]:
    """Compares the classes' names, where the layers that predict them are loaded."""
    own, theirs = learner.inputs, checkpoint.inputs
    if own is None or theirs is None or not own.classes or not theirs.classes:
        return
    if own.classes == theirs.classes:
        return
    mine, others = list_names(own.classes), list_names(theirs.classes)
    difference = f"its classes are {others}, those of the data {mine}"
    if evaluates:
        yield f"{difference}: labels would mean other classes"
    elif not match.reshaped:
        log_once("%s: %s: %s", checkpoint.key, checkpoint.path, difference)


def differences(learner: Learner, checkpoint: Checkpoint) -> Iterator[str]:
    """Says in what images and backbone differ from those the weights were trained with."""
    if learner.inputs is not None and checkpoint.inputs is not None:
        for difference in learner.inputs.differences(checkpoint.inputs):
            yield f"{difference}, on which it was trained"
    if checkpoint.hparams:
        for key, own, theirs in hparams_differences(learner.settings, checkpoint.hparams):
            parts = key.split(".")
            if (
                parts[:2] in (["model", "backbone"], ["model", "head"])
                and parts[-1] not in _INITIAL
            ):
                yield f"{learner.key}.{key} is {as_yaml(own)} instead of {as_yaml(theirs)}"


def _copy_to_averages(learner: Learner, match: Match) -> None:
    loaded = set(match.loaded)
    for teacher, source in learner.averaged_networks().items():
        average: Any = learner.networks.module(teacher)
        if not loaded & tensor_names.tensors_of(learner, [teacher]):
            average.module.load_state_dict(learner.networks.module(source).state_dict())
