"""What a reader of samples may be able to do beyond reading the sample at a position.

A reader maps a position to a mapping of fields; any function will do. What more it can do it
declares by having the members of one of these protocols.

Shapes: N samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt


@runtime_checkable
class BatchReader(Protocol):
    """A reader that reads several samples at once, in less time than one by one."""

    def take(self, positions: npt.NDArray[np.int64]) -> Mapping[str, Any]:
        """Reads samples.

        Args:
            positions: Their positions, int64 (N,).

        Returns:
            Each field, a tree whose leaves have a row per sample (N, ...). One that only some have
            comes with `<field>.row`, the places of these samples, int64.
        """
        ...


@runtime_checkable
class FileLoader(Protocol):
    """A loader of images that reads a file for each, so that decoding it once pays."""

    def __call__(self, position: int, least: int | None = None) -> Any:
        """Loads the image at a position.

        Args:
            position: The position.
            least: The shorter side in pixels that is enough; fewer pixels may be decoded then.
        """
        ...

    def fingerprint(self, position: int) -> str:
        """What distinguishes a file from others and from its own earlier content."""
        ...


class Draws(Enum):
    """The random generators that reading a sample draws from."""

    NOTHING = "nothing"
    TORCH = "torch"
    ANY = "any"


@runtime_checkable
class ReaderOfKnownDraws(Protocol):
    """A reader that knows what it draws from; of others it may be any generator."""

    @property
    def draws(self) -> Draws:
        """What reading a sample draws from."""
        ...


@runtime_checkable
class StampedReader(Protocol):
    """A reader of files that change with their content."""

    @property
    def stamp(self) -> str:
        """What distinguishes its files from others and from their own earlier content."""
        ...
