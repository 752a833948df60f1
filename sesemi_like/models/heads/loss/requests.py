"""What a loss head or an evaluation asks for: some data, sent through a network.

Shapes: N rows of a batch, C classes, D features.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Fields = Mapping[str, Collection[str]]
"""The field names each train loader offers: ``{"unlabeled": {"image", "index", "weak", ...}}``."""

Given = Mapping["Forward", "str | Forward"]
"""What answers requests in their place: the full name of a field, or another request."""


@dataclass(frozen=True)
class Forward:
    """A request, equal by structure: some data, sent through a network or a function.

    Attributes:
        data: A batch field (``"unlabeled.weak"``), another request, or a tuple of them. A tuple is
            passed on as that many positional arguments; a tuple within it is one argument.
        through: A network (``"classifier"``), a method of one (``"encoder.project"``), a method of
            the head that asks (``"self.mix"``), a function of the learner by its name, a part of a
            mapping that was answered (``".features"``, see :meth:`part`), or None to read the data
            unchanged, such as a target. A method or function with a parameter
            `generator` is given a seeded generator on the CPU, whose numbers depend on the run's
            seed, the step and this request alone.
        grad: Whether gradients flow back through this forward. Two requests that differ in nothing
            else are one forward, and the one without gradients receives it detached.
        norm: What BatchNorm does: ``update`` follows the network's mode, ``batch`` normalizes by
            the statistics of these rows without moving the running ones, ``eval`` normalizes by the
            running ones.
        rows: A request that answers one weight per row (N,). Rows of weight zero need not be run:
            where they are not, what they answer is zero, so a head weighs them with zero as well.
    """

    data: str | Forward | tuple[Any, ...]
    through: str | None = "classifier"
    grad: bool = True
    norm: Literal["update", "batch", "eval"] = "update"
    rows: Forward | None = None

    @classmethod
    def field(cls, name: str) -> Forward:
        """The request for an unchanged batch field, e.g. ``Forward.field("supervised.target")``."""
        return cls(name, through=None)

    def part(self, name: str) -> Forward:
        """The request for one part of what this one answers, where that is a mapping.

        Such as the features of a classifier, for a network that maps features:
        ``Forward(Forward("unlabeled.weak").part("features"), "projector")``.
        """
        return Forward(self, f".{name}")
