"""A built wheel contains everything a run needs outside of the repository."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from fixture_types import OpenCli

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(ROOT)], check=True)
    (path,) = folder.glob("sesemi_like-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content in a separate folder, which precedes the checkout on the path."""
    folder = tmp_path_factory.mktemp("installed")
    options = ["--no-deps", "--quiet", "--no-index", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)
    return folder


def files_below(folder: Path, pattern: str) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.glob(pattern)}


@pytest.mark.slow
def test_the_wheel_has_the_package_and_the_configs_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {f"sesemi_like/builtin_configs/{name}" for name in
               files_below(ROOT / "builtin_configs", "**/*.yaml")}  # fmt: skip
    modules = files_below(ROOT, "sesemi_like/**/*.py") | files_below(ROOT, "sesemi_like/**/*.pyi")
    own = {name for name in names if ".dist-info/" not in name}
    assert own == configs | modules | {"sesemi_like/py.typed"}


@pytest.mark.slow
def test_an_installed_wheel_shows_the_same_config_as_the_checkout(
    installed: Path, open_cli: OpenCli, tmp_path: Path
) -> None:
    environment = {"PYTHONPATH": str(installed)}
    where = subprocess.run(
        [sys.executable, "-c", "import sesemi_like; print(sesemi_like.__file__)"],
        env={**os.environ, **environment}, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(where.stdout.strip()).is_relative_to(installed)
    for arguments in (["-cn", "quickstart", "--cfg", "job"], ["-h"]):
        ours = open_cli(*arguments, env=environment)
        assert ours.returncode == 0, ours.stderr
        assert ours.stdout == open_cli(*arguments).stdout
    shown = open_cli("-cn", "quickstart", "--hydra-info", env=environment)
    assert shown.returncode == 0, shown.stderr
    assert str(installed / "sesemi_like" / "builtin_configs") in shown.stdout


@pytest.mark.slow
def test_an_installed_wheel_trains(installed: Path, open_cli: OpenCli, tmp_path: Path) -> None:
    small = ["run.num_iterations=2", "learner.hparams.model.backbone.widths=[4]", "run.gpus=0"]
    done = open_cli("-cn", "quickstart", *small, env={"PYTHONPATH": str(installed)})
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("runs/quickstart/*/summary.json"))
