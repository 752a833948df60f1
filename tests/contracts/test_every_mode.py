"""Every mode, found by listing its folder, is in the table, documented, checked, without torch."""

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from composing import composed

from sesemi_like.config.check import check
from sesemi_like.run import modes
from sesemi_like.run.modes import MODES

ROOT = Path(__file__).resolve().parents[2]
FILES = [module.name for module in pkgutil.iter_modules(modes.__path__)]
SECTIONS = {"train", "val", "test", "evaluation", "predict"}
PREDICTED = ["++data.predict.dataset.name=digits", "++data.predict.dataset.subset=test"]


@pytest.mark.parametrize("file", FILES)
def test_each_file_declares_the_mode_of_its_name(file: str) -> None:
    module = importlib.import_module(f"{modes.__name__}.{file}")
    name = file.upper()
    assert MODES[name] is getattr(module, name)
    assert MODES[name].name == name


def test_the_table_has_a_file_for_each_mode() -> None:
    assert {name.lower() for name in MODES} == set(FILES)


@pytest.mark.parametrize("name", MODES)
def test_it_says_what_it_does_and_loads_what_it_needs(name: str) -> None:
    mode = MODES[name]
    assert mode.summary
    assert mode.carry_out.__doc__
    assert set(mode.needs) <= set(mode.loads) <= SECTIONS


@pytest.mark.parametrize("name", MODES)
def test_pages_mention_it(name: str) -> None:
    for page in ("README.md", "docs/concepts.md"):
        assert re.search(rf"\b{name}\b", (ROOT / page).read_text()), page


@pytest.mark.parametrize("name", MODES)
def test_a_run_without_the_data_that_it_needs_is_refused(name: str) -> None:
    config = composed("quickstart", f"run.mode={name}", *PREDICTED)
    assert [problem for problem in check(config, MODES) if problem.key.startswith("data")] == []
    for section in MODES[name].needs:
        config.data[section] = None
        reported = {problem.key for problem in check(config, MODES)}
        assert any(f"data.{section}".startswith(key) for key in reported), section
        config = composed("quickstart", f"run.mode={name}", *PREDICTED)


def test_listing_the_modes_imports_no_torch() -> None:
    code = f"import sys, {modes.__name__}; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
