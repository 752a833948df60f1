"""Every package that is imported is a declared dependency, and every dependency is imported."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

DISTRIBUTIONS = {
    "PIL": "pillow",
    "hydra": "hydra-core",
    "lightning_fabric": "pytorch-lightning",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Packages that are not called as their distributions are."""

NOT_IMPORTED = {"tensorboard"}
"""Needed by torch.utils.tensorboard."""


def distribution_names(requirements: list[str]) -> set[str]:
    names = {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower() for requirement in requirements}
    return {name.replace("_", "-") for name in names}


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in (
        "TYPE_CHECKING",
        "typing.TYPE_CHECKING",
    )


def packages_imported_by(node: ast.AST) -> Iterator[str]:
    """The top-level packages of all imports at run time below a node."""
    if isinstance(node, ast.Import):
        yield from (alias.name.split(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
        yield node.module.split(".")[0]
    elif is_for_type_checkers(node):
        return
    for child in ast.iter_child_nodes(node):
        yield from packages_imported_by(child)


def imported_distributions() -> dict[str, str]:
    """The distributions that the package imports, each with a file that does so."""
    found = {}
    for path in sorted((ROOT / "sesemi_like").rglob("*.py")):
        for package in packages_imported_by(ast.parse(path.read_text())):
            if package not in sys.stdlib_module_names and package != "sesemi_like":
                name = DISTRIBUTIONS.get(package, package).lower().replace("_", "-")
                found[name] = str(path.relative_to(ROOT))
    return found


def test_what_is_imported_is_declared() -> None:
    imported = imported_distributions()
    extras = PROJECT["optional-dependencies"]
    declared = distribution_names(PROJECT["dependencies"])
    for extra in extras.keys() - {"test", "docs", "bench"}:
        declared |= distribution_names(extras[extra])
    assert {"torch", "safetensors", "pyyaml"} <= imported.keys()
    assert {n: path for n, path in imported.items() if n not in declared} == {}


def test_every_dependency_is_imported() -> None:
    declared = distribution_names(PROJECT["dependencies"])
    assert declared - imported_distributions().keys() == NOT_IMPORTED


def test_a_library_that_is_not_maintained_is_optional_and_pinned() -> None:
    extras = PROJECT["optional-dependencies"]
    (requirement,) = extras["augmentation"]
    name, version = requirement.split("==")
    assert name not in distribution_names(PROJECT["dependencies"] + extras["test"])
    module = ROOT / "sesemi_like" / "transforms" / f"{name}.py"
    assert version in (ast.get_docstring(ast.parse(module.read_text())) or "")


def test_imports_for_type_checkers_need_no_dependency() -> None:
    tree = ast.parse(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import stubs\n"
        "def f():\n    import a.b\n    from c import d\n    from . import e\n"
    )
    assert set(packages_imported_by(tree)) == {"typing", "a", "c"}
