"""A collation that makes each field in its own way: lists, padded rows, tokens.

Shapes: N samples, T values of the longest.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..errors import as_yaml
from .batches import Batch
from .samples import Sample
from .stacking import Policy, apply_policies, pad_rows, source_of, stack_samples

LIST = "list"
"""The policy that keeps the values of a field in a list."""

SIDES = ("right", "left")


class FieldCollation:
    """Makes the fields that it is told of in their own ways, and stacks the others.

    It runs in the workers. Its policies are built once and sent to each worker once.

    Args:
        fields: How fields are made, by name: ``list`` keeps the samples' values in a list, a
            callable makes a tree of that list, such as :class:`Tokens` and :class:`Padded`. One
            with a parameter `generator` draws from this generator alone, which is seeded for each
            batch; one with an attribute `source` reads the field of that name.

    Attributes:
        makes_fields: Whether batches of evaluation need it too.
        takes_batches: Whether samples that were read at once may be given as stacked fields.
        draws_nothing: Whether it is known to draw no random numbers.

    Raises:
        ValueError: If a policy is neither ``list`` nor a callable.
    """

    makes_fields = True
    takes_batches = True

    def __init__(self, fields: Mapping[str, Any]) -> None:
        for name, policy in fields.items():
            if policy != LIST and not callable(policy):
                raise ValueError(
                    f"fields.{name}: found {as_yaml(policy)}; needs list, or a callable"
                )
        self.fields: dict[str, Policy] = {
            name: list if policy == LIST else policy for name, policy in fields.items()
        }
        self._drawing = {name for name, policy in self.fields.items() if takes_generator(policy)}
        self.draws_nothing = all(
            policy is list or getattr(policy, "draws_nothing", False)
            for policy in self.fields.values()
        )

    def __call__(
        self, samples: Sequence[Sample] | Batch, generator: torch.Generator | None = None
    ) -> Batch:
        """Makes a batch.

        Args:
            samples: The samples of the batch, at least one; or their stacked fields.
            generator: What policies draw from; None takes torch's global one.

        Returns:
            As :func:`~sesemi_like.data.stacking.stack_samples`.

        Raises:
            BatchError: If a field cannot be made; it names the field.
        """
        policies = {name: self._policy(name, generator) for name in self.fields}
        if isinstance(samples, Mapping):
            return apply_policies(samples, policies)
        return stack_samples(samples, policies)

    def _policy(self, name: str, generator: torch.Generator | None) -> Policy:
        policy = self.fields[name]
        if name not in self._drawing:
            return policy
        drawing: Policy = partial(policy, generator=generator)  # type: ignore[call-arg]
        drawing.source = source_of(name, policy)  # type: ignore[attr-defined]
        return drawing


class Padded:
    """Brings the values of a field to the length of the longest.

    Args:
        value: Fills up the shorter ones.
        side: The side that is filled up: ``right`` or ``left``.
        source: The field it is made from; None is the one it makes.

    Raises:
        ValueError: If the side is another.
    """

    draws_nothing = True

    def __init__(self, value: float = 0, side: str = "right", source: str | None = None) -> None:
        self.value, self.side, self.source = value, checked_side(side), source

    def __call__(self, values: list[Any]) -> dict[str, Tensor]:
        """Pads the values of a batch.

        Args:
            values: Tensors, arrays or lists of numbers (T_i, ...), alike but for their lengths.

        Returns:
            `value` (N, T, ...), and `mask`, bool (N, T), true where a value is real.
        """
        padded, is_real = pad_rows(values, self.value, self.side)
        return {"value": padded, "mask": is_real}


def checked_side(side: str) -> str:
    """Returns a side to pad, ``right`` or ``left``, or raises ValueError."""
    if side not in SIDES:
        raise ValueError(f"side: found {as_yaml(side)}; needs right or left")
    return side


def takes_generator(collation: Any) -> bool:
    """Whether a collation or a policy has a parameter `generator`, from which it draws."""
    try:
        return "generator" in inspect.signature(collation).parameters
    except (TypeError, ValueError):  # some built-in functions have no signature
        return False
