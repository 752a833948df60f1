"""The parameters of other libraries' classes, read from their source: nothing is imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import MISSING

_ALL = re.compile(r"^__all__ = (\[.*?\])", re.MULTILINE | re.DOTALL)
"""A list of names: parsing the whole of a module takes ten times as long."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def exported_names(module: str) -> list[str]:
    """The names in a module's ``__all__``, in its order.

    Args:
        module: The dotted path of an installed module.

    Returns:
        The names; empty where the module is not installed or has no list of names.
    """
    path = _path(module)
    found = _ALL.search(path.read_text(encoding="utf-8")) if path else None
    return [str(name) for name in ast.literal_eval(found[1])] if found else []


def class_parameters(module: str, name: str) -> dict[str, Any] | None:
    """The parameters of a class, each with its default.

    A default that is no plain value, such as a function, is left out: the class has it anyway.

    Args:
        module: The dotted path of the module that offers the class.
        name: The class.

    Returns:
        Values by parameter, ``???`` for those without a default; None where there is no such class.
    """
    found = _definition(module, name)
    if found is None:
        return None
    constructor = _constructor(*found)
    return {} if constructor is None else dict(_parameters(constructor.args))


def _definition(module: str, name: str) -> tuple[str, ast.ClassDef] | None:
    """A class and the module that defines it, which may be another than the one that offers it."""
    for node in _body(module):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom) and (imported := _imported_name(node, name)):
            return _definition(_origin(node, module), imported)
    return None


def _imported_name(node: ast.ImportFrom, name: str) -> str | None:
    """What a name that an import binds is called where it comes from; None if it binds others."""
    return next((a.name for a in node.names if (a.asname or a.name) == name), None)


def _origin(node: ast.ImportFrom, module: str) -> str:
    """The dotted path of the module that an import names, relative ones included."""
    if not node.level:
        return str(node.module)
    is_package = (path := _path(module)) is not None and path.name == "__init__.py"
    parts = module.split(".")
    kept = parts[: len(parts) - node.level + is_package]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _constructor(module: str, definition: ast.ClassDef) -> _Function | None:
    """The `__init__` of a class or of the first of its bases that has one."""
    own = [n for n in definition.body if isinstance(n, _Function) and n.name == "__init__"]
    if own:
        return own[-1]  # those before it are overloads
    for base in definition.bases:
        name = base.value if isinstance(base, ast.Subscript) else base
        found = _definition(module, name.id) if isinstance(name, ast.Name) else None
        if found is not None and (constructor := _constructor(*found)) is not None:
            return constructor
    return None


def _parameters(arguments: ast.arguments) -> Iterator[tuple[str, Any]]:
    positional = [*arguments.posonlyargs, *arguments.args][1:]
    defaults: list[ast.expr | None] = [None] * len(positional)
    if arguments.defaults:
        defaults[-len(arguments.defaults) :] = arguments.defaults[-len(positional) :]
    pairs = [*zip(positional, defaults, strict=True)]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    for argument, default in pairs:
        if default is None:
            yield argument.arg, MISSING
            continue
        try:
            yield argument.arg, ast.literal_eval(default)
        except ValueError:
            continue


@lru_cache
def _body(module: str) -> list[ast.stmt]:
    path = _path(module)
    return ast.parse(path.read_text(encoding="utf-8")).body if path else []


def _path(module: str) -> Path | None:
    """The file of a module; its packages are not imported, as `find_spec` would do."""
    package, *parts = module.split(".")
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        place = Path(folder, *parts)
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                return path
    return None
