"""Types of the fixtures that all tests share."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class OpenCli(Protocol):
    """Runs the command in a folder and returns the finished process."""

    def __call__(
        self,
        *arguments: str,
        cwd: Path = ...,
        env: Mapping[str, str] | None = ...,
        timeout: float = ...,
    ) -> subprocess.CompletedProcess[str]: ...
