"""A queue of labeled features and their targets that two heads share, over two processes."""

import json
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from processes import in_processes
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sesemi_like.distributed import gather_rows
from sesemi_like.errors import ConfigError
from sesemi_like.learners import Learner, LossTerm
from sesemi_like.models.heads.loss import Forward, LossHead, LossOutputs
from sesemi_like.models.networks import Networks

CLASSES, SIZE = 3, 6


class LabeledQueue(nn.Module):
    """The newest features (size, D) and their classes (size,), -1 where there is none yet."""

    def __init__(self, size: int, features: int) -> None:
        super().__init__()
        self.features: Tensor
        self.target: Tensor
        self.register_buffer("features", torch.zeros(size, features))
        self.register_buffer("target", torch.full((size,), -1))

    def push(self, features: Tensor, target: Tensor) -> None:
        """Puts the rows of all processes in front, and drops the oldest."""
        for buffer, rows in ((self.features, features.detach()), (self.target, target)):
            buffer.copy_(torch.cat([gather_rows(rows), buffer])[: len(buffer)])


class FillingHead(LossHead):
    """Cross-entropy of labeled rows, whose features fill the queue after each step."""

    def __init__(self, size: int = SIZE) -> None:
        super().__init__()
        self.size = size

    def forwards(self, fields: Any) -> Any:
        names = ("vector", "target")
        return {name: Forward.field(f"few.{name}") for name in names} | {
            "features": Forward("few.vector", "encoder")
        }

    def build(self, networks: Networks, facts: Any) -> None:
        features = networks.feature_size("encoder")
        self.shared["queue"] = LabeledQueue(self.size, features)
        self.classifier = nn.Linear(features, CLASSES)

    def forward(self, outputs: Any, step: Any) -> LossOutputs:
        self.newest = outputs["features"].detach(), outputs["target"]
        logits = self.classifier(outputs["features"])
        return LossOutputs(F.cross_entropy(logits, outputs["target"], reduction="none"))

    def after_step(self, step: Any) -> None:
        self.shared["queue"].push(*self.newest)


class ReadingHead(FillingHead):
    """Draws features of a class in the queue together."""

    def forward(self, outputs: Any, step: Any) -> LossOutputs:
        queue = self.shared["queue"]
        same = (outputs["target"][:, None] == queue.target).to(queue.features.dtype)
        return LossOutputs((torch.cdist(outputs["features"], queue.features) * same).sum(dim=1))

    def after_step(self, step: Any) -> None:
        """The other head fills the queue."""


class QueueLearner(Learner):
    def build_networks(self) -> Networks:
        torch.manual_seed(0)
        return Networks({"encoder": nn.Linear(4, 2)})

    def build_terms(self) -> dict[str, LossTerm]:
        heads = {"fill": FillingHead(), "read": ReadingHead(self.settings.get("size", SIZE))}
        return {name: LossTerm(head, key=f"heads.{name}") for name, head in heads.items()}


def batches(count: int, rows: int = 4) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        {
            "few.vector": torch.randn(rows, 4, generator=generator),
            "few.target": torch.randint(CLASSES, (rows,), generator=generator),
        }
        for _ in range(count)
    ]


def queue_after(steps: list[dict[str, Tensor]]) -> dict[str, Any]:
    """What the queue holds after steps without an optimizer."""
    learner = make()
    for batch in steps:
        learner.training_step(batch, 0)
        for term in learner.terms.values():
            term.head.after_step(learner._step)
    return {name: value.tolist() for name, value in learner.shared_parts.state_dict().items()}


def make(**settings: Any) -> QueueLearner:
    optimizer = {"_target_": "torch.optim.SGD", "lr": 0.1}
    learner = QueueLearner({"optimizer": optimizer, **settings})
    learner.make_plan({"few": {"vector", "target"}})
    return learner


def write(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    own = [{k: v[:1] if rank == 0 else v[1:] for k, v in batch.items()} for batch in batches(3)]
    (folder / f"{rank}.json").write_text(json.dumps(queue_after(own)))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_uneven_processes_fill_it_as_one_does(tmp_path: Path) -> None:
    in_processes(write, tmp_path)
    expected = queue_after(batches(3))
    newest = [t for batch in reversed(batches(3)) for t in batch["few.target"].tolist()]
    assert expected["queue.target"] == newest[:SIZE]
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert found["queue.target"] == expected["queue.target"]
        for own, one in zip(found["queue.features"], expected["queue.features"], strict=True):
            assert own == pytest.approx(one, rel=1e-6)


def test_both_heads_hold_one_queue_that_a_checkpoint_holds_once(tmp_path: Path) -> None:
    learner = make()
    fill, read = (term.head for term in learner.terms.values())
    assert fill.shared["queue"] is read.shared["queue"] is learner.shared_parts["queue"]
    names = [name for name in learner.state_dict() if "queue" in name]
    assert names == ["shared_parts.queue.features", "shared_parts.queue.target"]
    settings: dict[str, Any] = {
        "max_steps": 3, "accelerator": "cpu", "logger": False, "enable_progress_bar": False,
        "enable_model_summary": False, "default_root_dir": tmp_path,
    }  # fmt: skip
    trainer = pl.Trainer(**settings)
    stored: Any = batches(3)
    trainer.fit(learner, DataLoader(stored, batch_size=None))
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    rebuilt = QueueLearner.load_from_checkpoint(tmp_path / "x.ckpt")
    queue: Any = rebuilt.shared_parts["queue"]
    assert (queue.target >= 0).all()
    for name, value in learner.state_dict().items():
        assert torch.equal(value, rebuilt.state_dict()[name]), name


def test_parts_of_one_name_that_differ_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        make(size=SIZE + 1)
    (problem,) = caught.value.problems
    assert problem.key == "heads.read"
    assert problem.value == "queue: LabeledQueue(features (7, 2) float32, target (7,) int64)"
    assert "(6, 2) float32" in problem.expected
