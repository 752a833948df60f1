"""Hydra reads words of ours, while the run itself sees the command line as it was given."""

import sys
from pathlib import Path

import pytest
from omegaconf import DictConfig

from sesemi_like.cli.hydra_main import is_sweeping, run_hydra, run_jobs
from sesemi_like.config.resolvers import register_resolvers
from sesemi_like.config.search_path import own_configs
from sesemi_like.config.store import register_configs

GIVEN = ["open_cli", "run.id=x", "-cn", "quickstart"]


@pytest.fixture(autouse=True)
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command as a shell starts it, in an empty folder."""
    register_resolvers()
    register_configs()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(GIVEN))


def test_a_run_sees_the_command_line_and_one_value_of_each_key() -> None:
    runs = []
    run_jobs(
        lambda config: runs.append((config.run.id, is_sweeping(), list(sys.argv))),
        "quickstart",
        ["run.id=x"],
        sweeps=False,
    )
    assert runs == [("x", False, GIVEN)]
    assert sys.argv == GIVEN


@pytest.mark.parametrize("in_file", [False, True])
def test_a_sweep_is_asked_for_by_option_or_config(in_file: bool, tmp_path: Path) -> None:
    mode = "hydra: {mode: MULTIRUN}" if in_file else ""
    (tmp_path / "custom.yaml").write_text(f"defaults: [quickstart, _self_]\n{mode}\n")
    runs = []

    def task(config: DictConfig) -> float:
        runs.append((config.run.seed, is_sweeping(), list(sys.argv)))
        return 0.0

    with own_configs(str(tmp_path)):
        run_jobs(task, "custom", ["run.seed=1,2"], sweeps=not in_file)
    assert runs == [(1, True, GIVEN), (2, True, GIVEN)]


def test_the_command_line_is_back_after_a_failure() -> None:
    with pytest.raises(SystemExit):
        run_hydra(["--no-such-option"])
    assert sys.argv == GIVEN
