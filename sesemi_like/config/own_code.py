"""A person's own code beside their configs: what of it can be imported, and what it registers."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ConfigError, ConfigProblem


@contextmanager
def own_code(config_dir: str | None) -> Iterator[None]:
    """Makes the code beside a folder of configs importable, as long as the context lasts.

    Importable are the package that the folder lies in, the modules and packages in it and beside
    it, and those in a folder `src` beside it; what is installed takes precedence. The package that
    the folder is or lies in is imported, so that what it registers is a choice. Workers inherit
    the paths; a job that runs elsewhere enters this context anew. (PYTHONPATH would have a file
    of one's own take the place of an installed module.)

    Args:
        config_dir: The folder (`-cd`), or None.

    Raises:
        ConfigError: If the package cannot be imported.
    """
    if config_dir is None:
        yield
        return
    folder = Path(config_dir).resolve()
    added = [str(root) for root in _roots(folder) if str(root) not in sys.path]
    sys.path.extend(added)
    try:
        _import_package(folder, config_dir)
        yield
    finally:
        for root in added:
            sys.path.remove(root)


def _roots(folder: Path) -> Iterator[Path]:
    """The folders that imports start from, each once."""
    top = _top_package(folder)
    candidates = [top.parent] if top else []
    candidates += [place for place in (folder.parent, folder) if _has_code(place)]
    candidates += [folder.parent / "src"] if (folder.parent / "src").is_dir() else []
    yield from dict.fromkeys(place for place in candidates if not _is_package(place))


def _top_package(folder: Path) -> Path | None:
    """The outermost package that a folder is or lies in."""
    top = None
    for place in (folder, *folder.parents):
        if _is_package(place):
            top = place
        elif place != folder:
            break
    return top


def _has_code(folder: Path) -> bool:
    return any(folder.glob("*.py")) or any(folder.glob("*/__init__.py"))


def _is_package(folder: Path) -> bool:
    return (folder / "__init__.py").is_file()


def _import_package(folder: Path, config_dir: str) -> None:
    """Imports the package that a folder is or lies in, for what it registers."""
    top = _top_package(folder)
    if top is None:
        return
    innermost = folder if _is_package(folder) else folder.parent
    name = ".".join(innermost.relative_to(top.parent).parts)
    try:
        module = importlib.import_module(name)
    except Exception as error:  # a person's own code raises anything
        raise _problem(config_dir, f"importing {name} failed: {error}") from error
    found = Path(module.__file__ or "").parent
    if found.resolve() != innermost:
        raise _problem(config_dir, f"{name} is another package, in {found}; rename this one")


def _problem(config_dir: str, expected: str) -> ConfigError:
    return ConfigError([ConfigProblem("-cd", config_dir, expected)])
