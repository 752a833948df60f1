"""Every loss head is exported, documented, configured and tested; none can be forgotten."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

from sesemi_like.config.store import builtin_configs
from sesemi_like.models.heads import loss
from sesemi_like.models.heads.loss.base import LossHead

ROOT = Path(__file__).resolve().parents[2]
MODULES = [name for _, name, is_package in pkgutil.iter_modules(loss.__path__) if not is_package]
HEADS = {
    name: head
    for module in MODULES
    for name, head in vars(importlib.import_module(f"{loss.__name__}.{module}")).items()
    if inspect.isclass(head)
    and issubclass(head, LossHead)
    and head.__module__ == f"{loss.__name__}.{module}"
    and head is not LossHead
}


def test_how_many_there_are():
    assert len(HEADS) == 7, sorted(HEADS)


@pytest.mark.parametrize("name", HEADS)
def test_it_is_exported_and_names_its_source(name):
    assert getattr(loss, name) is HEADS[name]
    assert name in loss.__all__
    assert re.search(r"arXiv \d{4}\.\d{4,5}|\b(19|20)\d\d\b|torch", inspect.getdoc(HEADS[name]))


@pytest.mark.parametrize("name", HEADS)
def test_a_method_uses_it_and_a_page_explains_that_method(name):
    # The supervised loss is the key `supervised_loss` of every method.
    if name == "SupervisedLossHead":
        assert (ROOT / "docs/methods/supervised.md").is_file()
        return
    files = [p for p in (builtin_configs() / "method").glob("*.yaml") if name in p.read_text()]
    assert files, f"no file in builtin_configs/method uses {name}"
    assert any(name in page.read_text() for page in (ROOT / "docs/methods").glob("*.md"))


@pytest.mark.parametrize("name", HEADS)
def test_it_has_tests(name):
    tests = (ROOT / "tests/models/heads/loss").glob("test_*.py")
    assert any(re.search(rf"import .*\b{name}\b", test.read_text()) for test in tests)


@pytest.mark.parametrize(
    "path", sorted((builtin_configs() / "method").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_method_has_a_page(path):
    pages = {page.stem for page in (ROOT / "docs/methods").glob("*.md")}
    # base's own method is rotation prediction on a loader of its own.
    assert {"sesemi": "rotation"}.get(path.stem, path.stem) in pages
