"""The words that a run is found by later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def tags_of(run: Mapping[str, Any]) -> list[str]:
    """The tags of a run: `run.tags`, or its id where there are none.

    Args:
        run: The section `run`.
    """
    return [str(tag) for tag in run["tags"] or [run["id"]]]
