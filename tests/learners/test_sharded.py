"""Networks whose weights are shared out over processes train and predict as whole ones do."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from processes import in_processes
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader, DistributedSampler

from sesemi_like.learners import Learner, LossTerm
from sesemi_like.models.heads.loss.base import Forward, LossHead, LossOutputs
from sesemi_like.models.networks import Networks

ROWS = 16


class Fits(LossHead):
    """The squared distance of each row's output from its target."""

    def forwards(self, fields: Any) -> dict[str, Forward]:
        return {"output": Forward("pairs.left", "encoder"), "target": Forward.field("pairs.right")}

    def forward(self, outputs: Any, step: Any) -> LossOutputs:
        return LossOutputs((outputs["output"] - outputs["target"]).square().sum(dim=1))


class Sharded(Learner):
    """One network, sharded where the strategy has a mesh of devices."""

    def build_networks(self) -> Networks:
        torch.manual_seed(0)  # whatever a strategy drew before
        return Networks({"encoder": nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))})

    def build_terms(self) -> dict[str, LossTerm]:
        return {"fits": LossTerm(Fits(), key="fits")}

    def evaluated_forwards(self) -> dict[str, Forward]:
        return {"model": Forward("left", "encoder", grad=False)}

    def configure_model(self) -> None:
        is_new = not hasattr(self, "networks")
        super().configure_model()
        if is_new and self.device_mesh is not None:
            mesh = self.device_mesh["data_parallel"]
            encoder: Any = self.networks.module("encoder")
            for module in (encoder[0], encoder[2], encoder):
                fully_shard(module, mesh=mesh)


def train(rank: int, folder: Path, count: int) -> None:
    torch.manual_seed(0)
    optimizer = {"_target_": "torch.optim.AdamW", "lr": 0.1}
    groups = {"last": {"match": "encoder.2.*", "lr_scale": 0.5}}
    hparams = {"optimizer": optimizer, "param_groups": groups, "no_decay_1d": True}
    learner = Sharded(hparams, build=False)
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(ROWS, size, generator=generator) for size in (6, 4))
    rows: Any = [{"pairs.left": left[n], "pairs.right": right[n]} for n in range(ROWS)]

    class Planned(pl.Callback):
        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            pl_module.make_plan({"pairs": {"left", "right"}})

    strategy: Any = "auto" if count == 1 else ModelParallelStrategy(count, 1)
    sampler: Any = DistributedSampler(rows, count, rank, shuffle=False)
    trainer = pl.Trainer(
        max_steps=6, accelerator="cpu", devices=count, strategy=strategy, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[Planned(), Predict(folder, left)], use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(learner, DataLoader(rows, batch_size=8 // count, sampler=sampler))


class Predict(pl.Callback):
    """Predicts all rows at the end, within the run, and keeps what comes out."""

    def __init__(self, folder: Path, left: torch.Tensor) -> None:
        self.folder, self.left = folder, left

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        encoder = pl_module.networks.module("encoder")
        is_sharded = any(type(p).__name__ == "DTensor" for p in encoder.parameters())
        assert is_sharded is (trainer.world_size > 1)
        found = pl_module.through_strategy(pl_module.predict_batch, {"left": self.left})["model"]
        torch.save(found, self.folder / f"{trainer.world_size}-{trainer.global_rank}.pt")


@pytest.mark.slow
def test_two_processes_that_share_the_weights_end_where_one_does(tmp_path: Path) -> None:
    for count in (1, 2):
        in_processes(train, tmp_path, count, count=count)
    one = torch.load(tmp_path / "1-0.pt")
    for rank in (0, 1):
        torch.testing.assert_close(torch.load(tmp_path / f"2-{rank}.pt"), one, rtol=0, atol=1e-5)
