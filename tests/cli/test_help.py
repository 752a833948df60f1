"""What the command shows: first steps, the configs there are, and where each value comes from."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from sesemi_like.cli import command as cli
from sesemi_like.config.store import builtin_configs

OWN = """\
defaults: [base]
run: {id: mine}
learner: {hparams: {model: {backbone: {name: resnet18d}}}}
"""
RATE = "# @package learner.hparams.optimizer\n_target_: torch.optim.SGD\nlr: 0.5\n"


InProcess = Callable[..., tuple[int | str | None, str, str]]


@pytest.fixture
def open_cli(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> InProcess:
    """Runs the command here, in an empty folder; returns its exit code, output and messages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["open_cli", *arguments])
        code: int | str | None = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run


def comment_of(shown: str, line: str) -> str:
    """What stands behind `#` on the one line of the config that begins so."""
    found = [row for row in shown.splitlines() if row.strip().startswith(line)]
    assert len(found) == 1, found
    return found[0].partition("#")[2].strip()


def test_the_command_alone_says_what_to_do_first(open_cli: InProcess) -> None:
    code, output, message = open_cli()
    assert (code, output) == (2, "")
    commands = [line for line in message.splitlines() if line.startswith("  open_cli")]
    assert len(commands) == 3
    assert "Traceback" not in message


@pytest.mark.parametrize("command", ["-cn quickstart", "-cn quickstart method=supervised"])
def test_the_first_steps_are_configs_that_compose(open_cli: InProcess, command: str) -> None:
    assert command in open_cli()[2]
    assert open_cli(*command.split(), "--cfg", "job")[0] == 0


def test_help_lists_every_config_with_what_it_is_and_every_choice(open_cli: InProcess) -> None:
    code, shown, _ = open_cli("-h")
    assert code == 0
    words = " ".join(shown.split())
    for path in builtin_configs().glob("*.yaml"):
        assert f" {path.stem}: " in words
    assert "imagewoof: ImageWoof (ten breeds of dogs), which you have downloaded" in words
    assert "optimizer: adam, adamw, sgd," in words
    assert "--hydra-info" in words


def test_help_lists_a_persons_own_configs(open_cli: InProcess, tmp_path: Path) -> None:
    (tmp_path / "own" / "optimizer").mkdir(parents=True)
    (tmp_path / "own" / "mine.yaml").write_text("# Cats and dogs:\ndefaults: [base]\n")
    (tmp_path / "own" / "optimizer" / "fast.yaml").write_text(RATE)
    shown = " ".join(open_cli("-cd", "own", "-h")[1].split())
    assert "mine: Cats and dogs" in shown
    assert "adamw, fast, sgd" in shown


def test_info_leads_with_the_files_and_names_one_for_each_value(
    open_cli: InProcess, tmp_path: Path
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "custom.yaml").write_text(OWN)
    code, shown, _ = open_cli(
        "-cd", "own", "--info", "-cn", "custom", "optimizer=adam", "run.seed=3"
    )
    assert code == 0
    heading = [line for line in shown.splitlines() if line.startswith("#")]
    assert "`custom`" in heading[0]
    files = dict(line.removeprefix("#").split(maxsplit=1) for line in heading[1:] if "/" in line)
    assert files["custom"] == "own/custom.yaml"
    assert files["optimizer/adam"] == files["data/sesemi_folder"] == "built-in"
    assert comment_of(shown, "seed: 3") == "command line"
    assert comment_of(shown, "id: mine") == "custom"
    assert comment_of(shown, "name: resnet18d") == "custom"
    assert comment_of(shown, "drop_rate: 0.5") == "backbone/resnet50d_sesemi"
    assert comment_of(shown, "optimizer:") == "optimizer/adam"
    assert comment_of(shown, "num_iterations: null") == ""


@pytest.mark.parametrize("name", ["imagewoof", "quickstart"])
def test_info_shows_the_same_config_as_cfg(open_cli: InProcess, name: str) -> None:
    info, cfg = open_cli("-cn", name, "--info")[1], open_cli("-cn", name, "--cfg", "job")[1]
    assert yaml.safe_load(info) == yaml.safe_load(cfg)


def test_hydras_internals_are_behind_an_option_of_their_own(open_cli: InProcess) -> None:
    assert "Installed Hydra Plugins" not in open_cli("-cn", "quickstart", "--info")[1]
    assert "Installed Hydra Plugins" in open_cli("-cn", "quickstart", "--hydra-info")[1]


def test_a_persons_file_with_a_built_in_name_takes_its_place_and_info_says_so(
    open_cli: InProcess, tmp_path: Path
) -> None:
    (tmp_path / "own" / "optimizer").mkdir(parents=True)
    (tmp_path / "own" / "imagewoof.yaml").write_text(OWN)
    (tmp_path / "own" / "optimizer" / "sgd_sesemi.yaml").write_text(RATE)
    code, shown, _ = open_cli("-cd", "own", "-cn", "imagewoof", "--info")
    assert code == 0
    config = yaml.safe_load(shown)
    assert config["run"]["id"] == "mine"
    assert config["learner"]["hparams"]["optimizer"] == {"_target_": "torch.optim.SGD", "lr": 0.5}
    assert "in place of the built-in imagewoof, optimizer/sgd_sesemi" in shown


def test_a_persons_own_optimizer_changes_no_built_in_config_that_chose_another(
    open_cli: InProcess, tmp_path: Path
) -> None:
    (tmp_path / "own" / "optimizer").mkdir(parents=True)
    (tmp_path / "own" / "optimizer" / "sgd.yaml").write_text(RATE)
    shown = open_cli("-cd", "own", "-cn", "imagewoof", "--cfg", "job")[1]
    assert shown == open_cli("-cn", "imagewoof", "--cfg", "job")[1]


def test_info_knows_the_folders_that_hydras_searchpath_adds(
    open_cli: InProcess, tmp_path: Path
) -> None:
    (tmp_path / "more" / "optimizer").mkdir(parents=True)
    (tmp_path / "more" / "optimizer" / "fast.yaml").write_text(RATE)
    search = f"hydra.searchpath=[file://{tmp_path}/more]"
    shown = open_cli("-cn", "quickstart", search, "optimizer=fast", "--info")[1]
    assert "more/optimizer/fast.yaml" in shown
    assert comment_of(shown, "optimizer:") == "optimizer/fast"


def test_a_persons_own_name_covers_nothing(open_cli: InProcess, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "custom.yaml").write_text(OWN)
    assert "in place of" not in open_cli("-cd", "own", "-cn", "custom", "--info")[1]
