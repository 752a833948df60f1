"""What features are computed of: each draw of a field, for all rows of a data set, in order.

Shapes: N rows of the data set, K draws of a view, B rows of a block.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Sampler

from ...trees import to_device, tree_leaves, with_parts
from ..batches import Batch, rows_of
from ..loading.loader_views import LoaderViews
from ..loading.loaders import build_batch_loader
from ..loading.parts import LoaderParts
from ..loading.samplers import Rows
from ..readers import Draws
from ..samples import Samples
from ..sources import decoding
from ..sources.image_reader import ImageReader, file_loader_of

BLOCK = 64
"""Rows that are computed at once."""

_SEED, _NAME, _VIEW = 0, "frozen features", "view"
"""What views draw depends neither on the seed of a run nor on names, so that others find it."""

_LOSSY_CACHES = ("disk", "ram")


class FieldInputs:
    """The values of a field of a loader, in file order and apart from any run.

    Args:
        parts: What the loader is made of.
        field: The field: a view, or what is read.
        draws: K, draws of each row where they differ; 1 takes the first alone.
    """

    def __init__(self, parts: LoaderParts, field: str, draws: int) -> None:
        assert isinstance(parts.dataset, Samples)
        self.parts, self.field = parts, field
        self._view = parts.views.views.get(field)
        self._reads_at_random = parts.dataset.draws is not Draws.NOTHING
        positions, rows = np.unique(parts.dataset.positions, return_index=True)
        self.positions: npt.NDArray[np.int64] = positions
        self._rows: npt.NDArray[np.int64] = rows
        may_differ = draws > 1 or self._twin > 0  # of nothing else need it be tried
        self._differs = may_differ and (self._reads_at_random or self._view_draws())
        self.is_random = draws > 1 and self._differs
        self.draws = draws if self.is_random else 1

    @property
    def _twin(self) -> int:
        """How many views of the loader are like this one and come before it, and draw otherwise."""
        views = self.parts.config.get("views") or {}
        alike = [name for name, config in views.items() if config == views.get(self.field)]
        return alike.index(self.field) if self.field in alike else 0

    @property
    def source(self) -> str:
        """The field of the data set that it is made of."""
        return self.field if self._view is None else str(getattr(self._view, "source", "image"))

    def blocks(self, rows: Sequence[int] | npt.NDArray[Any], device: Any) -> Iterator[list[Any]]:
        """Reads rows and draws their views.

        Args:
            rows: Rows of 0 ... N - 1.
            device: Where views are computed.

        Yields:
            The K draws of a block, each a tree of B rows.
        """
        views = LoaderViews(f"{_NAME} {self._twin}", self._own_views(self._view), _SEED)
        name = self.field if self._view is None else _VIEW
        passes = self.draws if self._reads_at_random else 1
        batches = iter(self._loader(rows, passes))
        for block in range(-(-len(rows) // BLOCK)):
            read = [to_device(next(batches), device) for _ in range(passes)]
            yield [
                views.apply(read[draw % passes], number=block * self.draws + draw)[name]
                for draw in range(self.draws)
            ]

    def fingerprints(self) -> list[str]:
        """What distinguishes each row from others, and from what it was earlier (N,)."""
        samples: Any = self.parts.dataset
        files = file_loader_of(samples)
        if files is not None and self.parts.config.get("collate_fn") is None:
            return [files.fingerprint(int(position)) for position in self.positions]
        return [
            blake2b(row, digest_size=16).hexdigest()
            for batch in self._loader(range(len(self.positions)), 1)
            for row in _contents(with_parts(batch)[self.source])
        ]

    def settings(self) -> list[str]:
        """All that values depend on beside what is read."""
        dataset = self.parts.config["dataset"]
        config = {
            "view": (self.parts.config.get("views") or {}).get(self.field),
            "field": self.field if self._view is None else None,
            "draws": self.draws,
            "twin": self._twin if self._differs else 0,
            "image_transform": dataset.get("image_transform"),
        }
        if dataset.get("cache") in _LOSSY_CACHES:  # which keep large images smaller than they are
            config["cache"] = [dataset["cache"], dataset.get("cache_side")]
        if isinstance(self.parts.dataset.read, ImageReader):  # type: ignore[union-attr]
            config["decoder"] = f"{decoding.jpeg_decoder()} {decoding.VERSION}"
        return [json.dumps(config, sort_keys=True, default=repr)]

    @property
    def code(self) -> list[Any]:
        """What computes values: the view with its steps, and the transform of what is read."""
        found = [self._view, *getattr(self._view, "steps", ()), self.parts.image_transform]
        return [part for part in found if part is not None]

    def _own_views(self, view: Callable[..., Any] | None) -> dict[str, Callable[..., Any]]:
        return {} if view is None else {_VIEW: view}

    def _view_draws(self) -> bool:
        """Whether the view draws from its generator, which is tried on two rows."""
        if self._view is None:
            return False
        watched = _Watched(self._view)
        batch = next(iter(self._loader(range(min(2, len(self.positions))), 1, workers=0)))
        LoaderViews(_NAME, self._own_views(watched), _SEED).apply(batch)
        return watched.has_drawn

    def _loader(
        self, rows: Sequence[int] | npt.NDArray[Any], passes: int, workers: int | None = None
    ) -> Any:
        parts = self.parts
        collation = parts.config.get("collate_fn")
        workers = parts.workers if workers is None else workers
        config = {"num_workers": workers, "collate_fn": collation}
        batches = _Blocks(self._rows[np.asarray(rows)], passes)
        dataset: Any = parts.dataset
        return build_batch_loader(
            config, dataset, batches, key=_NAME, seed=_SEED, partial=parts.partial
        )


class _Blocks(Sampler[Rows]):
    """Blocks of rows in order, each read some times, every time with other draws."""

    def __init__(self, rows: npt.NDArray[np.int64], passes: int) -> None:
        self.rows, self.passes = rows, passes

    def __len__(self) -> int:
        return -(-len(self.rows) // BLOCK) * self.passes

    def __iter__(self) -> Iterator[Rows]:
        for start in range(0, len(self.rows), BLOCK):
            block = self.rows[start : start + BLOCK].tolist()
            for number in range(self.passes):
                yield Rows(block, number, range(start, start + len(block)))


class _Watched:
    """A view that notes whether its generator was drawn from."""

    def __init__(self, view: Callable[..., Any]) -> None:
        self.view, self.has_drawn = view, False
        self.source = getattr(view, "source", "image")

    def __call__(self, values: Any, generator: torch.Generator) -> Any:
        begin = generator.get_state()
        result = self.view(values, generator)
        self.has_drawn = not torch.equal(begin, generator.get_state())
        return result


def _contents(field: Batch | Any) -> Iterator[bytes]:
    """The content of each row of a field."""
    if isinstance(field, Tensor):
        for row in field.contiguous().numpy():
            yield f"{row.dtype} {row.shape}".encode() + row.tobytes()
        return
    for row in rows_of(field):
        leaves = [np.asarray(leaf) for leaf in tree_leaves(row)]
        yield b"".join(f"{leaf.dtype} {leaf.shape}".encode() + leaf.tobytes() for leaf in leaves)
