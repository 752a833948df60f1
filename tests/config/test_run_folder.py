"""A folder of a run stands for its best weights, a folder of stages for those of the last one."""

import json
from pathlib import Path

import pytest

from sesemi_like.config.run_folder import stage_folders, weights_file


def checkpoints(folder: Path, *names: str, best: str | None = None) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    for name in names:
        (folder / "checkpoints" / name).write_text("")
    if best:
        (folder / "summary.json").write_text(json.dumps({"best": {"path": best}}))
    return folder / "checkpoints"


def test_the_best_goes_before_the_last(tmp_path: Path) -> None:
    places = checkpoints(tmp_path, "last.ckpt", "a.ckpt", "b.ckpt", best="/moved/b.ckpt")
    assert weights_file(tmp_path) == places / "b.ckpt"
    assert weights_file(places / "a.ckpt") == places / "a.ckpt"
    (tmp_path / "summary.json").write_text("torn")
    assert weights_file(tmp_path) == places / "last.ckpt"


def test_of_stages_the_last_one_with_weights_counts(tmp_path: Path) -> None:
    for name in ("2_second", "10_tenth", "1_first", "x_none"):
        (tmp_path / name).mkdir()
    assert [path.name for path in stage_folders(tmp_path)] == ["1_first", "2_second", "10_tenth"]
    with pytest.raises(ValueError, match="is a folder without"):
        weights_file(tmp_path)
    places = checkpoints(tmp_path / "2_second", "last.ckpt")
    assert weights_file(tmp_path) == places / "last.ckpt"
