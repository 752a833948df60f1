"""Checkpoints appear whole or not at all, whatever happens while they are written."""

import multiprocessing
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from composing import composed
from pytorch_lightning.demos.boring_classes import BoringModel

from sesemi_like.learners.checkpoints.saving import (
    AtomicCheckpointIO,
    CarryBestOver,
    LastCheckpoint,
)
from sesemi_like.trainer.build import build_trainer_section


def another_file_system(path: Path) -> Any:
    """A folder on another file system than a path, where there is one."""
    shared = Path("/dev/shm")
    is_other = shared.is_dir() and shared.stat().st_dev != path.stat().st_dev
    return str(shared) if is_other else None


def state(number: Any) -> Any:
    return {"number": number, "weights": torch.full((2_000_000,), float(number))}


def save_for_ever(path: Path, first: Any) -> None:
    for number in range(first, 1_000_000):
        AtomicCheckpointIO().save_checkpoint(state(number), path)


def test_a_killed_save_leaves_a_whole_checkpoint_and_the_next_one_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", another_file_system(tmp_path) or str(tmp_path))
    path = tmp_path / "run" / "last.ckpt"
    save = AtomicCheckpointIO().save_checkpoint
    save(state(0), path)
    draw = random.Random(0)
    context, first, litter = multiprocessing.get_context("fork"), 1, 0
    for _ in range(12):
        child = context.Process(target=save_for_ever, args=(path, first))
        child.start()
        time.sleep(0.05 + 0.1 * draw.random())
        child.kill()
        child.join()
        litter += len(os.listdir(path.parent)) - 1
        content = torch.load(path, weights_only=True)
        assert bool((content["weights"] == content["number"]).all())
        first = content["number"] + 1
    assert first > 12  # it was killed while it saved, not before
    assert litter  # some kills were in the middle
    save(state(0), path)
    assert os.listdir(path.parent) == ["last.ckpt"]


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    save = AtomicCheckpointIO().save_checkpoint
    context = multiprocessing.get_context("fork")
    others = [
        context.Process(target=save_for_ever, args=(tmp_path / f"{n}.ckpt", 0)) for n in range(2)
    ]
    for other in others:
        other.start()
    try:
        for number in range(10):
            save({"number": number}, tmp_path / "own.ckpt")
            time.sleep(0.02)
        assert all(other.is_alive() for other in others)
    finally:
        for other in others:
            other.kill()
            other.join()


def test_a_write_that_fails_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    save = AtomicCheckpointIO().save_checkpoint
    save({"number": 1}, path)

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for owner, name in ((os, "fsync"), (Path, "replace")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fails)
            with pytest.raises(OSError, match="No space"):
                save({"number": 2}, path)
        assert torch.load(path, weights_only=True) == {"number": 1}
        assert os.listdir(tmp_path) == ["last.ckpt"]


def test_runs_save_so_unless_they_bring_a_way_of_their_own() -> None:
    (plugin,) = build_trainer_section(composed("quickstart"))["plugins"]
    assert isinstance(plugin, AtomicCheckpointIO)
    own = "+trainer.plugins={_target_: pytorch_lightning.plugins.io.TorchCheckpointIO}"
    (plugin,) = build_trainer_section(composed("quickstart", own))["plugins"]
    assert not isinstance(plugin, AtomicCheckpointIO)


def steps_saved(
    folder: Path, monkeypatch: pytest.MonkeyPatch, resumed: str | None = None, **settings: Any
) -> list[int]:
    """The steps after which a run of four epochs of two steps writes its last checkpoint."""
    steps, save = [], LastCheckpoint.save

    def record(self: LastCheckpoint, trainer: pl.Trainer) -> None:
        steps.append(trainer.global_step)
        save(self, trainer)

    monkeypatch.setattr(LastCheckpoint, "save", record)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=4, limit_train_batches=2, logger=False,
        callbacks=[CarryBestOver(), LastCheckpoint(folder)], enable_progress_bar=False,
        enable_model_summary=False, **settings,
    )  # fmt: skip
    trainer.fit(BoringModel(), ckpt_path=resumed)
    return steps


@pytest.mark.filterwarnings("ignore")
def test_epochs_that_are_not_validated_are_not_saved_where_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {
        "check_val_every_n_epoch": 3,
        "num_sanity_val_steps": 0,
        "limit_val_batches": 1,
    }
    assert steps_saved(tmp_path, monkeypatch, **settings) == [6, 8]
    assert steps_saved(tmp_path, monkeypatch, limit_val_batches=0) == [2, 4, 6, 8]


@pytest.mark.filterwarnings("ignore")
def test_checkpoints_of_earlier_versions_are_resumed_without_a_warning_of_their_callbacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    steps_saved(tmp_path / "first", monkeypatch, limit_val_batches=0)
    content = torch.load(tmp_path / "first" / "last.ckpt", weights_only=True)
    last = str(tmp_path / "first" / "last.ckpt")
    settings = {"monitor": None, "mode": "min", "every_n_train_steps": 0, "every_n_epochs": 1}
    key = f"LastCheckpoint{ {**settings, 'train_time_interval': None}!r}"
    content["callbacks"][key] = {"dirpath": str(tmp_path / "first"), "best_model_path": last}
    torch.save(content, tmp_path / "earlier.ckpt")
    recwarn.clear()
    earlier = str(tmp_path / "earlier.ckpt")
    steps_saved(tmp_path / "second", monkeypatch, resumed=earlier, limit_val_batches=0)
    assert not [str(w.message) for w in recwarn if "callback" in str(w.message).lower()]
