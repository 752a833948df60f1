"""What all tests share: the command as a user runs it, real images, and quiet threads."""

import logging
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fixture_types import OpenCli

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps decoded images out of the user's cache folder."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def log_levels() -> Iterator[None]:
    """Puts back the log levels that a run of the command within a test leaves behind."""
    loggers = [logging.getLogger(name) for name in (None, "sesemi_like", "pytorch_lightning")]
    before = [(logger, logger.level) for logger in loggers]
    yield
    for logger, level in before:
        logger.setLevel(level)


@pytest.fixture
def open_cli(tmp_path: Path) -> OpenCli:
    """Runs the command in an empty folder and returns the finished process."""

    def run(
        *arguments: str,
        cwd: Path = tmp_path,
        env: Mapping[str, str] | None = None,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sesemi_like", *arguments],
            cwd=cwd,
            env={**os.environ, "COLUMNS": "100", **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def cifar10_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder <root>/{train,val}/<class>/<file>.jpg of 40 + 10 real images of each class."""
    archive = SHARED_DATA / "cifar10-train.tar.xz"
    if not archive.is_file():
        pytest.skip(f"the CIFAR-10 images are not at {archive}")
    root = tmp_path_factory.mktemp("cifar10")
    with tarfile.open(archive) as tar:
        for member in tar:
            _, kind, name = [*member.name.split("/"), "", ""][:3]
            number = int(name.removesuffix(".jpg")) if name.endswith(".jpg") else 50
            if number >= 50:
                continue
            target = root / ("train" if number < 40 else "val") / kind / name
            target.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            assert content is not None
            target.write_bytes(content.read())
    return root


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder and the summary of a run of seconds, see `tiny_runs`."""
    from tiny_runs import fit  # imports torch, which most tests need not

    return fit(tmp_path_factory.mktemp("finished"))
