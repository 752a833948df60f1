"""Where configs are looked for: a person's own folder, then the built-in ones, then the structs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig

from ..errors import ConfigError, ConfigProblem
from .store import builtin_configs

OWN = "-cd"
"""The name under which Hydra knows a person's own folder."""


def search_path(config_dir: str | None) -> ConfigSearchPath:
    """The folders in which Hydra looks for configs, the first one that has a file wins.

    Args:
        config_dir: A person's own folder (`-cd`), or None.

    Raises:
        ConfigError: If the folder does not exist.
    """
    path = create_config_search_path(str(builtin_configs()))
    if config_dir is not None:
        if not Path(config_dir).is_dir():
            raise ConfigError([ConfigProblem(OWN, config_dir, "no such folder")])
        path.prepend(OWN, f"file://{Path(config_dir).absolute()}", anchor="main")
    return path


def composer(config_dir: str | None) -> Hydra:
    """Hydra, which composes configs from these folders; it is also the one that runs them.

    Args:
        config_dir: A person's own folder, or None.

    Raises:
        ConfigError: If the folder does not exist.
    """
    GlobalHydra.instance().clear()
    return Hydra.create_main_hydra2("open_cli", search_path(config_dir))


def composed(app: Hydra, config_name: str, overrides: Sequence[str]) -> DictConfig:
    """A config with its overrides, without Hydra's own section.

    Raises:
        HydraException: If it cannot be composed; so do OmegaConf's and YAML's errors.
    """
    config = app.compose_config(config_name, list(overrides), RunMode.RUN)
    shown: DictConfig = app.get_sanitized_cfg(config, "job")
    return shown


def covered(config_dir: str | None) -> list[str]:
    """The built-in configs that files of the same name in a person's own folder take the place of.

    Args:
        config_dir: The folder, or None.

    Returns:
        Names such as ``optimizer/sgd``, sorted.
    """
    if config_dir is None:
        return []
    files = [path.relative_to(builtin_configs()) for path in builtin_configs().rglob("*.yaml")]
    return sorted(
        file.with_suffix("").as_posix() for file in files if (Path(config_dir) / file).is_file()
    )


def config_files(config_dir: str | None, group: str = "") -> dict[str, Path]:
    """The files of a group, or of whole configs: those of a person's own folder go first.

    Args:
        config_dir: A person's own folder, or None.
        group: The group's name; empty for whole configs.

    Returns:
        Each name's file, sorted by names.
    """
    folders = [builtin_configs(), *([Path(config_dir)] if config_dir else [])]
    files = {path.stem: path for folder in folders for path in (folder / group).glob("*.yaml")}
    return dict(sorted(files.items()))


def groups(config_dir: str | None) -> dict[str, list[str]]:
    """The choices of every group; folders without a config, such as data, are none."""
    folders = [builtin_configs(), *([Path(config_dir)] if config_dir else [])]
    names = sorted({path.parent.name for folder in folders for path in folder.glob("*/*.yaml")})
    return {name: list(config_files(config_dir, name)) for name in names}


def opening(path: Path) -> str:
    """The first sentence of a config's opening comment, without its full stop; may be empty."""
    sentence = " ".join(_comment(path))
    return re.split(r"\. (?=[A-Z])", sentence)[0].rstrip(":.")


def _comment(path: Path) -> Iterator[str]:
    """The lines of the comment at the top of a file, up to the command that runs it."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("# @package"):
            continue
        if not line.startswith("#") or line.startswith("#     "):
            return
        yield line.removeprefix("#").strip()
