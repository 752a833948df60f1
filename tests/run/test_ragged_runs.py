"""A whole run on texts, vectors and images of which samples lack some: trained, resumed, shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from composing import composed
from processes import in_processes
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.nn import functional as F

from sesemi_like import Learner
from sesemi_like.config.check import check
from sesemi_like.data import Samples
from sesemi_like.learners.terms import LossTerm
from sesemi_like.models.heads.loss.base import Fields, Forward, LossHead, LossOutputs, Step
from sesemi_like.models.networks import Networks
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES


def read(position: int) -> dict[str, Any]:
    """Sample k has a vector; a text unless k is 2 in 3, a gray image if k is odd."""
    generator = torch.Generator().manual_seed(position)
    sample: dict[str, Any] = {"vector": torch.rand(4, generator=generator)}
    if position % 3 != 2:
        sample["text"] = "word " * (1 + position % 4)
    if position % 2:
        sample["image"] = torch.full((1, 8, 8), 3 * position, dtype=torch.uint8)
    return sample


def triples(*_: Any, **__: Any) -> Samples:
    return Samples(read, map(str, range(24)), fields=("text", "image"))


class TextEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(259, 4)

    def forward(self, text: dict[str, Tensor]) -> Tensor:
        mask = text["attention_mask"][..., None].float()
        mean: Tensor = (self.table(text["input_ids"]) * mask).sum(1) / mask.sum(1).clamp_min(1)
        return mean


class Match(LossHead):
    """Draws texts to the vectors of their samples, and reads the parts of a tree by name."""

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        return {
            "text": Forward("triples.text", "text"),
            "vector": Forward("triples.vector", "vector"),
            "row": Forward.field("triples.text.row"),
            "ids": Forward.field("triples.text.input_ids"),
            "image": Forward("triples.image", "image"),
        }

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        assert len(outputs["ids"]) == len(outputs["row"]) == len(outputs["text"])
        assert step.batch["triples.text"]["input_ids"] is outputs["ids"]
        matching = outputs["vector"][outputs["row"]]
        differences = F.mse_loss(outputs["text"], matching, reduction="none")
        return LossOutputs(differences.sum(1) + 0 * outputs["image"].sum())


class Triples(Learner):
    def build_networks(self) -> Networks:
        image = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
        return Networks({"text": TextEncoder(), "vector": nn.Linear(4, 4), "image": image})

    def build_terms(self) -> dict[str, LossTerm]:
        return {"match": LossTerm(Match())}


class StopAt(pl.Callback):
    """Asks to stop after some steps, as callbacks do."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        trainer.should_stop = trainer.global_step >= self.steps


def fit(folder: Path, steps: int, *overrides: str) -> None:
    tokenizer = "{_target_: sesemi_like.data.ByteTokenizer}"
    tokens = f"{{_target_: sesemi_like.data.Tokens, tokenizer: {tokenizer}}}"
    loader = (
        f"{{dataset: {{name: {__name__}.triples}}, batch_size: 6, shuffle: true, num_workers: 0, "
        f"collate_fn: {{_target_: sesemi_like.data.FieldCollation, fields: {{text: {tokens}}}}}}}"
    )
    (folder / "own.yaml").write_text(
        "defaults: [app_config, _self_]\n"
        f"run: {{gpus: 0, num_iterations: {steps}, seed: 3, precision: 32, dir: {folder}/runs}}\n"
        f"data: {{train: {{triples: {loader}}}, val: {loader}}}\n"
        f"learner: {{_target_: {__name__}.Triples, hparams: {{optimizer: "
        "{_target_: torch.optim.SGD, lr: 0.3}}}\n"
    )
    config = composed("own", "++trainer.log_every_n_steps=1", *overrides, folder=folder)
    run(config, check(config, MODES))


def latest(folder: Path) -> Path:
    """The folder of the run that began last: they are named by their times."""
    return sorted(folder.glob("runs/*/*/summary.json"))[-1].parent


def state(folder: Path) -> dict[str, Tensor]:
    path = folder / "checkpoints" / "last.ckpt"
    weights: dict[str, Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return weights


def losses(folder: Path) -> Sequence[float]:
    (events,) = (folder / "tensorboard").glob("events.*")
    logged = EventAccumulator(str(events)).Reload()
    assert "samples/triples.image" in logged.Tags()["images"]
    return [scalar.value for scalar in logged.Scalars("train/loss")]


def test_ragged_batches_are_trained_shown_and_resumed_to_the_same_weights(
    tmp_path: Path,
) -> None:
    fit(tmp_path, 12)
    whole = latest(tmp_path)
    assert json.loads((whole / "summary.json").read_text())["status"] == "finished"
    values = losses(whole)
    assert len(values) == 12 and values[-1] < 0.5 * values[0]
    saving = "_target_: pytorch_lightning.callbacks.ModelCheckpoint"
    keeping = f"{{{saving}, save_top_k: 0, save_last: true}}"
    stopping = f"{{_target_: {__name__}.StopAt, steps: 7}}"
    fit(tmp_path, 12, f"++trainer.callbacks=[{keeping}, {stopping}]")
    checkpoint = latest(tmp_path) / "checkpoints" / "last.ckpt"
    fit(tmp_path, 12, f"run.resume_from_checkpoint={checkpoint}")
    expected = state(whole)
    assert expected
    for name, value in state(latest(tmp_path)).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0, msg=name)


def fit_in_processes(rank: int, folder: Path, processes: int) -> None:
    fit(folder, 6, "++trainer.accelerator=cpu", f"++trainer.devices={processes}")


@pytest.mark.slow
def test_two_processes_whose_rows_differ_end_with_the_weights_of_one(tmp_path: Path) -> None:
    """Of three rows a process some have no text, and now and then none has an image."""
    for count in (1, 2):
        (tmp_path / str(count)).mkdir()
        in_processes(fit_in_processes, tmp_path / str(count), count, count=count)
    one, two = (state(latest(tmp_path / count)) for count in "12")
    assert one.keys() == two.keys() and any("table.weight" in name for name in one)
    for name, value in two.items():
        torch.testing.assert_close(value, one[name], rtol=1e-4, atol=1e-5, msg=name)
