"""Where things live: module sizes, the mirror of the package in tests, others' private parts."""

import ast
import importlib
import inspect
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import sesemi_like

PACKAGE = Path(sesemi_like.__file__).parent
TESTS = Path(__file__).resolve().parents[1]
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 320
MAX_LINES_OF_THE_DATA_MODULE = 250

# Public parts of the standard library, in spite of their names.
NAMED_TUPLE = {"_fields", "_replace", "_asdict", "_make"}

# Tests of what is not a folder of the package.
NOT_MIRRORED = {"builtin_configs", "contracts", "docs", "references"}


def module_name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def lines_of(path: Path) -> int:
    return len(path.read_text().splitlines())


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_is_short_enough_to_read(path: Path) -> None:
    assert lines_of(path) <= MAX_LINES


def test_the_data_module_is_short() -> None:
    assert lines_of(PACKAGE / "data" / "module.py") < MAX_LINES_OF_THE_DATA_MODULE


def test_each_folder_of_tests_mirrors_one_of_the_package() -> None:
    folders = {path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")} - {Path()}
    mirrored = {folder for folder in folders if folder.parts[0] not in NOT_MIRRORED}
    missing = {str(folder) for folder in mirrored if not (PACKAGE / folder).is_dir()}
    assert missing == set()


def test_names_of_test_modules_are_unique() -> None:
    """pytest takes modules of one name in folders that are no packages for the same one."""
    names = Counter(path.name for path in TESTS.rglob("test_*.py"))
    assert [name for name, times in names.items() if times > 1] == []


def test_each_package_has_tests_in_the_folder_of_its_name() -> None:
    packages = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    assert [name for name in packages if not list((TESTS / name).rglob("test_*.py"))] == []


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def own_private_names(trees: list[ast.Module]) -> set[str]:
    """Every private name that the package itself defines: functions, classes, attributes."""
    names = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.attr if isinstance(node, ast.Attribute) else node.id)
    return {name for name in names if is_private(name)} | NAMED_TUPLE


def foreign_imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The dotted path of each import from another library, and the name that it binds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, alias.asname or alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                yield f"{node.module}.{alias.name}", alias.asname or alias.name


def is_foreign(path: str) -> bool:
    root = path.partition(".")[0]
    return root != "sesemi_like" and root not in sys.stdlib_module_names


def root_of(node: ast.expr) -> ast.expr:
    """The expression that a chain of attributes starts from."""
    return root_of(node.value) if isinstance(node, ast.Attribute) else node


def private_parts(tree: ast.Module, own: set[str]) -> Iterator[str]:
    """Every use of another library's private part in a module.

    An attribute is foreign if it is read from an imported library or from `super()`, or if the
    package defines no attribute of that name.
    """
    bound = {name: path for path, name in foreign_imports(tree)}
    for path in bound.values():
        if is_foreign(path) and any(map(is_private, path.split("."))):
            yield path
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=value, attr=name) if is_private(name):
                match root_of(value):
                    case ast.Name(id=root) if root in bound:
                        is_allowed = not is_foreign(bound[root])
                    case ast.Call(func=ast.Name(id="super")):
                        is_allowed = False
                    case _:
                        is_allowed = name in own
                if not is_allowed:
                    yield ast.unparse(node)
            case ast.Call(
                func=ast.Name(id="getattr" | "setattr" | "hasattr"),
                args=[_, ast.Constant(value=str(name)), *_],
            ) if is_private(name):
                if name not in own:
                    yield ast.unparse(node)


def overridden_private_parts(kind: type) -> set[str]:
    """The private methods of other libraries' classes that a class of the package redefines."""
    foreign = [base for base in kind.__mro__[1:] if is_foreign(base.__module__)]
    methods = [name for name, value in vars(kind).items() if inspect.isfunction(value)]
    return {
        f"{kind.__name__}.{name}"
        for name in filter(is_private, methods)
        if any(name in vars(base) for base in foreign)
    }


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_no_class_overrides_a_private_part_of_another_library(path: Path) -> None:
    name = ".".join(("sesemi_like", *path.relative_to(PACKAGE).with_suffix("").parts))
    if name.startswith("sesemi_like.compat") or name.endswith("__main__"):
        return
    module = importlib.import_module(name.removesuffix(".__init__"))
    kinds = [kind for kind in vars(module).values() if inspect.isclass(kind)]
    own = [kind for kind in kinds if kind.__module__ == module.__name__]
    assert set().union(*map(overridden_private_parts, own)) == set()


def test_only_compat_uses_private_parts_of_other_libraries() -> None:
    trees = {module_name(path): ast.parse(path.read_text()) for path in MODULES}
    own = own_private_names(list(trees.values()))
    used = {name: sorted(set(private_parts(tree, own))) for name, tree in trees.items()}
    assert {
        name: parts for name, parts in used.items() if parts and not name.startswith("compat")
    } == {}


@pytest.mark.parametrize(
    "source",
    [
        "import torch.utils._pytree",
        "from hydra._internal.hydra import Hydra",
        "from torch.utils import _pytree as trees",
        "import torch\ntorch._foreach_lerp_([], [], 0.5)",
        "def log(trainer):\n    trainer._logger_connector.log_metrics({})",
        "class A(B):\n    def move(self):\n        return super()._apply(None)",
        "def read(module):\n    return getattr(module, '_modules')",
    ],
)
def test_uses_of_private_parts_are_found(source: str) -> None:
    assert list(private_parts(ast.parse(source), own=set()))


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos._exit(1)",
        "from .base import _shared\nfrom sesemi_like.errors import _shared",
        "import torch\ntorch.__version__",
        "class A:\n    def read(self):\n        return self._own",
    ],
)
def test_what_is_public_or_of_the_package_is_no_private_part(source: str) -> None:
    assert list(private_parts(ast.parse(source), own={"_own"})) == []


COLLECTIVES = {
    "all_gather",
    "all_gather_into_tensor",
    "all_gather_object",
    "all_reduce",
    "all_to_all",
    "barrier",
    "broadcast_object_list",
    "reduce_scatter",
}
"""Names of collectives, torch's own and Lightning's wrappers of them."""


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_collectives_are_in_the_module_for_them(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text()))
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)} & COLLECTIVES
    assert bool(used) == (module_name(path) == "distributed.py"), used
