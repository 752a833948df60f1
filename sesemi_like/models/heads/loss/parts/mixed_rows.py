"""Labeled rows and views with guessed labels that are mixed with each other: the MixMatch family.

Shapes: B labeled rows, N unlabeled rows, V views of these, M = B + V N, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .....errors import suggest
from ..base import Forward, LossHead, LossOutputs, LossValues, Step
from .metrics import top1_hits
from .mixing import Mixing, Mixup, blend, partners_within

BATCHES = ("together", "separate")


class MixedRowsLossHead(LossHead):
    """Mixes labeled rows and views of unlabeled ones with each other, and their labels alike.

    Each of the M rows gets another one as partner, by a permutation of all. Labeled rows without a
    label (-1) are mixed among themselves and learn nothing. Rows are mixed within a process.

    Args:
        input_data: The loader of unlabeled rows.
        views: Its V views that are mixed, all with the same guessed label.
        network: The network that learns; it returns `logits` (N, C).
        mixing: How two rows become one, such as `parts.Mixup`; null is Mixup(0.75).
        batches: ``together`` runs all M mixed rows as one batch, which moves the running statistics
            of BatchNorm; ``separate`` runs the labeled rows and each view by themselves, and the
            labeled ones alone move them.
        labelled_data: The loader of labeled rows.
        labelled_view: Its view, of the same shape as the others.
        labelled_target: Its field of classes.

    Raises:
        ValueError: If there is no view, one twice, or no such choice of batches.
    """

    def __init__(
        self,
        input_data: str,
        views: Sequence[str],
        network: str,
        mixing: Mixing | None,
        batches: str,
        labelled_data: str,
        labelled_view: str,
        labelled_target: str,
    ) -> None:
        super().__init__()
        if not views or len(set(views)) < len(views):
            raise ValueError(f"views: found {[*views]}; needs one at least, and each once")
        if batches not in BATCHES:
            raise ValueError(
                f"batches: found {batches!r}; {suggest(batches, BATCHES, noun='ways')}"
            )
        self.input_data = input_data
        self.views = [*views]
        self.network = network
        self.mixing = mixing or Mixup()
        self.batches = batches
        self.labelled_data = labelled_data
        self.labelled_view = labelled_view
        self.labelled_target = labelled_target

    def mixed_forwards(self, guess: Forward) -> dict[str, Forward]:
        """Asks for the mixed rows through the network, and for their labels.

        Args:
            guess: What answers the guessed labels (N, C), distributions.
        """
        labeled = (f"{self.labelled_data}.{f}" for f in (self.labelled_view, self.labelled_target))
        views = (f"{self.input_data}.{view}" for view in self.views)
        mixed = Forward((*labeled, guess, *views), "self.mix", grad=False)
        asked = {"labels": mixed.part("labels")}
        if self.batches == "together":
            return asked | {"rows": Forward(mixed.part("rows"), self.network)}
        asked["rows.labeled"] = Forward(mixed.part("labeled"), self.network)
        for view in self.views:
            own = mixed.part(f"view.{view}")
            asked[f"rows.view.{view}"] = Forward(own, self.network, norm="batch")
        return asked

    def mix(
        self,
        labeled: Tensor,
        target: Tensor,
        guess: Tensor,
        *views: Tensor,
        generator: torch.Generator,
    ) -> dict[str, Any]:
        """Mixes all rows.

        Args:
            labeled: The labeled rows (B, ...).
            target: Their classes (B,), int64, -1 for none.
            guess: The guessed labels (N, C).
            *views: The views (N, ...), in the order of :attr:`views`.
            generator: What is drawn from.

        Returns:
            `rows` (M, ...), the mixed rows, labeled ones first; `labeled` and `view.NAME`, parts
            of them; `labels`: `targets` (M, C), `shares` and `others` (M,), and of the labeled rows
            `classes` and `is_labeled` (B,).

        Raises:
            ValueError: If a view has rows of another shape.
        """
        named = zip((f"{self.input_data}.{view}" for view in self.views), views, strict=True)
        check_shapes(dict(named), labeled, f"{self.labelled_data}.{self.labelled_view}")
        is_labeled = target >= 0
        classes = target.clamp(min=0)
        known = F.one_hot(classes, guess.shape[1]).to(guess.dtype)
        rows, targets = torch.cat([labeled, *views]), torch.cat([known, *[guess] * len(views)])
        takes_part = torch.cat([is_labeled, is_labeled.new_ones(len(rows) - len(target))])
        others = partners_within(takes_part, generator)
        mixed, shares = self.mixing(rows, rows[others], generator)
        first, *further = mixed.split([len(labeled), *map(len, views)])
        names = [f"view.{view}" for view in self.views]
        labels = {
            "targets": blend(shares, targets, targets[others]),
            "shares": shares,
            "others": others,
            "classes": classes,
            "is_labeled": is_labeled,
        }
        parts = dict(zip(names, further, strict=True))
        return {"rows": mixed, "labeled": first, "labels": labels, **parts}

    def mixed_terms(
        self,
        outputs: Mapping[str, Any],
        loss: Callable[[Tensor, Tensor], Tensor],
        coefficient: float,
    ) -> dict[str, LossValues]:
        """The cross-entropy of the mixed labeled rows, and the loss of the mixed views.

        Args:
            outputs: What :meth:`mixed_forwards` asked for.
            loss: From logits (K, C) and targets (K, C) to a loss per row (K,).
            coefficient: Multiplies the latter.
        """
        labels = outputs["labels"]
        is_labeled: Tensor = labels["is_labeled"]
        labeled, unlabeled = self._logits(outputs)
        known, guessed = labels["targets"].split([len(labeled), len(unlabeled)])
        losses = F.cross_entropy(labeled, known, reduction="none")
        return {
            "labeled": LossValues(losses, is_labeled.to(losses.dtype), is_labeled.sum()),
            "unlabeled": LossValues(loss(unlabeled, guessed), coefficient=coefficient),
        }

    def mixed_metrics(self, outputs: Mapping[str, Any], losses: LossOutputs) -> dict[str, Tensor]:
        """Metrics of the mixed rows.

        Args:
            outputs: What the head received: what :meth:`mixed_forwards` asked for, and the `guess`.
            losses: What it returned, with :meth:`mixed_terms`.

        Returns:
            `top1`, how many mixed labeled rows are taken for the class of the row itself;
            `confidence` of the guessed labels; `unlabeled_weight`.
        """
        labels, guess = outputs["labels"], outputs["guess"]
        hits = top1_hits(self._logits(outputs)[0], labels["classes"]) * labels["is_labeled"]
        return {
            "top1": hits.sum() / labels["is_labeled"].sum(),
            "confidence": guess.amax(dim=1).mean(),
            "unlabeled_weight": guess.new_tensor(losses.terms["unlabeled"].coefficient),
        }

    def _logits(self, outputs: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        if self.batches == "together":
            rows = len(outputs["labels"]["classes"])
            logits: Tensor = outputs["rows"]["logits"]
            return logits[:rows], logits[rows:]
        views = [outputs[f"rows.view.{view}"]["logits"] for view in self.views]
        return outputs["rows.labeled"]["logits"], torch.cat(views)


def check_shapes(rows: Mapping[str, Tensor], like: Tensor, of: str) -> None:
    """Refuses rows that cannot be mixed because their shapes differ.

    Args:
        rows: Rows (N, ...) by the names of their fields.
        like: Rows of the shape that they need.
        of: The field of these.

    Raises:
        ValueError: If a field has rows of another shape.
    """
    expected = tuple(like.shape[1:])
    for name, found in rows.items():
        if tuple(found.shape[1:]) != expected:
            shape = f"found rows of shape {tuple(found.shape[1:])}"
            raise ValueError(f"{name}: {shape}; mixing needs the shape of {of}, {expected}")


def at_step(schedule: Callable[[int], float] | None, step: Step) -> float:
    """What a schedule gives at a step; 1 where there is none."""
    return 1.0 if schedule is None else schedule(step.index)
