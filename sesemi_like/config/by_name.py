"""Settings that hold one description of an object, a list of them, or a mapping by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def described_by_key(value: Any, key: str) -> dict[str, Any]:
    """Lists the descriptions in a setting such as `trainer.callbacks`, each by its config key.

    Args:
        value: Plain values: one description (a mapping with a `_target_`), a list of them, a
            mapping of them by name, of which null switches one off, or None.
        key: The setting's key.

    Returns:
        ``{"trainer.callbacks.lr": {...}}``, in the order in which they stand; entries of a list
        have their number for a name. What is no description is kept, for a check to report it.
    """
    if value is None:
        return {}
    if isinstance(value, Mapping) and "_target_" not in value:
        named = value.items()
        return {f"{key}.{name}": entry for name, entry in named if entry is not None}
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    entries = list(value) if is_list else [value]
    return {f"{key}.{number}": entry for number, entry in enumerate(entries)}
