"""Parameters that are read from source are those that Python sees, and nothing is imported."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sesemi_like.config.components import GROUPS, choices_of
from sesemi_like.config.signatures import class_parameters, exported_names

MADE = [(group, name) for group in GROUPS for name in choices_of(group)]
SEVERAL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def seen_by_python(kind: type) -> dict[str, Any]:
    """The parameters of a class with their defaults, as `inspect` has them."""
    parameters = inspect.signature(kind).parameters.values()
    return {p.name: p.default for p in parameters if p.kind not in SEVERAL}


@pytest.mark.parametrize(("group", "name"), MADE)
def test_parameters_are_those_that_python_sees(group: str, name: str) -> None:
    kind = getattr(importlib.import_module(GROUPS[group].module), name)
    found, expected = class_parameters(GROUPS[group].module, name), seen_by_python(kind)
    for parameter, default in expected.items():
        if default is inspect.Parameter.empty:
            assert found.pop(parameter) == "???"
        elif parameter in found:
            assert found.pop(parameter) == default
    assert found == {}


def test_hardly_any_default_is_no_literal_and_left_out() -> None:
    left_out = [
        (name, parameter)
        for group, name in MADE
        for parameter in seen_by_python(
            getattr(importlib.import_module(GROUPS[group].module), name)
        )
        if parameter not in class_parameters(GROUPS[group].module, name)
    ]
    assert len(left_out) < 20, left_out


def test_every_group_of_a_library_has_choices() -> None:
    assert {group for group, _ in MADE} == {g for g, known in GROUPS.items() if known.module}


def test_base_classes_are_no_choices() -> None:
    names = {name for _, name in MADE}
    assert not names & {"Optimizer", "LRScheduler", "Callback", "Logger", "Sampler"}


def test_nothing_is_imported() -> None:
    program = (
        "import sys; from sesemi_like.config.components import library_choices, GROUPS\n"
        "from sesemi_like.config.signatures import class_parameters as read\n"
        "for group, names in library_choices().items():\n"
        "    assert all(read(GROUPS[group].module, name) is not None for name in names)\n"
        "print({'torch', 'pytorch_lightning', 'numpy'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == "set()", found.stderr


def test_bases_overloads_and_relative_imports_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "read_from_source"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from .parts import Child as Offered\n__all__ = ['Offered']\n"
    )
    (package / "parts.py").write_text(
        "from typing import overload\n"
        "class Base:\n"
        "    @overload\n"
        "    def __init__(self, a: int) -> None: ...\n"
        "    def __init__(self, a, b=-1, *args, c=(1, 2), d=print, **kwargs) -> None: ...\n"
        "class Child(Base):\n"
        "    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert exported_names("read_from_source") == ["Offered"]
    assert class_parameters("read_from_source", "Offered") == {"a": "???", "b": -1, "c": (1, 2)}
    assert class_parameters("read_from_source", "Missing") is None
    assert exported_names("not_installed_at_all") == []
