"""Data that are not there are reported without torch, and nothing is reported of data that are."""

import sys
from pathlib import Path
from typing import Any

import pytest
from composing import composed

from sesemi_like.cli import command as cli
from sesemi_like.config.paths import missing_data
from sesemi_like.errors import ConfigError
from sesemi_like.run.modes import MODES


def found(*overrides: str, name: str = "base") -> Any:
    config = composed(name, *overrides)
    return {p.key: f"{p.value}: {p.expected}" for p in missing_data(config, MODES)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("pets/train", "pets/val", "pets/caf\u0065\u0301"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "pets" / "table.csv").touch()
    return tmp_path / "pets"


def test_data_that_are_there_are_no_problem(root: Path) -> None:
    assert found(f"run.data_root={root}") == {}
    assert found(name="quickstart") == {}
    assert found(name="cifar10") == {}
    composed_form = "++data.val.dataset.subset='caf\u00e9'"
    assert found(f"run.data_root={root}", composed_form) == {}
    table = ("data.val.dataset.name=csv", "++data.val.dataset.root=table.csv")
    assert found(f"run.data_root={root}", *table) == {}


def test_a_missing_root_is_reported_with_what_lies_beside_it(root: Path) -> None:
    (problem,) = found(f"run.data_root={root.parent / 'pest'}").items()
    assert problem[0] == "run.data_root"
    assert "no such folder; did you mean 'pets'?" in problem[1]


def test_missing_subsets_and_files_are_reported(root: Path) -> None:
    table = ("data.val.dataset.name=csv", "++data.val.dataset.root=tabel.csv")
    train = "data.train.supervised.dataset.subset=[train,trian]"
    problems = found(f"run.data_root={root}", train, *table)
    assert set(problems) == {"data.train.supervised.dataset.subset", "data.val.dataset.root"}
    assert "did you mean 'train'" in problems["data.train.supervised.dataset.subset"]
    assert "did you mean 'table.csv'" in problems["data.val.dataset.root"]


def test_what_may_not_be_read_is_not_looked_at(root: Path) -> None:
    heap = "++data.train.rotation_prediction.dataset.subset=heap"
    assert found(f"run.data_root={root}", heap) == {}
    off = "learner.hparams.model.supervised_loss=null"
    assert found(f"run.data_root={root}", "data.train.supervised.dataset.subset=heap", off) == {}
    wrong = "data.val.dataset.subset=nothing"
    assert found(f"run.data_root={root}", wrong, "run.mode=TEST") == {}
    assert set(found(f"run.data_root={root}", wrong, "run.mode=VALIDATE")) == {
        "data.val.dataset.subset"
    }


def test_they_are_reported_before_torch_is_imported(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sesemi_like.run.execute", None)  # whose import then fails
    wrong = ("run.num_epochs=0", f"run.data_root={root / 'nothing'}")
    with pytest.raises(ConfigError) as caught:
        cli.job(composed("base", *wrong))
    assert {p.key for p in caught.value.problems} >= {"run.num_epochs", "run.data_root"}
    with pytest.raises(ImportError):
        cli.job(composed("base", f"run.data_root={root}"))
