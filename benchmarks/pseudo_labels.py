"""What the pseudo-labels of a run were like: how many were used, right, and of how many classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor


class PseudoLabelQuality(pl.Callback):
    """Compares the pseudo-labels of the last fifth of a run with labels that nobody trained on.

    Args:
        samples: The unlabeled data set, with its labels.
    """

    def __init__(self, samples: Any) -> None:
        self.truth = np.full(int(samples.positions.max()) + 1, -1)
        self.truth[samples.positions] = samples.targets
        self.used: list[float] = []
        self.right: list[tuple[float, float]] = []
        self.histogram: Tensor | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Has the answers of each step's forwards looked at."""
        begin = 0.8 * float(trainer.max_steps)
        run = type(pl_module.plan).run

        def noting(plan: Any, batch: Any, seed: int = 0) -> Any:
            answers = run(plan, batch, seed)
            if plan is pl_module.plan and trainer.global_step >= begin:
                self.note(answers, batch.get("unlabeled.index"))
            return answers

        self.original = type(pl_module.plan), run
        type(pl_module.plan).run = noting

    def on_train_end(self, *_: Any) -> None:
        """Stops looking."""
        plan, run = self.original
        plan.run = run

    @torch.no_grad()
    def note(self, answers: dict[str, dict[str, Any]], index: Tensor | None) -> None:
        """Counts the pseudo-labels of a step, of the first head that makes some."""
        judged = next((given["judged"] for given in answers.values() if "judged" in given), None)
        if judged is None or index is None:
            return
        weights, classes = judged["weights"].float(), judged["targets"].argmax(dim=1)
        truth = torch.from_numpy(self.truth[index.cpu().numpy()]).to(classes.device)
        self.used.append(float(weights.mean()))
        self.right.append((float((weights * (classes == truth)).sum()), float(weights.sum())))
        counts = torch.zeros(judged["targets"].shape[1], device=classes.device)
        counts.index_add_(0, classes, weights)
        self.histogram = counts if self.histogram is None else self.histogram + counts

    def figures(self) -> dict[str, float | None]:
        """`used`, `right` and `balance`, each in [0, 1]; None where there were no pseudo-labels."""
        total = sum(weight for _, weight in self.right)
        if not total or self.histogram is None:
            used = float(np.mean(self.used)) if self.used else None
            return {"used": used, "right": None, "balance": None}
        share = self.histogram.double() / self.histogram.sum()
        entropy = -(share * share.clamp_min(1e-12).log()).sum() / np.log(len(share))
        right = sum(hits for hits, _ in self.right) / total
        return {"used": float(np.mean(self.used)), "right": right, "balance": float(entropy)}
