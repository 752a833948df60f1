"""A field of a loader whose features are computed once, and the loader that reads them.

Shapes: N rows of the data set, K draws of a view, B rows of a block, D features.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...trees import to_device
from ..batches import Batch
from ..cache.decode import checksum
from ..cache.file import CacheKey, cache_key
from ..cache.folder import CacheFolder
from ..loading.keys import short_name
from ..loading.loader_views import LoaderViews
from ..loading.parts import LoaderParts
from ..progress import Progress, log_task
from ..readers import Draws
from ..samples import Sample, Samples
from .inputs import BLOCK, FieldInputs
from .store import FeatureForm, FeatureStore
from .view import StoredFeatures

FORMAT = 1

Embed = Callable[[Any], Tensor]
"""From the B rows of a field to features (B, D)."""

log = logging.getLogger(__name__)


class FieldSource:
    """The loader that features are computed of.

    Args:
        parts: Its parts, before images are decoded.

    Attributes:
        reader: The parts that read features, where these go on reading the data set as well.
    """

    def __init__(self, parts: LoaderParts) -> None:
        self.parts = parts
        self.reader: LoaderParts | None = None
        self._decoded: LoaderParts | None = None

    def decoded(self, processes: int, progress: Progress) -> LoaderParts:
        """Its parts with the images decoded that are to be kept so.

        Args:
            processes: Processes that decode.
            progress: Shows how many images have been decoded.

        Raises:
            ConfigError: If images cannot be read.
        """
        if self.reader is not None:
            return replace(self.parts, dataset=self.reader.dataset)
        if self._decoded is None:
            self._decoded = replace(self.parts)
            self._decoded.decode(processes, progress)
        return self._decoded


@dataclass
class FrozenField:
    """A field of a loader whose features are computed once.

    Attributes:
        source: What of the loader features are computed of.
        name: The field.
        draws: K, draws of each row, where they differ.
        view: What reads the features.
        sample: The field's value for a few samples.
        opened: What :meth:`open` has found, for reports.
    """

    source: FieldSource
    name: str
    draws: int
    view: StoredFeatures
    sample: Any
    opened: dict[str, Any] = field(default_factory=dict)

    def open(
        self,
        embed: Embed,
        settings: Sequence[str],
        code: Callable[[Iterable[Any]], str],
        folder: CacheFolder,
        *,
        device: Any,
        processes: int = 1,
        progress: Progress = log_task,
    ) -> None:
        """Opens the features, after computing them if they are not there or damaged.

        Of processes that do so together one computes, and the others wait for it.

        Args:
            embed: The network.
            settings: All that features depend on beside the data.
            code: A digest of the code of objects.
            folder: Where they are kept.
            device: Where they are computed.
            processes: Processes that decode images.
            progress: Shows how many rows have been computed.

        Raises:
            ConfigError: If images cannot be read.
            OSError: If the features cannot be kept.
        """
        started, form = time.monotonic(), FeatureForm.of(embed(to_device(self.sample, device)))
        inputs = FieldInputs(self.source.parts, self.name, self.draws)
        computed: list[int] = []

        def make(rows: npt.NDArray[np.int64]) -> Iterator[tuple[Any, Any, Any]]:
            computed.append(len(rows))
            found = FieldInputs(self.source.decoded(processes, progress), self.name, self.draws)
            return _computed(found, embed, rows, device, self._task(len(rows), found), progress)

        key = _key(inputs, [*settings, code(inputs.code), str(form)])
        size = len(inputs.positions) * inputs.draws * form.num_bytes
        bounded = folder.limit is not None
        cache = folder.open_or_make(key, make, size=size, is_bounded=bounded)
        self.view.store = FeatureStore(cache, form, inputs.positions)
        self._note(inputs, sum(computed), time.monotonic() - started, folder.path)

    @property
    def label(self) -> str:
        """What the field is called in reports: ``unlabeled.weak``."""
        return f"{short_name(self.source.parts.name)}.{self.name}"

    def _task(self, rows: int, inputs: FieldInputs) -> str:
        return f"features of {rows:,} samples{_views(inputs.draws)} of {self.label}"

    def _note(self, inputs: FieldInputs, computed: int, seconds: float, folder: Path) -> None:
        rows = len(inputs.positions)
        how = "computed" if computed else "read"
        self.opened = {
            "field": self.label,
            "samples": rows,
            "views": inputs.draws,
            "computed": computed,
            "seconds": round(seconds, 2),
        }
        log.info("%s %s in %.1f s: %s", self._task(rows, inputs), how, seconds, folder)


def _views(draws: int) -> str:
    return f" x {draws} views" if draws > 1 else ""


def _key(inputs: FieldInputs, settings: Sequence[str]) -> CacheKey:
    """What the features of a field depend on; where views are random, also on all rows together."""
    fingerprints = inputs.fingerprints()
    own = [f"features {FORMAT}", f"block {BLOCK}", torch.__version__, *inputs.settings()]
    if inputs.is_random:
        own.append(blake2b("\n".join(fingerprints).encode(), digest_size=16).hexdigest())
    return cache_key([*own, *settings], fingerprints)


def _computed(
    inputs: FieldInputs,
    embed: Embed,
    rows: npt.NDArray[np.int64],
    device: Any,
    task: str,
    progress: Progress,
) -> Iterator[tuple[Any, Any, Any]]:
    """The features of rows as a cache holds them, block by block."""
    with progress(task, len(rows)) as advance:
        for draws in inputs.blocks(rows, device):
            features = torch.stack([embed(values) for values in draws], dim=1).cpu()
            content = features.contiguous().view(torch.uint8).numpy()  # (B, K, bytes of D)
            shapes = np.tile([*content.shape[1:], 1], (len(content), 1))
            sums = np.array([checksum(row) for row in content], np.int64)
            yield content.reshape(-1), shapes, sums
            advance(len(content))


def frozen_fields(loaders: Mapping[str, LoaderParts]) -> list[FrozenField]:
    """The fields of all loaders whose features are computed once.

    Args:
        loaders: The parts of all loaders.
    """
    return [found for parts in loaders.values() for found in parts.frozen_fields]


class NothingRead:
    """Reads no fields: what a step needs of the samples is their features."""

    draws = Draws.NOTHING

    def __call__(self, position: int) -> Sample:
        """Reads the sample at a position."""
        return {}

    def take(self, positions: npt.NDArray[np.int64]) -> Batch:
        """Reads several samples."""
        return {}


def reads_nothing_else(parts: LoaderParts, needed: Collection[str]) -> bool:
    """Whether a loader's batches need no field of its samples but labels and the index.

    Args:
        parts: The loader.
        needed: The fields that are needed of it beside features.
    """
    samples = parts.dataset
    if not isinstance(samples, Samples) or parts.config.get("collate_fn") is not None:
        return False
    known = {"index"} if samples.targets is None else {"index", "target"}
    return set(needed) <= known


def with_features(
    parts: LoaderParts,
    fields: Mapping[str, StoredFeatures],
    samples: Mapping[str, Tensor],
    needed: Collection[str],
) -> LoaderParts:
    """The parts of the same loader that reads features in place of some fields.

    Args:
        parts: The loader.
        fields: What reads the features, by field.
        samples: The features of its few samples (rows, D), by field.
        needed: The fields that are needed of it beside features.
    """
    features = {f"{n}.{view.part}": samples[n] for n, view in fields.items()}
    own: Mapping[str, Any] = parts.views.views
    others = {name: view for name, view in own.items() if name not in fields}
    batch, dataset, plan = parts.sample_batch, parts.dataset, parts.cache_plan
    if reads_nothing_else(parts, needed):
        assert isinstance(dataset, Samples)
        dataset, plan, others = dataset.select(np.arange(len(dataset))), None, {}
        dataset.read = NothingRead()
        batch = {name: batch[name] for name in ("target", "index") if name in batch}
    views = LoaderViews(parts.views.name, {**others, **fields}, parts.views.seed)
    return replace(
        parts,
        dataset=dataset,
        cache_plan=plan,
        views=views,
        sample_batch={**batch, **features},
        source=parts,
    )
