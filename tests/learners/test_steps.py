"""What heads are told of a step, and when they are called after it."""

from pathlib import Path
from typing import Any

import torch
from tiny_runs import fit

from sesemi_like.learners.checkpoints import rng
from sesemi_like.models.heads.loss import Forward, LossHead, LossOutputs, Step
from sesemi_like.models.networks import Networks

NOTED: list[Any] = []


class NotingLossHead(LossHead):
    """Notes every step: what it draws, and where training stands."""

    def __init__(self, breaks_at: int | None = None) -> None:
        super().__init__()
        self.breaks_at = breaks_at

    def forwards(self, fields: Any) -> dict[str, Forward]:
        return {"image": Forward("supervised.image", "classifier")}

    def forward(self, outputs: Any, step: Step) -> LossOutputs:
        drawn = torch.rand(3, generator=step.generator).tolist()
        NOTED.append(("step", step.index, step.epoch, step.max_steps, drawn))
        losses = outputs["image"]["logits"].square().sum(dim=1)
        return LossOutputs(losses * (torch.nan if step.index == self.breaks_at else 1))

    def after_step(self, step: Step) -> None:
        NOTED.append(("after", step.index, torch.rand(1, generator=step.generator).item()))


HEADS = "learner.hparams.model.regularization_loss_heads"
NOTING = ["method=supervised", f"+{HEADS}.noting.head._target_=test_steps.NotingLossHead",
          "data.val=null", "data.test=null"]  # fmt: skip
EPOCH = "data.train.supervised.batch_size_per_gpu=10"  # four steps


def noted(folder: Path, *overrides: str) -> list[Any]:
    """What a run notes, without its rehearsal."""
    NOTED.clear()
    fit(folder, *NOTING, EPOCH, *overrides)
    rehearsed = next(i for i, note in enumerate(NOTED) if note[3:4] not in ((None,),))
    return NOTED[rehearsed:]


def test_a_step_knows_its_epoch_and_draws_anew(tmp_path: Path) -> None:
    notes = noted(tmp_path, "run.num_iterations=6")
    steps, after = ([note for note in notes if note[0] == kind] for kind in ("step", "after"))
    assert [note[1:4] for note in steps] == [
        (0, 0, 6), (1, 0, 6), (2, 0, 6), (3, 0, 6), (4, 1, 6), (5, 1, 6),
    ]  # fmt: skip
    assert [note[1] for note in after] == list(range(6))
    assert [note[0] for note in notes] == ["step", "after"] * 6
    draws = {tuple(note[4]) for note in steps} | {(note[2],) for note in after}
    assert len(draws) == 12


def test_the_same_seed_draws_alike_and_another_does_not(tmp_path: Path) -> None:
    first = noted(tmp_path / "a", "run.num_iterations=3")
    assert noted(tmp_path / "b", "run.num_iterations=3") == first
    other = noted(tmp_path / "c", "run.num_iterations=3", "run.seed=1")
    assert [note[4] for note in other[::2]] != [note[4] for note in first[::2]]


def test_accumulated_batches_draw_for_themselves_and_are_one_step(tmp_path: Path) -> None:
    notes = noted(tmp_path, "run.num_iterations=2", "++trainer.accumulate_grad_batches=2")
    assert [note[:2] for note in notes] == [
        ("step", 0), ("step", 0), ("after", 0), ("step", 1), ("step", 1), ("after", 1),
    ]  # fmt: skip
    draws = [tuple(note[4]) for note in notes if note[0] == "step"]
    assert len(set(draws)) == 4


def test_nothing_follows_a_step_that_is_skipped(tmp_path: Path) -> None:
    notes = noted(tmp_path, "run.num_iterations=4", "run.on_nonfinite=skip",
                  f"+{HEADS}.noting.head.breaks_at=1")  # fmt: skip
    assert [note[:2] for note in notes] == [
        ("step", 0), ("after", 0), ("step", 1),
        ("step", 2), ("after", 2), ("step", 3), ("after", 3),
    ]  # fmt: skip


def test_batches_and_processes_draw_for_themselves() -> None:
    seeds = {
        rng.seed_of_batch(seed, number, rank)
        for seed in range(3)
        for number in range(20)
        for rank in range(4)
    }
    assert len(seeds) == 3 * 20 * 4
    step = Step(0, None, Networks({}), {}, seed=5)
    assert step.generator is step.generator
    expected = torch.rand(4, generator=torch.Generator().manual_seed(5))
    assert torch.equal(torch.rand(4, generator=step.generator), expected)
