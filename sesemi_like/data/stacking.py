"""From samples, which may differ in the fields they have, to the fields of a batch.

Shapes: N samples, T values of the longest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from ..errors import BatchError
from .batches import ROW, Batch, rows_of
from .samples import Sample

Policy = Callable[[list[Any]], Any]
"""From the values of a field, one of each sample that has it, to a tree with as many rows."""


def stack_samples(
    samples: Sequence[Sample], policies: Mapping[str, Policy] = MappingProxyType({})
) -> Batch:
    """Stacks each field of the samples; one that some of them lack is stacked where present.

    Args:
        samples: At least one.
        policies: What makes the fields that are not stacked, by name. The attribute `source` of a
            policy names the field it reads; without one, or None, it is the one it makes.

    Returns:
        The fields. One that only some samples have comes with ``<field>.row``, the positions of
        these samples, int64.

    Raises:
        BatchError: If the values of a field cannot be stacked; it names the field and a remedy.
    """
    names: Any = samples[0].keys()
    is_even = all(sample.keys() == names for sample in samples)
    if not is_even:
        names = dict.fromkeys(name for sample in samples for name in sample)
    sources = {name: name for name in names}
    for name, policy in policies.items():
        if (source := source_of(name, policy)) in names:
            sources[name] = source
    batch: Batch = {}
    for name, source in sources.items():
        present = samples if is_even else [sample for sample in samples if source in sample]
        batch[name] = _stack(name, [sample[source] for sample in present], policies.get(name))
        if len(present) < len(samples):
            rows = [row for row, sample in enumerate(samples) if source in sample]
            batch[_row_name(name, batch[name], sources)] = torch.tensor(rows)
    return batch


def apply_policies(batch: Batch, policies: Mapping[str, Policy]) -> Batch:
    """Makes fields of others that are stacked already; a field of no rows is left out.

    Args:
        batch: The stacked fields.
        policies: As of :func:`stack_samples`.

    Returns:
        The fields, as :func:`stack_samples` would return them.

    Raises:
        BatchError: If a field cannot be made; it names the field.
    """
    made = dict(batch)
    for name, policy in policies.items():
        source = source_of(name, policy)
        values = rows_of(batch[source]) if source in batch else []
        if not values:
            made.pop(name, None)
            continue
        made[name] = _stack(name, values, policy)
        if f"{source}{ROW}" in batch:
            made[f"{name}{ROW}"] = batch[f"{source}{ROW}"]
    return made


def source_of(name: str, policy: Policy) -> str:
    """The field of the samples that a policy reads to make the field of a name."""
    return getattr(policy, "source", None) or name


def pad_rows(rows: Sequence[Any], value: float = 0, side: str = "right") -> tuple[Tensor, Tensor]:
    """Brings rows to the length of the longest.

    Args:
        rows: Tensors, arrays or lists of numbers (T_i, ...), alike but for their lengths.
        value: Fills up the shorter ones.
        side: The side that is filled up: ``right`` or ``left``.

    Returns:
        The rows (N, T, ...), and which of their values are real, bool (N, T).

    Raises:
        ValueError: If rows differ in more than their lengths.
    """
    tensors = [torch.as_tensor(row) for row in rows]
    if len({(tensor.dtype, tensor.shape[1:]) for tensor in tensors if len(tensor)}) > 1:
        raise ValueError(f"cannot be padded: {_sizes(tensors)} differ in more than length")
    longest = max(tensors, key=len)
    padded = longest.new_full((len(tensors), *longest.shape), value)
    is_real = torch.zeros(padded.shape[:2], dtype=torch.bool)
    for row, tensor in enumerate(tensors):
        size = len(tensor)
        place = slice(size) if side == "right" else slice(len(longest) - size, None)
        padded[row, place] = tensor.to(padded.dtype)  # one without values has no dtype of its own
        is_real[row, place] = True
    return padded, is_real


def _stack(name: str, values: list[Any], policy: Policy | None) -> Any:
    if policy is None:
        return _stack_tree(name, values)
    try:
        return policy(values)
    except Exception as error:  # policies raise anything
        raise BatchError(f"field {name!r}: {type(error).__name__}: {error}") from error


def _stack_tree(name: str, values: list[Any]) -> Any:
    """Stacks values, dicts part by part: torch would leave out what the first one lacks."""
    if isinstance(values[0], Mapping):
        parts = {tuple(value) if isinstance(value, Mapping) else () for value in values}
        if len(set(map(frozenset, parts))) > 1:
            listed = " and ".join(sorted(", ".join(names) or "none" for names in parts))
            raise BatchError(f"field {name!r}: its parts differ, {listed}; needs the same in each")
        return {
            part: _stack_tree(f"{name}.{part}", [value[part] for value in values])
            for part in values[0]
        }
    try:
        return default_collate(values)
    except Exception as error:  # whatever torch finds wrong
        raise BatchError(_describe_unstackable(name, values, error)) from error


def _describe_unstackable(name: str, values: list[Any], error: Exception) -> str:
    if not all(isinstance(value, Tensor | np.ndarray) for value in values):
        return f"field {name!r} cannot be stacked: {error}; {_remedy(name)}"
    if name == "image":
        return (
            f"images of different sizes ({_sizes(values)}) cannot be stacked; set the dataset's "
            "image_transform to something that brings them to one size"
        )
    return f"field {name!r}: values of {_sizes(values)} cannot be stacked; {_remedy(name)}"


def _remedy(name: str) -> str:
    return (
        "collate_fn: {_target_: sesemi_like.data.FieldCollation, "
        f"fields: {{{name.partition('.')[0]}: list}}}} keeps a list of them"
    )


def _sizes(values: Sequence[Any]) -> str:
    sizes = sorted({tuple(value.shape) for value in values})
    return ", ".join(str(size) for size in sizes[:3])


def _row_name(name: str, made: Any, taken: Mapping[str, Any]) -> str:
    """The name of a field's positions, which no other field and no part of it may have."""
    row_name = f"{name}{ROW}"
    if row_name in taken or (isinstance(made, Mapping) and ROW[1:] in made):
        raise BatchError(f"{row_name} holds the positions of {name!r}; rename what samples call so")
    return row_name
