"""The views of a loader's batches, which are computed on the device.

Shapes: N samples, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ...config.instantiate import instantiate
from ...trees import with_parts
from ...views.images import as_float, is_image_field
from ..batches import ROW, Batch
from .keys import TRAIN
from .seeds import batch_generator

View = Callable[[Any, torch.Generator], "Tensor | Mapping[str, Any]"]


class LoaderViews:
    """Adds the views of one loader to its batches.

    Args:
        name: The loader's split and name; it seeds what the views draw.
        views: The views by name. A view is computed from the field that its attribute `source`
            names, or from `image` if it has none.
        seed: The run's seed.

    Raises:
        LookupError: When batches lack the field that a view is computed from.
    """

    def __init__(self, name: str, views: Mapping[str, View], seed: int) -> None:
        self.name, self.views, self.seed = name.removeprefix(TRAIN), dict(views), seed
        self.needed: frozenset[str] | None = None
        self._of_images = {
            name for name, view in self.views.items() if is_image_field(_source(view))
        }

    def keep(self, fields: Iterable[str]) -> None:
        """Computes only what is needed from now on.

        Args:
            fields: Names such as ``weak`` or ``rotation.target``; other views are not computed, and
                other fields of training batches are dropped, but for the positions of the rows of
                those that only some samples have.
        """
        needed = set(fields)
        rows = {f"{part}{ROW}" for field in needed for part in _wholes(field)}
        self.needed = frozenset(needed | rows)

    def apply(self, batch: Batch, *, number: int = 0, share: tuple[int, int] = (0, 1)) -> Batch:
        """Adds the views to a batch, and the parts of nested fields by their dotted names.

        A view named as a field replaces it. A view of a field that only some samples have is one of
        those samples. uint8 images that no view replaces are scaled to [0, 1]; what is an image is
        said by its name (:func:`is_image_field`), and views of images are images too.

        Args:
            batch: Its fields.
            number: The number of training batches before this one, which seeds the draws.
            share: The number of this process, and the number of processes that share the batch.
        """
        given = with_parts(batch)
        fields = dict(batch)
        for view, compute in self.views.items():
            if self._is_needed(view):
                source = _source(compute)
                generator = batch_generator(self.seed, f"{self.name}.{view}:{number}", *share)
                fields |= _rows_of(source, view, given)
                fields |= _fields_of(view, compute(_find(source, given, view), generator))
        return with_parts(
            {name: self._network_input(name, field) for name, field in fields.items()}
        )

    def _network_input(self, field: str, value: Any) -> Any:
        """Scales uint8 images to [0, 1], and lays images out as convolutions read them fastest."""
        if not isinstance(value, Tensor) or value.ndim != 4:
            return value
        if value.dtype == torch.uint8 and self._is_image(field):
            value = as_float(value)
        is_laid_out = value.is_floating_point()
        return value.contiguous(memory_format=torch.channels_last) if is_laid_out else value

    def _is_image(self, field: str) -> bool:
        return is_image_field(field) or field.partition(".")[0] in self._of_images

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


def _source(view: View) -> str:
    """The field that a view is computed from."""
    return str(getattr(view, "source", "image"))


def _find(source: str, fields: Batch, view: str) -> Any:
    if source in fields:
        return fields[source]
    raise LookupError(f"view {view!r} is made from {source!r}; its batches have {sorted(fields)}")


def _rows_of(source: str, view: str, fields: Batch) -> Batch:
    """The positions of a view's rows, where only some samples have its source."""
    rows = [fields[name] for part in _wholes(source) if (name := f"{part}{ROW}") in fields]
    return {f"{view}{ROW}": rows[0]} if rows else {}


def _wholes(field: str) -> list[str]:
    """The names of a field and of what it is a part of: ``text``, ``text.input_ids``."""
    parts = field.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def _fields_of(view: str, result: Tensor | Mapping[str, Any]) -> Batch:
    if not isinstance(result, Mapping):
        return {view: result}
    return {f"{view}.{part}": value for part, value in result.items()}
