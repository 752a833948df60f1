"""Which fields of which loaders a frozen backbone is run on once, before training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..data import DataModule
from ..data.batches import num_rows
from ..data.features.field import FieldSource, FrozenField, frozen_fields, with_features
from ..data.features.view import StoredFeatures
from ..data.loading.keys import PREDICT, TRAIN, short_name
from ..data.loading.parts import LoaderParts, set_workers
from ..data.samples import Samples
from ..errors import ConfigError, ConfigProblem
from ..learners import Learner
from ..learners.frozen_part import FEATURES
from ..learners.outline import is_outline
from ..predictions import LOSSES
from ..trees import to_device

log = logging.getLogger(__name__)

Read = Callable[[Collection[str]], set[str]]
"""From the fields that a loader offers to those that are read."""


def use_frozen_features(learner: Learner, data: DataModule, needs: Collection[str]) -> None:
    """Has loaders read features in place of all fields that go through a frozen backbone alone.

    A field that anything else reads, such as a head that mixes images, is run through the network
    as ever.

    Args:
        learner: The learner, with its networks.
        data: The data of the run.
        needs: The names of fields and outputs that evaluators read.

    Raises:
        ConfigError: If the learner asks for it, and its backbone learns or nothing can be kept.
    """
    if (part := learner.frozen_part) is None:
        return
    part.check_frozen(learner.networks)
    embed = _embedding(learner)
    for name in [*data.loaders]:
        if name == PREDICT:
            continue
        draws = part.draws if name.startswith(TRAIN) else 1
        _use_in(data, name, _reading(learner, data, name, needs), draws, embed)
    set_workers(data.loaders, data.loaders, data.cpus)
    if not any(found.source.parts.name.startswith(TRAIN) for found in frozen_fields(data.loaders)):
        expected = "no field of a train loader goes through the backbone alone; needs null"
        raise ConfigError([ConfigProblem(part.key, part.draws, expected)])


def _use_in(data: DataModule, name: str, read: Read, draws: int, embed: Any) -> None:
    """Has one loader read features where it can."""
    parts = data.loaders[name]
    fields = set(parts.sample_batch)
    wanted = read(fields)
    offered = [field for field in sorted(wanted) if _may_be_kept(parts, field)]
    features = {field: f"{field}.{FEATURES}" for field in offered}
    found = read({*fields, *features.values()})
    kept = [field for field, name in features.items() if name in found and field not in found]
    _announce_others(name, [f for f in offered if features[f] in found and f in found])
    if not kept:
        return
    views = {field: StoredFeatures(FEATURES) for field in kept}
    values = {field: parts.sample_batch[field] for field in kept}
    samples = {field: embed(value) for field, value in values.items()}
    needed = found - {features[field] for field in kept}
    source = FieldSource(parts)
    made = [FrozenField(source, field, draws, views[field], values[field]) for field in kept]
    reader = replace(with_features(parts, views, samples, needed), frozen_fields=made)
    source.reader = reader if reader.dataset is parts.dataset else None
    data.loaders[name] = reader


def _may_be_kept(parts: LoaderParts, field: str) -> bool:
    """Whether a field is a function of a sample alone, with draws that may be made before."""
    batch, samples = parts.sample_batch, parts.dataset
    if field in ("index", "target") or not isinstance(samples, Samples):
        return False
    if samples.fields or samples.on_error != "raise":  # rows may lack it, or be those of others
        return False
    collation = parts.config.get("collate_fn")
    if collation is not None and not getattr(collation, "makes_fields", False):
        return False
    whole, _, rest = field.partition(".")
    if rest and whole in parts.views.views:  # other parts of the view come from the same draw
        return False
    return field in batch and num_rows(batch[field]) == num_rows(batch["index"])


def _reading(learner: Learner, data: DataModule, name: str, needs: Collection[str]) -> Read:
    """What is read of a loader, by what it offers."""
    if name.startswith(TRAIN):
        return lambda fields: _read_in_training(learner, data, short_name(name), fields)
    return lambda fields: _read_in_evaluation(learner, fields, needs)


def _read_in_training(
    learner: Learner, data: DataModule, loader: str, fields: Collection[str]
) -> set[str]:
    if loader not in data.fields:  # evaluators alone read it
        return set()
    read = learner.make_plan({**data.fields, loader: fields}).fields
    begin = f"{loader}."
    return {field.removeprefix(begin) for field in read if field.startswith(begin)}


def _read_in_evaluation(
    learner: Learner, fields: Collection[str], needs: Collection[str]
) -> set[str]:
    read = learner.evaluated.fields_read(fields, has_losses=LOSSES in needs)
    return {*read, *({*needs, "target", "index"} & {*fields})}


def _embedding(learner: Learner) -> Callable[[Any], Tensor]:
    """The backbone for a few samples; without a rehearsal nothing is run, and zeros do."""
    assert learner.frozen_part is not None
    backbone: Any = learner.frozen_part.backbone(learner.networks)

    @torch.no_grad()
    def embed(values: Any) -> Tensor:
        given = to_device(values, "meta") if is_outline(learner) else values
        features: Tensor = backbone(given)
        return features

    return embed


def _announce_others(name: str, fields: list[str]) -> None:
    for field in fields:
        log.info(
            "%s.%s goes through the frozen backbone in each step: more than that reads it",
            short_name(name),
            field,
        )
