"""Pages are correct: links and paths exist, configs and commands compose."""

import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from composing import composed
from fixture_types import OpenCli
from omegaconf import DictConfig, OmegaConf

from sesemi_like.config.check import check
from sesemi_like.run.modes import MODES

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
sys.path.append(str(ROOT / "docs"))


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    return [body for name, body in FENCE.findall(page.read_text()) if name == language]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_have_targets(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{name_of(page)}: {target}"
        if anchor:
            assert anchor in anchors(linked), f"{name_of(page)}: {target}"


NAMED_PATH = re.compile(r"`((?:sesemi_like|builtin_configs|tests|benchmarks|docs)/[\w./]*)`")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_and_folders_that_a_page_names_exist(page: Path) -> None:
    missing = [path for path in NAMED_PATH.findall(page.read_text()) if not (ROOT / path).exists()]
    assert missing == []


def test_the_tree_of_folders_is_that_of_the_repository() -> None:
    """Every path of the tree exists, and every package of the application is in it."""
    (tree,) = blocks(ROOT / "docs" / "extend" / "layout.md", "text")
    parents: dict[int, Path] = {0: ROOT}
    shown = set()
    for line in tree.splitlines():
        name = line.split()[0]
        indent = len(line) - len(line.lstrip())
        path = parents[indent] / name
        assert path.exists(), name
        parents[indent + 2] = path
        shown.add(path)
    package = ROOT / "sesemi_like"
    assert {init.parent for init in package.rglob("__init__.py")} <= shown


def test_every_page_is_in_the_navigation() -> None:
    class Loader(yaml.SafeLoader):
        pass

    def pages(entry: Any) -> set[str]:
        if isinstance(entry, str):
            return {entry}
        return set().union(
            *(pages(e) for e in (entry.values() if isinstance(entry, dict) else entry))
        )

    navigation = pages(yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)["nav"])
    assert navigation == {str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md")}


def test_the_tables_of_the_configuration_page_are_those_of_the_code() -> None:
    from generate_configuration import PAGE, update_tables

    text = PAGE.read_text()
    assert update_tables(text) == text, "run `python docs/generate_configuration.py`"


def configs_of(page: Path, folder: Path) -> list[str]:
    """Writes the config files that a page shows; returns their names."""
    names = []
    for body in blocks(page, "yaml"):
        header = re.match(r"# configs/(\w+)\.yaml\n", body)
        if header:
            (folder / f"{header.group(1)}.yaml").write_text(body)
            names.append(header.group(1))
    return names


def problems_of(config: DictConfig) -> list[str]:
    """Problems of a config, except for checkpoints of runs that do not exist here."""
    return [str(problem) for problem in check(config, MODES) if "checkpoint" not in problem.key]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_shown_configs_compose_without_problems(page: Path, tmp_path: Path) -> None:
    for body in blocks(page, "yaml"):
        yaml.safe_load(body)
    for name in configs_of(page, tmp_path):
        assert problems_of(composed(name, folder=tmp_path)) == []


def commands(page: Path) -> Iterator[Any]:
    for body in blocks(page, "bash"):
        for line in body.replace("\\\n", " ").splitlines():
            line = re.sub(r"<\w+>", "x", line.partition("  #")[0])
            words = shlex.split(line.replace("&&", " && "))
            if "open_cli" in words or "sesemi_like" in words:
                start = (
                    words.index("open_cli") if "open_cli" in words else words.index("sesemi_like")
                )
                yield words[start + 1 :]


COMMANDS = [pytest.param(page, words, id=f"{name_of(page)}: {' '.join(words)}"[:90])
            for page in PAGES for words in commands(page)]  # fmt: skip


@pytest.mark.parametrize(("page", "words"), COMMANDS)
def test_shown_commands_compose(page: Path, words: list[str], tmp_path: Path) -> None:
    if "@register(" in page.read_text():
        pytest.skip("its choices are code, with which the page is run as a whole")
    configs_of(page, tmp_path)
    options = {"-cn": "sesemi_config", "-cd": "", "-sc": "", "--cfg": ""}
    overrides, rest = [], iter(words)
    for word in rest:
        if word in options:
            options[word] = next(rest)
        elif not word.startswith("-"):
            overrides.append(word)
    if {"-m", "--multirun"} & set(words):  # as the first run of the sweep
        overrides = [re.sub(r"=([^\[{,]+),.*", r"=\1", word) for word in overrides]
    folder = tmp_path if options["-cd"] else None
    config = composed(options["-cn"], *overrides, folder=folder)
    if options["-cn"] != "sesemi_config":
        assert problems_of(config) == []
    assert OmegaConf.to_yaml(config)


OBJECTS = re.findall(
    r"^::: (\S+)(?:\n    options:\n      members: \[(.*)\])?",
    (ROOT / "docs" / "api.md").read_text(),
    re.M,
)


@pytest.mark.parametrize(("module", "members"), OBJECTS)
def test_what_the_api_page_names_is_defined_there(module: str, members: str) -> None:
    loaded = importlib.import_module(module)
    for member in filter(None, members.split(", ")):
        assert getattr(loaded, member).__module__ == module, member


CONSOLES = [pytest.param(body, id=name_of(page))
            for page in PAGES for body in blocks(page, "console")]  # fmt: skip


@pytest.mark.parametrize("body", CONSOLES)
def test_shown_output_is_what_the_command_prints(open_cli: OpenCli, body: str) -> None:
    command, _, output = body.partition("\n")
    done = open_cli(*shlex.split(command.removeprefix("$ open_cli ")))
    assert done.stdout + done.stderr == output


SHOWN = re.compile(r"^```yaml\n# configs/(\w+)\.yaml\n", re.M)
OVERRIDE = re.compile(r"`(\+*(?:run|data|learner|trainer)\.[\w.]+=[^`<\s]+)`")


def overrides_in_the_text(page: Path) -> Iterator[tuple[str, str]]:
    """Overrides between the blocks, and the config of their section, else the page's first."""
    text = page.read_text()
    first = SHOWN.search(text)
    if first is None:
        return
    for section in re.split(r"^## ", text, flags=re.M):
        name = (SHOWN.search(section) or first).group(1)
        for override in OVERRIDE.findall(FENCE.sub("", section)):
            yield name, override


OVERRIDES = [pytest.param(page, name, override, id=f"{name_of(page)}: {override}"[:90])
             for page in PAGES for name, override in overrides_in_the_text(page)]  # fmt: skip


@pytest.mark.parametrize(("page", "name", "override"), OVERRIDES)
def test_overrides_in_the_text_fit_the_page_s_config(
    page: Path, name: str, override: str, tmp_path: Path
) -> None:
    configs_of(page, tmp_path)
    assert problems_of(composed(name, override, folder=tmp_path)) == []


PYTHON = [pytest.param(page, body, id=name_of(page))
          for page in PAGES for body in blocks(page, "python")]  # fmt: skip


@pytest.mark.parametrize(("page", "body"), PYTHON)
def test_shown_python_compiles(page: Path, body: str) -> None:
    compile(body, name_of(page), "exec")
