"""Weights are named by a file, a run's folder, or a part of one under other names."""

from pathlib import Path
from typing import Any

import pytest

from sesemi_like.config.weights import WeightsSource


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints" / "last.ckpt"
    path.parent.mkdir()
    path.touch()
    return path


def test_a_file_and_a_folder_take_all(file: Path) -> None:
    for given in (str(file), str(file.parents[1]), {"path": str(file)}):
        source = WeightsSource.parse(given)
        assert source.file == file
        assert source.renamed("a.b") == "a.b"


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ({"prefix": "model"}, {"model.a": "a", "modelled.a": None, "b": None, "model": None}),
        ({"into": "net"}, {"a": "net.a"}),
        ({"prefix": "model.", "into": "net.x"}, {"model.a.b": "net.x.a.b"}),
    ],
)
def test_names_lose_one_prefix_and_get_another(file: Path, rest: Any, expected: Any) -> None:
    source = WeightsSource.parse({"path": str(file), **rest})
    assert {name: source.renamed(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (3, "needs a path, or a mapping with path, prefix, into"),
        ({"prefix": "x"}, "needs a path, or a mapping"),
        ({"path": "x", "perfix": "y"}, "no key 'perfix'; did you mean 'prefix'"),
        ("none.ckpt", "no such file; give a checkpoint's path, or the folder of a run"),
    ],
)
def test_what_names_no_weights_is_told(given: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        WeightsSource.parse(given)
