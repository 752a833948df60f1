"""Every public name is listed once, imports, and is documented and annotated."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sesemi_like

STUB = Path(sesemi_like.__file__).with_name("__init__.pyi")
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(sesemi_like.__path__, "sesemi_like.")
    if not module.name.endswith("__main__")
)


def public_definitions(module: str) -> Iterator[Any]:
    for name, value in vars(importlib.import_module(module)).items():
        is_own = getattr(value, "__module__", None) == module
        if (
            is_own
            and not name.startswith("_")
            and (inspect.isclass(value) or inspect.isfunction(value))
        ):
            yield name, value


def test_the_fixed_names_are_there() -> None:
    fixed = {"dataset", "register_dataset", "Classifier", "PyTorchImageModels", "PolynomialLR"}
    assert fixed <= set(sesemi_like.__all__)
    for name in sesemi_like.__all__:
        assert getattr(sesemi_like, name) is not None
    for path in (
        "sesemi_like.transforms.train_transforms",
        "sesemi_like.transforms.center_crop_transforms",
        "sesemi_like.collation.RotationTransformer",
        "sesemi_like.models.heads.loss.RotationPredictionLossHead",
        "sesemi_like.config.structs.AppConfig",
        "sesemi_like.config.resolvers.AppAttributes",
    ):
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path


def test_the_stub_lists_what_it_imports() -> None:
    imported = {
        alias.asname or alias.name
        for node in ast.parse(STUB.read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == set(sesemi_like.__all__)


@pytest.mark.parametrize("module", MODULES)
def test_everything_public_is_documented_and_annotated(module: str) -> None:
    loaded = importlib.import_module(module)
    assert str(loaded.__file__).endswith("__init__.py") or loaded.__doc__, (
        f"{module}: what is it for?"
    )
    for name, value in public_definitions(module):
        assert inspect.getdoc(value), f"{module}.{name} has no docstring"
        functions = [value] if inspect.isfunction(value) else own_methods(value)
        for function in functions:
            missing = set(inspect.signature(function).parameters) - set(function.__annotations__)
            assert missing <= {"self", "cls"}, f"{module}.{name}: {function.__name__} {missing}"


def own_methods(kind: type) -> list[Callable[..., Any]]:
    return [f for name, f in vars(kind).items() if inspect.isfunction(f) and name[0] != "_"]


@pytest.mark.parametrize("module", MODULES)
def test_what_a_package_exports_exists(module: str) -> None:
    loaded = importlib.import_module(module)
    for name in getattr(loaded, "__all__", ()):
        assert hasattr(loaded, name), f"{module} exports {name}, which it does not have"
