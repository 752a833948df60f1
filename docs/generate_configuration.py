"""Writes the tables of `configuration.md` from the structs and the built-in configs.

    python docs/generate_configuration.py

A table stands between `<!-- keys: NAME -->` (a struct) or `<!-- choices: NAME -->` (a group of
built-in configs, `.` for whole runs) and `<!-- end -->`. A test compares them with the code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, fields
from enum import Enum
from pathlib import Path

from sesemi_like.config import structs
from sesemi_like.config.schema import field_help
from sesemi_like.config.search_path import opening_sentence
from sesemi_like.config.store import builtin_configs
from sesemi_like.errors import as_yaml

PAGE = Path(__file__).with_name("configuration.md")
_TABLE = re.compile(r"<!-- (keys|choices): (\S+) -->\n.*?<!-- end -->", re.S)


def update_tables(text: str) -> str:
    """Returns a page with every table generated from the current code.

    Args:
        text: The page, with its markers.

    Raises:
        AttributeError: If a marker names a struct that does not exist.
    """
    return _TABLE.sub(_table, text)


def _table(marker: re.Match[str]) -> str:
    kind, name = marker.groups()
    rows = _keys(name) if kind == "keys" else _choices(name)
    return "\n".join([f"<!-- {kind}: {name} -->", "", *rows, "", "<!-- end -->"])


def _keys(name: str) -> Iterator[str]:
    struct = getattr(structs, name)
    yield "| key | default | description |"
    yield "| --- | --- | --- |"
    for field in fields(struct):
        yield f"| `{field.name}` | {_default(field)} | {_cell(field_help(struct, field.name))} |"


def _default(field: Field[object]) -> str:
    if field.default_factory is not NO_DEFAULT:
        return "see below"
    value = field.default
    if isinstance(value, Enum):
        return f"`{value.name}`"
    return f"`{value}`" if isinstance(value, str) else f"`{as_yaml(value)}`"


def _choices(group: str) -> Iterator[str]:
    yield "| name | description |"
    yield "| --- | --- |"
    for path in sorted((builtin_configs() / group).glob("*.yaml")):
        yield f"| `{path.stem}` | {_cell(opening_sentence(path))}. |"


def _cell(text: str) -> str:
    """Escapes what a table's cell would otherwise read as a column separator or as HTML."""
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(update_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
