"""Two processes with frozen parameters and parameter groups train as one does."""

from pathlib import Path
from typing import Any

import pytest
import torch
from processes import checkpoint, in_processes, train, weights

HPARAMS = "learner.hparams"
NETWORK = "networks.modules_by_name.classifier"
SETTINGS = [
    "method=supervised", "run.num_iterations=40",
    f"{HPARAMS}.trainable=[backbone.layers.4,backbone.layers.5,head]",
    f"{HPARAMS}.param_groups={{head: {{match: head, lr_scale: 2}}}}",
    f"{HPARAMS}.no_decay_1d=true",
]  # fmt: skip


def train_whole(rank: int, folder: Path, processes: int) -> None:
    train(folder, processes, SETTINGS)


def resume(rank: int, folder: Path, path: str) -> None:
    train(folder, 2, [*SETTINGS, f"run.resume_from_checkpoint='{path}'"])


@pytest.mark.slow
def test_frozen_parameters_stay_and_the_rest_ends_where_one_process_does(tmp_path: Path) -> None:
    for count in (1, 2):
        in_processes(train_whole, tmp_path / str(count), count, count=count)
    path = checkpoint(tmp_path / "2", 20)
    in_processes(resume, tmp_path / "resumed", str(path))
    one, two, resumed = (weights(tmp_path / name, 40) for name in ("1", "2", "resumed"))
    begin = weights(tmp_path / "1", 20)
    trained = tuple(
        f"{NETWORK}.{part}." for part in ("backbone.layers.4", "backbone.layers.5", "head")
    )
    for name, value in two.items():
        if name.startswith(NETWORK):
            assert torch.equal(value, begin[name]) is not name.startswith(trained), name
        torch.testing.assert_close(value, one[name], rtol=0, atol=3e-6, msg=name)
        assert torch.equal(value, resumed[name]), name
    assert group_names(path) == ["default", "default.no_decay", "head", "head.no_decay"]


def group_names(path: Path) -> list[Any]:
    states = torch.load(path, weights_only=True)["optimizer_states"]
    return [group["name"] for group in states[0]["param_groups"]]
