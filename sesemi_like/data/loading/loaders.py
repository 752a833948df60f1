"""From a loader's config and its data set to batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader

from ...config.instantiate import instantiate
from ...errors import ConfigError, ConfigProblem, suggest
from ..batches import Batch
from ..samples import Samples, StreamedSamples
from .collating import build_collation
from .samplers import (
    ClassBalancedSampler,
    PassSampler,
    RepeatedShard,
    RowBatches,
    sampler_problem,
)
from .seeded import SeededSamples
from .seeds import seed_of


def batch_size_of(loader: Mapping[str, Any], key: str, default: int | None, world_size: int) -> int:
    """Rows a step and process.

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
            expected = f"must divide by the {world_size} processes"
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
) -> DataLoader[Batch]:
    """Builds the data loader that a config describes.

    Args:
        loader: The config, with the keys of `DataLoaderConfig`.
        dataset: Its data set.
        key: Its config key, for messages.
        batch_size: Rows a step and process.
        seed: The run's seed.
        rank: The number of this process.
        world_size: How many processes there are.

    Raises:
        ConfigError: If the config cannot work, or no batch would come of it.
    """
    workers = loader.get("num_workers", 0)
    settings: dict[str, Any] = {
        "num_workers": workers,
        "pin_memory": loader.get("pin_memory") is not False and torch.cuda.is_available(),
        "timeout": loader.get("timeout", 0) if workers else 0,
        "worker_init_fn": instantiate(loader.get("worker_init_fn"), key=f"{key}.worker_init_fn"),
        "generator": torch.Generator().manual_seed(seed_of(seed, f"{key}:{rank}")),
    }
    if workers:
        persistent = loader.get("persistent_workers")
        settings["persistent_workers"] = True if persistent is None else persistent
        settings["prefetch_factor"] = loader.get("prefetch_factor")
    collate, own_seed = build_collation(loader, key), seed_of(seed, key)
    drop_last = loader.get("drop_last", False)
    source: StreamedSamples | SeededSamples
    if isinstance(dataset, StreamedSamples):
        batches = {"batch_size": batch_size, "drop_last": drop_last}
        shuffle = loader.get("shuffle", False)
        source = dataset.shared_out(rank, world_size, **batches, shuffle=shuffle, seed=own_seed)
        settings |= {**batches, "collate_fn": collate}
    else:
        share = {"rank": rank, "world_size": world_size}
        source = SeededSamples(dataset, collate, seed=own_seed, **share)
        shard = _shard(loader, dataset, key, own_seed, share)
        by_row = loader.get("batch_sampler") is None
        settings["batch_sampler"] = RowBatches(shard, batch_size if by_row else None, drop_last)
        settings["collate_fn"] = _as_it_is  # it has been collated where it was read
    built: DataLoader[Batch] = DataLoader(source, **settings)
    if length_of(built) == 0:
        raise ConfigError([_no_batch(source, key, batch_size, drop_last, world_size)])
    return built


def _as_it_is(batch: Batch) -> Batch:
    return batch


def _no_batch(
    source: StreamedSamples | SeededSamples,
    key: str,
    batch_size: int,
    drop_last: bool,
    processes: int,
) -> ConfigProblem:
    count = source.num_samples
    shared = f", shared out over {processes} processes" if processes > 1 else ""
    if not drop_last:
        return ConfigProblem(f"{key}.dataset", count, f"too few samples{shared}")
    found = f"drop_last leaves no batch of {batch_size} from {count} samples{shared}"
    way_out = (
        f"choose a batch size of at most {count // processes}" if count else "they are too few"
    )
    if isinstance(source, SeededSamples) and count:
        way_out += f", or {key}.repeat={-(-batch_size * processes // count)} to fill a batch"
    return ConfigProblem(f"{key}.drop_last", True, f"{found}; {way_out}")


def _shard(
    loader: Mapping[str, Any], dataset: Samples, key: str, seed: int, share: Mapping[str, int]
) -> RepeatedShard:
    """This process's share of the rows of a pass, or of the batches of the config's own sampler."""
    if loader.get("batch_sampler") is not None:
        whole = _sampler_of(loader["batch_sampler"], dataset, f"{key}.batch_sampler")
    else:
        whole = _sampler(loader, dataset, key, seed)
    return RepeatedShard(whole, seed=seed, repeat=loader.get("repeat", 1), **share)


def _sampler(loader: Mapping[str, Any], dataset: Samples, key: str, seed: int) -> Any:
    chosen = loader.get("sampler")
    if chosen is None:
        return PassSampler(len(dataset), shuffle=loader.get("shuffle", False), seed=seed)
    if chosen == "class_balanced":
        try:
            return ClassBalancedSampler(dataset, seed=seed)
        except ValueError as error:
            raise ConfigError([ConfigProblem(f"{key}.sampler", chosen, str(error))]) from error
    if isinstance(chosen, str):
        expected = suggest(chosen, ["class_balanced"], noun="samplers by name")
        raise ConfigError([ConfigProblem(f"{key}.sampler", chosen, expected)])
    return _sampler_of(chosen, dataset, f"{key}.sampler")


def _sampler_of(config: Any, dataset: Samples, key: str) -> Any:
    """Builds a sampler of anybody's, after a look at a pass of another one like it."""
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
