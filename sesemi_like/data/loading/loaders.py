"""From a loader's config and its data set to batches, and from named loaders to steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
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


class NamedLoaders:
    """Named loaders as one: each step gets one batch of each.

    An epoch is one pass over the longest loader; shorter ones start again, reshuffled. Streamed
    data sets do not know their length and never end an epoch. Its state is the step within the
    epoch, so that a run that is resumed in the middle of an epoch goes on with the next batches.

    Args:
        loaders: The loaders by name.
        epoch: Tells the number of the epoch that begins, so that a resumed run reads on in the
            orders it would have had.
    """

    def __init__(
        self, loaders: Mapping[str, DataLoader[Batch]], epoch: Callable[[], int] = lambda: 0
    ) -> None:
        self.loaders = dict(loaders)
        self.epoch = epoch
        lengths = [n for n in map(length_of, self.loaders.values()) if n is not None]
        self.length = max(lengths, default=None)
        self.step = self._first_step = 0

    def __len__(self) -> int:
        if self.length is None:
            raise TypeError("streamed data sets alone have no length")
        return self.length

    def __iter__(self) -> Iterator[dict[str, Batch]]:
        self.step, self._first_step = self._first_step, 0
        streams = {name: self._endless(loader) for name, loader in self.loaders.items()}
        while self.length is None or self.step < self.length:
            batches = {name: next(stream) for name, stream in streams.items()}
            self.step += 1
            yield batches

    def state_dict(self) -> dict[str, int]:
        """Batches of this epoch that were handed out."""
        return {"step": 0 if self.step == self.length else self.step}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Begins the next epoch with the batch after those."""
        self._first_step = state["step"]

    def _endless(self, loader: DataLoader[Batch]) -> Iterator[Batch]:
        """Passes over a loader without end, from the pass at which this epoch begins."""
        length = length_of(loader)
        number = skipped = 0
        if length is not None and self.length is not None:
            done, skipped = divmod(self.step, length)
            number = self.epoch() * -(-self.length // length) + done
        while True:
            _begin(loader, number, skipped)
            is_empty = skipped == 0  # a pass may be shorter than it should, if samples are skipped
            for batch in islice(loader, None if length is None else length - skipped):
                is_empty = False
                yield batch
            if is_empty:
                raise ValueError("a streamed data set has no sample for this process")
            number, skipped = number + 1, 0


def _begin(loader: DataLoader[Any], number: int, skipped: int) -> None:
    """Has a loader go on with a pass, without the batches of it that were read before."""
    if isinstance(loader.dataset, StreamedSamples):
        loader.dataset.set_pass(number, skipped)
    elif isinstance(loader.batch_sampler, RowBatches):
        loader.batch_sampler.set_pass(number, skipped)
