"""Patterns over dotted names of modules and parameters."""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache


def matches_name(pattern: str, name: str) -> bool:
    """Whether a pattern matches a dotted name.

    Args:
        pattern: A glob that matches the name, the end of it from a dot on, or a module's name that
            stands for all below it: ``classifier.backbone.*``, ``backbone.layer4``, ``*.bias``.
        name: The name.
    """
    return _compiled(pattern).fullmatch(name) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:.*\.)?{fnmatch.translate(pattern)[:-2]}(?:\..*)?")
