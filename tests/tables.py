"""A head with a table of all rows that full passes fill, and the overrides that train with it."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sesemi_like.models.heads.loss import Forward, LossHead, LossOutputs
from sesemi_like.predictions import Predictions


class TableLossHead(LossHead):
    """Pseudo-labels every row by the last full pass, weighed by that prediction's confidence."""

    confidence: Tensor
    label: Tensor
    received: Tensor

    def __init__(self, every: Any = 1, loader: str = "unlabeled") -> None:
        super().__init__()
        self.every, self.loader = every, loader

    def passes(self) -> dict[str, int]:
        return {self.loader: self.every}

    def build(self, networks: Any, facts: Any) -> None:
        rows = facts.num_indices("unlabeled")
        self.register_buffer("confidence", torch.zeros(rows))
        self.register_buffer("label", torch.zeros(rows, dtype=torch.int64))
        self.register_buffer("received", torch.tensor(0))

    def receive(self, loader: str, predictions: Predictions) -> None:
        assert loader == "unlabeled"
        assert set(predictions.outputs["model"]) == {"logits"}
        logits = predictions.of("logits")["model"]
        confidence, label = logits.softmax(dim=1).max(dim=1)
        self.confidence[predictions.index] = confidence.to(self.confidence.device)
        self.label[predictions.index] = label.to(self.label.device)
        self.received += 1

    def forwards(self, fields: Any) -> dict[str, Forward]:
        index = Forward.field("unlabeled.index")
        return {"strong": Forward("unlabeled.strong", "classifier"), "index": index}

    def forward(self, outputs: Any, step: Any) -> LossOutputs:
        logits, index = outputs["strong"]["logits"], outputs["index"]
        losses = F.cross_entropy(logits, self.label[index], reduction="none")
        return LossOutputs(losses, self.confidence[index])


HEADS = "learner.hparams.model.regularization_loss_heads"
TABLE = ["method=supervised", "learner.hparams.model.ema=null",
         f"+{HEADS}.table.head._target_=tables.TableLossHead"]  # fmt: skip
BUFFERS = "loss_terms.table.head"
