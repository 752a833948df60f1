"""Mistakes in a configuration, collected so that all of them are reported at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

SKIP_HINT = "on_error: skip in the config of its data set goes on without such samples"


@dataclass(frozen=True)
class ConfigProblem:
    """One mistake: the config key (or file) it is at, the value found, and what would be right.

    Attributes:
        key: Dotted config key or file path, e.g. ``run.num_epochs``.
        value: The value found there, shown as YAML would print it.
        expected: What would be right, as a sentence fragment, near matches included.
    """

    key: str
    value: Any
    expected: str

    def __str__(self) -> str:
        return f"{self.key}: found {as_yaml(self.value)}; {self.expected}"


class ConfigError(Exception):
    """A run that cannot work, with every mistake that was found.

    Args:
        problems: At least one problem, in the order in which they are to be shown.
    """

    def __init__(self, problems: Iterable[ConfigProblem]) -> None:
        # Values may be lists, which cannot be hashed: what is reported twice is the same.
        self.problems = list({str(problem): problem for problem in problems}.values())
        super().__init__(str(self))

    def __str__(self) -> str:
        count = len(self.problems)
        title = "1 problem" if count == 1 else f"{count} problems"
        return "\n".join([f"{title} in the configuration:", *(f"  - {p}" for p in self.problems)])


class UnreadableSampleError(OSError):
    """A sample that cannot be read, by name, with the reason and the way to go on without it."""

    def __str__(self) -> str:
        return _own_message(self, super().__str__())


class BatchError(ValueError):
    """Samples that cannot be made a batch: which field of them, why, and what can be done."""

    def __str__(self) -> str:
        return _own_message(self, super().__str__())


def _own_message(error: Exception, message: str) -> str:
    # A loader's worker process passes on the whole traceback, whose last line is the message.
    last = message.strip().splitlines()[-1]
    return last.rpartition(f"{type(error).__name__}: ")[2]


class TransformError(ValueError):
    """An `image_transform` that fails on an image; the message is its reason."""


class NonFiniteLossError(Exception):
    """A training loss that is nan or infinite: of which head, at which step, on which samples."""


def as_yaml(value: Any) -> str:
    """Formats a value as a YAML file would hold it (null, true, quoted text)."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 200 else text[:200] + "..."


def suggest(name: str, known: Iterable[str], *, noun: str = "known names") -> str:
    """Proposes the spelling that was meant, or lists what there is.

    Args:
        name: The name that was found.
        known: The names that exist.
        noun: What the names are called when all of them are listed.

    Returns:
        A sentence fragment such as ``did you mean 'image_folder'? (known kinds: ...)``.
    """
    names = sorted(map(str, known))
    matches = difflib.get_close_matches(str(name), names, n=3, cutoff=0.6)
    listed = ", ".join(names[:12]) + (f", ... ({len(names)} in all)" if len(names) > 12 else "")
    everything = f"{noun}: {listed or 'none'}"
    if not matches:
        return everything
    return f"did you mean {' or '.join(repr(m) for m in matches)}? ({everything})"


class Problems:
    """Collects mistakes from steps that each raise :class:`ConfigError`, to report all at once."""

    def __init__(self, problems: Iterable[ConfigProblem] = ()) -> None:
        self.problems = list(problems)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Keeps the problems of a step that fails, and goes on after it."""
        try:
            yield
        except ConfigError as error:
            self.problems += error.problems

    def under(self, *keys: str) -> bool:
        """Whether there is a problem at one of these keys or anywhere below it."""
        places = [problem.key for problem in self.problems]
        return any(at == key or at.startswith(f"{key}.") for at in places for key in keys)

    def raise_if_any(self) -> None:
        """Raises if there is any problem.

        Raises:
            ConfigError: With every problem so far.
        """
        if self.problems:
            raise ConfigError(self.problems)
