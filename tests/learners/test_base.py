"""The base learner carries any networks and losses: here two encoders and a paired loss."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from sesemi_like.errors import ConfigError
from sesemi_like.learners import Learner, LossTerm
from sesemi_like.learners.optimizers import match_layout, use_channels_last
from sesemi_like.models.ema import EMATeacher
from sesemi_like.models.heads.loss.base import Forward, LossHead, LossOutputs, LossValues
from sesemi_like.models.networks import Networks
from sesemi_like.schedulers import ConstantSchedule

ROWS, LEFT, RIGHT, SHARED = 16, 6, 4, 3


class PairedLossHead(LossHead):
    """Symmetric InfoNCE: row i of one encoder belongs to row i of the other."""

    def __init__(self, left: str = "left", right: str = "right", temperature: float = 0.1) -> None:
        super().__init__()
        self.left, self.right, self.temperature = left, right, temperature

    def forwards(self, fields: Any) -> Any:
        return {
            "left": Forward(f"pairs.{self.left}", "left_encoder"),
            "right": Forward(f"pairs.{self.right}", "right_encoder"),
        }

    def forward(self, outputs: Any, step: Any) -> Any:
        left, right = (F.normalize(outputs[side], dim=1) for side in ("left", "right"))
        scores, rows = left @ right.T / self.temperature, torch.arange(len(left))
        losses = {
            "left": LossValues(F.cross_entropy(scores, rows, reduction="none"), coefficient=0.5),
            "right": LossValues(F.cross_entropy(scores.T, rows, reduction="none"), coefficient=0.5),
        }
        top1 = (scores.argmax(1) == rows).float().mean()
        return LossOutputs(losses, metrics={"top1": top1.detach()})


class PairLearner(Learner):
    def build_networks(self) -> Any:
        left = nn.Linear(LEFT, SHARED)
        networks: dict[str, nn.Module] = {
            "left_encoder": left,
            "right_encoder": nn.Linear(RIGHT, SHARED),
        }
        if self.settings.get("ema"):
            networks["teacher"] = EMATeacher(left, **self.settings["ema"])
        return Networks(networks)

    def build_terms(self) -> Any:
        return {
            name: LossTerm(PairedLossHead(**head), scale_factor=factor, key=f"heads.{name}")
            for name, head, factor in self.settings["heads"]
        }

    def evaluated_forwards(self) -> Any:
        return {"model": Forward("left", "left_encoder", grad=False)}

    def averaged_networks(self) -> Any:
        return {"teacher": "left_encoder"} if self.settings.get("ema") else {}


SGD = {"_target_": "torch.optim.SGD", "lr": 0.5}
HPARAMS = {"heads": [["paired", {}, 1.0]], "optimizer": SGD}
FIELDS = {"pairs": {"left", "right"}}


class Pairs(torch.utils.data.Dataset[Any]):
    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.left = torch.randn(ROWS, LEFT, generator=generator)
        self.right = self.left @ torch.randn(LEFT, RIGHT, generator=generator)

    def __len__(self) -> Any:
        return ROWS

    def __getitem__(self, index: Any) -> Any:
        return {"pairs.left": self.left[index], "pairs.right": self.right[index]}


class Logged(pl.Callback):
    def __init__(self) -> None:
        self.steps: list[Any] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.steps.append({k: float(v) for k, v in trainer.logged_metrics.items()})


def train(learner: Any, tmp_path: Path, steps: int = 60, **settings: Any) -> Any:
    logged = Logged()
    trainer = pl.Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        callbacks=[logged],
        default_root_dir=tmp_path,
        **settings,
    )
    trainer.fit(learner, DataLoader(Pairs(), batch_size=8))
    return logged.steps


def make(**changes: Any) -> Any:
    torch.manual_seed(0)
    learner = PairLearner({**HPARAMS, **changes})
    learner.make_plan(FIELDS)
    return learner


def test_two_encoders_and_a_paired_loss_train_through_the_same_base(tmp_path: Path) -> None:
    steps = train(make(), tmp_path)
    first = sum(step["train/loss"] for step in steps[:4]) / 4
    last = sum(step["train/loss"] for step in steps[-4:]) / 4
    assert last < first / 2
    assert {"train/paired/loss", "train/paired/weighted_loss", "train/paired/top1", "lr"} <= set(
        steps[-1]
    )


def test_the_loss_is_the_weighted_sum_of_the_heads(tmp_path: Path) -> None:
    heads = [["a", {"temperature": 0.1}, 2.0], ["b", {"temperature": 1.0}, 0.5]]
    learner = make(heads=heads)
    batch = {
        "pairs.left": torch.randn(5, LEFT),
        "pairs.right": torch.randn(5, RIGHT),
    }
    left = F.normalize(learner.networks["left_encoder"](batch["pairs.left"]), dim=1)
    right = F.normalize(learner.networks["right_encoder"](batch["pairs.right"]), dim=1)
    expected = torch.tensor(0.0)
    for factor, temperature in ((2.0, 0.1), (0.5, 1.0)):
        scores = left @ right.T / temperature
        both = [F.cross_entropy(s, torch.arange(5)) for s in (scores, scores.T)]
        expected = expected + factor * (both[0] + both[1]) / 2
    torch.testing.assert_close(learner.training_step(batch, 0), expected)


def test_a_head_of_zero_weight_asks_for_nothing() -> None:
    learner = make(heads=[["paired", {}, 1.0], ["off", {"left": "no_such_field"}, 0.0]])
    assert list(learner.terms) == ["paired"]
    learner.loss_terms["paired"].schedule = ConstantSchedule(0.0)
    assert learner.make_plan(FIELDS).fields == []


def test_heads_that_lack_a_field_are_all_reported() -> None:
    learner = PairLearner(
        {**HPARAMS, "heads": [["a", {"left": "lefft"}, 1.0], ["b", {"right": "up"}, 1.0]]}
    )
    with pytest.raises(ConfigError) as caught:
        learner.make_plan(FIELDS)
    assert [(p.key, p.value) for p in caught.value.problems] == [
        ("heads.a", "pairs.lefft"),
        ("heads.b", "pairs.up"),
    ]


def test_the_teacher_averages_after_each_optimizer_step(tmp_path: Path) -> None:
    learner = make(ema={"decay": 0.5, "warmup": False, "kind": "states"})
    start = learner.networks.module("left_encoder").weight.detach().clone()
    train(learner, tmp_path, steps=1)
    end = learner.networks.module("left_encoder").weight.detach()
    assert not torch.equal(start, end)
    averaged = learner.networks.module("teacher").state_dict()
    weight = next(value for name, value in averaged.items() if name.endswith("weight"))
    torch.testing.assert_close(weight, (start + end) / 2)


def test_accumulated_gradients_step_the_teacher_once(tmp_path: Path) -> None:
    learner = make(ema={"decay": 0.5, "warmup": False, "kind": "states"})
    updates = []
    teacher = learner.networks.module("teacher")
    original = teacher.update
    teacher.update = lambda *args: (updates.append(1), original(*args))
    train(learner, tmp_path, steps=2, accumulate_grad_batches=2)
    assert len(updates) == 2


def test_hparams_alone_rebuild_it_from_a_checkpoint(tmp_path: Path) -> None:
    learner = make()
    trainer = pl.Trainer(
        max_steps=3,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        default_root_dir=tmp_path,
        enable_model_summary=False,
    )
    trainer.fit(learner, DataLoader(Pairs(), batch_size=8))
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    rebuilt = PairLearner.load_from_checkpoint(tmp_path / "x.ckpt", weights_only=True)
    for name, value in learner.state_dict().items():
        assert torch.equal(value, rebuilt.state_dict()[name]), name
    assert rebuilt.settings == learner.settings


def test_metrics_are_logged_on_written_steps_and_at_the_end_of_an_epoch_alone(
    tmp_path: Path,
) -> None:
    learner = make()
    logged = []
    learner.log_dict = lambda values: logged.append(learner.global_step + 1)
    trainer = pl.Trainer(
        max_steps=6,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
        log_every_n_steps=3,
        enable_model_summary=False,
    )
    trainer.fit(learner, DataLoader(Pairs(), batch_size=ROWS // 4))
    assert logged == [3, 4, 6]


def test_optimizers_of_torch_run_fused_unless_the_config_says_otherwise() -> None:
    assert make().build_optimizer().defaults["fused"] is True
    assert make(optimizer={**SGD, "foreach": True}).build_optimizer().defaults["fused"] is None
    other = {"_target_": "torch.optim.RMSprop", "lr": 0.1}
    assert "fused" not in make(optimizer=other).build_optimizer().defaults


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_are_clipped_in_every_precision(tmp_path: Path, precision: Any) -> None:
    learner = make(optimizer=SGD)
    trainer = pl.Trainer(
        max_steps=2,
        accelerator="cpu",
        precision=precision,
        gradient_clip_val=1e-3,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
        enable_model_summary=False,
    )
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    trainer.fit(learner, DataLoader(Pairs(), batch_size=ROWS // 4))
    after = learner.state_dict()
    moved = sum((after[name] - value).square().sum() for name, value in before.items()).sqrt()
    assert 0 < moved < 2e-2


def test_convolutions_are_stored_channels_last_with_the_same_weights() -> None:
    network: Any = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    use_channels_last(network)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_state_of_an_optimizer_is_laid_out_as_its_weights() -> None:
    weights, momentum = torch.randn(2, 4, 3, 5, 5)
    gradient = torch.randn(4, 3, 5, 5)
    stepped = []
    for fused in (False, True):
        convolution = nn.Conv2d(3, 4, 5, bias=False)
        convolution.weight.data = weights.clone()
        use_channels_last(convolution)
        optimizer = torch.optim.SGD(convolution.parameters(), 0.1, momentum=0.9, fused=fused)
        optimizer.state[convolution.weight] = {"momentum_buffer": momentum.clone()}
        match_layout(optimizer)
        assert torch.equal(optimizer.state[convolution.weight]["momentum_buffer"], momentum)
        convolution.weight.grad = gradient.clone(memory_format=torch.channels_last)
        optimizer.step()
        stepped.append(convolution.weight.detach())
    torch.testing.assert_close(stepped[0], weights - 0.1 * (0.9 * momentum + gradient))
    torch.testing.assert_close(stepped[1], stepped[0])
