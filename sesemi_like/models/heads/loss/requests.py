"""What a loss head or an evaluation asks for: some data, sent through a network.

Shapes: N rows of a batch, C classes, D features.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

Fields = Mapping[str, Collection[str]]
"""The field names each train loader offers: ``{"unlabeled": {"image", "index", "weak", ...}}``."""


@dataclass(frozen=True)
class Forward:
    """A request, equal by structure: some data, sent through a network.

    Attributes:
        data: A batch field (``"unlabeled.weak"``), another request, or a tuple of them; a tuple is
            passed to the network as that many positional arguments.
        through: A network (``"classifier"``), a method of one (``"encoder.project"``), or None to
            read the data unchanged, such as a target.
        grad: Whether gradients flow back through this forward. Two requests that differ in nothing
            else are one forward, and the one without gradients receives it detached.
    """

    data: str | Forward | tuple[str | Forward, ...]
    through: str | None = "classifier"
    grad: bool = True

    @classmethod
    def field(cls, name: str) -> Forward:
        """The request for an unchanged batch field, e.g. ``Forward.field("supervised.target")``."""
        return cls(name, through=None)
