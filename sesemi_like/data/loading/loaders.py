"""From a loader's config and its data set to batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from ...config.instantiate import instantiate
from ...errors import ConfigError, ConfigProblem, suggest
from ..batches import Batch
from ..samples import Samples
from ..streams import StreamedSamples
from .collating import build_collation
from .partial_fields import CompleteCollation, PartialFields
from .reproducible import SeededSamples
from .samplers import (
    ClassBalancedSampler,
    PassSampler,
    RepeatedShard,
    RowBatches,
    Rows,
    sampler_problem,
)
from .seeds import seed_of

_A_GENERATOR = "needs the config of a torch.Generator on the CPU"


def batch_size_of(loader: Mapping[str, Any], key: str, default: int | None, world_size: int) -> int:
    """The rows of a batch of one process.

    Args:
        loader: The loader's config.
        key: Its config key.
        default: `run.batch_size_per_gpu`.
        world_size: Processes that share `batch_size`.

    Raises:
        ConfigError: If no size is given, or the processes cannot share it evenly.
    """
    total = loader.get("batch_size")
    if total is not None:
        if total % world_size:
            expected = f"must be divisible by the {world_size} processes"
            raise ConfigError([ConfigProblem(f"{key}.batch_size", total, expected)])
        return int(total) // world_size
    size = loader.get("batch_size_per_gpu") or default
    if size is None:
        expected = "needs a value, here, as batch_size, or as run.batch_size_per_gpu"
        raise ConfigError([ConfigProblem(f"{key}.batch_size_per_gpu", None, expected)])
    return int(size)


def build_loader(
    loader: Mapping[str, Any],
    dataset: Samples | StreamedSamples,
    *,
    key: str,
    batch_size: int,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    partial: PartialFields | None = None,
) -> DataLoader[Batch]:
    """Builds the data loader that a config describes.

    Args:
        loader: The config, with the keys of `DataLoaderConfig`.
        dataset: Its data set.
        key: Its config key, for messages.
        batch_size: Rows of a batch of one process.
        seed: The run's seed.
        rank: The number of this process.
        world_size: The number of processes.
        partial: The fields that only some samples have; None where all have all.

    Raises:
        ConfigError: If the config cannot work, or the data set does not fill a batch.
    """
    drop_last = loader.get("drop_last", False)
    batches = {"batch_size": batch_size, "drop_last": drop_last}
    share = {"rank": rank, "world_size": world_size}
    own_seed, collation = seed_of(seed, key), build_collation(loader, key)
    if isinstance(dataset, StreamedSamples):
        settings = _stream_settings(loader, dataset, own_seed, batches, share)
        settings["collate_fn"] = CompleteCollation(collation, partial or PartialFields())
    else:
        shard = _build_shard(loader, dataset, key, own_seed, share)
        size = batch_size if loader.get("batch_sampler") is None else None
        settings = {
            "dataset": SeededSamples(dataset, collation, seed=own_seed, **share, partial=partial),
            "batch_sampler": RowBatches(shard, size, drop_last),
            "collate_fn": _unchanged,  # a batch is collated where it is read
        }
    settings |= _worker_settings(loader, key)
    settings["generator"] = _build_generator(loader, key, seed_of(seed, f"{key}:{rank}"))
    built: DataLoader[Batch] = DataLoader(**settings)
    if length_of(built) == 0:
        source = settings["dataset"]
        raise ConfigError([_no_batch(source, key, batch_size, drop_last, world_size)])
    return built


def build_batch_loader(
    loader: Mapping[str, Any],
    dataset: Samples,
    batches: Sampler[Rows],
    *,
    key: str,
    seed: int,
    partial: PartialFields | None = None,
) -> DataLoader[Batch]:
    """Builds a loader of given batches, whose random draws depend on their rows alone.

    Args:
        loader: The config, of which the collation and the keys of workers are read.
        dataset: Its data set.
        batches: The rows of each batch.
        key: Its config key, for messages.
        seed: Seeds the draws.
        partial: As in :func:`build_loader`.
    """
    collation = build_collation(loader, key)
    source = SeededSamples(dataset, collation, seed=seed_of(seed, key), partial=partial)
    settings = {"batch_sampler": batches, "collate_fn": _unchanged, **_worker_settings(loader, key)}
    generator = _build_generator(loader, key, seed_of(seed, key))
    return DataLoader(source, generator=generator, **settings)


def _build_init(config: Any, key: str) -> Any:
    built = instantiate(config, key=key)
    if built is not None and not callable(built):
        expected = (
            "needs the config of a callable: its _target_, and _partial_: true for a function"
        )
        raise ConfigError([ConfigProblem(key, config, expected)])
    return built


def _worker_settings(loader: Mapping[str, Any], key: str) -> dict[str, Any]:
    workers = loader.get("num_workers", 0)
    settings: dict[str, Any] = {
        "num_workers": workers,
        "pin_memory": loader.get("pin_memory") is not False and torch.cuda.is_available(),
        "worker_init_fn": _build_init(loader.get("worker_init_fn"), f"{key}.worker_init_fn"),
    }
    if settings["pin_memory"]:
        _check_pinning_device(loader.get("pin_memory_device"), key)
    if workers:
        persistent = loader.get("persistent_workers")
        settings["persistent_workers"] = True if persistent is None else persistent
        settings["prefetch_factor"] = loader.get("prefetch_factor")
        settings["timeout"] = loader.get("timeout", 0)
        settings["multiprocessing_context"] = loader.get("multiprocessing_context")
    return settings


def _check_pinning_device(device: str | None, key: str) -> None:
    """Checks that memory is page-locked for the device that torch does it for, the current one."""
    current = torch.cuda.current_device()
    if device not in (None, "cuda", f"cuda:{current}"):
        expected = f"the process computes on cuda:{current}; needs cuda, or null"
        raise ConfigError([ConfigProblem(f"{key}.pin_memory_device", device, expected)])


def _build_generator(loader: Mapping[str, Any], key: str, seed: int) -> torch.Generator:
    """The generator that draws the workers' seeds: the config's own, or one of the run's seed."""
    if loader.get("generator") is None:
        return torch.Generator().manual_seed(seed)
    built = instantiate(loader["generator"], key=f"{key}.generator")
    if not isinstance(built, torch.Generator) or built.device.type != "cpu":
        found = built.device if isinstance(built, torch.Generator) else built
        raise ConfigError([ConfigProblem(f"{key}.generator", found, _A_GENERATOR)])
    return built


def _stream_settings(
    loader: Mapping[str, Any],
    dataset: StreamedSamples,
    seed: int,
    batches: Mapping[str, Any],
    share: Mapping[str, int],
) -> dict[str, Any]:
    """Settings of a loader of a stream, which is read sample by sample."""
    shuffle = loader.get("shuffle", False)
    settings = {**share, **batches, "shuffle": shuffle, "seed": seed}
    return {"dataset": dataset.for_process(**settings), **batches}


def _unchanged(batch: Batch) -> Batch:
    return batch


def _no_batch(
    source: StreamedSamples | SeededSamples,
    key: str,
    batch_size: int,
    drop_last: bool,
    processes: int,
) -> ConfigProblem:
    count = source.num_samples
    shared = f", shared by {processes} processes" if processes > 1 else ""
    if not drop_last:
        return ConfigProblem(f"{key}.dataset", count, f"too few samples{shared}")
    problem = f"drop_last leaves no batch of {batch_size} from {count} samples{shared}"
    remedy = f"choose a batch size of at most {count // processes}" if count else "they are too few"
    if isinstance(source, SeededSamples) and count:
        remedy += f", or {key}.repeat={-(-batch_size * processes // count)} to fill a batch"
    return ConfigProblem(f"{key}.drop_last", True, f"{problem}; {remedy}")


def _build_shard(
    loader: Mapping[str, Any], dataset: Samples, key: str, seed: int, share: Mapping[str, int]
) -> RepeatedShard:
    """This process's share of the rows of a pass, or of the batches of the config's own sampler."""
    if loader.get("batch_sampler") is not None:
        whole = _build_custom_sampler(loader["batch_sampler"], dataset, f"{key}.batch_sampler")
    else:
        whole = _build_sampler(loader, dataset, key, seed)
    return RepeatedShard(whole, seed=seed, repeat=loader.get("repeat", 1), **share)


def _build_sampler(loader: Mapping[str, Any], dataset: Samples, key: str, seed: int) -> Any:
    sampler = loader.get("sampler")
    if sampler is None:
        return PassSampler(len(dataset), shuffle=loader.get("shuffle", False), seed=seed)
    if sampler == "class_balanced":
        try:
            return ClassBalancedSampler(dataset, seed=seed)
        except ValueError as error:
            raise ConfigError([ConfigProblem(f"{key}.sampler", sampler, str(error))]) from error
    if isinstance(sampler, str):
        expected = suggest(sampler, ["class_balanced"], noun="samplers by name")
        raise ConfigError([ConfigProblem(f"{key}.sampler", sampler, expected)])
    return _build_custom_sampler(sampler, dataset, f"{key}.sampler")


def _build_custom_sampler(config: Any, dataset: Samples, key: str) -> Any:
    """Builds a sampler of the user's, after checking a pass of a second instance of it."""
    with torch.random.fork_rng(devices=[]):
        problem = sampler_problem(instantiate(config, dataset, key=key), len(dataset))
    if problem:
        target = config.get("_target_") if isinstance(config, Mapping) else config
        raise ConfigError([ConfigProblem(key, target, problem)])
    return instantiate(config, dataset, key=key)


def length_of(loader: DataLoader[Any]) -> int | None:
    """Batches of a pass, the same on every process, or None where a stream does not know."""
    source = loader.dataset
    return source.pass_length if isinstance(source, StreamedSamples) else len(loader)
