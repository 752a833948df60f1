"""The views of a loader's batches, which are computed on the device.

Shapes: N samples, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ...config.instantiate import instantiate
from ...views.images import as_float
from ..batches import Batch
from .keys import TRAIN
from .seeds import batch_generator

View = Callable[[Tensor, torch.Generator], "Tensor | Mapping[str, Tensor]"]


class LoaderViews:
    """Adds the views of one loader to its batches.

    Args:
        name: The loader's split and name; it seeds what the views draw.
        views: The views by name. A view is computed from the field that its attribute `source`
            names, or from `image` if it has none.
        seed: The run's seed.
    """

    def __init__(self, name: str, views: Mapping[str, View], seed: int) -> None:
        self.name, self.views, self.seed = name.removeprefix(TRAIN), dict(views), seed
        self.needed: frozenset[str] | None = None

    def keep(self, fields: Iterable[str]) -> None:
        """Computes only what is needed from now on.

        Args:
            fields: Names such as ``weak`` or ``rotation.target``; other views are not computed, and
                other fields of training batches are dropped.
        """
        self.needed = frozenset(fields)

    def apply(self, batch: Batch, *, number: int = 0, share: tuple[int, int] = (0, 1)) -> Batch:
        """Adds the views to a batch; a view named as a field replaces it.

        uint8 images that no view replaces are scaled to [0, 1].

        Args:
            batch: Its fields.
            number: The number of training batches before this one, which seeds the draws.
            share: The number of this process, and the number of processes that share the batch.
        """
        fields = dict(batch)
        for view, compute in self.views.items():
            if self._is_needed(view):
                source = batch[getattr(compute, "source", "image")]
                generator = batch_generator(self.seed, f"{self.name}.{view}:{number}", *share)
                fields |= _fields_of(view, compute(source, generator))
        return {field: _network_input(value) for field, value in fields.items()}

    def of_step(self, batch: Batch, number: int, share: tuple[int, int]) -> Batch:
        """The fields of a training batch that are needed, views included.

        Args:
            batch: Its fields.
            number: As in :meth:`apply`, as `share`.
            share: See there.
        """
        fields = self.apply(batch, number=number, share=share)
        is_kept = self.needed.__contains__ if self.needed is not None else lambda field: True
        return {name: value for name, value in fields.items() if is_kept(name)}

    def _is_needed(self, view: str) -> bool:
        if self.needed is None:
            return True
        return any(field == view or field.startswith(f"{view}.") for field in self.needed)


def build_views(name: str, config: Mapping[str, Any], key: str, seed: int) -> LoaderViews:
    """Builds the views of a loader.

    Args:
        name: The loader's split and name.
        config: The loader's config.
        key: Its config key.
        seed: The run's seed.

    Raises:
        ConfigError: If a view cannot be built.
    """
    views = {
        view: instantiate(settings, key=f"{key}.views.{view}")
        for view, settings in (config.get("views") or {}).items()
    }
    return LoaderViews(name, views, seed)


def _fields_of(view: str, result: Tensor | Mapping[str, Tensor]) -> Batch:
    if isinstance(result, Tensor):
        return {view: result}
    return {f"{view}.{part}": value for part, value in result.items()}


def _network_input(value: Any) -> Any:
    """Scales uint8 images to [0, 1], and lays images out as convolutions read them fastest."""
    if not isinstance(value, Tensor) or value.ndim != 4:
        return value
    images = as_float(value) if value.dtype == torch.uint8 else value
    return images.contiguous(memory_format=torch.channels_last)
