"""A learner is loaded for use in Python from a checkpoint, or from a run's folder."""

from pathlib import Path
from typing import Any

import pytest
import torch

import sesemi_like
from sesemi_like.errors import ConfigError


def test_a_run_s_folder_gives_its_weights_in_evaluation_mode(finished_run: Any) -> None:
    folder = finished_run[0]
    learner = sesemi_like.load_model(folder)
    assert type(learner) is sesemi_like.Classifier
    assert not learner.training
    images = torch.rand(3, 1, 8, 8)
    path = folder / "checkpoints" / "last.ckpt"  # it keeps no best one
    expected = sesemi_like.Classifier.load_from_checkpoint(path)(images)
    torch.testing.assert_close(learner(images), expected, rtol=0, atol=0)
    last = sesemi_like.load_model(path)
    saved = torch.load(path, weights_only=True)["state_dict"]
    assert all(torch.equal(value, saved[name]) for name, value in last.state_dict().items())


def test_a_checkpoint_of_an_earlier_version_is_of_the_learner_of_its_run(
    finished_run: Any, tmp_path: Path
) -> None:
    content = torch.load(finished_run[0] / "checkpoints" / "last.ckpt", weights_only=True)
    del content["learner"]
    (tmp_path / "checkpoints").mkdir()
    torch.save(content, tmp_path / "checkpoints" / "last.ckpt")
    with pytest.raises(ConfigError, match="does not say of which learner it is"):
        sesemi_like.load_model(tmp_path)
    (tmp_path / "config.yaml").write_text("learner: {_target_: sesemi_like.Classifier}\n")
    assert isinstance(sesemi_like.load_model(tmp_path), sesemi_like.Classifier)


def test_a_path_that_is_none_of_a_checkpoint_or_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; give a checkpoint's path, or the folder"):
        sesemi_like.load_model(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"is a folder without checkpoints/last\.ckpt"):
        sesemi_like.load_model(tmp_path)
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    with pytest.raises(ConfigError, match=r"text\.ckpt.*cannot be read"):
        sesemi_like.load_model(tmp_path / "text.ckpt")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "bare.pt")
    with pytest.raises(ConfigError, match="is no checkpoint of a run"):
        sesemi_like.load_model(tmp_path / "bare.pt")
    torch.save({"state_dict": {}, "learner": "torch.nn.Linear"}, tmp_path / "other.ckpt")
    with pytest.raises(ConfigError, match=r"torch\.nn\.Linear, which is no learner"):
        sesemi_like.load_model(tmp_path / "other.ckpt")
