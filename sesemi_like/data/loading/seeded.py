"""The batches of a loader, whose random transforms draw by their place in a pass alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

from torch.utils.data import Dataset

from ..samples import ImageReader, Sample, Samples
from .collating import Batch, draws_nothing
from .samplers import Rows
from .seeds import batch_generator, generators_kept, seed_generators, seed_of, seed_torch


class SeededSamples(Dataset[Batch]):
    """Reads whole batches, the same ones in any process.

    Before each sample is read the generators of torch, NumPy and Python are seeded by the loader,
    the pass and the sample's place in it, unless reading is known to draw nothing. What a transform
    draws then depends neither on the number of workers and processes nor on whether the run was
    resumed. A collation draws for the whole batch of all processes.

    Args:
        samples: What is read.
        collate: Makes a batch of samples. One that takes a `generator` is given one; others may
            draw from the global generators.
        seed: The loader's seed.
        rank: The number of this process.
        world_size: How many processes there are.
    """

    def __init__(
        self,
        samples: Samples,
        collate: Callable[..., Batch],
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.samples, self.collate, self.seed = samples, collate, seed
        self.share = rank, world_size
        self.reading_draws = not samples.is_deterministic
        self.seed_reading = seed_torch if _draws_from_torch(samples) else seed_generators
        self.collation_draws = not draws_nothing(collate)
        self.takes_generator = self.collation_draws and _takes_generator(collate)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def num_samples(self) -> int:
        """How many samples there are."""
        return self.samples.num_samples

    def __getitems__(self, rows: Rows) -> Batch:
        """Reads the batch of some rows."""
        if not self.reading_draws and not self.collation_draws:
            return self.collate(self.samples.__getitems__(rows))
        with generators_kept():
            return self._collated(self._read(rows), rows)

    def _read(self, rows: Rows) -> Sequence[Sample]:
        if not self.reading_draws:
            return self.samples.__getitems__(rows)
        samples = []
        for row, place in zip(rows, rows.places, strict=True):
            self.seed_reading(seed_of(self.seed, f"{rows.number}:{place}"))
            samples.append(self.samples[row])
        return samples

    def _collated(self, samples: Sequence[Sample], rows: Rows) -> Batch:
        rank, world_size = self.share
        name = f"batch {rows.number}:{rows.places.start - rank}"
        if self.takes_generator:
            generator = batch_generator(self.seed, name, rank, world_size)
            return self.collate(samples, generator=generator)
        if self.collation_draws:
            seed_generators(seed_of(self.seed, f"{name}:{rank}"))
        return self.collate(samples)


def _draws_from_torch(samples: Samples) -> bool:
    """Whether reading is known to draw from torch's generator alone, as torchvision does."""
    reader = getattr(samples.read, "reader", samples.read)  # of what is not in a cache
    return isinstance(reader, ImageReader) and _is_torchvisions(reader.image_transform)


def _is_torchvisions(transform: object) -> bool:
    parts = getattr(transform, "transforms", ())
    is_known = type(transform).__module__.startswith("torchvision.transforms.v2")
    return is_known and type(transform).__name__ != "Lambda" and all(map(_is_torchvisions, parts))


def _takes_generator(collate: Callable[..., Batch]) -> bool:
    try:
        return "generator" in inspect.signature(collate).parameters
    except (TypeError, ValueError):  # some built-in functions have no signature
        return False
