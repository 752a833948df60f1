"""Full passes between epochs: what heads receive, how often, resumed, and over two processes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed
from processes import in_processes
from tables import BUFFERS, HEADS, TABLE
from tiny_runs import TINY, fit, weights
from torch import Tensor

import sesemi_like
from sesemi_like import Classifier
from sesemi_like.config.check import check
from sesemi_like.errors import ConfigError
from sesemi_like.models.heads.loss import Forward, LossHead, LossOutputs
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES
from sesemi_like.run.prepare import prepare

WITHOUT_BATCHNORM = "learner.hparams.model.backbone._target_=processes.NetworkWithoutBatchNorm"
UNTRAINED = ["run.precision=32", "learner.hparams.optimizer.lr=0", WITHOUT_BATCHNORM]
EVERY_STEP = ("trainer.callbacks=[{_target_: pytorch_lightning.callbacks.ModelCheckpoint, "
              "every_n_train_steps: 1, save_top_k: -1, filename: 'at-{step}', "
              "save_on_train_epoch_end: false, save_last: true}]")  # fmt: skip


def expected_table(checkpoint: Path, data_root: Path) -> tuple[Tensor, Tensor]:
    """Confidence and label of all digits by index, as the checkpoint's classifier answers them."""
    data: Any = sesemi_like.dataset("digits", root=str(data_root), subset="train", split_seed=0)
    classifier = Classifier.load_from_checkpoint(checkpoint)
    samples = [data[row] for row in range(len(data))]
    images = torch.stack([torch.as_tensor(sample["image"]) for sample in samples])
    with torch.no_grad():
        found = classifier(images).softmax(dim=1).max(dim=1)
    index = torch.tensor([sample["index"] for sample in samples])
    confidence, label = torch.zeros(int(index.max()) + 1), torch.zeros(int(index.max()) + 1).long()
    confidence[index], label[index] = found.values, found.indices
    return confidence, label


def test_a_head_receives_what_the_network_predicts_for_all_rows(tmp_path: Path) -> None:
    part = "data.train.unlabeled.dataset.part=unlabelled"
    folder, _ = fit(tmp_path, *TABLE, *UNTRAINED, part)
    state = weights(folder)
    confidence, label = expected_table(folder / "checkpoints" / "last.ckpt", tmp_path)
    assert state[f"{BUFFERS}.received"] == 2, "two epochs of five steps"
    table = state[f"{BUFFERS}.confidence"]
    was_predicted = table > 0
    # Positions lie in the data set of 1437, of which the 40 labeled ones are left out.
    assert (len(table), int(was_predicted.sum())) == (1437, 1397)
    torch.testing.assert_close(table[was_predicted], confidence[was_predicted])
    assert (state[f"{BUFFERS}.label"] == label)[was_predicted].float().mean() > 0.99


def test_every_second_epoch_and_the_first(tmp_path: Path) -> None:
    folder, _ = fit(tmp_path, *TABLE, f"+{HEADS}.table.head.every=2", "run.num_iterations=15")
    assert weights(folder)[f"{BUFFERS}.received"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("step", [5, 7])
def test_a_resumed_run_ends_alike(tmp_path: Path, step: int) -> None:
    whole, _ = fit(tmp_path / "whole", *TABLE, EVERY_STEP)
    (checkpoint,) = whole.rglob(f"at-step={step}.ckpt")
    resumed, _ = fit(
        tmp_path / "resumed", *TABLE, EVERY_STEP, f"run.resume_from_checkpoint='{checkpoint}'"
    )
    expected, found = weights(whole), weights(resumed)
    assert expected[f"{BUFFERS}.received"] == 2
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


def train_untrained(rank: int, folder: Path) -> None:
    devices = ["++trainer.accelerator=cpu", "++trainer.devices=2", f"run.dir={folder}"]
    config = composed("quickstart", *TINY, *TABLE, *UNTRAINED, *devices)
    run(config, check(config, MODES))


@pytest.mark.slow
def test_two_processes_share_a_pass(tmp_path: Path) -> None:
    in_processes(train_untrained, tmp_path)
    (checkpoint,) = tmp_path.rglob("last.ckpt")
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    confidence, _ = expected_table(checkpoint, tmp_path)
    torch.testing.assert_close(state[f"{BUFFERS}.confidence"], confidence)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("loader", "unlabelled", "no train loader 'unlabelled'.*unlabeled"),
        ("every", 0, "at least 1"),
    ],
)
def test_passes_that_cannot_be_made_are_refused(key: str, value: Any, expected: str) -> None:
    config = composed("quickstart", *TINY, *TABLE, f"+{HEADS}.table.head.{key}={value}")
    with pytest.raises(ConfigError, match=rf"heads\.table\.passes.*{expected}"):
        prepare(config, check(config, MODES))


def test_what_a_table_lacks_is_not_told_beside_the_reason() -> None:
    wrong = "data.train.unlabeled.dataset.subset=missing"
    config = composed("quickstart", *TINY, *TABLE, wrong)
    with pytest.raises(ConfigError) as caught:
        prepare(config, check(config, MODES))
    (problem,) = caught.value.problems
    assert problem.key == "data.train.unlabeled.dataset.subset"


def test_a_loader_that_is_read_in_passes_alone_is_loaded() -> None:
    own = "+data.train.pool={dataset: {name: digits, subset: train}, batch_size: 8}"
    config = composed("quickstart", *TINY, *TABLE, own, f"+{HEADS}.table.head.loader=pool")
    prepared = prepare(config, check(config, MODES))
    assert set(prepared.data.loaders) >= {"train.pool", "train.unlabeled"}
    assert "pool" not in prepared.data.fields


class NanLossHead(LossHead):
    """A loss that is nan in the second epoch."""

    def forwards(self, fields: Any) -> dict[str, Forward]:
        return {"strong": Forward("unlabeled.strong", "classifier")}

    def forward(self, outputs: Any, step: Any) -> LossOutputs:
        losses = outputs["strong"]["logits"].sum(dim=1)
        return LossOutputs(losses * (float("nan") if step.epoch == 1 else 0.0))


def test_a_skipped_step_does_not_undo_the_pass_before_it(tmp_path: Path) -> None:
    """All steps of the second epoch are skipped."""
    nan = f"+{HEADS}.nan.head._target_={__name__}.NanLossHead"
    folder, summary = fit(tmp_path, *TABLE, nan, "run.on_nonfinite=skip")
    assert summary["skipped_steps"] == 5
    assert weights(folder)[f"{BUFFERS}.received"] == 2
