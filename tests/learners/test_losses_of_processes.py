"""Two processes train what one does, and say of it what one says."""

import csv
import json

import pytest
import torch
from composing import composed
from processes import in_processes

from sesemi_like.config.check import check
from sesemi_like.run import run

TINY = [
    "run.gpus=0", "run.precision=32", "run.num_iterations=4", "data.val=null", "data.test=null",
    "learner.hparams.model.backbone.widths=[4,8]", "++trainer.accelerator=cpu",
    "++trainer.log_every_n_steps=1",
]  # fmt: skip
ROTATION_ALONE = ["method=rotation", "learner.hparams.model.supervised_loss=null"]


def fit(folder, processes, *overrides):
    batches = [
        line
        for name, rows in {"supervised": 16, "unlabeled": 32}.items()
        for line in (f"++data.train.{name}.batch_size={rows}",
                     f"data.train.{name}.batch_size_per_gpu=null")
    ]  # fmt: skip
    where = [f"++trainer.devices={processes}", f"run.dir={folder}"]
    config = composed("quickstart", *TINY, *batches, *where, *overrides)
    run(config, check(config))


def in_two(rank, folder):
    fit(folder / "rotation", 2, *ROTATION_ALONE)
    (checkpoint,) = (folder / "rotation").rglob("last.ckpt")
    longer = ["run.num_iterations=6", f"run.resume_from_checkpoint={checkpoint}"]
    fit(folder / "resumed", 2, *ROTATION_ALONE, *longer)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("two")
    in_processes(in_two, made)
    return made


def steps_of(folder):
    (path,) = folder.rglob("summary.json")
    return json.loads(path.read_text())["steps"]


@pytest.mark.slow
def test_rotation_without_a_supervised_loss_trains_and_resumes(folder):
    assert steps_of(folder / "rotation") == 4
    assert steps_of(folder / "resumed") == 6
    states = [torch.load(next((folder / name).rglob("last.ckpt")), weights_only=True)["state_dict"]
              for name in ("rotation", "resumed")]  # fmt: skip
    first, last = states
    name = "networks.modules_by_name.classifier."
    assert torch.equal(first[f"{name}head.weight"], last[f"{name}head.weight"])
    assert not torch.equal(first[f"{name}backbone.layers.0.weight"],
                           last[f"{name}backbone.layers.0.weight"])  # fmt: skip
