"""Facts about a run's data, for learners, checkpoints and resumed runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...config.facts import DataFacts
from ...views.image_inputs import Inputs
from ..loading.keys import EVALUATED, TRAIN
from ..module import DataModule
from ..samples import Samples
from ..streams import StreamedSamples


def inputs_of(data: DataModule) -> Inputs:
    """Describes the images that networks are evaluated on: of `val`, `test`, or training."""
    names = [*(name for name in EVALUATED if name in data.loaders), *data.loaders]
    if not names:
        return Inputs()
    loader = data.loaders[names[0]]
    config = (loader.config.get("views") or {}).get("image")
    return Inputs.of(
        loader.sample_batch.get("image"),
        classes=data.labels.classes,
        image_transform=loader.image_transform,
        view=loader.views.views.get("image"),
        view_config=None if loader.name.startswith(TRAIN) else config,
    )


def data_facts(data: DataModule, steps_per_epoch: int | None) -> DataFacts:
    """Collects what a learner may check its hyperparameters against.

    Args:
        data: The data of the run.
        steps_per_epoch: Optimizer steps of an epoch, or None where it does not end.
    """
    labels = data.labels
    return DataFacts(
        rows={name: source.num_samples for name, source in data.datasets.items()},
        largest_index={name: _largest_index(source) for name, source in data.datasets.items()},
        fields={name: sorted(batch) for name, batch in data.sample_batches.items()},
        label_counts=labels.counts(),
        class_counts=labels.class_counts(),
        classes=labels.classes,
        num_classes=labels.num_classes,
        steps_per_epoch=steps_per_epoch,
    )


def _largest_index(source: Samples | StreamedSamples) -> int | None:
    """The largest `index` of a sample: of selected ones, their position before the selection."""
    if isinstance(source, Samples):
        return int(source.positions.max(initial=-1))
    return None if source.num_samples is None else source.num_samples - 1


def resuming_facts(data: DataModule) -> dict[str, Any]:
    """Facts that determine which rows a step reads, and what cannot be resumed.

    ``samplers`` lists the keys of samplers whose order no seed determines, ``streams`` those of
    loaders that start again. The order in which shards are read depends on the number of workers.
    """
    facts: dict[str, Any] = {"run.seed": data.seed, "processes": data.world_size}
    samplers, streams = [], []
    for loader in data.loaders.values():
        if not loader.name.startswith(TRAIN):
            continue
        key, source = loader.key, loader.dataset
        facts[f"rows a step of {key}"] = loader.batch_size * data.world_size
        facts[f"samples of {key}"] = source.num_samples
        if isinstance(source, StreamedSamples):
            facts[f"workers of {key}"] = loader.workers
            streams += [key] if source.pass_length is None else []
        samplers += [
            f"{key}.{kind}"
            for kind in ("sampler", "batch_sampler")
            if _has_own_generator(loader.config.get(kind))
        ]
    return {**facts, "samplers": samplers, "streams": streams}


def _has_own_generator(sampler: Any) -> bool:
    """Whether a sampler may draw from its own generator; global ones are seeded for each pass."""
    if not isinstance(sampler, Mapping):
        return False
    if _has_own_generator(sampler.get("sampler")) or sampler.get("generator") is not None:
        return True
    return not str(sampler.get("_target_")).startswith("torch.utils.data.")
