"""The modes of `run.mode`: one file for each, and their table; importing them needs no torch."""

from __future__ import annotations

from ...config.mode import Mode
from .fit import FIT
from .predict import PREDICT
from .test import TEST
from .validate import VALIDATE

MODES: dict[str, Mode] = {mode.name: mode for mode in (FIT, VALIDATE, TEST, PREDICT)}
"""The modes by name, in the order in which they are listed."""
