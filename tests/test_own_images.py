"""Users' own image folders: a run with a custom YAML trains, resumes and is tested."""

import json
from pathlib import Path
from typing import Any

import pytest
from fixture_types import OpenCli

ROTATION = """\
defaults: [base]
run: {seed: 1, num_epochs: 2, batch_size_per_gpu: 32, id: rotation, gpus: 0, data_root: ROOT}
data:
  train:
    supervised: {num_workers: 1, dataset: {image_transform: {crop_dim: 32}}}
    rotation_prediction: {num_workers: 1, dataset: {image_transform: {crop_dim: 32}}}
  val: {num_workers: 0, dataset: {image_transform: {resize: 32, crop_dim: 32}}}
  test: ${data.val}
learner:
  hparams:
    model:
      backbone: {name: resnet10t}
    lr_scheduler: {scheduler: {warmup_epochs: 1}}
"""

FIXMATCH = """\
defaults:
  - sesemi_config
  - override data: image_folder
  - override backbone: small_cnn
  - override optimizer: sgd
  - override lr_scheduler: cosine
  - override method: fixmatch
run: {seed: 1, num_epochs: 2, batch_size_per_gpu: 32, id: fixmatch, gpus: 0, data_root: ROOT}
data:
  labels_per_class: 4
  train: {supervised: {num_workers: 0}, unlabeled: {num_workers: 0, batch_size_per_gpu: 64}}
  val: {num_workers: 0}
learner:
  hparams:
    num_classes: 10
    model:
      backbone: {in_chans: 3, widths: [8, 16]}
      supervised_loss: {callable: {_target_: torch.nn.CrossEntropyLoss}}
"""


def summary_of(folder: Path, run_id: str) -> tuple[dict[str, Any], Path]:
    paths = sorted(folder.glob(f"runs/{run_id}/*/summary.json"), key=lambda p: p.stat().st_mtime)
    return json.loads(paths[-1].read_text()), paths[-1].parent


@pytest.mark.slow
@pytest.mark.parametrize(("run_id", "text"), [("rotation", ROTATION), ("fixmatch", FIXMATCH)])
def test_custom_config_trains_resumes_and_tests(
    open_cli: OpenCli, tmp_path: Path, cifar10_images: Path, run_id: str, text: str
) -> None:
    (tmp_path / "configs").mkdir()
    path = tmp_path / "configs" / "custom.yaml"
    path.write_text(text.replace("ROOT", str(cifar10_images)))
    custom = ("-cd", "configs", "-cn", "custom")

    shown = open_cli(*custom, "--info")
    assert f"id: {run_id}" in shown.stdout

    done = open_cli(*custom)
    assert done.returncode == 0, done.stderr
    first, folder = summary_of(tmp_path, run_id)
    best = first["best"]
    assert 0 <= best["score"] <= 1
    assert "val/top1" in first["metrics"]

    tested = open_cli(*custom, "run.mode=TEST", f"run.pretrained_checkpoint_path='{best['path']}'",
                      "data.test=${data.val}")  # fmt: skip
    assert tested.returncode == 0, tested.stderr
    assert summary_of(tmp_path, run_id)[0]["metrics"]["test/top1"] == pytest.approx(best["score"])

    resumed = open_cli(*custom, "run.num_epochs=3",
                       f"run.resume_from_checkpoint={folder}/checkpoints/last.ckpt")  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    last = summary_of(tmp_path, run_id)[0]
    assert last["steps"] == first["steps"] * 3 // 2
    assert last["epochs"] == 3
