"""Where configs are looked for: a person's own folder, then the built-in ones, then the structs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig

from ..errors import ConfigError, ConfigProblem
from .components import REGISTERED, SCHEME, Signatures
from .store import builtin_configs

OWN = "-cd"
"""The name under which Hydra knows a person's own folder."""


class OwnFolder(SearchPathPlugin):
    """Puts a person's own folder, then classes, before the built-in configs wherever Hydra looks.

    Classes come before files because some systems take `sgd.yaml` for the file of `SGD`.

    Attributes:
        path: The folder, or None.
    """

    path: Path | None = None

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Adds both; called by Hydra whenever it is initialized."""
        search_path.prepend(SCHEME, f"{SCHEME}://", anchor="main")
        if self.path is not None:
            search_path.prepend(OWN, f"file://{self.path}", anchor="main")


@contextmanager
def own_configs(config_dir: str | None) -> Iterator[None]:
    """Has Hydra look into a person's own folder first, as long as the context lasts.

    Args:
        config_dir: The folder (`-cd`), or None.

    Raises:
        ConfigError: If the folder does not exist.
    """
    if config_dir is not None and not Path(config_dir).is_dir():
        raise ConfigError([ConfigProblem(OWN, config_dir, "no such folder")])
    if OwnFolder not in Plugins.instance().discover(SearchPathPlugin):
        Plugins.instance().register(Signatures)
        Plugins.instance().register(OwnFolder)
    before, OwnFolder.path = OwnFolder.path, Path(config_dir).absolute() if config_dir else None
    try:
        yield
    finally:
        OwnFolder.path = before


@contextmanager
def initialized() -> Iterator[None]:
    """Has Hydra know the folders of configs, to compose and to list them."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(builtin_configs()), job_name="open_cli", version_base="1.3"):
        yield


def compose_config(
    config_name: str, overrides: Sequence[str], *, with_hydra: bool = False
) -> DictConfig:
    """Composes a config with its overrides.

    Args:
        config_name: The primary config (`-cn`).
        overrides: The overrides of the command line.
        with_hydra: Whether Hydra's own section is kept.

    Raises:
        HydraException: If it cannot be composed; so do OmegaConf's and YAML's errors.
    """
    with initialized():
        config: DictConfig = compose(config_name, list(overrides), return_hydra_config=with_hydra)
    return config


def is_group(name: str) -> bool:
    """Whether there are configs to choose from under a name."""
    with initialized():
        return bool(GlobalHydra.instance().config_loader().get_group_options(name))


def covered_configs(config_dir: str | None) -> list[str]:
    """The built-in configs that files of the same name in a person's own folder replace.

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
    """The files of a group, or of whole configs: those of a person's own folder take precedence.

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
    """The choices of every group, a person's own classes last; folders without any are none."""
    folders = [builtin_configs(), *([Path(config_dir)] if config_dir else [])]
    names = {path.parent.name for folder in folders for path in folder.glob("*/*.yaml")}
    chosen = {name: [*config_files(config_dir, name)] for name in sorted({*names, *REGISTERED})}
    return {name: [*files, *REGISTERED.get(name, {})] for name, files in chosen.items()}


def opening_sentence(path: Path) -> str:
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
