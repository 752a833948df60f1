"""The supervised loss: any criterion, on the rows that have a label."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .base import Fields, Forward, LossHead, LossOutputs, LossValues, Step
from .parts.interpolation import interpolated
from .parts.masks import Mask
from .parts.metrics import top1_hits
from .parts.mixing import Mixing, blend, partners_within

_NEEDED = {
    "callable": "one loss per row, shape (N,), as with reduction='none'",
    "mask": "one weight per row, shape (N,)",
}


class SupervisedLossHead(LossHead):
    """Compares predictions with labels by any criterion.

    For a row with logits z and label y the loss is ``criterion(z, y)``, for instance the
    cross-entropy ``-log softmax(z)_y``. Rows with the label -1 are unlabeled and are left out:
    they count neither in the sum nor in the number of rows.

    With `class_weights` a row weighs ``w_y``. Reduced by ``weighted_mean`` the head then gives what
    ``torch.nn.CrossEntropyLoss(weight=w)`` gives, ``sum(w_y l) / sum(w_y)``; reduced by ``mean``,
    ``sum(w_y l) / N``. Label smoothing is the criterion's own setting.

    With a `mask` a row weighs what it says as well: ``mean`` still divides by the number of labeled
    rows, ``weighted_mean`` by the sum of the weights.

    Several `views` are a term each, with the same labels and the coefficient 1/V: the loss is the
    mean of what each view alone would give, in every reduction, and each is logged by its name.

    With `interpolated` the logits are drawn, in training, between those of the labeled rows alone
    and those of the same rows among all of the step, see `parts.interpolate_logits` (AdaMatch).

    With `mixing` each row is mixed, in training, with another labeled one of its process, and loses
    ``share criterion(z, y) + (1 - share) criterion(z, y of its partner)`` (Zhang et al., "mixup",
    2018, arXiv 1710.09412); class weights, masks and accuracy go by its own label.

    Args:
        callable: (logits (N, C), targets (N,)) -> losses (N,). If it has an attribute `reduction`
            that is set to ``"none"``.
        class_weights: One weight, zero or more, per class; null weighs all rows alike.
        input_data: The loader that offers `target` (N,), in [0, C) or -1, and `input_field`.
        network: The network that returns `logits`.
        input_field: The field of the loader that goes through the network.
        views: The views, or other fields, of the loader that do so in its place; null is
            `input_field` alone.
        target: The field with the labels.
        mask: A part that weighs the rows, such as `parts.TrainingSignalAnnealing`: (logits (N, C),
            classes (N,), step) -> weights (N,). Null weighs all rows alike.
        interpolated: Whether logits are drawn between two; needs a second forward.
        mixing: How two rows become one, such as `parts.Mixup`; null mixes none.

    Raises:
        ValueError: If a class weight is negative, there is no view or one twice, or rows are to be
            mixed and logits interpolated.

    Example::

        supervised_loss:
          callable:
            _target_: torch.nn.CrossEntropyLoss
            label_smoothing: 0.1
          reduction: mean
    """

    class_weights: Tensor | None

    def __init__(
        self,
        callable: Callable[[Tensor, Tensor], Tensor],
        class_weights: Sequence[float] | None = None,
        input_data: str = "supervised",
        network: str = "classifier",
        input_field: str = "image",
        views: Sequence[str] | None = None,
        target: str = "target",
        mask: Mask | None = None,
        interpolated: bool = False,
        mixing: Mixing | None = None,
    ) -> None:
        super().__init__()
        if hasattr(callable, "reduction"):
            callable.reduction = "none"
        if class_weights is not None and min(class_weights, default=0) < 0:
            raise ValueError(f"class_weights: found {class_weights}; needs weights of 0 or more")
        weights = None if class_weights is None else torch.tensor(class_weights).float()
        self.criterion = callable
        # The config holds the weights, so checkpoints need not.
        self.register_buffer("class_weights", weights, persistent=False)
        self.input_data = input_data
        self.network = network
        self.views = [input_field] if views is None else [*views]
        self.target = target
        self.mask = mask
        self.interpolated = interpolated
        self.mixing = mixing
        if interpolated and mixing is not None:
            raise ValueError("interpolated: found true beside mixing; needs one of them alone")
        if not self.views or len(set(self.views)) < len(self.views):
            raise ValueError(f"views: found {self.views}; needs one at least, and each once")

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        """Asks for the views through the network, and for their labels."""
        target = f"{self.input_data}.{self.target}"
        views: dict[str, Forward] = {}
        for view in self.views:
            rows: str | Forward = f"{self.input_data}.{view}"
            if self.mixing is not None:
                mixed = Forward((rows, target), "self.mix", grad=False)
                views[f"mixed.{view}"], rows = mixed, mixed.part("rows")
            views[f"view.{view}"] = Forward(rows, self.network)
        if self.interpolated:
            views |= {f"drawn.{view}": interpolated(views[f"view.{view}"]) for view in self.views}
        return {**views, "target": Forward.field(target)}

    def mix(self, rows: Tensor, target: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Mixes labeled rows with each other, in training alone.

        Args:
            rows: (N, ...), floating point.
            target: Their classes (N,), -1 for none.
            generator: What is drawn from.

        Returns:
            `rows` (N, ...), `shares` (N,) that are a row's own, and the partners' `target` (N,).
        """
        if self.mixing is None or not self.training:
            return {"rows": rows, "shares": rows.new_ones(len(rows)), "target": target}
        others = partners_within(target >= 0, generator)
        mixed, shares = self.mixing(rows, rows[others], generator)
        return {"rows": mixed, "shares": shares, "target": target[others]}

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        """The criterion on the labeled rows.

        Raises:
            ValueError: If the criterion or the mask do not return one value per row, or there are
                not as many class weights as classes.
        """
        labeled = outputs["target"] >= 0
        # Any class will do for the other rows: what they lose counts nothing.
        target, count = outputs["target"].clamp(min=0), labeled.sum()
        terms = {}
        for view, logits in self._logits(outputs).items():
            losses = self._losses(logits, target)
            if self.mixing is not None:
                mixed = outputs[f"mixed.{view}"]
                partners = self._losses(logits, mixed["target"].clamp(min=0))
                losses = blend(mixed["shares"], losses, partners)
            losses = torch.where(labeled, losses, 0)
            weights = self._weights(logits, target, labeled, step)
            terms[view] = LossValues(losses, weights, count, 1 / len(self.views))
        if len(terms) > 1:
            return LossOutputs(terms)
        (only,) = terms.values()
        return LossOutputs(only.losses, only.weights, count=count)

    def metrics(self, outputs: Mapping[str, Any], losses: LossOutputs) -> Mapping[str, Tensor]:
        """Metric `top1`, its mean over the views; nan when no row is labeled."""
        target = outputs["target"]
        labeled = target >= 0
        hits = [top1_hits(logits, target) * labeled for logits in self._logits(outputs).values()]
        return {"top1": torch.stack(hits).sum() / (labeled.sum() * len(hits))}

    def _logits(self, outputs: Mapping[str, Any]) -> dict[str, Tensor]:
        kind = "drawn" if self.interpolated and self.training else "view"
        return {view: outputs[f"{kind}.{view}"]["logits"] for view in self.views}

    def _losses(self, logits: Tensor, target: Tensor) -> Tensor:
        losses = self.criterion(logits, target)
        _check_rows("callable", self.criterion, losses, len(target))
        return losses

    def _weights(
        self, logits: Tensor, target: Tensor, labeled: Tensor, step: Step
    ) -> Tensor | None:
        weights: Tensor | None = None
        if self.class_weights is not None:
            if len(self.class_weights) != logits.shape[1]:
                found, classes = len(self.class_weights), logits.shape[1]
                raise ValueError(f"class_weights: found {found} weights for {classes} classes")
            weights = self.class_weights[target] * labeled
        if self.mask is not None:
            mask = self.mask(logits, target, step)
            _check_rows("mask", self.mask, mask, len(target))
            weights = mask * (labeled if weights is None else weights)
        return weights


def _check_rows(key: str, function: Any, values: Any, rows: int) -> None:
    if isinstance(values, Tensor) and values.shape == (rows,):
        return
    shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
    found = f"{key}: {function} returned {shape} for {rows} rows"
    raise ValueError(f"{found}; needs {_NEEDED[key]}")
