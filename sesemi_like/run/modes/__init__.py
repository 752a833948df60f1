"""What `run.mode` may be: one file a mode, and the table of them; none of it needs torch."""

from __future__ import annotations

from ...config.modes import Mode
from .fit import FIT
from .test import TEST
from .validate import VALIDATE

MODES: dict[str, Mode] = {mode.name: mode for mode in (FIT, VALIDATE, TEST)}
"""The modes by name, in the order in which they are listed."""
