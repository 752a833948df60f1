"""What is noted of a run's data: what its images are, and what a resumed run must share with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...views.inputs import Inputs
from ..module import DataModule
from ..samples import StreamedSamples
from .labels import TRAIN


def inputs_of(data: DataModule) -> Inputs:
    """What the images that networks are evaluated on are: of `val`, `test`, or training."""
    loaders = [*(n for n in ("val", "test") if n in data.configs), *data.configs]
    if not loaders:
        return Inputs()
    name = loaders[0]
    views = data.configs[name].get("views") or {}
    return Inputs.of(
        data.sample_batches[name].get("image"),
        classes=data.classes,
        image_transform=data.transforms[name],
        view=data.views[name].get("image"),
        view_config=None if name.startswith(TRAIN) else views.get("image"),
    )


def facts_of(data: DataModule) -> dict[str, Any]:
    """What decides which rows a step reads, and what does not go on where it stopped.

    Under ``samplers`` are the keys of those whose order no seed settles, under ``streams`` those of
    loaders that begin again. In which order shards are read depends on the number of workers.
    """
    facts: dict[str, Any] = {"run.seed": data.seed, "processes": data.world_size}
    samplers, streams = [], []
    for name in data.configs:
        if not name.startswith(TRAIN):
            continue
        facts[f"rows a step of data.{name}"] = data.batch_sizes[name] * data.world_size
        facts[f"samples of data.{name}"] = data.datasets[name].num_samples
        source = data.datasets[name]
        if isinstance(source, StreamedSamples):
            facts[f"workers of data.{name}"] = data.workers[name]
            streams += [f"data.{name}"] if source.pass_length is None else []
        samplers += [
            f"data.{name}.{kind}"
            for kind in ("sampler", "batch_sampler")
            if _draws_by_itself(data.configs[name].get(kind))
        ]
    return {**facts, "samplers": samplers, "streams": streams}


def _draws_by_itself(sampler: Any) -> bool:
    """Whether a sampler may have a generator of its own; global ones are seeded for each pass."""
    if not isinstance(sampler, Mapping):
        return False
    if _draws_by_itself(sampler.get("sampler")) or sampler.get("generator") is not None:
        return True
    return not str(sampler.get("_target_")).startswith("torch.utils.data.")
