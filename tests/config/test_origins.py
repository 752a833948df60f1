"""Where values come from: the message about a key that stayed when a file changed its target."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sesemi_like.config.instantiate
import sesemi_like.run.execute
from sesemi_like.cli import command as cli

WEAK = "data.train.unlabeled.views.weak"
FLIP = "{_target_: sesemi_like.views.HorizontalFlip, p: 0.25}"
CUSTOM = """\
defaults: [cifar10, _self_]
data: {train: {unlabeled: {views: %s}}}
"""


@pytest.fixture
def built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Builds the view `weak` of a config as a run would; returns it, and what was reported."""
    monkeypatch.chdir(tmp_path)
    views = []

    def build(config: Any, problems: Any) -> dict[str, None]:
        view = config.data.train.unlabeled.views.weak
        views.append(sesemi_like.config.instantiate.instantiate(view, key=WEAK))
        return {"headline": None}

    monkeypatch.setattr(sesemi_like.run.execute, "run", build)

    def run(text: str, *overrides: str) -> Any:
        (tmp_path / "custom.yaml").write_text(CUSTOM % text)
        arguments = ["open_cli", "-cd", ".", "-cn", "custom", "run.gpus=0", *overrides]
        monkeypatch.setattr(sys, "argv", arguments)
        try:
            cli.main()
        except SystemExit as end:
            assert end.code == 1
        return (views or [None])[-1], capsys.readouterr().err

    return run


def test_a_key_that_stayed_names_both_files_and_the_way_out(built: Callable[..., Any]) -> None:
    view, message = built(f"{{weak: {FLIP}}}")
    assert view is None
    assert f"{WEAK}: found 'sesemi_like.views.HorizontalFlip'; it takes no 'padding'" in message
    assert "'padding' is from the built-in data/cifar10; `_target_` is from custom.yaml" in message
    assert f"'~{WEAK}' and '+{WEAK}={{...}}'" in message


def test_a_key_of_the_same_file_is_not_called_older(built: Callable[..., Any]) -> None:
    text = "{mine: {_target_: sesemi_like.views.HorizontalFlip, q: 1}, weak: '${.mine}'}"
    _, message = built(text)
    assert "it takes no 'q'" in message
    assert "Mappings are merged" not in message


def test_an_argument_added_later_is_not_called_older(built: Callable[..., Any]) -> None:
    _, message = built("{}", f"+{WEAK}.wrong=1")
    assert "it takes no 'wrong'" in message
    assert "Mappings are merged" not in message


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        (f"{{mine: {FLIP}, weak: '${{data.train.unlabeled.views.mine}}'}}", ()),
        ("{}", (f"~{WEAK}", f"+{WEAK}={FLIP}")),
    ],
    ids=["in a file", "on the command line"],
)
def test_the_ways_to_replace_a_whole_mapping(
    built: Callable[..., Any], text: str, overrides: tuple[Any, ...]
) -> None:
    view, message = built(text, *overrides)
    assert message == ""
    assert (type(view).__name__, view.p) == ("HorizontalFlip", 0.25)


def test_a_list_of_steps_is_replaced_as_a_whole(built: Callable[..., Any]) -> None:
    key = "data.train.unlabeled.views.rotation"
    view, message = built("{weak: {}}", f"{key}.steps=[{FLIP}]", f"~{WEAK}", f"+{WEAK}=${{{key}}}")
    assert message == ""
    assert [type(step).__name__ for step in view.steps] == ["HorizontalFlip"]
