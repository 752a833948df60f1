"""Options may stand anywhere, and those that cannot be read end the command with 2."""

import pytest

from sesemi_like import __version__
from sesemi_like.cli.arguments import read_arguments


def test_options_may_stand_between_overrides() -> None:
    found = read_arguments(["-cn", "x", "a=1", "--multirun", "b=1,2", "-cd", "configs", "~c"])
    assert found.overrides == ["a=1", "b=1,2", "~c"]
    assert (found.config_name, found.config_dir, found.multirun) == ("x", "configs", True)


def test_an_override_after_info_is_an_override() -> None:
    found = read_arguments(["--info", "run.seed=1"])
    assert found.info is True
    assert found.overrides == ["run.seed=1"]


def test_without_a_name_it_is_the_bare_config() -> None:
    assert read_arguments(["run.seed=1"]).config_name == "sesemi_config"


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_arguments(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"open_cli {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nowhere"], "--nowhere"),
        (["-cn"], "expected one argument"),
        (["--info", "--multirun"], "give only one of --multirun, --info"),
        (["--resolve"], "--resolve goes with --cfg"),
        (["-p", "run"], "--package goes with --cfg"),
    ],
)
def test_what_cannot_be_read_ends_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        read_arguments(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
