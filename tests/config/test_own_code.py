"""Code beside a person's configs can be imported, and what it registers is a choice."""

import subprocess
import sys
from pathlib import Path

import pytest

from sesemi_like.config.own_code import own_code
from sesemi_like.errors import ConfigError

NET = """
from sesemi_like import register

@register("backbone")
class {name}:
    def __init__(self, width: int = 7) -> None:
        self.width = width
"""
CUSTOM = """
defaults: [sesemi_config, {{override backbone: {name}}}]
learner: {{hparams: {{num_classes: 3}}}}
"""


def importable(root: Path, config_dir: str, name: str) -> bool:
    """Whether a module can be imported as long as the folder of configs is given."""
    program = (
        "import sys, importlib\n"
        "from sesemi_like.config.own_code import own_code\n"
        f"with own_code({config_dir!r}):\n"
        f"    importlib.import_module({name!r})\n"
        "    print('yes')\n"
    )
    elsewhere = root / "elsewhere"  # Python finds what lies in the working folder by itself
    elsewhere.mkdir(exist_ok=True)
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=elsewhere, capture_output=True, text=True
    )
    return found.stdout.strip() == "yes"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("own_nets.py", "own_nets"),  # beside the folder
        ("own_package/__init__.py", "own_package"),
        ("src/own_nets.py", "own_nets"),
        ("src/own_package/__init__.py", "own_package"),
        ("configs/own_nets.py", "own_nets"),  # in it
    ],
)
def test_what_lies_beside_or_in_the_folder_can_be_imported(
    tmp_path: Path, file: str, name: str
) -> None:
    (tmp_path / "configs").mkdir()
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    assert importable(tmp_path, "../configs", name)
    assert importable(tmp_path, "../configs/", name)
    assert not importable(tmp_path, "..", name) or file.startswith("own")


def test_the_package_that_the_folder_lies_in_is_importable_by_its_full_name(tmp_path: Path) -> None:
    inner = tmp_path / "outer" / "inner" / "configs"
    inner.mkdir(parents=True)
    (tmp_path / "outer" / "__init__.py").write_text("")
    (tmp_path / "outer" / "inner" / "__init__.py").write_text("")
    (tmp_path / "outer" / "nets.py").write_text("")
    assert importable(tmp_path, "../outer/inner/configs", "outer.nets")
    assert not importable(tmp_path, "../outer/inner/configs", "nets")


def test_nothing_stays_behind_and_it_may_be_entered_twice(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "own_nets.py").write_text("")
    before = list(sys.path)
    with own_code(str(tmp_path / "configs")):
        with own_code(str(tmp_path / "configs")):
            pass
        assert sys.path == [*before, str(tmp_path)]
    assert sys.path == before


def test_installed_modules_take_precedence(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "yaml.py").write_text("raise SystemExit('the wrong one')")
    assert importable(tmp_path, "../configs", "yaml.nodes")  # which the wrong one has not


def test_a_package_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "failing_configs"
    folder.mkdir()
    (folder / "__init__.py").write_text("import not_there_at_all")
    expected = r"importing failing_configs failed: No module named"
    with pytest.raises(ConfigError, match=expected), own_code(str(folder)):
        pass


def test_a_package_of_a_name_that_is_taken_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "hydra"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    expected = r"hydra is another package, in .*; rename"
    with pytest.raises(ConfigError, match=expected), own_code(str(folder)):
        pass


def command(folder: Path, *words: str) -> str:
    """What `open_cli` prints there, without PYTHONPATH beyond this package's own."""
    found = subprocess.run(
        [sys.executable, "-m", "sesemi_like", *words], cwd=folder, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def project(root: Path, name: str) -> None:
    """A project whose configs are a package that registers what is beside it."""
    configs = root / "configs_of_project"
    (configs / "experiment").mkdir(parents=True)
    (root / "own_nets_of_project.py").write_text(NET.format(name=name))
    (configs / "__init__.py").write_text("import own_nets_of_project\n")
    (configs / "custom.yaml").write_text(CUSTOM.format(name=name))
    (configs / "experiment" / "wide.yaml").write_text(
        "# @package _global_\nlearner: {hparams: {model: {backbone: {width: 70}}}}\n"
    )


def test_a_registered_class_is_a_choice_of_the_command(tmp_path: Path) -> None:
    project(tmp_path, "OwnNet")
    shown = command(tmp_path, "-cd", "configs_of_project", "-cn", "custom", "--cfg", "job",
                    "-p", "learner.hparams.model.backbone")  # fmt: skip
    assert "_target_: own_nets_of_project.OwnNet" in shown
    assert "width: 7\n" in shown + "\n"
    assert "OwnNet" in command(tmp_path, "-cd", "configs_of_project", "-h")


def test_an_experiment_is_added(tmp_path: Path) -> None:
    project(tmp_path, "OwnNet")
    place = "learner.hparams.model.backbone.width"
    words = ("-cd", "configs_of_project", "-cn", "custom", "+experiment=wide", "--cfg", "job", "-p")
    assert command(tmp_path, *words, place).strip() == "70"


def test_a_package_on_hydras_search_path_registers_its_classes(tmp_path: Path) -> None:
    project(tmp_path / "installed", "OwnNet")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "empty.yaml").write_text("defaults: [sesemi_config]\n")
    # `src` beside the folder is where an editable install of the package would be.
    (tmp_path / "src").symlink_to(tmp_path / "installed")
    shown = command(tmp_path, "-cd", "own", "-cn", "empty", "backbone=OwnNet", "+experiment=wide",
                    "hydra.searchpath=[pkg://configs_of_project]", "--cfg", "job")  # fmt: skip
    assert "width: 70" in shown
