"""`save_frozen: false`: checkpoints lack what did not train, and are completed from its source."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import fit
from torch import nn

import sesemi_like
from sesemi_like.errors import ConfigError
from sesemi_like.models.backbones.base import Backbone

HPARAMS = "learner.hparams"
BACKBONE = "networks.modules_by_name.classifier.backbone.layer.weight"


class FromFile(Backbone):
    """A layer whose weights begin as those of a file, beside one that begins at random."""

    def __init__(self, path: str, **rest: Any) -> None:
        super().__init__()
        self.layer, self.random = nn.Linear(64, 5), nn.Linear(5, 5)
        self.layer.load_state_dict(torch.load(path, weights_only=True))
        self.out_features = 5

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.random(self.layer(images.flatten(1)).relu())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "layer.pt"
    torch.manual_seed(4)
    torch.save(nn.Linear(64, 5).state_dict(), path)
    return path


def settings(source: Path, saves: str) -> list[str]:
    backbone = f"{HPARAMS}.model.backbone"
    keep = "_target_: pytorch_lightning.callbacks.ModelCheckpoint, monitor: val/top1, mode: max"
    return [
        f"{backbone}._target_={__name__}.FromFile", f"+{backbone}.path={source}",
        f"{HPARAMS}.trainable=['!*backbone*']", f"{HPARAMS}.save_frozen={saves}",
        "run.validate_every=4", f"trainer.callbacks=[{{{keep}, save_last: true}}]",
    ]  # fmt: skip


def last(folder: Path) -> Any:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def test_frozen_weights_are_left_out_and_nothing_else_changes(source: Path, tmp_path: Path) -> None:
    whole, expected = fit(tmp_path / "whole", *settings(source, "true"))
    small, summary = fit(tmp_path / "small", *settings(source, "false"))
    assert summary["metrics"] == expected["metrics"]  # the test of the best one included
    everything, kept = last(whole)["state_dict"], last(small)["state_dict"]
    missing = set(everything) - set(kept)
    own = {BACKBONE, BACKBONE.replace("weight", "bias")}
    copies = {name.replace("classifier.", "teacher.module.") for name in own}
    assert missing == own | copies  # the random ones are there
    assert any("teacher" in name for name in kept)
    loaded = sesemi_like.load_model(small)
    other = sesemi_like.load_model(whole)
    assert loaded.state_dict().keys() == other.state_dict().keys()
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name], rtol=0, atol=0, msg=name)
    path = small / "checkpoints" / "last.ckpt"
    resumed = [*settings(source, "false"), f"run.resume_from_checkpoint={path}"]
    longer, _ = fit(tmp_path / "longer", *resumed, "run.num_iterations=12")
    assert set(last(longer)["state_dict"]) == set(kept)
    _, again = fit(
        tmp_path / "again", *settings(source, "false"), "run.mode=VALIDATE",
        f"run.pretrained_checkpoint_path={path}",
    )  # fmt: skip
    assert again["metrics"]["val/top1"] == expected["metrics"]["val/top1"]


def test_another_source_is_an_error(source: Path, tmp_path: Path) -> None:
    own = tmp_path / "layer.pt"
    torch.save(torch.load(source, weights_only=True), own)
    folder, _ = fit(tmp_path / "x", *settings(own, "false"), "run.num_iterations=1")
    torch.save(nn.Linear(64, 5).state_dict(), own)
    with pytest.raises(ConfigError, match=r"save_frozen.*without its 2 frozen tensors.*SHA-256"):
        sesemi_like.load_model(folder)


def test_what_came_from_pretrained_weights_is_had_from_their_file(
    source: Path, tmp_path: Path
) -> None:
    first, _ = fit(tmp_path / "first", *settings(source, "true"), "run.num_iterations=2")
    given = [*settings(source, "false"), f"run.pretrained_checkpoint_path={first}"]
    second, _ = fit(tmp_path / "second", *given, "run.num_iterations=2")
    random = BACKBONE.replace("layer", "random")
    assert random not in last(second)["state_dict"]
    found = sesemi_like.load_model(second).state_dict()
    assert torch.equal(found[random], last(first)["state_dict"][random])
